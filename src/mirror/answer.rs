//! Answers from the mirror, as Alyx would have sent them when the tables were synchronised.

use std::collections::{BTreeMap, HashMap};

use jiff::{civil::Date, tz::TimeZone};
use rusqlite::Connection;

use super::{
    plan::{self, PlanError},
    state::States,
};
use crate::{
    alyx::{
        Endpoint,
        change_tracking::{Changes, shows},
        error_body,
        filterset::{AlyxError, QueryError, Undecidable},
        pagination::Window,
        query_string::Pairs,
    },
    clock::Millis,
};

/// A question that the mirror may answer.
#[derive(Debug, Clone, Copy)]
pub struct MirrorQuestion<'q> {
    /// The endpoint that is asked.
    pub endpoint: &'static Endpoint,
    /// The key of the record, where a detail is asked for.
    pub key: Option<&'q str>,
    /// The parameters.
    pub pairs: &'q Pairs,
    /// Base and path of the question as `next` and `previous` repeat them.
    pub url: &'q str,
    /// The day that the server's clock stands at.
    pub today: Date,
    /// The zone in which Alyx's times stand, where it is known.
    pub zone: Option<&'q TimeZone>,
    /// How recent the tables must be; none where any age will do, whatever was written.
    pub recency: Option<&'q Recency>,
}

/// A table that an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableUse {
    /// Its endpoint.
    pub endpoint: &'static str,
    /// As of when it is.
    pub synced_at: Millis,
    /// Whether details of its records are needed.
    pub details: bool,
    /// Whether its records are only shown: which records are in the answer does not depend on it.
    pub only_shown: bool,
}

/// How recent tables must be to be current.
#[derive(Debug, Clone)]
pub struct Recency {
    /// A synchronisation that began before this time is too old.
    pub since: Millis,
    /// One that began after this time, now, did so by a clock that was set back since: how old it is is not known.
    pub until: Millis,
    /// The same for tables that go out of date sooner than the others.
    pub exceptions: Vec<(&'static str, Millis)>,
    /// When a write through the proxy last touched a table; it must have been synchronised after that, or hold the write.
    pub written: HashMap<&'static str, Millis>,
    /// Whether Alyx can't be asked, so that tables of any age are better than none.
    pub alone: bool,
}

impl Recency {
    /// While Alyx can't be asked any age will do, but never the state before what was written through the proxy.
    pub fn alone(written: HashMap<&'static str, Millis>) -> Self {
        Self { since: Millis::MIN, until: Millis::MAX, exceptions: Vec::new(), written, alone: true }
    }

    fn since(&self, table: &TableUse) -> Millis {
        let exception = self.exceptions.iter().find(|(name, _)| *name == table.endpoint);
        exception.map_or(self.since, |(_, since)| *since)
    }

    /// Until when a table that is current now will be, if nothing is written.
    pub fn counts_until(&self, table: &TableUse) -> Millis {
        table.synced_at.saturating_add(self.until.saturating_sub(self.since(table)))
    }

    /// Whether a table is current.
    pub fn allows(&self, table: &TableUse, states: &States) -> bool {
        (self.since(table)..=self.until).contains(&table.synced_at) && self.has_seen_writes(table, states)
    }

