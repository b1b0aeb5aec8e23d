//! What is to go into a snapshot, of all that the proxy knows.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::SnapshotError;
use crate::{
    alyx::{
        Class, Endpoint, Route,
        belonging::{Belonging, RecordOwner},
        query_string::{self, Pairs},
    },
    cache::ExportedEntry,
};

/// What is to go into a snapshot: everything, if nothing is chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// These endpoints; all if none is named.
    pub endpoints: BTreeSet<String>,
    /// What belongs to this lab.
    pub lab: Option<String>,
    /// What belongs to this project.
    pub project: Option<String>,
    /// What belongs to the subject of this nickname.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What belongs to these sessions, by their ids.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub sessions: BTreeSet<String>,
}

/// The most sessions of one snapshot that are chosen one by one: what they are found by is told in a line.
const MOST_SESSIONS: usize = 80;

/// How a table is narrowed to what was chosen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Narrowed {
    /// Not at all: all of it goes in.
    Whole,
    /// To the records that fulfil one of the parameters of each.
    To(Vec<(RecordOwner, Pairs)>),
    /// It is left out, because of this.
    Not(String),
}

impl Selection {
    /// Refuses names that are none.
    pub fn check(&self) -> Result<(), SnapshotError> {
        match self.endpoints.iter().find(|name| Endpoint::named(name).is_none()) {
            Some(name) => Err(SnapshotError::Choice(Endpoint::unknown(name))),
            None => Ok(()),
        }?;
        if self.sessions.len() > MOST_SESSIONS {
            return Err(SnapshotError::Choice(format!(
                "more than {MOST_SESSIONS} sessions are chosen one by one: choose their lab, project or subject"
            )));
        }
        let is_none = |name: &str| name.contains(',') || name.trim().is_empty();
        let mut all =
            self.owners().flat_map(|(owner, names)| names.into_iter().map(move |name| (owner, name)));
        match all.find(|(_, name)| is_none(name)) {
            Some((owner, name)) => {
                Err(SnapshotError::Choice(format!("no {} can be chosen by the name `{name}`", owner.name())))
            }
            None => Ok(()),
        }
    }

    /// Whose records were chosen, by their names. What goes in belongs to one of each.
    pub(super) fn owners(&self) -> impl Iterator<Item = (RecordOwner, Vec<&str>)> {
        let owners = [
            (RecordOwner::Lab, self.lab.as_deref().into_iter().collect()),
            (RecordOwner::Project, self.project.as_deref().into_iter().collect()),
            (RecordOwner::Subject, self.subject.as_deref().into_iter().collect()),
            (RecordOwner::Session, self.sessions.iter().map(String::as_str).collect()),
        ];
        owners.into_iter().filter(|(_, names): &(_, Vec<&str>)| !names.is_empty())
    }

    /// Whether nothing was chosen: everything goes in.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// What was chosen, for people: `sessions, subjects of lab cortexlab`.
    pub fn for_people(&self) -> String {
        let names: Vec<&str> = self.endpoints.iter().map(String::as_str).collect();
        let what = if names.is_empty() { "everything".to_owned() } else { names.join(", ") };
        let of = |(owner, names): (RecordOwner, Vec<&str>)| match names.as_slice() {
            [name] => format!(" of {} {name}", owner.name()),
            names => format!(" of {} {}s", names.len(), owner.name()),
        };
        what + &self.owners().map(of).collect::<String>()
    }

    pub(super) fn has(&self, endpoint: &Endpoint) -> bool {
        self.endpoints.is_empty() || self.endpoints.contains(endpoint.name)
    }

    /// How this endpoint's records are narrowed. `plain` are the names that no other name of their kind holds.
    pub(super) fn narrowed(&self, endpoint: &Endpoint, plain: &[&str]) -> Narrowed {
        let mut to = Vec::new();
        for (owner, names) in self.owners() {
            match owner.of(endpoint, &names, plain) {
                Belonging::All => {}
                Belonging::AnyOf(pairs) => to.push((owner, pairs)),
                Belonging::Unknown => {
                    return Narrowed::Not(format!(
                        "its records do not say to which {} they belong",
                        owner.name()
                    ));
                }
            }
        }
        if to.is_empty() { Narrowed::Whole } else { Narrowed::To(to) }
    }

    /// Whether a stored answer belongs to what was chosen: where a lab or a project was, lists that were asked for
    /// with it.
    pub(super) fn takes(&self, answer: &ExportedEntry) -> bool {
        let is_shared = |endpoint: &Endpoint| endpoint.class == Class::Reference;
        let is_theirs = || {
            let asked = query_string::parse(&answer.query);
            let has = |owner: RecordOwner, names: &[&str]| {
                let is_it = |(key, value): &(String, String)| {
                    owner.parameters().contains(&key.as_str()) && names.contains(&value.as_str())
                };
                asked.iter().any(is_it)
            };
            self.owners().all(|(owner, names)| has(owner, &names))
        };
        let is_one_of_them = |endpoint: &Endpoint, key: &str| {
            self.owners().all(|(owner, names)| owner.listed() == endpoint.name && names.contains(&key))
        };
        match answer.route() {
            Route::List(endpoint) => self.has(endpoint) && (is_shared(endpoint) || is_theirs()),
            Route::Detail(endpoint, key) => {
                self.has(endpoint) && (is_shared(endpoint) || is_one_of_them(endpoint, &key))
            }
            Route::Service(_) | Route::Other => self.endpoints.is_empty(),
        }
    }

    /// Whether a stored answer is what was chosen itself, and not what everybody needs.
    pub(super) fn means(&self, answer: &ExportedEntry) -> bool {
        let theirs = |endpoint: &Endpoint| endpoint.class != Class::Reference;
        self.owners().next().is_none() || matches!(answer.route(), Route::List(endpoint) if theirs(endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_takes_what_it_names() {
        let of_lab = Selection { lab: Some("a".to_owned()), ..Selection::default() };
        let sessions =
            Selection { endpoints: BTreeSet::from(["sessions".to_owned()]), ..Selection::default() };
        for (path, query, lab, named) in [
            ("/sessions", "lab=a&sex=F", true, true),
            ("/sessions", "lab=b", false, true),
            ("/sessions", "", false, true),
            ("/sessions/d32876dd-8303-4720-8e7e-20678dc2fd71", "", false, true),
            ("/labs", "", true, false),
            ("/labs/a", "", true, false),
            ("/api/schema", "", true, false),
        ] {
            let answer = ExportedEntry {
                path: path.to_owned(),
                query: query.to_owned(),
                media: "json".to_owned(),
                status: 200,
                headers: Vec::new(),
                asked_at: 0,
                received_at: 0,
                pages_since: None,
                body: String::new(),
            };
            assert_eq!(of_lab.takes(&answer), lab, "{path}?{query}");
            assert_eq!(sessions.takes(&answer), named, "{path}?{query}");
            assert!(Selection::default().takes(&answer));
        }
        let none = Selection { endpoints: BTreeSet::from(["sesions".to_owned()]), ..Selection::default() };
        assert!(none.check().is_err());
        let project = Selection { project: Some("p".to_owned()), ..Selection::default() };
        let narrowed = |name: &str| project.narrowed(Endpoint::named(name).unwrap(), &[]);
        assert_eq!(narrowed("tags"), Narrowed::Whole);
        assert!(matches!(narrowed("channels"), Narrowed::To(_)));
        assert!(matches!(narrowed("notes"), Narrowed::Not(_)));
    }
}
