//! What belongs to a lab, a project, a subject or a session: the parameters by which the records of each endpoint are found.
//!
//! A copy of a part of Alyx is of use where what belongs together is in it: a session's subject, datasets, files, probes and
//! all that they lead to. What all labs share is small, and belongs to everybody.

use super::{
    Class, Endpoint,
    filter::{Decided, Filter, Predicate},
    filterset::python_literal::Python,
    model::{Join, Model},
    query_string::Pairs,
    record,
};

/// Who has records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordOwner {
    /// A lab, by its name.
    Lab,
    /// A project, by its name.
    Project,
    /// A subject, by its nickname, which subjects of other labs may have too.
    Subject,
    /// A session, by its id.
    Session,
}

/// How the records of an endpoint that belong to somebody are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Belonging {
    /// All of them do.
    All,
    /// Those that one of these parameters finds. The first is what Alyx itself calls so.
    AnyOf(Pairs),
    /// Nothing in them says whose they are.
    Unknown,
}

/// The ways from an endpoint's records to a session or a subject, whose lab and projects are known.
const WAYS: &[(&str, &[&str])] = &[
    ("sessions", &[""]),
    ("subjects", &["", "actions_sessions__"]),
    ("insertions", &["session__"]),
    ("chronic-insertions", &["probe_insertion__session__", "subject__"]),
    ("trajectories", &["probe_insertion__session__", "chronic_insertion__subject__"]),
    ("channels", &["trajectory_estimate__probe_insertion__session__"]),
    ("fields-of-view", &["session__"]),
    ("fov-location", &["field_of_view__session__"]),
    ("imaging-stack", &["slices__session__"]),
    ("datasets", &["session__"]),
    ("files", &["dataset__session__"]),
    ("downloads", &["dataset__session__"]),
    ("data-notices", &["datasets__session__"]),
    ("tasks", &["session__"]),
    ("surgeries", &["subject__", "subject__actions_sessions__"]),
    ("weighings", &["subject__", "subject__actions_sessions__"]),
    ("water-administrations", &["subject__", "subject__actions_sessions__"]),
    ("water-restriction", &["subject__", "subject__actions_sessions__"]),
];

impl RecordOwner {
    /// The parameter that Alyx knows it by, and what people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lab => "lab",
            Self::Project => "project",
            Self::Subject => "subject",
            Self::Session => "session",
        }
    }

    /// The endpoint that lists all of them.
    pub fn listed(self) -> &'static str {
        match self {
            Self::Lab => "labs",
            Self::Project => "projects",
            Self::Subject => "subjects",
            Self::Session => "sessions",
        }
    }

    /// The field of that endpoint's records that has the name.
    pub fn field(self) -> &'static str {
        match self {
            Self::Lab | Self::Project => "name",
            Self::Subject => "nickname",
            Self::Session => "id",
        }
    }

    /// The name that a record of that endpoint has, and of which lab it is, where that tells two of one name apart.
    pub fn name_in(self, record: &str) -> Option<(String, String)> {
        let record = record::parse(record);
        let text = |field: &str| record[field].as_str().map(str::to_owned);
        Some((text(self.field())?, text("lab").unwrap_or_default()))
    }

    /// The parameters by which lists are asked for what is theirs.
    pub fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Lab => &["lab"],
            Self::Project => &["project", "projects"],
            Self::Subject => &["subject", "nickname"],
            Self::Session => &["session"],
        }
    }

    /// Those of another endpoint that belong to those of these names, whom an endpoint's records name.
    pub fn naming(
        self,
        endpoint: &Endpoint,
        names: &[&str],
        plain: &[&str],
    ) -> Option<(&'static str, &'static Endpoint, &'static str, Pairs)> {
        let (column, to, key) = Self::named_by(endpoint)?;
        match self.of(to, names, plain) {
            Belonging::AnyOf(ways) => Some((column, to, key, ways)),
            Belonging::All | Belonging::Unknown => None,
        }
    }

    /// By which names an endpoint's records say of whom they are: the column, and the endpoint and column of the others'.
    fn named_by(endpoint: &Endpoint) -> Option<(&'static str, &'static Endpoint, &'static str)> {
        if endpoint.name == "subjects" {
            return Some(("nickname", Endpoint::named("sessions")?, "subject"));
        }
        let (_, ways) = WAYS.iter().find(|(known, _)| *known == endpoint.name)?;
        let first = ways.first()?.split("__").next()?;
        let relation = Model::of(endpoint.name)?.relation(first)?;
        let Join::Holds { key, detail: false, .. } = relation.join else { return None };
        (!relation.many).then_some(())?;
        Some((relation.name, Endpoint::named(relation.to)?, key))
    }

    /// The column that tells it, at the end of a way to a session or to a subject.
    fn column(self, of_session: bool) -> Option<&'static str> {
        match (self, of_session) {
            (Self::Lab, _) => Some("lab__name"),
            (Self::Project, _) => Some("projects__name"),
            (Self::Subject, true) => Some("subject__nickname"),
            (Self::Subject, false) => Some("nickname"),
            (Self::Session, true) => Some("id"),
            // All that is of its subject is more than what is of the session.
            (Self::Session, false) => None,
        }
    }

    /// What of an endpoint belongs to those of these names. Where a name is `plain`, Alyx's own parameter finds the same:
    /// that of projects finds those too whose names hold it.
    pub fn of(self, endpoint: &Endpoint, names: &[&str], plain: &[&str]) -> Belonging {
        if endpoint.class == Class::Reference {
            return Belonging::All;
        }
        let Some((_, ways)) = WAYS.iter().find(|(known, _)| *known == endpoint.name) else {
            return Belonging::Unknown;
        };
        let path = |way: &&str| {
            let column = self.column(leads_to_session(endpoint, way))?;
            Some(("django".to_owned(), asked_for(&format!("{way}{column}"), names)))
        };
        let mut pairs: Pairs = ways.iter().filter_map(path).collect();
        let works =
            |filter: &Filter| filter.decided != Decided::Nowhere && !matches!(filter.test, Predicate::Broken);
        if let [name] = names
            && plain.contains(name)
            && endpoint.filter(self.name()).is_some_and(works)
        {
            pairs.insert(0, (self.name().to_owned(), (*name).to_owned()));
        }
        Belonging::AnyOf(pairs)
    }
}

