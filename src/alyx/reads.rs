//! Which tables a list's question reads besides those whose records it shows: along the paths of `django=`, of its own
//! filters and of its order (ALYX.md 2.2, 2.7). A write to any of them may change what is listed.
//!
//! Read generously, as `writes` is: a table too many costs a request to Alyx, one too few would be a lie. Where a path leads
//! on from a name of which nothing is known here, it may lead anywhere.

use std::collections::BTreeSet;

use super::{
    Endpoint,
    endpoint::{BRAIN_REGIONS, CHANNELS, DATASETS, FOV_LOCATION, TRAJECTORIES},
    filter::{Decided, Filter, Input, Keyed, Predicate},
    filterset::{django, path},
    model::Model,
    query_string::Pairs,
};

/// The tables that a question reads, by the endpoints that list them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// Endpoints.
    pub tables: BTreeSet<&'static str>,
    /// Whether it may read any other, too.
    pub any: bool,
}

impl Reads {
    /// What a list of this endpoint reads for these parameters.
    pub fn of(endpoint: &'static Endpoint, pairs: &Pairs) -> Self {
        let mut reads = Self::default();
        for order in endpoint.order {
            reads.path(endpoint.name, order.path);
        }
        for (name, text) in pairs {
            if let Some(filter) = endpoint.filter(name) {
                reads.filter(endpoint, filter, text);
            }
        }
        reads
    }

    fn filter(&mut self, endpoint: &'static Endpoint, filter: &Filter, text: &str) {
        if let Decided::With(tables) = filter.decided {
            self.tables.extend(tables);
        }
        if let Input::Key(Keyed { by: Some(by), .. }) | Input::Keys(Keyed { by: Some(by), .. }) = filter.input
        {
            self.tables.insert(by);
        }
        match filter.test {
            Predicate::Column(path, _) => self.path(endpoint.name, path),
            Predicate::Django => {
                for field in django::fields(text) {
                    self.path(endpoint.name, field.trim_start_matches('~'));
                }
            }
            Predicate::DatasetTypes(relation)
            | Predicate::Datasets { relation, .. }
            | Predicate::DatasetQc(relation) => {
                self.path(endpoint.name, relation);
            }
            // A record may lie in a region by its channels or by its fields of view.
            Predicate::Region(_) => {
                let ways =
                    ["insertions", "fields-of-view", TRAJECTORIES, CHANNELS, FOV_LOCATION, BRAIN_REGIONS];
                self.tables.extend(ways);
            }
            Predicate::SessionDatasets | Predicate::ExistsOnServer => {
                self.tables.extend([DATASETS, "files", "data-repository"]);
            }
            Predicate::Users | Predicate::Stock => self.tables.extend(["users"]),
            Predicate::Tagged(_) => self.tables.extend(["tags"]),
            Predicate::AnyDataset => self.tables.extend([DATASETS]),
            Predicate::JsonKeys(_)
            | Predicate::JsonText(_)
            | Predicate::DateRange
            | Predicate::PerformanceFrom
            | Predicate::PerformanceUntil
            | Predicate::Histology
            | Predicate::Alive
            | Predicate::WaterRestricted
            | Predicate::OfInsertion
            | Predicate::Ancestors
            | Predicate::Descendants
            | Predicate::Broken => {}
        }
    }

    /// Follows a path as far as its names are known.
    fn path(&mut self, endpoint: &'static str, path: &str) {
        let segments: Vec<&str> = path.split("__").map(str::trim).collect();
        let (mut endpoint, mut rest) = (endpoint, segments.as_slice());
        while let [name, after @ ..] = rest {
            let Some(model) = Model::of(endpoint) else {
                self.any = true;
                return;
            };
            if let Some(relation) = model.relation(name) {
                self.tables.insert(relation.to);
                (endpoint, rest) = (relation.to, after);
            } else if path::column(model, rest).is_some() || rest.iter().all(|name| is_lookup(name)) {
                return;
            } else {
                // A column that no record shows, or a relation of which nothing is known.
                self.any |= !(model.hidden.contains(name) && after.iter().all(|name| is_lookup(name)));
                return;
            }
        }
    }
}

/// Whether a name at the end of a path is one of Django's transforms and lookups, which lead to no other table.
fn is_lookup(name: &str) -> bool {
    const LOOKUPS: [&str; 33] = [
        "exact",
        "iexact",
        "contains",
        "icontains",
        "in",
        "gt",
        "gte",
        "lt",
        "lte",
        "startswith",
        "istartswith",
        "endswith",
        "iendswith",
        "range",
        "isnull",
        "regex",
        "iregex",
        "date",
        "time",
        "year",
        "iso_year",
        "month",
        "day",
        "week",
        "week_day",
        "iso_week_day",
        "quarter",
        "hour",
        "minute",
        "second",
        "len",
        "contained_by",
        "pk",
    ];
    LOOKUPS.contains(&name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::{ENDPOINTS, query_string};
    use super::*;

    fn reads(question: &str) -> Reads {
        let (endpoint, query) = question.split_once('?').unwrap_or((question, ""));
        Reads::of(Endpoint::named(endpoint).unwrap(), &query_string::parse(query))
    }

    #[test]
    fn a_question_reads_what_its_paths_pass_through() {
        for (question, tables) in [
            ("labs", &[][..]),
            ("labs?name=a&django=institution__icontains,a&unknown=x", &[]),
            ("labs?django=session__task_protocol,x", &["sessions"]),
            ("labs?django=~session__in,['a']", &["sessions"]),
            ("labs?django=name,a,session__subject__nickname__icontains,x", &["sessions", "subjects"]),
            ("labs?django= session__subject__json__a__b ,x", &["sessions", "subjects"]),
            (
                "brain-regions?django=channels__trajectory_estimate__probe_insertion__session__number__gte,1",
                &["channels", "insertions", "sessions", "trajectories"],
            ),
            ("tasks", &["sessions"]),
            ("imaging-stack", &["fields-of-view"]),
            ("channels?lab=x", &["insertions", "labs", "sessions", "trajectories"]),
            ("files?lab=x", &["datasets", "labs", "sessions"]),
            ("datasets?exists=True", &["data-repository", "datasets", "files"]),
            ("water-administrations?session=x", &["sessions"]),
        ] {
            let reads = reads(question);
            assert_eq!(reads.tables, tables.iter().copied().collect(), "{question}");
            assert!(!reads.any, "{question}");
        }
    }

    #[test]
    fn what_is_not_known_may_lead_anywhere() {
        for question in [
            "subjects?django=litter__subject__actions_sessions__number,1",
            "subjects?django=species__subject__nickname,a",
            "labs?django=labmembership__user__username,a",
            "sessions?django=weighing__weight,1",
        ] {
            assert!(reads(question).any, "{question}");
        }
    }

    #[test]
    fn every_filter_leads_where_the_models_know() {
        for endpoint in ENDPOINTS {
            for filter in endpoint.filters.iter().filter(|filter| filter.decided != Decided::Nowhere) {
                let reads = reads(&format!("{}?{}=x", endpoint.name, filter.name));
                assert!(
                    !reads.any || matches!(filter.test, Predicate::Django),
                    "{} {}",
                    endpoint.name,
                    filter.name
                );
            }
        }
    }
}
