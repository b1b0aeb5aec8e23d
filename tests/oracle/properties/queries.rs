//! Questions made of what the records of a lab hold, or nearly hold.

use serde_json::Value;

use super::{dice::Dice, paths};
use crate::{
    alyx::{
        Endpoint,
        filter::{Filter, Input, Lookup, Predicate, Seed},
        query_string::Pairs,
    },
    oracle::ask::naive::Naive,
};

/// What no record holds, or holds in another way.
const ODD: &[&str] = &["", "x", "None", "1.5", "é", "%", "a,b", "0", "-1", "[", " ", "2020-01-01", "null"];

/// Parameters for a list of this endpoint.
pub(super) fn pairs(naive: &Naive, endpoint: &'static Endpoint, dice: &mut Dice<'_>) -> Pairs {
    let mut pairs = Pairs::new();
    let several = 1 + [0, 0, 0, 1, 1, 2][dice.below(6)];
    for _ in 0..several {
        let Some(filter) = dice.pick(endpoint.filters) else { break };
        // Every second question goes along paths, where it can.
        let filter = endpoint.filter("django").filter(|_| dice.once_in(3)).unwrap_or(filter);
        let value = value(naive, endpoint, filter, dice);
        pairs.push((filter.name.to_owned(), value));
    }
    if dice.once_in(3) {
        pairs.push(("limit".to_owned(), (1 + dice.below(7)).to_string()));
    }
    if dice.once_in(4) {
        pairs.push(("offset".to_owned(), dice.below(9).to_string()));
    }
    pairs
}

/// A value for a filter.
pub(super) fn value(
    naive: &Naive,
    endpoint: &'static Endpoint,
    filter: &Filter,
    dice: &mut Dice<'_>,
) -> String {
    let text = plausible(naive, endpoint, filter, dice);
    match dice.below(12) {
        7 => text.to_uppercase(),
        8 => format!(" {text} "),
        9 => text.chars().skip(1).take(4).collect(),
        10 => dice.word(ODD).to_owned(),
        11 => format!("{text},{}", plausible(naive, endpoint, filter, dice)),
        _ => text,
    }
}

/// A value that a record may fulfil.
pub(super) fn plausible(
    naive: &Naive,
    endpoint: &'static Endpoint,
    filter: &Filter,
    dice: &mut Dice<'_>,
) -> String {
    let mut of = |endpoint: &'static str, path: &str| of(naive, endpoint, path, dice);
    match filter.test {
        Predicate::Column(path, lookup) => {
            let text = of(endpoint.name, path);
            match (filter.input, lookup) {
                (Input::Date | Input::DateText, _)
                | (_, Lookup::Date | Lookup::DateFrom | Lookup::DateUntil) => text.chars().take(10).collect(),
                (Input::Boolean | Input::SelectedBoolean, _) => truth(dice),
                _ => text,
            }
        }
        Predicate::Django => paths::pairs(naive, endpoint.name, dice),
        Predicate::JsonKeys(column) => paths::json_pairs(naive, endpoint.name, column, dice),
        Predicate::JsonText(column) => of(endpoint.name, column),
        Predicate::Users => of("users", "username"),
        Predicate::DateRange => {
            let days = [of("sessions", "start_time"), of("sessions", "start_time")];
            days.map(|day| day.chars().take(10).collect::<String>()).join(",")
        }
        Predicate::DatasetTypes(_) => of("datasets", "dataset_type__name"),
        Predicate::SessionDatasets | Predicate::Datasets { .. } => of("datasets", "name"),
        Predicate::DatasetQc(_) => {
            dice.word(&["PASS", "warning", "FAIL", "NOT_SET", "50", "0", "15"]).to_owned()
        }
        Predicate::PerformanceFrom | Predicate::PerformanceUntil => {
            dice.word(&["0", "50", "66", "66.5", "80", "100"]).to_owned()
        }
        Predicate::Region(Seed::Id) => of("brain-regions", "id"),
        Predicate::Region(Seed::Acronym) => of("brain-regions", "acronym"),
        Predicate::Region(Seed::Name) => of("brain-regions", "name"),
        Predicate::Ancestors | Predicate::Descendants => {
            let path = dice.word(&["acronym", "id"]);
            self::of(naive, "brain-regions", path, dice)
        }
        Predicate::OfInsertion => of("insertions", "id"),
        Predicate::AnyDataset => of("datasets", "id"),
        Predicate::Histology
        | Predicate::Alive
        | Predicate::Stock
        | Predicate::WaterRestricted
        | Predicate::ExistsOnServer
        | Predicate::Tagged(_) => truth(dice),
        Predicate::Broken => "x".to_owned(),
    }
}

fn truth(dice: &mut Dice<'_>) -> String {
    dice.word(&["True", "False", "true", "false", "1", "0"]).to_owned()
}

/// What a record has at the end of a path, as text.
fn of(naive: &Naive, endpoint: &'static str, path: &str, dice: &mut Dice<'_>) -> String {
    // Some records have nothing there.
    for _ in 0..3 {
        let values = naive.values(endpoint, dice.below(naive.len(endpoint)), path);
        if let Some(value) = dice.pick(&values) {
            return shown(value);
        }
    }
    "1".to_owned()
}

pub(super) fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
