//! What is to go into a snapshot, of all that the proxy knows.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::SnapshotError;
use crate::{
    alyx::{
        Class, Endpoint, Route,
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
}

/// How a table is narrowed to what was chosen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Narrowed {
    /// To the records that fulfil these parameters; the whole table where there are none.
    To(Pairs),
    /// Not at all, because of this.
    Not(String),
}

impl Selection {
    /// Refuses names that are none.
    pub fn check(&self) -> Result<(), SnapshotError> {
        match self.endpoints.iter().find(|name| Endpoint::named(name).is_none()) {
            Some(name) => Err(SnapshotError::Choice(format!("there is no endpoint `{name}`"))),
            None => Ok(()),
        }
    }

    /// Whether nothing was chosen: everything goes in.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// What was chosen, for people: `sessions, subjects of lab cortexlab`.
    pub fn for_people(&self) -> String {
        let names: Vec<&str> = self.endpoints.iter().map(String::as_str).collect();
        let what = if names.is_empty() { "everything".to_owned() } else { names.join(", ") };
        let of = |kind: &str, name: &Option<String>| {
            name.as_ref().map(|name| format!(" of {kind} {name}")).unwrap_or_default()
        };
        format!("{what}{}{}", of("lab", &self.lab), of("project", &self.project))
    }

    pub(super) fn has(&self, endpoint: &Endpoint) -> bool {
        self.endpoints.is_empty() || self.endpoints.contains(endpoint.name)
    }

    /// How this endpoint's records are narrowed. What all labs share is small, and goes in whole.
    pub(super) fn narrowed(&self, endpoint: &'static Endpoint) -> Narrowed {
        let mut pairs = Pairs::new();
        let wishes =
            [(&self.lab, &["lab"][..], "lab"), (&self.project, &["projects", "project"][..], "project")];
        for (wish, names, kind) in wishes {
            let Some(wish) = wish else { continue };
            match names.iter().find(|name| endpoint.filter(name).is_some()) {
                Some(name) => pairs.push(((*name).to_owned(), wish.clone())),
                None if endpoint.class == Class::Reference => {}
                None => return Narrowed::Not(format!("Alyx does not filter it by {kind}")),
            }
        }
        Narrowed::To(pairs)
    }

    /// Whether a stored answer belongs to what was chosen: where a lab or a project was, lists that were asked for
    /// with it.
    pub(super) fn takes(&self, answer: &ExportedEntry) -> bool {
        match answer.route() {
            Route::List(endpoint) if self.has(endpoint) => {
                let asked = query_string::parse(&answer.query);
                matches!(self.narrowed(endpoint), Narrowed::To(pairs) if pairs.iter().all(|pair| asked.contains(pair)))
            }
            Route::Detail(endpoint, _) if self.has(endpoint) => {
                matches!(self.narrowed(endpoint), Narrowed::To(pairs) if pairs.is_empty())
            }
            Route::List(_) | Route::Detail(..) => false,
            Route::Service(_) | Route::Other => self.endpoints.is_empty(),
        }
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
        let tags = project.narrowed(Endpoint::named("tags").unwrap());
        assert_eq!(tags, Narrowed::To(Pairs::new()));
        let channels = project.narrowed(Endpoint::named("channels").unwrap());
        assert!(matches!(channels, Narrowed::Not(_)), "{channels:?}");
    }
}
