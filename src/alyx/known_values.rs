//! Parameters whose values are names of something that is listed: what a person may choose from, or likely meant.

use super::{
    Endpoint,
    endpoint::DATASETS,
    filter::{Filter, Input, Lookup, Predicate},
    filterset::path::{Leaf, Path},
    model::{ColumnKind, Join, Model},
};

/// Where the values of a parameter are listed: an endpoint and the column of its records; none where they are no names.
pub fn of(endpoint: &Endpoint, filter: &Filter) -> Option<(&'static str, &'static str)> {
    if takes_keys(filter) {
        return None;
    }
    match filter.test {
        Predicate::Column(path, Lookup::Exact | Lookup::IExact | Lookup::IContains) => {
            let endpoint = Endpoint::named(endpoint.name)?;
            let path = Path::resolve_related(endpoint.name, path)?;
            let Leaf::Value { column, kind: ColumnKind::Text, detail: false, .. } = path.leaf else {
                return None;
            };
            let last = path.hops.last().map_or(endpoint.name, |hop| hop.to);
            // What names another record is its key there.
            if let Some(relation) = Model::of(last).and_then(|model| model.relation(column)) {
                let Join::Holds { key, .. } = relation.join else { return None };
                return (key != "id").then_some((relation.to, key));
            }
            let is_key = |join: &Join| matches!(join, Join::Holds { key, .. } if *key == column);
            let is_name = path.hops.last().is_some_and(|hop| is_key(&hop.join));
            (is_name || ["task_protocol", "nickname"].contains(&column)).then_some((last, column))
        }
        Predicate::Datasets { .. } | Predicate::SessionDatasets => Some((DATASETS, "name")),
        Predicate::DatasetTypes(_) => Some(("dataset-types", "name")),
        Predicate::Users => Some(("users", "username")),
        _ => None,
    }
}

/// Whether its values are primary keys: what a record shows of another is its name.
fn takes_keys(filter: &Filter) -> bool {
    matches!(filter.input, Input::Key(_) | Input::Keys(_))
}

/// The columns of an endpoint's records that few values are shared by: names of what they belong to.
pub fn shared(endpoint: &Endpoint) -> Vec<&'static str> {
    let Some(model) = Model::of(endpoint.name) else { return Vec::new() };
    let names = model.relations.iter().filter(|relation| {
        !relation.many && matches!(relation.join, Join::Holds { key, detail: false, .. } if key != "id")
    });
    let own = ["task_protocol", "sex", "collection", "provenance"];
    let own = model.columns.iter().filter(|column| !column.detail && own.contains(&column.name));
    names.map(|relation| relation.name).chain(own.map(|column| column.name)).collect()
}

/// The parameter that asks for the records with this value in such a column.
pub fn asking(endpoint: &Endpoint, column: &str, value: &str) -> Option<(String, String)> {
    let exact = |filter: &Filter| {
        matches!(filter.test, Predicate::Column(_, Lookup::Exact | Lookup::IExact | Lookup::IContains))
            && !takes_keys(filter)
    };
    if endpoint.filter(column).is_some_and(exact) {
        return Some((column.to_owned(), value.to_owned()));
    }
    endpoint.filter("django").filter(|_| !value.contains(','))?;
    let relation = Model::of(endpoint.name)?.relation(column);
    let path = match relation.map(|relation| relation.join) {
        Some(Join::Holds { key, .. }) => format!("{column}__{key}"),
        _ => column.to_owned(),
    };
    Some(("django".to_owned(), format!("{path},{value}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_known_where_they_are_listed() {
        let sessions = Endpoint::named("sessions").unwrap();
        let known = |name: &str| of(sessions, sessions.filter(name).unwrap());
        for (parameter, listed) in [
            ("lab", Some(("labs", "name"))),
            ("subject", Some(("subjects", "nickname"))),
            ("nickname", Some(("subjects", "nickname"))),
            ("project", Some(("projects", "name"))),
            ("task_protocol", Some(("sessions", "task_protocol"))),
            ("datasets", Some(("datasets", "name"))),
            ("dataset_types", Some(("dataset-types", "name"))),
            ("users", Some(("users", "username"))),
            ("number", None),
            ("narrative", None),
            ("date_range", None),
        ] {
            assert_eq!(known(parameter), listed, "{parameter}");
        }
        assert!(shared(sessions).contains(&"lab") && shared(sessions).contains(&"task_protocol"));
        let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(asking(sessions, "lab", "x"), pair("lab", "x"));
        let weighings = Endpoint::named("weighings").unwrap();
        assert_eq!(asking(weighings, "user", "x"), pair("django", "user__username,x"));
    }
}
