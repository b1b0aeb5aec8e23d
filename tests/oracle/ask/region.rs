//! Brain regions: their tree, and what lies in them (ALYX.md 2.4, 2.7.6).

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{Query, Ways, path};
use crate::{
    alyx::{
        filter::{Predicate, Seed},
        filterset::{
            QueryError, QueryResult,
            compare::{TextTest, text_holds},
            form::CleanedValue,
        },
        model::Model,
    },
    miniature::data::Data,
};

/// What lies in the regions that are asked for.
pub(super) struct Regions {
    /// Where the trajectories are whose channels lie there; only aligned ones count.
    trajectories: HashSet<usize>,
    /// Where the locations of fields of view are that lie there; only default ones count.
    locations: HashSet<usize>,
}

impl Regions {
    pub(super) fn new(query: &Query<'_>, seed: Seed, asked: &CleanedValue) -> Self {
        let named = |region: &Value| match (seed, asked) {
            (Seed::Id, CleanedValue::Number(number)) => region["id"].as_f64() == Some(number.trunc()),
            (Seed::Acronym, CleanedValue::Text(text)) => {
                text_holds(TextTest::Is, region["acronym"].as_str().unwrap_or_default(), text, false)
            }
            (Seed::Name, CleanedValue::Text(text)) => {
                text_holds(TextTest::Contains, region["name"].as_str().unwrap_or_default(), text, false)
            }
            _ => false,
        };
        let tree = Tree::of(query.data);
        let regions = query.data.named("brain-regions").records().iter().map(|record| record.value());
        let seeds: HashSet<i64> = regions.filter(|region| named(region)).filter_map(number).collect();
        let inside = |id: i64| tree.upwards(id).any(|above| seeds.contains(&above));
        let trajectories = query.data.named("trajectories");
        let mut with_channels = HashSet::new();
        for channel in query.data.named("channels").records() {
            if let Some(id) = channel.value()["brain_region"].as_i64()
                && inside(id)
                && let Some(trajectory) = channel.plain("trajectory_estimate")
            {
                with_channels.extend(trajectories.find(trajectory).iter().copied());
            }
        }
        with_channels.retain(|place| {
            trajectories.records()[*place].value()["provenance"] == "Ephys aligned histology track"
        });
        let locations = query.data.named("fov-location").records().iter().enumerate();
        let lies_inside = |location: &Value| {
            location["default_provenance"] == Value::Bool(true)
                && location["brain_region"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_i64)
                    .any(inside)
        };
        let locations = locations.filter(|(_, location)| lies_inside(location.value()));
        Self { trajectories: with_channels, locations: locations.map(|(place, _)| place).collect() }
    }

    /// In how many ways a record leads there: rows of the joined tables.
    pub(super) fn ways(&self, query: &Query<'_>, place: usize) -> QueryResult<Ways> {
        let inside = |rows: Vec<Option<usize>>, set: &HashSet<usize>| -> (usize, usize) {
            let hits = rows.iter().filter(|row| row.is_some_and(|place| set.contains(&place))).count();
            (hits, rows.len())
        };
        let rows = |relations: &[&str]| joined(query.data, query.endpoint.name, place, relations);
        match query.endpoint.name {
            "sessions" => {
                let (tracks, track_rows) =
                    inside(rows(&["probe_insertion", "trajectory_estimate"])?, &self.trajectories);
                let (fields, field_rows) = inside(rows(&["field_of_view", "location"])?, &self.locations);
                // Each row of the one stands beside each row of the other; either may lie inside.
                Ok(Ways(tracks * field_rows + fields * track_rows - tracks * fields))
            }
            "insertions" | "chronic-insertions" => {
                Ok(Ways(inside(rows(&["trajectory_estimate"])?, &self.trajectories).0))
            }
            "fields-of-view" => Ok(Ways(inside(rows(&["location"])?, &self.locations).0)),
            other => Err(QueryError::beyond(&format!("know the brain regions of {other}"))),
        }
    }
}

/// The rows of a record joined along relations; none where one leads nowhere.
fn joined(
    data: &Data,
    endpoint: &'static str,
    place: usize,
    relations: &[&str],
) -> QueryResult<Vec<Option<usize>>> {
    let (mut endpoint, mut rows) = (endpoint, vec![Some(place)]);
    for name in relations {
        let Some(relation) = Model::of(endpoint).and_then(|model| model.relation(name)) else {
            return Err(QueryError::beyond(&format!("know {name} of {endpoint}")));
        };
        let mut next = Vec::new();
        for row in rows {
            let related = match row {
                Some(place) => path::related(data, endpoint, place, relation)?,
                None => Vec::new(),
            };
            if related.is_empty() {
                next.push(None);
            }
            next.extend(related.into_iter().map(Some));
        }
        (endpoint, rows) = (relation.to, next);
    }
    Ok(rows)
}

fn number(region: &Value) -> Option<i64> {
    region["id"].as_i64()
}

/// Which region is part of which.
struct Tree {
    parents: HashMap<i64, i64>,
}

impl Tree {
    fn of(data: &Data) -> Self {
        let regions = data.named("brain-regions").records().iter().map(|record| record.value());
        let parent = |region: &Value| Some((number(region)?, region["parent"].as_i64()?));
        Self { parents: regions.filter_map(parent).collect() }
    }

    /// The region and those above it.
    fn upwards(&self, id: i64) -> impl Iterator<Item = i64> {
        // No more steps than there are regions, whatever the data say.
        std::iter::successors(Some(id), |id| self.parents.get(id).copied()).take(self.parents.len() + 1)
    }
}

/// `ancestors` and `descendants` replace all other questions, and the second the first.
pub(super) fn lineage(query: &Query<'_>) -> QueryResult<Option<Vec<usize>>> {
    let mut answer = None;
    for (filter, asked) in query.used {
        let (Predicate::Ancestors | Predicate::Descendants, CleanedValue::Text(name)) = (filter.test, asked)
        else {
            continue;
        };
        let regions = query.data.named("brain-regions").records();
        let by_number = name.bytes().all(|byte| byte.is_ascii_digit());
        let named = |region: &Value| {
            if by_number { number(region) == name.parse().ok() } else { region["acronym"] == name.as_str() }
        };
        let found = regions.iter().map(|record| record.value()).find(|region| named(region)).and_then(number);
        let Some(found) = found else {
            return Err(QueryError::failed("BrainRegion matching query does not exist."));
        };
        let tree = Tree::of(query.data);
        let above: HashSet<i64> = tree.upwards(found).collect();
        let belongs = |id: i64| match filter.test {
            Predicate::Ancestors => above.contains(&id),
            _ => tree.upwards(id).any(|above| above == found),
        };
        let places = regions.iter().enumerate().filter(|(_, record)| {
            // Region 0 is the void around the brain.
            number(record.value()).is_some_and(|id| id != 0 && belongs(id))
        });
        answer = Some(places.map(|(place, _)| place).collect());
    }
    Ok(answer)
}
