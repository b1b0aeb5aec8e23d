//! What can be answered from the mirror, by endpoint and parameter: the list behind `/-/answers`.
//!
//! Everything here is read off [`crate::alyx`]: a filter that is added there shows here.

use serde::Serialize;

use crate::alyx::{
    ENDPOINTS, Endpoint,
    filter::{Decided, Filter, Input, Keyed, Predicate},
    filterset::path::{Leaf, Path},
    model::{Column, Join, Model},
};

/// What an endpoint's questions can be answered with.
#[derive(Debug, Serialize)]
pub struct Capabilities {
    /// The endpoint.
    pub endpoint: &'static str,
    /// Whether its table is here, whole.
    pub mirrored: bool,
    /// Whether the details of all its records are here, where they are other than the records of the list.
    pub details: Option<bool>,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    /// What `django=` can ask of its own records; none where it has no such parameter.
    pub paths: Option<Paths>,
}

/// A parameter of a list.
#[derive(Debug, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// How a question that uses it is answered.
    pub answered: Answered,
    /// The tables that it needs.
    pub needs: Vec<Need>,
    /// Whether all of these are here.
    pub ready: bool,
    /// Why it is not always answered here; empty where there is nothing to say.
    pub why: &'static str,
}

/// How questions with a parameter are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answered {
    /// Here, if the tables are here.
    Here,
    /// Here, as far as the paths that it names can be followed.
    ByPath,
    /// Only by Alyx.
    Forwarded,
}

/// A table that a question needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The endpoint of the table.
    pub endpoint: &'static str,
    /// Whether the details of its records are needed.
    pub details: bool,
    /// Whether it is here.
    pub here: bool,
}

/// The names that paths of `django=` can begin with.
#[derive(Debug, Serialize)]
pub struct Paths {
    /// Columns that the records of the list show.
    pub columns: Vec<&'static str>,
    /// Columns that only the details show.
    pub in_details: Vec<&'static str>,
    /// Relations and the endpoints to whose records they lead.
    pub relations: Vec<(&'static str, &'static str)>,
    /// Names that Alyx has and shows in no record: only Alyx can answer what asks for them.
    pub hidden: &'static [&'static str],
}

/// What can be answered of every endpoint; `have` says whether its table, or with `true` its details, are here.
pub fn all(have: &dyn Fn(&str, bool) -> bool) -> Vec<Capabilities> {
    ENDPOINTS.iter().map(|endpoint| of(endpoint, have)).collect()
}

fn of(endpoint: &'static Endpoint, have: &dyn Fn(&str, bool) -> bool) -> Capabilities {
    let own_details = endpoint.detail.is_some_and(|detail| detail.shape == crate::alyx::DetailShape::Own);
    let django = endpoint.filter("django").and_then(|_| Model::of(endpoint.name));
    Capabilities {
        endpoint: endpoint.name,
        mirrored: have(endpoint.name, false),
        details: own_details.then(|| have(endpoint.name, true)),
        parameters: endpoint.filters.iter().map(|filter| parameter(endpoint, filter, have)).collect(),
        paths: django.map(paths),
    }
}

fn parameter(
    endpoint: &'static Endpoint,
    filter: &'static Filter,
    have: &dyn Fn(&str, bool) -> bool,
) -> Parameter {
    let need = |(endpoint, details)| Need { endpoint, details, here: have(endpoint, details) };
    let mut needs: Vec<Need> = tables(endpoint, filter).into_iter().map(need).collect();
    let answered = match filter.decided {
        Decided::Nowhere => Answered::Forwarded,
        Decided::ByPath => Answered::ByPath,
        Decided::List | Decided::Detail | Decided::With(_) => Answered::Here,
    };
    if answered == Answered::Forwarded {
        needs.clear();
    }
    let ready = answered != Answered::Forwarded && needs.iter().all(|need| need.here);
    Parameter { name: filter.name, answered, needs, ready, why: why(filter) }
}

/// The tables that a filter needs, and of which also the details; that of the endpoint is the first.
fn tables(endpoint: &'static Endpoint, filter: &'static Filter) -> Vec<(&'static str, bool)> {
    let own = endpoint.name;
    let mut found = vec![(own, filter.decided == Decided::Detail)];
    if let Decided::With(others) = filter.decided {
        // What procedures a session was, only its detail says.
        let details = |other| matches!(filter.test, Predicate::Histology) && other == own;
        found.extend(others.iter().map(|other| (*other, details(*other))));
    }
    if let Input::Key(Keyed { by: Some(by), .. }) | Input::Keys(Keyed { by: Some(by), .. }) = filter.input {
        found.push((by, false));
    }
    for order in endpoint.order {
        found.extend(along(own, order.path));
    }
    if let Predicate::Column(path, _) = filter.test {
        found.extend(along(own, path));
    }
    let mut needs: Vec<(&'static str, bool)> = Vec::new();
    for (name, details) in found {
        match needs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known |= details,
            None => needs.push((name, details)),
        }
    }
    needs
}

