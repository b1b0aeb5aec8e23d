//! Details, one by one: one that can't be read costs its record alone.
//!
//! Whether it is the record that is at fault or Alyx is told by a witness: the detail of another record of the table,
//! asked for right after. If that can be read, the first is asked for once more, and if it fails again it is noted
//! ([`unreadable`]) and the run goes on. If no other can be read either, it is Alyx's trouble, or the account's, or that of
//! all details of the table: the run ends as it does for a list that fails, and no record is noted.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{SyncError, Synchroniser, apply::DetailUpdate};
use crate::{
    alyx::Endpoint,
    clock::{Millis, SharedClock},
    mirror::{ingest::DETAIL_UNAVAILABLE, schema::EndpointTables, unreadable},
    upstream::{AccountError, UpstreamError},
};

/// Other records that are asked for where one can't be read.
const WITNESSES: usize = 3;

/// What is known of which details can be read.
#[derive(Debug)]
pub(super) struct Witnesses {
    /// A detail of each table that was read lately.
    read: Mutex<HashMap<&'static str, String>>,
    /// Tables of which no detail could be read, and since when.
    none: Mutex<HashMap<&'static str, Millis>>,
    clock: SharedClock,
}

impl Witnesses {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self { read: Mutex::default(), none: Mutex::default(), clock }
    }

    fn note(&self, endpoint: &'static str, path: &str) {
        self.none.lock().unwrap_or_else(PoisonError::into_inner).remove(endpoint);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.entry(endpoint).or_default().clear();
        read.entry(endpoint).or_default().push_str(path);
    }

    fn of(&self, endpoint: &str) -> Option<String> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).get(endpoint).cloned()
    }

    fn note_none(&self, endpoint: &'static str) {
        self.none.lock().unwrap_or_else(PoisonError::into_inner).insert(endpoint, self.clock.now());
    }

    fn are_none(&self, endpoint: &str, lately: Millis) -> bool {
        let none = self.none.lock().unwrap_or_else(PoisonError::into_inner);
        none.get(endpoint).is_some_and(|at| (0..lately).contains(&(self.clock.now() - at)))
    }
}

/// A detail that was not given.
struct Fault {
    error: SyncError,
    /// Whether Alyx says of this record alone that it has none.
    lost: bool,
    /// Whether asking once more takes long, and hardly helps.
    slow: bool,
}

impl Fault {
    /// Why, in words.
    fn why(&self) -> String {
        match &self.error {
            SyncError::Strange(_, status) => format!("Alyx answered with status {status}"),
            SyncError::Account(AccountError::Failure(failure)) => failure.to_string(),
            error => error.to_string(),
        }
    }
}

impl Synchroniser {
    /// The details of these records, in their order, with their numbers and the texts that were given.
    pub(super) async fn fetch_details(
        &self,
        table: &'static EndpointTables,
        wanted: Vec<(i64, String)>,
    ) -> Result<Vec<(i64, String, DetailUpdate)>, SyncError> {
        let fetching = wanted.into_iter().map(|(n, list)| async move {
            let detail = match unreadable::path_of(table.endpoint, &list) {
                Some(path) => self.fetch_detail(table, &path).await?,
                None => DetailUpdate::Lost,
            };
            Ok((n, list, detail))
        });
        stream::iter(fetching).buffered(2).try_collect().await
    }

    async fn fetch_detail(
        &self,
        table: &'static EndpointTables,
        path: &str,
    ) -> Result<DetailUpdate, SyncError> {
        let endpoint = table.endpoint.name;
        let fault = match self.ask_detail(table.endpoint, path).await? {
            Ok(detail) => return Ok(detail),
            Err(fault) => fault,
        };
        let lately = self.seldom();
        let known_none = fault.lost && self.witnesses.are_none(endpoint, lately);
        if known_none || !self.gives_another(table, path).await? {
            self.witnesses.note_none(endpoint);
            return if fault.lost { Ok(DetailUpdate::Lost) } else { Err(fault.error) };
        }
        let fault = if fault.slow {
            fault
        } else {
            match self.ask_detail(table.endpoint, path).await? {
                Ok(detail) => return Ok(detail),
                Err(fault) => fault,
            }
        };
        let why = fault.why();
        tracing::warn!(
            record = path,
            why,
            "can't be read from Alyx, which gives others; it is asked for again later"
        );
        metrics::counter!("alyx_proxy_mirror_unreadable_total").increment(1);
        Ok(DetailUpdate::Unreadable(why))
    }

