//! What belongs to a lab or a project: the parameters by which the records of each endpoint are found.
//!
//! A copy of a part of Alyx is of use where what belongs together is in it: a session's subject, datasets, files, probes and
//! all that they lead to. What all labs share is small, and belongs to everybody.

use super::{
    Class, Endpoint,
    filter::{Decided, Filter, Predicate},
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
        }
    }

    /// The endpoint that lists all of them.
    pub fn listed(self) -> &'static str {
        match self {
            Self::Lab => "labs",
            Self::Project => "projects",
        }
    }

    /// The name that a record of that endpoint has.
    pub fn name_in(self, record: &str) -> Option<String> {
        record::parse(record)["name"].as_str().map(str::to_owned)
    }

    /// The parameters by which lists are asked for what is theirs.
    pub fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Lab => &["lab"],
            Self::Project => &["project", "projects"],
        }
    }

    /// Those of another endpoint that belong to the one of this name, whom an endpoint's records name.
    pub fn naming(
        self,
        endpoint: &Endpoint,
        name: &str,
        plain: &[&str],
    ) -> Option<(&'static str, &'static Endpoint, &'static str, Pairs)> {
        let (column, to, key) = Self::named_by(endpoint)?;
        match self.of(to, name, plain.contains(&name)) {
            Belonging::AnyOf(ways) => Some((column, to, key, ways)),
            Belonging::All | Belonging::Unknown => None,
        }
    }

    /// By which names an endpoint's records say of whom they are: the column, and the endpoint and column of the others'.
    fn named_by(endpoint: &Endpoint) -> Option<(&'static str, &'static Endpoint, &'static str)> {
        let (_, ways) = WAYS.iter().find(|(known, _)| *known == endpoint.name)?;
        let first = ways.first()?.split("__").next()?;
        let relation = Model::of(endpoint.name)?.relation(first)?;
        let Join::Holds { key, detail: false, .. } = relation.join else { return None };
        (!relation.many).then_some(())?;
        Some((relation.name, Endpoint::named(relation.to)?, key))
    }

    fn column(self) -> &'static str {
        match self {
            Self::Lab => "lab__name",
            Self::Project => "projects__name",
        }
    }

    /// What of an endpoint belongs to the one of this name. Where the name is `plain`, Alyx's own parameter finds the same:
    /// that of projects finds those too whose names hold it.
    pub fn of(self, endpoint: &Endpoint, name: &str, plain: bool) -> Belonging {
        if endpoint.class == Class::Reference {
            return Belonging::All;
        }
        let Some((_, ways)) = WAYS.iter().find(|(known, _)| *known == endpoint.name) else {
            return Belonging::Unknown;
        };
        let path = |way: &&str| ("django".to_owned(), format!("{way}{},{name}", self.column()));
        let mut pairs: Pairs = ways.iter().map(path).collect();
        let works =
            |filter: &Filter| filter.decided != Decided::Nowhere && !matches!(filter.test, Predicate::Broken);
        if plain && endpoint.filter(self.name()).is_some_and(works) {
            pairs.insert(0, (self.name().to_owned(), name.to_owned()));
        }
        Belonging::AnyOf(pairs)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::alyx::{ENDPOINTS, filterset::path::Path};

    #[test]
    fn every_way_leads_to_a_lab_and_to_projects() {
        for (endpoint, ways) in WAYS {
            let endpoint = Endpoint::named(endpoint).unwrap();
            for owner in [RecordOwner::Lab, RecordOwner::Project] {
                for way in *ways {
                    let path = Path::resolve(endpoint.name, &format!("{way}{}", owner.column())).unwrap();
                    assert!(path.rest.is_empty(), "{}: {path:?}", endpoint.name);
                }
            }
        }
    }

    #[test]
    fn of_each_endpoint_it_is_known_what_belongs_to_whom() {
        for endpoint in ENDPOINTS {
            let unknown = RecordOwner::Lab.of(endpoint, "x", true) == Belonging::Unknown;
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
            RecordOwner::Project.of(sessions, "x", true),
            Belonging::AnyOf(vec![pair("project", "x"), exact.clone()])
        );
        assert_eq!(RecordOwner::Project.of(sessions, "x", false), Belonging::AnyOf(vec![exact]));
        let weighings = Endpoint::named("weighings").unwrap();
        let Belonging::AnyOf(pairs) = RecordOwner::Lab.of(weighings, "x", true) else { panic!("by what?") };
        assert_eq!(pairs[0], pair("django", "subject__lab__name,x"), "its own parameter is broken");
    }
}
