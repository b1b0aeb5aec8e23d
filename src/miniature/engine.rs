//! The mirror over the miniature's own tables: an Alyx without an upstream.
//!
//! Questions are answered by [`crate::mirror`] from a database in memory. A table is put there when a question
//! first needs it; a write replaces [`Data`], and what differs is put there with the next question.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::StatusCode;
use jiff::tz::TimeZone;
use rusqlite::Connection;

use super::{answer::ViewResponse, data::Data, sample};
use crate::{
    alyx::{
        Endpoint,
        filterset::{QueryError, Undecidable, json_nulls::JsonNulls},
        query_string::Pairs,
        record::Record,
    },
    mirror::{
        answer::{self, MirrorOutcome, MirrorQuestion},
        ingest::{self, LoadError},
        json_nulls,
        schema::{EndpointTables, Schema},
        sql_functions,
        state::{self, States, TableState},
    },
    store::budget::{Budget, Meter, Ticket, is_interrupt},
};

/// Numbers of neighbouring records lie so far apart, so that others fit between them.
const GAP: i64 = 1 << 20;

/// What a question may cost; of an Alyx it would be its web server's patience.
const MOST: Budget = Budget { time: Duration::from_secs(10), steps: 50_000_000 };

/// The database, and what stands in it.
#[derive(Debug)]
pub(super) struct Engine {
    loaded: Mutex<Option<LoadedLab>>,
    budget: Budget,
}

/// What a question has cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Steps of SQLite's virtual machine, up to two thousand too many for each statement.
    pub steps: u64,
    /// Whether it was ended for that.
    pub ended: bool,
}

#[derive(Debug)]
struct LoadedLab {
    connection: Connection,
    meter: Arc<Meter>,
    data: Arc<Data>,
    tables: HashMap<&'static str, Numbered>,
    version: i64,
    /// By the last question.
    spent: Spent,
}

/// A table that is loaded.
#[derive(Debug)]
struct Numbered {
    /// The number of each record; none where a record stands there again.
    numbers: Vec<Option<i64>>,
    state: TableState,
}

#[derive(Debug, thiserror::Error)]
enum EngineError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl Engine {
    pub(super) fn new() -> Self {
        Self::within(MOST)
    }

    /// One in which a question may cost so much.
    pub(super) fn within(budget: Budget) -> Self {
        Self { loaded: Mutex::new(None), budget }
    }

    /// What the last question has cost; none where it was not begun.
    pub(super) fn spent(&self) -> Option<Spent> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|loaded| loaded.spent)
    }

    /// Answers a question over these tables; `key` where it is for a detail, `url` what pages link to.
    pub(super) fn answer(
        &self,
        data: &Arc<Data>,
        endpoint: &'static Endpoint,
        key: Option<&str>,
        pairs: &Pairs,
        url: &str,
    ) -> ViewResponse {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let (today, zone) = (sample::TODAY, Some(&TimeZone::UTC));
        let question = MirrorQuestion { endpoint, key, pairs, url, today, zone, recency: None };
        let answered =
            LoadedLab::current(&mut loaded, data).and_then(|loaded| loaded.answer(&question, self.budget));
        match answered {
            Ok(MirrorOutcome::Answer(answer)) => {
                let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                ViewResponse::records(status, answer.body)
            }
            Ok(MirrorOutcome::Undecided(reason)) => QueryError::Undecided(reason).into(),
            Ok(MirrorOutcome::Old(tables)) => {
                ViewResponse::beyond(&format!("have /{} as it is now", tables.join(", /")))
            }
            Err(EngineError::Sqlite(error)) if is_interrupt(&error) => {
                ViewResponse::beyond("answer what costs so much")
            }
            Err(error) => {
                // Half a change may stand there now.
                *loaded = None;
                ViewResponse::beyond(&format!("keep such records: {error}"))
            }
        }
    }
}