    fn has_seen_writes(&self, table: &TableUse, states: &States) -> bool {
        let written = self.written.get(table.endpoint).copied().unwrap_or(Millis::MIN);
        written < table.synced_at
            || written == Millis::MIN
            || (self.alone && written <= states.imported_at())
            || states.holds_write(table.endpoint, table.details, written)
    }
}

/// What the mirror can say to a question.
#[derive(Debug)]
pub enum MirrorOutcome<T = MirrorAnswer> {
    /// The answer.
    Answer(T),
    /// It can't be decided from the tables that are here.
    Undecided(Undecidable),
    /// It could be decided, but these tables are too old.
    Old(Vec<&'static str>),
}

impl<T> MirrorOutcome<T> {
    /// The outcome with something made of the answer.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> MirrorOutcome<U> {
        match self {
            Self::Answer(answer) => MirrorOutcome::Answer(make(answer)),
            Self::Undecided(reason) => MirrorOutcome::Undecided(reason),
            Self::Old(tables) => MirrorOutcome::Old(tables),
        }
    }
}

/// An answer with what is known of it.
#[derive(Debug)]
pub struct MirrorAnswer {
    /// 200, or Alyx's own refusal.
    pub status: u16,
    /// The body; links in records have the upstream's base.
    pub body: String,
    /// The tables that it was made from.
    pub tables: Vec<TableUse>,
    /// The parameters that took effect.
    pub used: Vec<&'static str>,
    /// The state of the tables: any change of them makes another.
    pub version: i64,
}

impl MirrorAnswer {
    /// When the oldest of its tables was synchronised last.
    pub fn synced_at(&self) -> Millis {
        self.tables.iter().map(|table| table.synced_at).min().unwrap_or_default()
    }
}

/// Answers a question in one state of all tables.
pub fn answer(
    connection: &Connection,
    states: &States,
    question: &MirrorQuestion<'_>,
) -> rusqlite::Result<MirrorOutcome> {
    let outcome = match question.key {
        Some(key) => detail(connection, states, question, key),
        None => list(connection, states, question),
    };
    match outcome.and_then(|outcome| in_form(outcome, question)) {
        Ok(outcome) => Ok(outcome),
        Err(PlanError::Sqlite(error)) => Err(error),
        Err(PlanError::Unanswered(QueryError::Undecided(reason))) => Ok(MirrorOutcome::Undecided(reason)),
        Err(PlanError::Unanswered(QueryError::Refused(AlyxError { status, body }))) => {
            let needs = Needs::of(states, (question.endpoint.name, false), []);
            let (used, version) = (Vec::new(), states.version());
            Ok(judged(&needs, states, question, |tables| MirrorAnswer {
                status,
                body,
                tables,
                used,
                version,
            }))
        }
    }
}

/// The outcome in the form that the parameter `format` asks for: JSON, as without it, or one that Alyx has not, which it says
/// before it looks at anything else (ALYX.md 2).
fn in_form(outcome: MirrorOutcome, question: &MirrorQuestion<'_>) -> Result<MirrorOutcome, PlanError> {
    let asked = question.pairs.iter().rev().find(|(name, _)| name == "format");
    match asked.map(|(_, form)| form.as_str()) {
        None => Ok(outcome),
        Some("" | "json") => match &outcome {
            MirrorOutcome::Answer(answer) if has_links(&answer.body, question.url) => {
                Err(Undecidable::unsupported("repeat `format` in the links of records").into())
            }
            _ => Ok(outcome),
        },
        Some("api") => Err(Undecidable::unsupported("make Alyx's pages of HTML").into()),
        Some(_) if matches!(outcome, MirrorOutcome::Undecided(_)) => Ok(outcome),
        Some(_) => {
            let body = error_body::detail(404, "Not found.");
            Err(QueryError::Refused(AlyxError { status: 404, body }).into())
        }
    }
}

/// Whether records have links to Alyx, whose base is that of this URL.
fn has_links(body: &str, url: &str) -> bool {
    let records = body.find("\"results\":").map_or(body, |at| &body[at..]);
    let base = url.match_indices('/').nth(2).map_or(url, |(end, _)| &url[..=end]);
    records.contains(&format!("\"{base}"))
}

fn list(
    connection: &Connection,
    states: &States,
    question: &MirrorQuestion<'_>,
) -> Result<MirrorOutcome, PlanError> {
    let today = plan::Today { date: question.today, zone: question.zone.cloned() };
    let plan = plan::list(connection, states, question.endpoint, question.pairs, today)?;
    let mut needs = Needs::of(states, (question.endpoint.name, false), plan.needs.iter().copied());
    needs.shown(states, question.endpoint.name, false);
    if let Some(old) = needs.too_old(states, question.recency) {
        return Ok(MirrorOutcome::Old(old));
    }
    let window = window(connection, states, question, &plan)?;
    if i64::try_from(window.limit).is_err() {
        // Where no page is too great, the number goes to a database that has none so great.
        return Err(
            Undecidable::unsupported("ask for a page of so many records as Alyx's database does").into()
        );
    }
    let (count, records) = plan.answer(connection, window)?;
    let (next, previous) = window.links(question.url, question.pairs, count);
    let body = page(count, next.as_deref(), previous.as_deref(), &records);
    let (tables, version) = (needs.0, states.version());
    Ok(MirrorOutcome::Answer(MirrorAnswer { status: 200, body, tables, used: plan.used, version }))
}

/// The page that is asked for.
fn window(
    connection: &Connection,
    states: &States,
    question: &MirrorQuestion<'_>,
    plan: &plan::ListPlan,
) -> Result<Window, PlanError> {
    let Some(findings) = states.spec().findings() else {
        return Ok(Window::within(question.pairs, states.spec().rules()?.pages));
    };
    let window = findings.window(question.pairs, plan.count(connection)?);
    let difference = || "has not shown how many records are on a page".to_owned();
    window.ok_or_else(|| Undecidable::OtherAlyx { difference: difference() }.into())
}

fn detail(
    connection: &Connection,
    states: &States,
    question: &MirrorQuestion<'_>,
    key: &str,
) -> Result<MirrorOutcome, PlanError> {
    let endpoint = question.endpoint.name;
    let mut needs = Needs::of(states, (endpoint, question.endpoint.has_own_details()), []);
    if question.endpoint.has_own_details() {
        if question.recency.is_some_and(|recency| !recency.alone) {
            followed(states, endpoint)?;
        }
        needs.shown(states, endpoint, true);
    }
    let body = plan::detail(connection, states, question.endpoint, key)?;
    let (used, version) = (Vec::new(), states.version());
    Ok(judged(&needs, states, question, |tables| MirrorAnswer { status: 200, body, tables, used, version }))
}

/// Details whose parts are records of other tables are current only where these are followed as a whole; without Alyx
/// they are better than none.
fn followed(states: &States, endpoint: &str) -> Result<(), Undecidable> {
    for shown in shows(endpoint).filter(|shown| shown.is_in_details()) {
        match states.of(shown.of) {
            None => return Err(Undecidable::Missing { endpoint: shown.of, details: false }),
            Some(state) if !state.scope.is_empty() => {
                return Err(Undecidable::OutOfScope { endpoint: shown.of, scope: state.scope.clone() });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn judged(
    needs: &Needs,
    states: &States,
    question: &MirrorQuestion<'_>,
    answer: impl FnOnce(Vec<TableUse>) -> MirrorAnswer,
) -> MirrorOutcome {
    match needs.too_old(states, question.recency) {
        Some(old) => MirrorOutcome::Old(old),
        None => MirrorOutcome::Answer(answer(needs.0.clone())),
    }
}

/// The tables that an answer comes from, and as of when each is.
struct Needs(Vec<TableUse>);

impl Needs {
    /// That of the endpoint and these; with `true` the details too.
    fn of(
        states: &States,
        own: (&'static str, bool),
        others: impl IntoIterator<Item = (&'static str, bool)>,
    ) -> Self {
        let mut names: BTreeMap<&'static str, bool> = BTreeMap::new();
        for (name, details) in others.into_iter().chain([own]) {
            *names.entry(name).or_default() |= details;
        }
        // One that is not here is as old as can be.
        let at = |name: &str| states.of(name).map_or(Millis::MIN, |state| state.synced_at);
        let used =
            |(endpoint, details)| TableUse { endpoint, synced_at: at(endpoint), details, only_shown: false };
        Self(names.into_iter().map(used).collect())
    }

    /// Those, too, whose records these show: a change is carried to who shows it when it is found. Of what is seldom read as
    /// a whole the records are counted in between. What administrators change, such as tags, is not waited for.
    fn shown(&mut self, states: &States, endpoint: &str, detail: bool) {
        for shown in shows(endpoint) {
            let counts = if shown.detail {
                detail && shown.is_in_details()
            } else {
                Changes::of(shown.of) != Changes::Unknown
            };
            let Some(state) = states.of(shown.of).filter(|_| counts) else { continue };
            if self.0.iter().all(|known| known.endpoint != shown.of) {
                let synced_at = state.synced_at.max(state.counted_at);
                self.0.push(TableUse { endpoint: shown.of, synced_at, details: false, only_shown: true });
            }
        }
    }

    /// The tables among these that are older than is wished; none if there are none.
    fn too_old(&self, states: &States, recency: Option<&Recency>) -> Option<Vec<&'static str>> {
        let recency = recency?;
        let old = self.0.iter().filter(|table| !recency.allows(table, states)).map(|table| table.endpoint);
        Some(old.collect()).filter(|old: &Vec<_>| !old.is_empty())
    }
}

/// A page as Alyx writes it (ALYX.md 2.1, rule 7).
fn page(count: u64, next: Option<&str>, previous: Option<&str>, records: &str) -> String {
    let link = |url: Option<&str>| {
        // Links are percent-encoded: nothing in them needs an escape in JSON.
        url.map_or_else(|| "null".to_owned(), |url| format!("\"{url}\""))
    };
    let (next, previous) = (link(next), link(previous));
    let mut body = String::with_capacity(records.len() + next.len() + previous.len() + 64);
    body.push_str("{\"count\":");
    body.push_str(&count.to_string());
    body.push_str(",\"next\":");
    body.push_str(&next);
    body.push_str(",\"previous\":");
    body.push_str(&previous);
    body.push_str(",\"results\":[");
    body.push_str(records);
    body.push_str("]}");
    body
}