    /// A detail, or what may be the fault of this record alone; an error for what surely isn't.
    async fn ask_detail(
        &self,
        endpoint: &'static Endpoint,
        path: &str,
    ) -> Result<Result<DetailUpdate, Fault>, SyncError> {
        let answer = match self.source.get_within(path.to_owned(), self.source.detail_timeout).await {
            Ok(answer) => answer,
            Err(SyncError::Account(AccountError::Failure(failure))) if failure.may_be_of_one_answer() => {
                let slow = failure == UpstreamError::Timeout;
                let error = SyncError::Account(AccountError::Failure(failure));
                return Ok(Err(Fault { error, lost: false, slow }));
            }
            Err(error) => return Err(error),
        };
        let detail = match answer.status.as_u16() {
            200 => DetailUpdate::Is(String::from_utf8_lossy(&answer.body).into_owned()),
            // The miniature says so of what it can't answer as Alyx would; Alyx never does.
            501 => return Ok(Ok(DetailUpdate::Lost)),
            500 if ambiguous(&answer.body) => DetailUpdate::Is(DETAIL_UNAVAILABLE.to_owned()),
            status => {
                let error = SyncError::Strange(path.to_owned(), status);
                return Ok(Err(Fault { error, lost: status == 404, slow: false }));
            }
        };
        self.witnesses.note(endpoint.name, path);
        Ok(Ok(detail))
    }

    /// Whether Alyx gives the detail of another record of the table; where there is no other, whether it gives the list.
    async fn gives_another(&self, table: &'static EndpointTables, path: &str) -> Result<bool, SyncError> {
        let read = move |connection: &rusqlite::Connection, _: &_| {
            let sql = format!(
                "SELECT list FROM \"{}__body\" ORDER BY detail IS NULL OR detail = '', n LIMIT {}",
                table.name,
                WITNESSES + 1
            );
            connection.prepare(&sql)?.query_map([], |row| row.get(0))?.collect()
        };
        let here: Vec<String> = if self.mirror.states().of(table.endpoint.name).is_some() {
            self.mirror.read(read).await?
        } else {
            Vec::new()
        };
        let here = here.iter().filter_map(|list| unreadable::path_of(table.endpoint, list));
        let mut others: Vec<String> = self
            .witnesses
            .of(table.endpoint.name)
            .into_iter()
            .chain(here)
            .filter(|other| other != path)
            .collect();
        others.dedup();
        others.truncate(WITNESSES);
        if others.is_empty() {
            return Ok(self.source.count(table.endpoint, &Vec::new()).await.is_ok());
        }
        for other in others {
            if self.ask_detail(table.endpoint, &other).await?.is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The records of a table that are not asked for now, as they could not be read.
    pub(super) async fn resting(
        &self,
        table: &'static EndpointTables,
        forced: bool,
    ) -> Result<HashSet<String>, SyncError> {
        if forced {
            return Ok(HashSet::new());
        }
        let all =
            self.mirror.read(move |connection, _| unreadable::all(connection, table.endpoint.name)).await?;
        let now = self.clock().now();
        Ok(all.into_iter().filter(|record| !record.is_due(now)).map(|record| record.path).collect())
    }

    /// Forgets what was noted of records that have their detail now, or are no longer here.
    pub(super) async fn settle_unreadable(&self, table: &'static EndpointTables) -> Result<(), SyncError> {
        let endpoint = table.endpoint.name;
        if self.mirror.states().of(endpoint).is_none_or(|state| state.unreadable.count == 0) {
            return Ok(());
        }
        let write = move |connection: &rusqlite::Connection| {
            let sql = format!("SELECT list FROM \"{}__body\" WHERE detail IS NULL", table.name);
            let mut statement = connection.prepare(&sql)?;
            let lists = statement.query_map([], |row| row.get::<_, String>(0))?;
            let mut open = HashSet::new();
            for list in lists {
                open.insert(unreadable::name_of(table.endpoint, &list?));
            }
            let noted = unreadable::all(connection, endpoint)?;
            for record in noted.iter().filter(|record| !record.list && !open.contains(&record.path)) {
                unreadable::clear(connection, endpoint, &record.path)?;
            }
            Ok(())
        };
        Ok(self.mirror.write(write).await?)
    }

    /// Forgets what was noted of records that are not here at all, where Alyx has no more records than are here.
    pub(super) async fn settle_unlisted(
        &self,
        table: &'static EndpointTables,
        count: u64,
    ) -> Result<(), SyncError> {
        let endpoint = table.endpoint.name;
        let states = self.mirror.states();
        if states.of(endpoint).is_some_and(|state| state.unreadable.lists > 0 && state.rows == count) {
            let write =
                move |connection: &rusqlite::Connection| Ok(unreadable::drop_of(connection, endpoint, true)?);
            self.mirror.write(write).await?;
        }
        Ok(())
    }
}

/// Whether Alyx says that several records have the name that was asked for.
fn ambiguous(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"get() returned more than one").is_some()
}
