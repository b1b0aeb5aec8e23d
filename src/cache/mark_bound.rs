//! A bound on marks of single records and users: who may write, or is refused record after record, makes as many as they like.
//!
//! The oldest become marks of something wider, which strikes or refuses at least as much: of a record the details of its
//! endpoint; of what a user is refused the list that it is in. That a user was given something after all is forgotten: Alyx
//! says it again.

use std::collections::{HashMap, HashSet};

use crate::{
    alyx::{
        Endpoint,
        invalidates::{Scope, is_of_a_token},
    },
    clock::Millis,
};

/// Marks that are kept one by one; some megabytes.
pub(super) const MOST: usize = 50_000;

/// What takes the place of marks that are too many.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MergedMarks {
    /// Those that go.
    pub(super) gone: HashSet<String>,
    /// Those that come in their place.
    pub(super) wider: HashMap<String, Millis>,
}

/// The oldest half of the marks of single records and users, where they are more than `most`, as wider ones.
pub(super) fn merge(marks: &HashMap<String, Millis>, most: usize) -> Option<MergedMarks> {
    if marks.len() <= most {
        return None;
    }
    let single = |scope: &str| scope.starts_with("record ") || is_of_a_token(scope);
    let mut singles: Vec<_> = marks.iter().filter(|(scope, _)| single(scope)).collect();
    if singles.len() <= most {
        return None;
    }
    singles.sort_unstable_by_key(|(_, at)| **at);
    let mut merged = MergedMarks::default();
    for (scope, at) in &singles[..singles.len() - most / 2] {
        let wider = match wider(scope) {
            Wider::Scope(wider) => wider,
            Wider::Nothing => {
                merged.gone.insert((*scope).clone());
                continue;
            }
            Wider::ItIs => continue,
        };
        let known = marks.get(&wider).copied().unwrap_or(Millis::MIN);
        let latest = merged.wider.entry(wider).or_insert(known);
        *latest = (*latest).max(**at);
        merged.gone.insert((*scope).clone());
    }
    Some(merged)
}

enum Wider {
    Scope(String),
    /// It may go.
    Nothing,
    /// There is nothing wider.
    ItIs,
}

/// Of the name of a scope ([`Scope::name`]).
fn wider(scope: &str) -> Wider {
    match scope.split_once(' ') {
        Some(("record", record)) => {
            let endpoint = record.split_once(' ').and_then(|(endpoint, _)| Endpoint::named(endpoint));
            endpoint.map_or(Wider::ItIs, |endpoint| Wider::Scope(Scope::Details(endpoint.name).name()))
        }
        Some(("denied", refused)) => {
            match refused.split_once(' ').map(|(user, what)| (user, what.split_once('/'))) {
                Some((user, Some((list, _)))) => {
                    Wider::Scope(Scope::Denied(user.to_owned(), list.to_owned()).name())
                }
                _ => Wider::ItIs,
            }
        }
        Some(("granted", _)) => Wider::Nothing,
        _ => Wider::ItIs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: usize) -> String {
        Scope::Record("sessions", n.to_string()).name()
    }

    #[test]
    fn too_many_marks_of_records_become_one_that_strikes_at_least_as_much() {
        let mut marks: HashMap<String, Millis> =
            (0..=100).map(|n| (record(n), 1_000 + Millis::try_from(n).unwrap())).collect();
        marks.insert(Scope::Lists("sessions").name(), 5);
        assert_eq!(merge(&marks, 101), None);
        let merged = merge(&marks, 100).unwrap();
        assert_eq!(merged.gone.len(), 51);
        assert!(merged.gone.contains(&record(0)) && !merged.gone.contains(&record(51)));
        assert_eq!(merged.wider, HashMap::from([(Scope::Details("sessions").name(), 1_050)]));
    }

    #[test]
    fn who_is_refused_record_after_record_is_refused_the_list() {
        let denied = |what: String| Scope::Denied("ab12".to_owned(), what).name();
        let granted = |what: String| Scope::Granted("ab12".to_owned(), what).name();
        let mut marks = HashMap::new();
        for n in 0..60 {
            marks.insert(denied(format!("subjects/a b/{n}")), n);
            marks.insert(granted(format!("subjects/{n}")), n);
        }
        let writer = Scope::Writer("ab12".to_owned()).name();
        marks.insert(writer.clone(), -1);
        let merged = merge(&marks, 100).unwrap();
        assert!(merged.gone.contains(&granted("subjects/0".to_owned())));
        assert!(!merged.gone.contains(&writer), "there are no more of these than users");
        assert!(merged.wider.contains_key(&denied("subjects".to_owned())), "{merged:?}");
        assert_eq!(merged.wider.len(), 1, "{merged:?}");
    }
}