/// Whether a way ends at a session, and not at a subject.
fn leads_to_session(endpoint: &Endpoint, way: &str) -> bool {
    match way.trim_end_matches('_').rsplit("__").next() {
        None | Some("") => endpoint.name == "sessions",
        Some(last) => matches!(last, "session" | "actions_sessions"),
    }
}

/// A column that is one of these, in the words of `django=`.
fn asked_for(column: &str, names: &[&str]) -> String {
    // What looks like a number, a truth or a list is one to `django=`, but for between quotes.
    let is_text = |name: &str| name.contains('\'') || matches!(Python::convert(name), Ok(Python::Text(_)));
    match names {
        [name] if is_text(name) => format!("{column},{name}"),
        _ => format!("{column}__in,['{}']", names.join("','")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::alyx::{ENDPOINTS, filterset::path::Path};

    const ALL: [RecordOwner; 4] =
        [RecordOwner::Lab, RecordOwner::Project, RecordOwner::Subject, RecordOwner::Session];

    #[test]
    fn every_way_leads_to_a_lab_and_to_projects() {
        for (endpoint, ways) in WAYS {
            let endpoint = Endpoint::named(endpoint).unwrap();
            for owner in ALL {
                let mut ends = 0;
                for way in *ways {
                    let Some(column) = owner.column(leads_to_session(endpoint, way)) else { continue };
                    let path = Path::resolve(endpoint.name, &format!("{way}{column}")).unwrap();
                    assert!(path.rest.is_empty(), "{}: {path:?}", endpoint.name);
                    ends += 1;
                }
                assert!(ends > 0, "{owner:?} of {}", endpoint.name);
            }
        }
    }

    #[test]
    fn of_each_endpoint_it_is_known_what_belongs_to_whom() {
        for endpoint in ENDPOINTS {
            let unknown = RecordOwner::Lab.of(endpoint, &["x"], &["x"]) == Belonging::Unknown;
            assert_eq!(
                unknown,
                ["notes", "water-restricted-subjects"].contains(&endpoint.name),
                "{}",
                endpoint.name
            );
        }
        let sessions = Endpoint::named("sessions").unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let exact = pair("django", "projects__name,x");
        assert_eq!(
            RecordOwner::Project.of(sessions, &["x"], &["x"]),
            Belonging::AnyOf(vec![pair("project", "x"), exact.clone()])
        );
        assert_eq!(RecordOwner::Project.of(sessions, &["x"], &[]), Belonging::AnyOf(vec![exact]));
        let both = pair("django", "id__in,['a','b']");
        assert_eq!(RecordOwner::Session.of(sessions, &["a", "b"], &["a"]), Belonging::AnyOf(vec![both]));
        let weighings = Endpoint::named("weighings").unwrap();
        let Belonging::AnyOf(pairs) = RecordOwner::Lab.of(weighings, &["x"], &["x"]) else {
            panic!("by what?")
        };
        assert_eq!(pairs[0], pair("django", "subject__lab__name,x"), "its own parameter is broken");
    }
}
