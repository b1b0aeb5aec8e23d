//! Answers from the mirror, as Alyx would have sent them when the tables were synchronised.

use std::collections::{BTreeSet, HashMap};

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
    /// How recent the tables must be; none where any age will do.
    pub recency: Option<&'q Recency>,
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
    /// When a write through the proxy last touched a table; it must have been synchronised after that.
    pub written: HashMap<&'static str, Millis>,
}

impl Recency {
    /// Whether a table that was synchronised then is current.
    pub fn allows(&self, endpoint: &str, synced_at: Millis) -> bool {
        let exception = self.exceptions.iter().find(|(name, _)| *name == endpoint);
        let since = exception.map_or(self.since, |(_, since)| *since);
        (since..=self.until).contains(&synced_at)
            && self.written.get(endpoint).is_none_or(|written| *written < synced_at)
    }
}

/// What the mirror can say to a question.
#[derive(Debug)]
pub enum MirrorOutcome<T = MirrorAnswer> {
    /// The answer.
    Answer(T),
    /// It can't be decided from the tables that are here.
    Undecided(Undecidable),
    /// It could be decided, but this table is too old.
    Old(&'static str),
}

impl<T> MirrorOutcome<T> {
    /// The outcome with something made of the answer.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> MirrorOutcome<U> {
        match self {
            Self::Answer(answer) => MirrorOutcome::Answer(make(answer)),
            Self::Undecided(reason) => MirrorOutcome::Undecided(reason),
            Self::Old(table) => MirrorOutcome::Old(table),
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
    /// The tables that it was made from, and when the last synchronisation of each began.
    pub tables: Vec<(&'static str, Millis)>,
    /// The parameters that took effect.
    pub used: Vec<&'static str>,
    /// The state of the tables: any change of them makes another.
    pub version: i64,
}

impl MirrorAnswer {
    /// When the oldest of its tables was synchronised last.
    pub fn synced_at(&self) -> Millis {
        self.tables.iter().map(|(_, synced_at)| *synced_at).min().unwrap_or_default()
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
    match outcome {
        Ok(outcome) => Ok(outcome),
        Err(PlanError::Sqlite(error)) => Err(error),
        Err(PlanError::Unanswered(QueryError::Undecided(reason))) => Ok(MirrorOutcome::Undecided(reason)),
        Err(PlanError::Unanswered(QueryError::Refused(AlyxError { status, body }))) => {
            let needs = Needs::of(states, question.endpoint.name, []);
            let (used, version) = (Vec::new(), states.version());
            Ok(judged(&needs, question, |tables| MirrorAnswer { status, body, tables, used, version }))
        }
    }
}

fn list(
    connection: &Connection,
    states: &States,
    question: &MirrorQuestion<'_>,
) -> Result<MirrorOutcome, PlanError> {
    let today = plan::Today { date: question.today, zone: question.zone.cloned() };
    let plan = plan::list(connection, states, question.endpoint, question.pairs, today)?;
    let mut needs = Needs::of(states, question.endpoint.name, plan.needs.iter().map(|(name, _)| *name));
    needs.shown(states, question.endpoint.name, false);
    if let Some(old) = needs.too_old(question.recency) {
        return Ok(MirrorOutcome::Old(old));
    }
    let window = Window::within(question.pairs, states.spec().rules()?.pages);
    let (count, records) = plan.answer(connection, window)?;
    let (next, previous) = window.links(question.url, question.pairs, count);
    let body = page(count, next.as_deref(), previous.as_deref(), &records);
    let (tables, version) = (needs.0, states.version());
    Ok(MirrorOutcome::Answer(MirrorAnswer { status: 200, body, tables, used: plan.used, version }))
}

fn detail(
    connection: &Connection,
    states: &States,
    question: &MirrorQuestion<'_>,
    key: &str,
) -> Result<MirrorOutcome, PlanError> {
    let endpoint = question.endpoint.name;
    let mut needs = Needs::of(states, endpoint, []);
    if question.endpoint.has_own_details() {
        if question.recency.is_some() {
            followed(states, endpoint)?;
        }
        needs.shown(states, endpoint, true);
    }
    let body = plan::detail(connection, states, question.endpoint, key)?;
    let (used, version) = (Vec::new(), states.version());
    Ok(judged(&needs, question, |tables| MirrorAnswer { status: 200, body, tables, used, version }))
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
    question: &MirrorQuestion<'_>,
    answer: impl FnOnce(Vec<(&'static str, Millis)>) -> MirrorAnswer,
) -> MirrorOutcome {
    match needs.too_old(question.recency) {
        Some(old) => MirrorOutcome::Old(old),
        None => MirrorOutcome::Answer(answer(needs.0.clone())),
    }
}

/// The tables that an answer comes from, and as of when each is.
struct Needs(Vec<(&'static str, Millis)>);

impl Needs {
    /// That of the endpoint and these.
    fn of(states: &States, endpoint: &'static str, others: impl IntoIterator<Item = &'static str>) -> Self {
        let names: BTreeSet<&'static str> = others.into_iter().chain([endpoint]).collect();
        // One that is not here is as old as can be.
        let at = |name: &str| states.of(name).map_or(Millis::MIN, |state| state.synced_at);
        Self(names.into_iter().map(|name| (name, at(name))).collect())
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
            if self.0.iter().all(|(known, _)| *known != shown.of) {
                self.0.push((shown.of, state.synced_at.max(state.counted_at)));
            }
        }
    }

    /// A table among these that is older than is wished.
    fn too_old(&self, recency: Option<&Recency>) -> Option<&'static str> {
        let recency = recency?;
        self.0.iter().find(|(name, at)| !recency.allows(name, *at)).map(|(name, _)| *name)
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
