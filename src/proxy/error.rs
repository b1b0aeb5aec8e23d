//! What the proxy says in its own name when it can't answer: Alyx's error shape, in plain words.

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::{
    core::Core,
    from_mirror::{MirrorMiss, WRITTEN},
};
use crate::{
    alyx::{Endpoint, error_body, filterset::Undecidable},
    cache::Question,
    clock,
    http::cache_status::{CacheStatus, RefusalReason, ServedStale},
    upstream::{UpstreamError, health::HealthState, seconds},
};

/// ONE shows this field to its user as a warning, each text once, if it begins with `!!!`.
pub(crate) const NOTICE: header::HeaderName = header::HeaderName::from_static("alyx-api-notice");

/// Seconds after which another try may find a place at Alyx.
const CROWDED: u64 = 5;
/// Seconds after which Alyx may be back. ONE does not wait so long: it shows the refusal at once.
const AWAY: u64 = 300;

/// A refusal in the proxy's own name: one error, one response, in Alyx's error shape.
#[derive(Debug, Clone)]
pub(crate) struct ProxyError {
    status: StatusCode,
    reason: RefusalReason,
    body: String,
    /// Fields besides those that every refusal has.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ProxyError {
    /// A refusal for this reason, in this sentence.
    pub(crate) fn new(status: StatusCode, reason: RefusalReason, text: &str) -> Self {
        Self::with_body(status, reason, error_body::detail(status.as_u16(), text))
    }

    /// The refusal of a request that is wrong, or asks for what isn't there.
    pub(crate) fn refused(status: StatusCode, text: &str) -> Self {
        Self::new(status, RefusalReason::Refused, text)
    }

    /// A refusal with a body of its own in Alyx's shape.
    pub(crate) fn with_body(status: StatusCode, reason: RefusalReason, body: String) -> Self {
        Self { status, reason, body, headers: Vec::new() }
    }

    /// Adds a field to its response.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds the notice that Alyx is away.
    pub(crate) fn notice_away(mut self, core: &Core) -> Self {
        self.headers.extend(notice_away(core).map(|notice| (NOTICE, notice)));
        self
    }
}

impl From<ProxyError> for Response<Body> {
    fn from(error: ProxyError) -> Self {
        let ProxyError { status, reason, body, headers } = error;
        let mut response = json(status, body, CacheStatus::Refused(reason));
        response.headers_mut().extend(headers);
        response
    }
}

/// A JSON answer of the proxy's own.
pub(crate) fn json(status: StatusCode, body: String, how: CacheStatus) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    how.mark(&mut response);
    response
}

/// 504 for what only Alyx could answer. ONE retries 503 eight times; 504 it shows at once.
pub(crate) fn gateway_timeout(core: &Core, failure: &UpstreamError, more: &str) -> ProxyError {
    let text = format!("{} {more}", why_away(core, failure));
    let reason = reason_of(failure);
    ProxyError::new(status_of(failure), reason, text.trim_end())
}

/// 502 for what no server may say, 504 for what came to nothing.
fn status_of(failure: &UpstreamError) -> StatusCode {
    if *failure == UpstreamError::Switched { StatusCode::BAD_GATEWAY } else { StatusCode::GATEWAY_TIMEOUT }
}

