//! The ways in which a question may be understood by an Alyx that nobody knows.
//!
//! Its description says which parameters there are, not what they mean. So a parameter that compares a column may compare it
//! otherwise, and what one known release means otherwise than another this one may, too. A question is answered where all ways
//! that its answers have not ruled out ([`Findings`]) come to the same; what is more than a comparison it must have shown.

use super::{AlyxSpec, Findings, Release, Rules, release::RELEASES};
use crate::alyx::{
    Endpoint,
    filter::{Filter, Input, Lookup, Predicate},
    filterset::{
        Undecidable, django,
        path::{Leaf, Path},
    },
    query_string::Pairs,
};

/// One way to understand a question.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// The rules of this release,
    pub(crate) rules: &'static Rules,
    /// and comparisons of these parameters otherwise than there.
    lookups: Vec<(&'static str, Lookup)>,
}

/// The ways in which a question may be understood.
#[derive(Debug)]
pub(crate) struct Readings {
    /// The likeliest,
    pub(crate) likeliest: Reading,
    /// and the others, each with the parameter that it understands otherwise.
    pub(crate) others: Vec<(String, Reading)>,
    /// Why none counts, unless what is asked is refused as it is written.
    pub(crate) unshown: Option<Undecidable>,
}

/// One way to understand a parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Way {
    /// As the nearest release that is known.
    Own,
    /// With another comparison.
    Compared(Lookup),
    /// As another release.
    By(&'static Release),
}

/// Something that a question asks; the list itself is one.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its name in [`Findings`]: that of the parameter, with the path of a pair; empty for the list itself.
    pub(crate) key: String,
    pub(crate) filter: Option<&'static Filter>,
    /// The kind of its value: what was shown of one kind says nothing of another.
    pub(crate) class: &'static str,
    /// Its value as it is written.
    text: String,
}

impl Reading {
    /// By the rules of a release.
    pub(crate) fn by(rules: &'static Rules) -> Self {
        Self { rules, lookups: Vec::new() }
    }

    /// How a parameter compares that compares so as far as is known.
    pub(crate) fn lookup(&self, filter: &Filter, known: Lookup) -> Lookup {
        self.lookups.iter().find(|(name, _)| *name == filter.name).map_or(known, |(_, lookup)| *lookup)
    }

    /// The same with one parameter understood so.
    pub(crate) fn with(&self, filter: Option<&'static Filter>, way: Way) -> Self {
        let mut reading = self.clone();
        match (way, filter) {
            (Way::By(release), _) => reading.rules = &release.rules,
            (Way::Compared(lookup), Some(filter)) => {
                reading.lookups.retain(|(name, _)| *name != filter.name);
                reading.lookups.push((filter.name, lookup));
            }
            _ => {}
        }
        reading
    }
}

impl Way {
    /// Its name in [`Findings`].
    pub(crate) fn name(self) -> String {
        match self {
            Self::Own => "own".to_owned(),
            Self::Compared(lookup) => lookup.names().join("__"),
            Self::By(release) => release.name.to_owned(),
        }
    }
}

/// What of a question asks anything, in the order of the filters; the list itself first.
pub(crate) fn parts(endpoint: &'static Endpoint, pairs: &Pairs) -> Vec<Part> {
    let mut parts = vec![Part { key: String::new(), filter: None, class: "one", text: String::new() }];
    for filter in endpoint.filters {
        let Some((_, text)) = pairs.iter().rev().find(|(name, _)| name == filter.name) else { continue };
        let Some(class) = class(filter.input, text) else { continue };
        if matches!(filter.test, Predicate::Django) {
            let key = |field: &String| format!("{} {}", filter.name, place(endpoint, field));
            let part = |key| Part { key, filter: Some(filter), class, text: String::new() };
            parts.extend(django::fields(text).iter().map(key).map(part));
        } else {
            parts.push(Part { key: filter.name.to_owned(), filter: Some(filter), class, text: text.clone() });
        }
    }
    parts
}

/// What a field of a pair leads to, however it is compared.
fn place(endpoint: &'static Endpoint, field: &str) -> String {
    let field = field.trim().trim_start_matches('~');
    let Ok(path) = Path::resolve(endpoint.name, field) else { return field.to_owned() };
    let hops = path.hops.iter().map(|hop| hop.name);
    let leaf = match path.leaf {
        Leaf::Value { column, .. } => Some(column),
        Leaf::Record => None,
    };
    hops.chain(leaf).collect::<Vec<_>>().join("__")
}

