//! The tables of a lab as the mirror keeps them, and their answers.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;

use crate::{
    alyx::{DetailShape, ENDPOINTS, Endpoint, query_string::Pairs, record},
    mirror::{
        answer::{self, MirrorOutcome, MirrorQuestion},
        create_tables,
        ingest::{self, IncomingRecord},
        schema::Schema,
        sql_functions,
        state::{self, States, TableState},
    },
    oracle::ask::naive::{Naive, TODAY},
};

/// A mirror in memory.
pub(super) struct Tables {
    pub(super) connection: Connection,
    pub(super) states: States,
}

/// What the mirror says.
#[derive(Debug)]
pub(super) enum Said {
    /// A count and the records of a page.
    Page(u64, Vec<String>),
    /// Alyx's own refusal.
    Refused(u16, String),
    /// It can't be decided.
    Undecided(String),
}

impl Tables {
    pub(super) fn of(naive: &Naive) -> Self {
        let connection = Connection::open_in_memory().unwrap();
        sql_functions::register(&connection).unwrap();
        create_tables(&connection).unwrap();
        connection.execute_batch("BEGIN").unwrap();
        let states = ENDPOINTS.iter().map(|endpoint| (endpoint.name, fill(&connection, naive, endpoint)));
        let states = States::new(1, states.collect::<HashMap<_, _>>());
        connection.execute_batch("COMMIT").unwrap();
        Self { connection, states }
    }

    pub(super) fn ask(&self, endpoint: &'static Endpoint, pairs: &Pairs) -> Said {
        let url = "http://alyx/list";
        let question = MirrorQuestion {
            endpoint,
            key: None,
            pairs,
            url,
            today: TODAY,
            zone: Some(&jiff::tz::TimeZone::UTC),
            recency: None,
        };
        match answer::answer(&self.connection, &self.states, &question).unwrap() {
            MirrorOutcome::Answer(answer) if answer.status == 200 => {
                let fields: HashMap<&str, &str> = record::fields(&answer.body).collect();
                let records = record::members(fields["results"]).map(str::to_owned).collect();
                Said::Page(fields["count"].parse().unwrap(), records)
            }
            MirrorOutcome::Answer(answer) => Said::Refused(answer.status, answer.body),
            MirrorOutcome::Undecided(reason) => Said::Undecided(reason.to_string()),
            MirrorOutcome::Old(tables) => panic!("{tables:?} can't be old"),
        }
    }
}

fn fill(connection: &Connection, naive: &Naive, endpoint: &'static Endpoint) -> TableState {
    let table = Schema::get().table(endpoint.name).unwrap();
    connection.execute_batch(&table.create("")).unwrap();
    let (mut n, mut whole, mut seen) = (0, true, HashSet::new());
    for texts in naive.texts(endpoint) {
        // A stack stands in its list once for each slice, and here once.
        if !seen.insert(texts.list.clone()) && endpoint.name == "imaging-stack" {
            continue;
        }
        n += 1;
        whole = whole && texts.detail.is_some();
        let detail = texts.detail.as_deref().filter(|_| table.has_details());
        ingest::add(connection, table, "", n, IncomingRecord { list: &texts.list, detail }).unwrap();
    }
    connection.execute_batch(&table.index("", 1)).unwrap();
    let own = endpoint.detail.is_some_and(|detail| detail.shape == DetailShape::Own);
    TableState {
        synced_at: 0,
        counted_at: 0,
        rows: u64::try_from(n).unwrap(),
        details: whole && own,
        scope: Vec::new(),
        ambiguous: state::ambiguous(connection, table, "").unwrap(),
        distrusted: <_>::default(),
        unreadable: <_>::default(),
    }
}
