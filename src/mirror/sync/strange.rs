//! Asks an Alyx that nobody knows what tells whether it means the same as the one that it is taken for
//! ([`crate::mirror::probes`]): each thing once, until it describes itself otherwise.

use std::sync::Arc;

use rusqlite::Connection;

use super::{
    SyncError, Synchroniser,
    budget::{Purpose, asking_for},
};
use crate::{
    alyx::{
        Endpoint,
        filter::{Decided, Predicate},
        spec::{Findings, ParameterUse},
    },
    clock,
    mirror::{
        answer::MirrorQuestion,
        learn,
        plan::Today,
        probes::{self, Probe},
        schema::EndpointTables,
        state::States,
    },
};

/// So much is asked at once of an Alyx that has become another,
const FIRST: u64 = 60;
/// of the parameters of one table no more than this.
const OF_TABLE: usize = 4;
/// So many parameters of which nothing here tells are looked at in one go.
const IDLE: usize = 8;

impl Synchroniser {
    /// Asks what this table can tell; the rest by and by, within what may be asked by itself.
    pub(super) async fn ask_strange(&self, table: &'static EndpointTables) -> Result<(), SyncError> {
        let endpoint = table.endpoint;
        let states = self.mirror.states();
        let (Some(known), true) = (states.spec().findings(), states.whole(endpoint.name, false)) else {
            return Ok(());
        };
        let (first, later) = (FIRST.saturating_sub(known.asked()), Purpose::Verification);
        let (most, purpose, room) = match usize::try_from(first) {
            Ok(0) | Err(_) => (1, later, self.budget.reserve(later, 2)),
            Ok(first) => (first, Purpose::Fill, self.budget.reserve(Purpose::Fill, 0)),
        };
        let Some(_room) = room else { return Ok(()) };
        let today = self.today();
        let day = today.clone();
        let least = if first == 0 { 1 } else { OF_TABLE };
        let look = move |connection: &Connection, states: &Arc<States>| {
            wanted(connection, states, table, &day, (least, most))
        };
        let Wanted { probes, idle } = self.mirror.read(look).await?;
        if !idle.is_empty() {
            let mut found = Findings::default();
            for about in idle {
                found.note_asked(about, 0);
            }
            self.mirror.note_findings(found).await?;
        }
        for probe in probes {
            asking_for(purpose, self.ask_probe(endpoint, probe, today.clone())).await?;
        }
        Ok(())
    }

    fn today(&self) -> Today {
        let settings = self.settings.load();
        let name = &settings.mirror.time_zone;
        let zone = jiff::tz::TimeZone::get(name).ok();
        Today { date: clock::day(self.clock().now(), name), zone }
    }

    async fn ask_probe(
        &self,
        endpoint: &'static Endpoint,
        probe: Probe,
        today: Today,
    ) -> Result<(), SyncError> {
        // What could not be asked is asked another time.
        let Ok(answer) = self.source.get(probe.path_and_query(endpoint)).await else { return Ok(()) };
        let (status, about) = (answer.status.as_u16(), probe.about.clone());
        let mut found = Findings::default();
        if answer.json && !matches!(status, 401 | 403 | 429 | 502..=504) {
            let look = move |connection: &Connection, states: &Arc<States>| {
                let question = MirrorQuestion {
                    endpoint,
                    key: probe.key.as_deref(),
                    pairs: &probe.pairs,
                    url: "",
                    today: today.date,
                    zone: today.zone.as_ref(),
                    recency: None,
                };
                learn::learn(connection, states, &question, (status, &String::from_utf8_lossy(&answer.body)))
            };
            found = self.mirror.read(look).await?;
        }
        found.note_asked(about, 1);
        Ok(self.mirror.note_findings(found).await?)
    }
}

/// What is to be asked,
struct Wanted {
    probes: Vec<Probe>,
    /// and what no question would tell anything of.
    idle: Vec<String>,
}

/// What has not been asked: of the list, and of so many parameters.
fn wanted(
    connection: &Connection,
    states: &States,
    table: &'static EndpointTables,
    today: &Today,
    (of_parameters, most): (usize, usize),
) -> rusqlite::Result<Wanted> {
    let (mut probes, mut idle) = (Vec::new(), Vec::new());
    let spec = states.spec();
    let Some(findings) = spec.findings() else { return Ok(Wanted { probes, idle }) };
    let is_new = |probe: &Probe| !findings.has_asked(&probe.about);
    probes.extend(probes::of_list(connection, table)?.into_iter().filter(is_new));
    let enough = (probes.len() + of_parameters).min(most);
    for filter in table.endpoint.filters {
        if probes.len() >= enough || idle.len() >= IDLE {
            break;
        }
        let asks = !matches!(filter.test, Predicate::Django | Predicate::Broken)
            && !matches!(filter.decided, Decided::Nowhere)
            && matches!(spec.parameter(table.endpoint, filter.name), ParameterUse::Asks);
        let about = probes::about(table.endpoint, filter);
        if !asks || findings.has_asked(&about) {
            continue;
        }
        let of = probes::of_filter(connection, states, table.endpoint, filter, today)?;
        if of.is_empty() {
            idle.push(about);
        }
        probes.extend(of);
    }
    probes.truncate(most);
    Ok(Wanted { probes, idle })
}