/// The tables that a path leads through.
fn along(endpoint: &'static str, path: &str) -> Vec<(&'static str, bool)> {
    let Ok(path) = Path::resolve(endpoint, path) else { return Vec::new() };
    let (mut at, mut found) = (endpoint, Vec::new());
    for (number, hop) in path.hops.iter().enumerate() {
        // Some related records stand within the record.
        let stands_within = number + 1 == path.hops.len()
            && matches!(path.leaf, Leaf::Value { column, .. } if is_embedded(at, hop.name, column));
        if stands_within {
            return found;
        }
        let held = |by| Model::of(hop.to).and_then(|model| model.relation(by));
        match hop.join {
            Join::Holds { detail, .. } => found.extend([(at, detail), (hop.to, false)]),
            Join::HeldAs(by) => {
                let detail =
                    held(by).is_some_and(|held| matches!(held.join, Join::Holds { detail: true, .. }));
                found.push((hop.to, detail));
            }
        }
        at = hop.to;
    }
    if let Leaf::Value { detail, .. } = path.leaf {
        found.push((at, detail));
    }
    found
}

fn is_embedded(endpoint: &str, relation: &str, column: &str) -> bool {
    let embedded = Model::of(endpoint).map(|model| model.embedded).unwrap_or_default();
    let mut of_relation = embedded.iter().filter(|embedded| embedded.relation == relation);
    of_relation.any(|embedded| embedded.columns.iter().any(|known| known.name == column))
}

fn why(filter: &Filter) -> &'static str {
    match (filter.decided, filter.test) {
        (Decided::Nowhere, _) => "Alyx shows this column in no record.",
        (Decided::ByPath, _) => "Every path over the columns and relations below, with Django's lookups.",
        (_, Predicate::Broken) => "Alyx refuses it whatever its value is.",
        (_, Predicate::PerformanceFrom | Predicate::PerformanceUntil) => {
            "Forwarded where a session without trials might be among the answers: Alyx may fail on it."
        }
        (_, Predicate::JsonKeys(_)) => {
            "Forwarded where it matters whether a column is empty or holds JSON's null, and Alyx has both: records show both as null."
        }
        (_, Predicate::Alive | Predicate::WaterRestricted) => "By the current date in `mirror.time_zone`.",
        _ if filter.verifies() => "A key that does not exist is refused as Alyx refuses it.",
        _ => "",
    }
}

fn paths(model: &'static Model) -> Paths {
    let named = |wanted: bool| -> Vec<&'static str> {
        let columns = model.columns.iter().filter(|column| column.detail == wanted);
        let relations = model.relations.iter().filter(
            |relation| matches!(relation.join, Join::Holds { detail, .. } if detail == wanted && wanted),
        );
        columns.map(|Column { name, .. }| *name).chain(relations.map(|relation| relation.name)).collect()
    };
    Paths {
        columns: named(false),
        in_details: named(true),
        relations: model.relations.iter().map(|relation| (relation.name, relation.to)).collect(),
        hidden: model.hidden,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_is_listed_and_says_what_it_needs() {
        let none = all(&|_, _| false);
        let some = all(&|endpoint, _| endpoint == "sessions");
        assert_eq!(none.len(), ENDPOINTS.len());
        for (answers, endpoint) in none.iter().zip(ENDPOINTS) {
            assert_eq!(answers.parameters.len(), endpoint.filters.len(), "{}", endpoint.name);
            for parameter in &answers.parameters {
                assert!(!parameter.ready, "{} {}", endpoint.name, parameter.name);
                assert_eq!(
                    parameter.needs.is_empty(),
                    parameter.answered == Answered::Forwarded,
                    "{} {}",
                    endpoint.name,
                    parameter.name
                );
            }
        }
        let sessions = some.iter().find(|answers| answers.endpoint == "sessions").unwrap();
        let ready = |name: &str| {
            sessions.parameters.iter().find(|parameter| parameter.name == name).map(|found| found.ready)
        };
        assert_eq!(ready("subject"), Some(true));
        assert_eq!(ready("tag"), Some(false));
        assert_eq!(ready("name"), Some(false));
    }
}
