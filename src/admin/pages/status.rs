//! `/-/status`: whether all is well, at a glance.

use std::time::Duration;

use askama::Template;
use axum::body::Body;
use http::Response;
use serde_json::{Value, json};

use super::{
    Visit,
    chart::{Chart, chart},
    frame::{Frame, page},
};
use crate::{
    admin::router::{AdminSite, file_name},
    clock,
    files::FilesUsage,
    log::{self, LoggedEvent},
    proxy::core::Core,
    telemetry::activity::{self, CostlyQuestion, TopQuery},
};

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage {
    frame: Frame,
    upstream: String,
    since: String,
    since_iso: String,
    /// Whether it knows nothing yet, the URL by which ONE is to ask it, and whether there is who synchronises.
    is_empty: bool,
    base: String,
    has_account: bool,
    reason: String,
    /// What is likely wrong with Alyx's address.
    hint: String,
    synchronised: String,
    uptime: String,
    chart: Chart,
    most: Vec<OutcomeRow>,
    slowest: Vec<OutcomeRow>,
    costly: Vec<CostlyRow>,
    responses: u64,
    stored: String,
    limit: String,
    used: u64,
    data_files: Option<DataFilesRow>,
    clients: Option<Vec<ClientRow>>,
    events: Vec<EventRow>,
    /// What is wrong now.
    trouble: Vec<String>,
    /// What was wrong, and where it lies.
    set_aside: Option<String>,
    mirror_set_aside: Option<String>,
}

/// No disk is larger.
const NO_LIMIT: u64 = 1 << 60;

struct DataFilesRow {
    files: u64,
    bytes: String,
    given: String,
    fetched: String,
    differing: u64,
    damaged: u64,
}

struct OutcomeRow {
    what: String,
    endpoint: &'static str,
    count: u64,
    mean: String,
    slowest: String,
}

struct CostlyRow {
    what: String,
    reason: &'static str,
    count: u64,
    at: String,
}

struct ClientRow {
    address: String,
    program: String,
    requests: u64,
    ago: String,
}

struct EventRow {
    at: String,
    iso: String,
    level: &'static str,
    text: String,
}

impl Visit {
    /// Whether this visitor may see who asks what, and what things are called: somebody whose token counts yet, or the
    /// administrator.
    pub(super) fn counts(&self) -> bool {
        let access = &self.settings.access;
        let counts = |token| self.admin.core.tokens.counts_until(&token, access).is_some();
        let session = self.session.as_ref();
        session.is_some_and(|session| {
            session.is_admin() || access.anonymous || session.token(&self.admin.core.key).is_some_and(counts)
        }) || self.admin.has_token(&self.headers, self.client)
    }

    pub(super) fn status_page(&self) -> Response<Body> {
        let (admin, core) = (&self.admin, &self.admin.core);
        let state = core.upstream.health.state();
        let stored = core.responses.usage();
        let logged_in = self.counts();
        let (most, slowest) = core.activity.questions();
        let now = core.clock.now();
        let rows = |asked: Vec<TopQuery>| asked.iter().map(|asked| row(asked, logged_in)).collect();
        let client = |client: activity::Client| ClientRow {
            address: client.address.to_string(),
            program: client.program,
            requests: client.requests,
            ago: clock::span_for_people(now - client.last),
        };
        let mirror = core.mirror.as_ref();
        let last = mirror.and_then(|mirror| mirror.states().iter().map(|(_, state)| state.synced_at).max());
        let content = StatusPage {
            frame: self.frame("status", "Status"),
            upstream: if logged_in { core.upstream.base().to_owned() } else { String::new() },
            since: state.since().map(clock::for_people).unwrap_or_default(),
            since_iso: state.since().map(clock::for_machines).unwrap_or_default(),
            is_empty: stored.responses == 0 && last.is_none() && core.mode.snapshot().is_none(),
            base: self.base.clone(),
            has_account: core.synchroniser.is_some(),
            reason: state.reason().filter(|_| logged_in).unwrap_or_default(),
            hint: core.likely_mistake().filter(|_| logged_in).unwrap_or_default(),
            synchronised: last.map_or_else(
                || "nothing is mirrored".to_owned(),
                |at| format!("{} ago", clock::span_for_people(now - at)),
            ),
            uptime: clock::span_for_people(now - admin.started_at),
            chart: chart(&core.activity.day()),
            most: rows(most),
            slowest: rows(slowest),
            costly: costly(core, logged_in),
            responses: stored.responses,
            stored: size(stored.bytes),
            // A snapshot is served without any.
            limit: if stored.limit >= NO_LIMIT { String::new() } else { size(stored.limit) },
            used: (stored.bytes.saturating_mul(100)).checked_div(stored.limit).unwrap_or(0).min(100),
            data_files: core.data_files.as_ref().map(|files| data_files(files.usage())),
            clients: logged_in.then(|| core.activity.clients().into_iter().map(client).collect()),
            events: log::worth_telling(20).into_iter().map(|event| told(event, logged_in)).collect(),
            trouble: [core.store.degradation(), mirror.and_then(|mirror| mirror.trouble())]
                .into_iter()
                .flatten()
                .map(|trouble| trouble.for_people())
                .chain(admin.account_refused(logged_in))
                .chain(admin.certificate_remarks(logged_in))
                .collect(),
            set_aside: core.store.set_aside().map(|path| file_name(&path, logged_in)),
            mirror_set_aside: mirror
                .and_then(|mirror| mirror.set_aside())
                .map(|path| file_name(&path, logged_in)),
        };
        page(&content, 200)
    }
}