/// The kind of a value; none where it asks nothing.
fn class(input: Input, text: &str) -> Option<&'static str> {
    match (input, text.to_lowercase().as_str()) {
        (Input::SelectedBoolean, "true" | "2") | (Input::Boolean, "true" | "1") => Some("true"),
        (Input::SelectedBoolean, "false" | "3") | (Input::Boolean, "false" | "0") => Some("false"),
        (Input::SelectedBoolean | Input::Boolean, _) => None,
        _ if text.is_empty() => None,
        _ if text.contains(',') => Some("several"),
        _ => Some("one"),
    }
}

impl Part {
    /// The ways in which it may be understood; the likeliest first.
    pub(crate) fn ways(&self, endpoint: &Endpoint, nearest: &'static Rules) -> Vec<Way> {
        let mut ways = vec![Way::Own];
        if let Some(filter) = self.filter
            && let Predicate::Column(_, own) = filter.test
        {
            let others = comparisons(filter.input, own).iter().filter(|lookup| **lookup != own);
            ways.extend(others.map(|lookup| Way::Compared(*lookup)));
        }
        let mut rules = vec![nearest];
        for release in RELEASES {
            let known = |known: &Rules| self.is_alike(endpoint, known, &release.rules);
            if !rules.iter().any(|one| known(one)) {
                rules.push(&release.rules);
                ways.push(Way::By(release));
            }
        }
        ways
    }

    /// Whether two releases understand it alike.
    fn is_alike(&self, endpoint: &Endpoint, one: &Rules, other: &Rules) -> bool {
        let Some(filter) = self.filter else {
            return one.order(endpoint).iter().filter(|order| order.path != "name").count()
                == other.order(endpoint).iter().filter(|order| order.path != "name").count();
        };
        let of_days = matches!(filter.input, Input::Date | Input::FormDateTime);
        match filter.test {
            Predicate::Alive | Predicate::WaterRestricted => one.alive == other.alive,
            Predicate::SessionDatasets => one.session_datasets_exist == other.session_datasets_exist,
            _ => !of_days || one.day_first == other.day_first,
        }
    }

    /// Whether it counts as known only where it has been shown: what no comparison is another way of.
    pub(crate) fn must_be_shown(&self) -> bool {
        self.filter.is_some_and(|filter| {
            matches!(filter.input, Input::Boolean | Input::SelectedBoolean)
                || !matches!(filter.test, Predicate::Column(..) | Predicate::Django)
        })
    }

    /// Under which name it stands in [`Findings`] that this value of it was asked for itself.
    pub(crate) fn exactly(&self) -> Option<String> {
        (!self.text.is_empty()).then(|| format!("={}", self.text))
    }

    /// Whether Alyx fails on it, whatever its value.
    pub(crate) fn is_always_refused(&self) -> bool {
        self.filter.is_some_and(|filter| matches!(filter.test, Predicate::Broken))
    }

    /// Whether its value is one of two, of which each is shown by itself.
    pub(crate) fn is_of_two(&self) -> bool {
        matches!(self.class, "true" | "false")
    }
}

/// How a column may be compared that is known to be compared so.
fn comparisons(input: Input, own: Lookup) -> &'static [Lookup] {
    match (input, own) {
        (Input::Text, _) => &[
            Lookup::Exact,
            Lookup::IExact,
            Lookup::Contains,
            Lookup::IContains,
            Lookup::Starts,
            Lookup::IStarts,
        ],
        (Input::Number | Input::NumberText | Input::Label(_) | Input::Date | Input::DateTime, _) => {
            &[Lookup::Exact, Lookup::From, Lookup::Until]
        }
        (Input::DateText, _) => &[Lookup::Date, Lookup::DateFrom, Lookup::DateUntil],
        _ => &[],
    }
}

impl AlyxSpec {
    /// The ways in which a question may be understood; none where this Alyx is known, and there is one.
    pub(crate) fn readings(
        &self,
        endpoint: &'static Endpoint,
        pairs: &Pairs,
    ) -> Result<Option<Readings>, Undecidable> {
        let rules = self.rules()?;
        let Some(findings) = self.findings() else { return Ok(None) };
        findings.readings(endpoint, pairs, rules).map(Some)
    }
}

