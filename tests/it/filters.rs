//! The tables of filters and models agree with each other: what is said to be decidable can be found
//! in records, and what is said not to be can't.

use std::collections::HashSet;

use alyx_proxy::alyx::{
    ENDPOINTS, Endpoint,
    filter::{self, Decided, Filter, Predicate},
    model::{Join, Model},
};

/// Whether a path of Django's names leads to something that records show, and whether only details do.
fn found(endpoint: &str, path: &str) -> Option<bool> {
    let model = Model::of(endpoint)?;
    if model.shortcuts.iter().any(|shortcut| shortcut.path == path) {
        return Some(false);
    }
    if let Some(column) = model.columns.iter().find(|column| column.name == path) {
        return Some(column.detail);
    }
    let (name, rest) = path.split_once("__").unwrap_or((path, "id"));
    let relation = model.relation(name)?;
    match relation.join {
        Join::Holds { key, detail, .. } if key == rest => Some(detail),
        Join::Holds { detail, .. } => Some(detail || found(relation.to, rest)?),
        Join::HeldAs(_) => found(relation.to, rest),
    }
}

fn filters() -> impl Iterator<Item = (&'static Endpoint, &'static Filter)> {
    ENDPOINTS.iter().flat_map(|endpoint| endpoint.filters.iter().map(move |filter| (endpoint, filter)))
}

#[test]
fn what_is_decidable_is_in_the_records() {
    for (endpoint, filter) in filters() {
        let Predicate::Column(path, _) = filter.test else { continue };
        let found = found(endpoint.name, path);
        let name = format!("{} {}", endpoint.name, filter.name);
        match filter.decided {
            Decided::Nowhere => assert_eq!(found, None, "{name}"),
            Decided::Detail => assert_eq!(found, Some(true), "{name}"),
            Decided::List | Decided::With(_) => assert_eq!(found, Some(false), "{name}"),
            Decided::ByPath => panic!("{name}"),
        }
    }
}

#[test]
fn every_name_leads_somewhere() {
    let known = |name: &str| Endpoint::named(name).is_some();
    for (endpoint, filter) in filters() {
        if let Decided::With(endpoints) = filter.decided {
            assert!(endpoints.iter().all(|name| known(name)), "{} {}", endpoint.name, filter.name);
        }
    }
    for endpoint in ENDPOINTS {
        let names: HashSet<&str> = endpoint.filters.iter().map(|filter| filter.name).collect();
        assert_eq!(names.len(), endpoint.filters.len(), "{}", endpoint.name);
        let Some(model) = Model::of(endpoint.name) else { continue };
        for relation in model.relations {
            let target = Model::of(relation.to).unwrap_or_else(|| panic!("{}", relation.to));
            match relation.join {
                Join::Holds { key, .. } => assert!(target.column(key).is_some(), "{} {key}", relation.to),
                Join::HeldAs(name) => {
                    let back = target.relation(name).unwrap_or_else(|| panic!("{} {name}", relation.to));
                    assert_eq!(back.to, endpoint.name, "{} {name}", relation.to);
                }
            }
        }
    }
}

#[test]
fn spaces_around_a_value_count_where_alyx_does_not_strip_them() {
    let strips = |endpoint: &str, name: &str| filter::strips(Endpoint::named(endpoint).unwrap(), name);
    for (endpoint, name) in [
        ("subjects", "nickname"),
        ("sessions", "id"),
        ("sessions", "number"),
        ("sessions", "start_time"),
        ("subjects", "birth_date"),
    ] {
        assert!(strips(endpoint, name), "{endpoint} {name}");
    }
    for (endpoint, name) in [
        ("subjects", "alive"),
        ("sessions", "datasets"),
        ("sessions", "dataset_qc_lte"),
        ("datasets", "default_dataset"),
        ("datasets", "session"),
        ("subjects", "sex"),
        ("sessions", "django"),
        ("sessions", "limit"),
        ("sessions", "nosuch"),
    ] {
        assert!(!strips(endpoint, name), "{endpoint} {name}");
    }
}