/// 504 for a question whose answer is not stored, with what is stored that comes near.
///
/// Where the mirror can't decide it either, it says what is missing and how to have it next time.
pub(crate) async fn not_stored(
    core: &Core,
    failure: &UpstreamError,
    question: &Question,
    silence: &MirrorMiss,
) -> ProxyError {
    let near = core.responses.similar(question).await;
    let mut more = String::from("The answer to this question is not stored here.");
    let mut reason = None;
    if let MirrorMiss::Written(tables) = silence {
        let tables = tables.join(", /");
        more = format!(
            "{more} The table /{tables}, which is needed, was synchronised before something was written through this proxy that \
             may have changed it: the state before that is not given."
        );
        reason = Some(RefusalReason::Undecidable(WRITTEN));
    }
    if let MirrorMiss::Undecided(undecided) = silence {
        let remedy = remedy(core, undecided).map(|remedy| format!(" {remedy}")).unwrap_or_default();
        more = format!("{more} {undecided}{remedy}");
        reason = Some(RefusalReason::Undecidable(undecided.name()));
    }
    if !near.is_empty() {
        let near: Vec<String> = near
            .iter()
            .map(|near| {
                let query = if near.query.is_empty() { "" } else { "?" };
                let age = clock::span_for_people(core.clock.now() - near.received_at);
                format!("{}{query}{} ({age} old)", question.path, near.query)
            })
            .collect();
        more = format!("{more} Stored is: {}.", near.join(", "));
    }
    match reason {
        Some(reason) => {
            let text = format!("{} {more}", why_away(core, failure));
            ProxyError::new(StatusCode::GATEWAY_TIMEOUT, reason, &text)
        }
        None => gateway_timeout(core, failure, &more),
    }
}

/// What to do to have such questions answered here: nothing, where what is missing is on its way.
pub(super) fn remedy(core: &Core, undecided: &Undecidable) -> Option<String> {
    let settings = core.settings.load();
    let mirror = &settings.mirror;
    let is_kept = |name: &str| Endpoint::named(name).is_some_and(|endpoint| mirror.keeps(endpoint));
    let keeps_details =
        |name: &str| Endpoint::named(name).is_some_and(|endpoint| mirror.keeps_details(endpoint));
    let is_coming = core.synchroniser.is_some()
        && match undecided {
            Undecidable::Missing { endpoint, details: false } => is_kept(endpoint),
            Undecidable::Missing { endpoint, details: true } | Undecidable::Lacking { endpoint, .. } => {
                is_kept(endpoint) && keeps_details(endpoint)
            }
            _ => false,
        };
    let is_missing = matches!(undecided, Undecidable::Missing { .. } | Undecidable::Lacking { .. });
    if is_missing && core.mode.snapshot().is_some() {
        return Some("It was not there when the snapshot was made: have it made again.".to_owned());
    }
    if is_coming {
        return Some(
            "They are being fetched: page Mirror (/-/mirror) and `alyx-proxy status` show how far that is."
                .to_owned(),
        );
    }
    undecided.remedy()
}

/// 504 where what is stored is from before what was written through the proxy.
pub(crate) fn before_a_write(core: &Core, failure: &UpstreamError) -> ProxyError {
    let text = format!(
        "{} The answer that is stored here is from before something was written through this proxy that has changed it: it is \
         not given.",
        why_away(core, failure)
    );
    ProxyError::new(StatusCode::GATEWAY_TIMEOUT, RefusalReason::Undecidable(WRITTEN), &text)
}

/// What is said where Alyx is there, but can't be asked now, with when to come again; none for other failures.
/// 429: Alyx asked for a pause that is longer than anyone may wait. 503: too much is asked of it; ONE tries again
/// by itself.
pub(crate) fn retry_later(failure: &UpstreamError) -> Option<ProxyError> {
    let (status, why, seconds) = match failure {
        UpstreamError::Throttled(length) | UpstreamError::ThrottledAll(length) => (
            StatusCode::TOO_MANY_REQUESTS,
            format!("Alyx was asked too often: {failure}."),
            seconds(*length).max(1),
        ),
        UpstreamError::Saturated | UpstreamError::Paced => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("Alyx could not be asked: {failure}."), CROWDED)
        }
        _ => return None,
    };
    Some(with_retry_after(status, &why, seconds, failure))
}

fn with_retry_after(status: StatusCode, why: &str, seconds: u64, failure: &UpstreamError) -> ProxyError {
    let text = format!("{why} Try again in {seconds} seconds.");
    ProxyError::new(status, RefusalReason::Upstream(failure.name()), &text)
        .header(header::RETRY_AFTER, HeaderValue::from(seconds))
}