impl Findings {
    fn readings(
        &self,
        endpoint: &'static Endpoint,
        pairs: &Pairs,
        rules: &'static Rules,
    ) -> Result<Readings, Undecidable> {
        let other = |difference| Undecidable::OtherAlyx { difference };
        let (mut likeliest, mut open, mut unshown) = (Reading::by(rules), Vec::new(), None);
        for part in parts(endpoint, pairs) {
            let (name, key) = (endpoint.name, part.key.clone());
            let exactly = part.exactly().is_some_and(|exactly| self.has_shown(name, &key, &exactly));
            if part.must_be_shown() && !exactly && !self.has_shown(name, &key, part.class) {
                unshown = Some(other(format!("has not shown what `{key}` of /{name} asks")));
            }
            let is_open = |way: &Way| !self.is_excluded(name, &key, &way.name());
            let mut ways = part.ways(endpoint, rules).into_iter().filter(is_open);
            let Some(first) = ways.next() else {
                let what = if key.is_empty() { String::new() } else { format!("`{key}` of ") };
                return Err(other(format!("gives other records for {what}/{name}")));
            };
            likeliest = likeliest.with(part.filter, first);
            if !exactly {
                open.extend(ways.map(|way| (part.filter, key.clone(), way)));
            }
        }
        let others = open.into_iter().map(|(filter, key, way)| (key, likeliest.with(filter, way)));
        Ok(Readings { others: others.collect(), likeliest, unshown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alyx::query_string;

    /// How a stranger that has shown this understands a question.
    fn read(findings: Findings, endpoint: &str, query: &str) -> Result<Readings, Undecidable> {
        let spec = AlyxSpec::newest().as_stranger("3.6").having_shown(findings);
        let endpoint = Endpoint::named(endpoint).unwrap();
        Ok(spec.readings(endpoint, &query_string::parse(query))?.unwrap())
    }

    #[test]
    fn a_comparison_is_open_until_an_answer_rules_it_out() {
        let lookup = |readings: &Readings| {
            let filter = Endpoint::named("sessions").unwrap().filter("subject").unwrap();
            readings.likeliest.lookup(filter, Lookup::IExact)
        };
        let open = read(Findings::default(), "sessions", "subject=a&limit=3").unwrap();
        assert_eq!((open.others.len(), lookup(&open)), (5, Lookup::IExact));
        let mut findings = Findings::default();
        for way in ["own", "exact", "contains", "startswith", "istartswith"] {
            findings.exclude("sessions", "subject", way.to_owned());
        }
        let other = read(findings.clone(), "sessions", "subject=a").unwrap();
        assert_eq!((other.others.len(), lookup(&other)), (0, Lookup::IContains));
        findings.exclude("sessions", "subject", "icontains".to_owned());
        let none = read(findings, "sessions", "subject=a").unwrap_err().to_string();
        assert!(none.starts_with("This Alyx gives other records for `subject` of /sessions"), "{none}");
    }

    #[test]
    fn what_is_more_than_a_comparison_must_have_been_shown() {
        let unshown = |findings: &Findings, query| read(findings.clone(), "subjects", query).unwrap().unshown;
        let mut findings = Findings::default();
        assert!(unshown(&findings, "alive=True").is_some());
        assert!(unshown(&findings, "alive=maybe").is_none(), "it asks nothing");
        findings.show("subjects", "alive", "true");
        assert!(unshown(&findings, "alive=True").is_none() && unshown(&findings, "alive=False").is_some());
        assert!(unshown(&findings, "django=sex,F").is_none());
    }

    #[test]
    fn a_pair_is_known_by_where_it_leads() {
        let keys = |query: &str| -> Vec<String> {
            let sessions = Endpoint::named("sessions").unwrap();
            parts(sessions, &query_string::parse(query)).into_iter().map(|part| part.key).collect()
        };
        let name = keys("django=subject__nickname,b");
        assert_eq!(name, keys("django=~subject__nickname__icontains,a"));
        assert_eq!(keys("django=number__gte,3,~n_trials,1"), ["", "django number", "django n_trials"]);
        assert_ne!(name, keys("django=number,3"));
    }
}
