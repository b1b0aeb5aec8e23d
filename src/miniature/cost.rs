//! What a question costs the mirror's plan and SQLite, over the sample lab: for the fuzz target that looks for one that costs
//! more than it may.

use std::{io, sync::Arc, time::Duration};

use super::{
    data::Data,
    engine::{Engine, Spent},
    sample,
};
use crate::{
    alyx::{ENDPOINTS, Route, query_string, route::classify},
    store::budget::Budget,
};

/// Longer than any question takes its steps.
const LONG: Duration = Duration::from_mins(1);

/// The sample lab, and what a question may cost there.
#[derive(Debug)]
pub struct CostedLab {
    engine: Engine,
    data: Arc<Data>,
}

impl CostedLab {
    /// In which a question may take so many steps, with all tables loaded, so that no question's cost has that in it.
    pub fn open(steps: u64) -> io::Result<Self> {
        let budget = Budget { time: LONG, steps };
        let lab = Self { engine: Engine::within(budget), data: sample::load(true, false)? };
        for endpoint in ENDPOINTS {
            lab.ask(&format!("/{}?limit=1", endpoint.name));
        }
        Ok(lab)
    }

    /// The steps of SQLite's virtual machine that a question takes, rounded up, and whether they were all that it may; none
    /// where it is no question for a mirror.
    pub fn ask(&self, path_and_query: &str) -> Option<Spent> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let segments = query_string::segments(path);
        let (endpoint, key) = match classify(&segments.iter().map(String::as_str).collect::<Vec<_>>()) {
            Route::List(endpoint) => (endpoint, None),
            Route::Detail(endpoint, key) => (endpoint, Some(key)),
            Route::Service(_) | Route::Other => return None,
        };
        let url = format!("{}{path}", sample::BASE);
        let pairs = query_string::parse(query);
        self.engine.answer(&self.data, endpoint, key.as_deref(), &pairs, &url);
        self.engine.spent()
    }
}