fn data_files(usage: FilesUsage) -> DataFilesRow {
    let [bytes, given, fetched] = [usage.bytes, usage.given, usage.fetched].map(size);
    let FilesUsage { files, differing, damaged, .. } = usage;
    DataFilesRow { files, bytes, given, fetched, differing, damaged }
}

fn told(event: LoggedEvent, names: bool) -> EventRow {
    EventRow {
        at: clock::for_people(event.at),
        iso: clock::for_machines(event.at),
        level: event.level,
        text: text_of(event, names),
    }
}

/// What happened, or for strangers in which part of the program.
fn text_of(event: LoggedEvent, names: bool) -> String {
    if names { event.text } else { format!("something in {}; log in to see what", event.part) }
}

fn row(asked: &TopQuery, logged_in: bool) -> OutcomeRow {
    let what = match (logged_in, asked.parameters.is_empty()) {
        (true, _) => asked.question.clone(),
        (false, true) => format!("/{}", asked.endpoint),
        (false, false) => format!("/{} by {}", asked.endpoint, asked.parameters),
    };
    OutcomeRow {
        what,
        endpoint: asked.endpoint,
        count: asked.count,
        mean: milliseconds(asked.mean()),
        slowest: milliseconds(asked.slowest),
    }
}

/// Questions that cost the mirror too much; for strangers what they are about.
fn costly(core: &Core, names: bool) -> Vec<CostlyRow> {
    let row = |asked: CostlyQuestion| CostlyRow {
        what: if names { asked.question } else { format!("/{}", asked.endpoint) },
        reason: asked.reason,
        count: asked.count,
        at: clock::for_people(asked.at),
    };
    core.activity.costly().into_iter().map(row).collect()
}

fn milliseconds(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1000.0) } else { format!("{seconds:.2} s") }
}

/// A number of bytes for people.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(super) fn size(bytes: u64) -> String {
    let mut rest = bytes as f64;
    for unit in ["B", "KiB", "MiB"] {
        if rest < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{rest:.1} {unit}") };
        }
        rest /= 1024.0;
    }
    format!("{rest:.1} GiB")
}

impl AdminSite {
    /// What was done in the last day, for `/-/status.json`: no question's values, no client.
    pub(crate) fn activity_status(&self, names: bool) -> Value {
        let chart = chart(&self.core.activity.day());
        let (most, slowest) = self.core.activity.questions();
        let rows = |asked: &[TopQuery]| -> Vec<Value> {
            asked
                .iter()
                .map(|asked| {
                    json!({
                        "endpoint": asked.endpoint, "parameters": asked.parameters, "count": asked.count,
                        "mean_seconds": asked.mean().as_secs_f64(), "slowest_seconds": asked.slowest.as_secs_f64(),
                    })
                })
                .collect()
        };
        let costly: Vec<Value> = self
            .core
            .activity
            .costly()
            .into_iter()
            .map(|asked| {
                json!({
                    "question": names.then_some(asked.question), "endpoint": asked.endpoint, "reason": asked.reason,
                    "count": asked.count, "at": clock::for_machines(asked.at),
                })
            })
            .collect();
        let events: Vec<Value> = log::lately()
            .into_iter()
            .map(|event| {
                let (at, level) = (clock::for_machines(event.at), event.level);
                json!({ "at": at, "level": level, "text": text_of(event, names) })
            })
            .collect();
        json!({
            "day": {
                "responses": chart.totals.iter().map(|(kind, count)| ((*kind).to_owned(), (*count).into()))
                    .collect::<serde_json::Map<String, Value>>(),
                "spared_requests": chart.spared,
                "spared_seconds": chart.spared_seconds,
                "errors": chart.errors,
            },
            "most_asked": rows(&most),
            "slowest": rows(&slowest),
            "too_costly": costly,
            "events": events,
        })
    }
}