/// 503 for a request that may write and was surely not sent. No 4xx: clients throw a write away for that (the MATLAB
/// client's queue), though it has done nothing wrong; and 429 is Alyx's own word.
pub(crate) fn not_sent(core: &Core, failure: &UpstreamError) -> ProxyError {
    let (why, seconds) = match failure {
        UpstreamError::Throttled(length) | UpstreamError::ThrottledAll(length) => {
            (format!("Alyx was asked too often: {failure}."), seconds(*length).max(1))
        }
        UpstreamError::Saturated | UpstreamError::Paced => (format!("Alyx could not be asked: {failure}."), CROWDED),
        UpstreamError::Slow { .. } => (
            "The body of this request came too slowly: it must be here within `upstream.timeout`, or bring 1 KiB a \
             second."
                .to_owned(),
            CROWDED,
        ),
        UpstreamError::Unsent { .. } => ("This request broke off before all of it was here.".to_owned(), CROWDED),
        failure => (why_away(core, failure), AWAY),
    };
    with_retry_after(
        StatusCode::SERVICE_UNAVAILABLE,
        &format!("{why} The request was not sent to Alyx; nothing was changed."),
        seconds,
        failure,
    )
}

/// 504 for a request that may write and was sent, at least in part, where Alyx did not say what came of it. Neither 429 nor
/// 503, which ONE sends again by itself.
pub(crate) fn outcome_unknown(core: &Core, failure: &UpstreamError) -> ProxyError {
    let base = core.upstream.base();
    let how = match failure {
        UpstreamError::Slow { .. } | UpstreamError::Unsent { .. } => {
            format!("Part of this request was sent to Alyx ({base}): {failure}.")
        }
        failure => format!("This request was sent to Alyx ({base}), and then: {failure}."),
    };
    let text = format!(
        "{how} Alyx did not say whether it was carried out. Look before you send it again, or it may be done twice."
    );
    ProxyError::new(status_of(failure), RefusalReason::Upstream(failure.name()), &text)
}

fn reason_of(failure: &UpstreamError) -> RefusalReason {
    match failure {
        UpstreamError::Offline => RefusalReason::Offline,
        failure => RefusalReason::Upstream(failure.name()),
    }
}

/// Why Alyx could not be asked, in a sentence.
fn why_away(core: &Core, failure: &UpstreamError) -> String {
    let base = core.upstream.base();
    if let Some(frozen) = core.mode.snapshot() {
        return format!("This is {}, and nothing newer is asked for.", frozen.for_people());
    }
    match core.upstream.health.state() {
        HealthState::Down { since, reason } => {
            format!("Alyx ({base}) has been out of reach since {}: {reason}.", clock::for_people(since))
        }
        _ => format!("Alyx ({base}) could not be asked: {failure}."),
    }
}

/// What ONE shows its user about an answer that stands in for Alyx's.
pub(crate) fn notice(core: &Core, reason: ServedStale) -> Option<HeaderValue> {
    match reason {
        ServedStale::Offline => notice_away(core),
        ServedStale::Slow => Some(HeaderValue::from_static(
            "!!!Alyx is slow; this proxy answers from what it remembers and goes on asking",
        )),
        ServedStale::WhileRevalidating => Some(HeaderValue::from_static(
            "!!!This proxy gave a remembered answer and is refreshing it; ask again for the newest",
        )),
    }
}

/// The notice of an answer that is given because Alyx is away. It changes only with the outage,
/// so that ONE shows it once.
pub(crate) fn notice_away(core: &Core) -> Option<HeaderValue> {
    let text = match (core.mode.snapshot(), core.upstream.health.state()) {
        (Some(frozen), _) => format!("!!!This is {}; nothing newer is shown", frozen.for_people()),
        (None, HealthState::Down { since, .. }) => format!(
            "!!!Alyx is out of reach since {}; this proxy answers from what it remembers",
            clock::for_people(since)
        ),
        (None, _) => "!!!Alyx could not be asked; this proxy answers from what it remembers".to_owned(),
    };
    HeaderValue::try_from(text).ok()
}

/// Adds the notice that Alyx is away.
pub(crate) fn add_notice(core: &Core, response: &mut Response<Body>) {
    if let Some(notice) = notice_away(core) {
        response.headers_mut().insert(NOTICE, notice);
    }
}