impl LoadedLab {
    /// The database with these tables, as far as they are loaded.
    fn current<'l>(loaded: &'l mut Option<Self>, data: &Arc<Data>) -> Result<&'l mut Self, EngineError> {
        if loaded.is_none() {
            let connection = Connection::open_in_memory()?;
            sql_functions::register(&connection)?;
            let (meter, tables) = (Meter::of(&connection)?, HashMap::new());
            let spent = Spent { steps: 0, ended: false };
            *loaded = Some(Self { connection, meter, data: Arc::clone(data), tables, version: 1, spent });
        }
        match loaded {
            Some(loaded) => {
                loaded.follow(data)?;
                Ok(loaded)
            }
            // It was made above.
            None => Err(rusqlite::Error::InvalidQuery.into()),
        }
    }

    fn answer(
        &mut self,
        question: &MirrorQuestion<'_>,
        budget: Budget,
    ) -> Result<MirrorOutcome, EngineError> {
        loop {
            let states = self.tables.iter().map(|(name, table)| (*name, table.state.clone())).collect();
            let states = States::new(self.version, states);
            let outcome = {
                let measuring = self.meter.measure(Ticket::new(budget));
                let outcome = answer::answer(&self.connection, &states, question);
                let ended = outcome.as_ref().is_err_and(is_interrupt);
                self.spent = Spent { steps: measuring.steps(), ended };
                outcome?
            };
            match outcome {
                MirrorOutcome::Undecided(Undecidable::Missing { endpoint, .. })
                    if !self.tables.contains_key(endpoint) =>
                {
                    self.load(endpoint)?;
                }
                outcome => return Ok(outcome),
            }
        }
    }

    fn load(&mut self, endpoint: &'static str) -> Result<(), EngineError> {
        let Some(table) = Schema::get().table(endpoint) else { return Ok(()) };
        let records = self.data.named(endpoint).records().len();
        self.connection.execute_batch(&table.create(""))?;
        self.connection.execute_batch(&table.index("", 1))?;
        let mut numbers = Vec::with_capacity(records);
        let mut seen = HashSet::new();
        self.connection.execute_batch("BEGIN")?;
        for place in 0..records {
            let record = &self.data.named(endpoint).records()[place];
            // A stack is listed once for each of its slices; rows without a key may be alike.
            let again = !seen.insert(record.text()) && table.endpoint.detail.is_some();
            let number = (!again).then(|| (i64::try_from(place).unwrap_or(i64::MAX / GAP) + 1) * GAP);
            if let Some(n) = number {
                put(&self.connection, table, n, &self.data, place)?;
            }
            numbers.push(number);
        }
        self.connection.execute_batch("COMMIT")?;
        let state = self.state(table, &numbers)?;
        self.tables.insert(endpoint, Numbered { numbers, state });
        Ok(())
    }

    fn state(
        &self,
        table: &'static EndpointTables,
        numbers: &[Option<i64>],
    ) -> Result<TableState, EngineError> {
        let records = self.data.table(table.endpoint);
        let details = table.has_details() && (0..numbers.len()).all(|place| records.detail(place).is_some());
        // This Alyx's own collation is that of bytes.
        let mut ambiguous = state::ambiguous(&self.connection, table, "")?;
        ambiguous.insert(state::IN_ONE_ORDER.to_owned());
        // Recordings of the sample show it of insertions; of others it is not known.
        if table.endpoint.name == "insertions" {
            ambiguous.insert(json_nulls::note(JsonNulls::Nothing, "json"));
        }
        Ok(TableState {
            synced_at: 0,
            counted_at: 0,
            rows: numbers.iter().flatten().count() as u64,
            details,
            scope: Vec::new(),
            ambiguous,
            distrusted: BTreeSet::new(),
            unreadable: <_>::default(),
        })
    }

    /// Puts what differs in these tables into the database.
    fn follow(&mut self, data: &Arc<Data>) -> Result<(), EngineError> {
        if Arc::ptr_eq(&self.data, data) {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.data, Arc::clone(data));
        self.version += 1;
        let loaded: Vec<&'static str> = self.tables.keys().copied().collect();
        for endpoint in loaded {
            if !before.shares(data, endpoint) {
                self.follow_table(&before, endpoint)?;
            }
        }
        Ok(())
    }

    fn follow_table(&mut self, before: &Data, endpoint: &'static str) -> Result<(), EngineError> {
        let (Some(table), Some(numbered)) = (Schema::get().table(endpoint), self.tables.remove(endpoint))
        else {
            return Ok(());
        };
        let (old, new) = (before.named(endpoint), self.data.named(endpoint));
        let (old_len, new_len) = (old.records().len(), new.records().len());
        let same = |a: usize, b: usize| {
            Arc::ptr_eq(&old.records()[a], &new.records()[b])
                && (!table.has_details() || same_record(old.detail(a), new.detail(b)))
        };
        let shorter = old_len.min(new_len);
        let head = (0..shorter).take_while(|at| same(*at, *at)).count();
        let tail = (0..shorter - head).take_while(|at| same(old_len - 1 - at, new_len - 1 - at)).count();
        let mut numbers = numbered.numbers;
        let (low, high) = (
            numbers[..head].iter().flatten().next_back().copied().unwrap_or(0),
            numbers[old_len - tail..].iter().flatten().next().copied(),
        );
        let count = i64::try_from(new_len - tail - head).unwrap_or(i64::MAX);
        let step = high.map_or(GAP, |high| (high - low) / (count + 1));
        // Where repeated records make numbers doubtful, or nothing fits in between, all is loaded anew.
        if step == 0 || numbers.iter().any(Option::is_none) {
            for name in table.names("") {
                self.connection.execute_batch(&format!("DROP TABLE \"{name}\""))?;
            }
            return self.load(endpoint);
        }
        self.connection.execute_batch("BEGIN")?;
        for n in numbers[head..old_len - tail].iter().flatten() {
            ingest::remove(&self.connection, table, "", *n)?;
        }
        let between: Vec<Option<i64>> = (1..=count).map(|at| Some(low + at * step)).collect();
        for (place, n) in (head..).zip(between.iter().flatten()) {
            put(&self.connection, table, *n, &self.data, place)?;
        }
        self.connection.execute_batch("COMMIT")?;
        numbers.splice(head..old_len - tail, between);
        let state = self.state(table, &numbers)?;
        self.tables.insert(endpoint, Numbered { numbers, state });
        Ok(())
    }
}

fn same_record(a: Option<Arc<Record>>, b: Option<Arc<Record>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(&a, &b),
        (None, None) => true,
        _ => false,
    }
}

fn put(
    connection: &Connection,
    table: &'static EndpointTables,
    n: i64,
    data: &Data,
    place: usize,
) -> Result<(), LoadError> {
    let records = data.table(table.endpoint);
    let detail = if table.has_details() { records.detail(place) } else { None };
    let record = ingest::IncomingRecord {
        list: records.records()[place].text(),
        detail: detail.as_ref().map(|detail| detail.text()),
    };
    ingest::add(connection, table, "", n, record)
}
