//! The tables of a lab as the mirror keeps them, and their answers.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;

use crate::{
    alyx::{ENDPOINTS, Endpoint, Shape as DetailShape, query::Pairs, record},
    demo::naive::{Naive, TODAY},
    mirror::{
        answer::{self, Outcome, Question},
        functions,
        load::{self, Record},
        shape::Shape,
        state::{self, State, States},
    },
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
        functions::register(&connection).unwrap();
        connection.execute_batch("BEGIN").unwrap();
        let states = ENDPOINTS.iter().map(|endpoint| (endpoint.name, fill(&connection, naive, endpoint)));
        let states = States::new(1, states.collect::<HashMap<_, _>>());
        connection.execute_batch("COMMIT").unwrap();
        Self { connection, states }
    }

    pub(super) fn ask(&self, endpoint: &'static Endpoint, pairs: &Pairs) -> Said {
        let url = "http://alyx/list";
        let question = Question { endpoint, key: None, pairs, url, today: TODAY, recency: None };
        match answer::answer(&self.connection, &self.states, &question).unwrap() {
            Outcome::Answer(answer) if answer.status == 200 => {
                let fields: HashMap<&str, &str> = record::fields(&answer.body).collect();
                let records = record::members(fields["results"]).map(str::to_owned).collect();
                Said::Page(fields["count"].parse().unwrap(), records)
            }
            Outcome::Answer(answer) => Said::Refused(answer.status, answer.body),
            Outcome::Undecided(reason) => Said::Undecided(reason.to_string()),
            Outcome::Old(table) => panic!("{table} can't be old"),
        }
    }
}

fn fill(connection: &Connection, naive: &Naive, endpoint: &'static Endpoint) -> State {
    let table = Shape::get().table(endpoint.name).unwrap();
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
        load::add(connection, table, "", n, Record { list: &texts.list, detail }).unwrap();
    }
    connection.execute_batch(&table.index("", 1)).unwrap();
    let own = endpoint.detail.is_some_and(|detail| detail.shape == DetailShape::Own);
    State {
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
