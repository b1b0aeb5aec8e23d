//! What the Alyx behind the proxy is, as far as one Alyx differs from another.
//!
//! The tables of this module's neighbours are those of the newest Alyx. What an older one has otherwise is found out from its
//! [`Description`], not from a version that somebody typed: the differences must be exactly those of a release that is known
//! ([`release::RELEASES`]). Any other Alyx is taken for the release that it is most like, as far as its own answers have shown
//! that it means the same ([`Findings`]): what it has not shown it is asked itself.

mod description;
mod findings;
pub(crate) mod reading;
mod release;

use std::{borrow::Cow, fmt, sync::LazyLock};

pub use description::Description;
pub use findings::Findings;
pub use release::{Alive, ImagingStacks, Release, Rules};

use super::{ENDPOINTS, Endpoint, filterset::Undecidable};

/// What an Alyx is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlyxSpec {
    /// Its description; none where it has not been asked for.
    description: Option<Description>,
    differences: Vec<Difference>,
    release: Option<&'static Release>,
    /// Where it is none that is known: the one that it is most like, and what it has shown.
    taken_for: Option<(&'static Release, Findings)>,
}

/// Something that an Alyx has otherwise than the newest known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// It has no such list.
    NoList(&'static str),
    /// Its list does not know this parameter, and so ignores it.
    NoParameter(&'static str, &'static str),
    /// Its list knows a parameter that nothing is known of here.
    NewParameter(&'static str, Cow<'static, str>),
    /// It shows no single record.
    NoDetail(&'static str),
    /// It shows single records by their id, where the newest does by name.
    DetailById(&'static str),
    /// It shows single records by something else.
    OtherDetail(&'static str),
}

/// What becomes of a parameter of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterUse {
    /// It asks what it asks of the newest.
    Asks,
    /// Alyx ignores it.
    Ignored,
    /// It may ask something: not known here.
    Unknown,
}

impl AlyxSpec {
    /// The newest Alyx that is known: what this program was made for.
    pub fn newest() -> Self {
        static NEWEST: LazyLock<AlyxSpec> = LazyLock::new(|| AlyxSpec::of(Description::newest().clone()));
        NEWEST.clone()
    }

    /// An Alyx that has not been asked what it is: taken for the newest, but for parameters that this does not know.
    pub fn undescribed() -> Self {
        Self { description: None, differences: Vec::new(), release: release::newest(), taken_for: None }
    }

    /// The Alyx of this description.
    pub fn of(description: Description) -> Self {
        let found = description.differences();
        let release = release::of(&found);
        let nearest = release::nearest(&found).filter(|_| release.is_none() && !description.is_empty());
        let taken_for = nearest.map(|nearest| (nearest, Findings::default()));
        Self { differences: found, release, description: Some(description), taken_for }
    }

    /// The same, having shown this of itself; where it is one that is known that tells nothing.
    #[must_use]
    pub fn having_shown(mut self, findings: Findings) -> Self {
        if let Some((_, known)) = &mut self.taken_for {
            *known = findings;
        }
        self
    }

    /// The same as if nobody knew it, taken for the release of this name: to try what is said before an unknown Alyx.
    #[must_use]
    pub fn as_stranger(mut self, name: &str) -> Self {
        let nearest = release::RELEASES.iter().find(|release| release.name == name);
        self.release = None;
        self.taken_for = nearest.map(|nearest| (nearest, Findings::default()));
        self
    }

    /// What it has shown of itself, where it is none that is known.
    pub fn findings(&self) -> Option<&Findings> {
        self.taken_for.as_ref().map(|(_, findings)| findings)
    }

    /// What it was found out from.
    pub fn description(&self) -> Option<&Description> {
        self.description.as_ref()
    }

    /// The release that it is; none where it is none that is known.
    pub fn release(&self) -> Option<&'static Release> {
        self.release
    }

    /// What it has otherwise than the newest.
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// Its rules, or why nothing can be said of its answers.
    pub fn rules(&self) -> Result<&'static Rules, Undecidable> {
        let nearest = self.taken_for.as_ref().map(|(nearest, _)| *nearest);
        self.release
            .or(nearest)
            .map(|release| &release.rules)
            .ok_or_else(|| Undecidable::OtherAlyx { difference: self.unlike_others() })
    }

    /// What no release that is known has; completes the sentence "This Alyx …".
    fn unlike_others(&self) -> String {
        if self.says_nothing() {
            return "gives no description of itself".to_owned();
        }
        let is_known = |one: &&Difference| release::has(one);
        let odd = self.differences.iter().find(|one| !is_known(one)).or(self.differences.first());
        odd.map_or_else(|| "is none that is known".to_owned(), ToString::to_string)
    }

    /// Whether it was asked what it is, and did not say: what it has is seen where it is asked for.
    fn says_nothing(&self) -> bool {
        self.description.as_ref().is_some_and(Description::is_empty)
    }

    /// A sentence about it.
    pub fn summary(&self) -> String {
        if let Some((nearest, _)) = &self.taken_for {
            return format!(
                "This Alyx {}, which no Alyx has that is known here: it is taken for a {} where its own answers show that it \
                 is one, and answers the rest itself",
                self.unlike_others(),
                nearest.name
            );
        }
        match (self.release, &self.description) {
            (Some(release), Some(_)) => format!("This Alyx is a {}", release.name),
            (_, None) => "What this Alyx is has not been asked yet".to_owned(),
            (None, Some(_)) => format!(
                "This Alyx {}, which no Alyx has that is known here: it answers itself what is asked",
                self.unlike_others()
            ),
        }
    }

    /// What it makes of a parameter of a list.
    pub fn parameter(&self, endpoint: &Endpoint, name: &str) -> ParameterUse {
        let compiled = endpoint.filter(name).is_some();
        match &self.description {
            None if compiled => ParameterUse::Asks,
            None => ParameterUse::Unknown,
            Some(description) => match (compiled, description.has_parameter(endpoint.name, name)) {
                (true, true) => ParameterUse::Asks,
                (false, true) => ParameterUse::Unknown,
                (_, false) => ParameterUse::Ignored,
            },
        }
    }

    /// Whether it shows single records of an endpoint by their id, though the newest does by name; an error where it shows
    /// none, or nobody knows by what.
    pub fn details_by_id(&self, endpoint: &'static Endpoint) -> Result<bool, Undecidable> {
        let name = endpoint.name;
        let mut of_endpoint = self.differences.iter().filter(|one| one.endpoint() == name);
        let other = of_endpoint.find(|one| {
            matches!(one, Difference::NoDetail(_) | Difference::DetailById(_) | Difference::OtherDetail(_))
        });
        match other {
            None => Ok(false),
            Some(Difference::DetailById(_)) => Ok(true),
            Some(difference) => Err(Undecidable::OtherAlyx { difference: difference.to_string() }),
        }
    }

    /// Whether it has a list that the newest has.
    pub fn has_list(&self, endpoint: &str) -> bool {
        self.says_nothing()
            || !self
                .differences
                .iter()
                .any(|one| matches!(one, Difference::NoList(name) if *name == endpoint))
    }

    /// Whether it shows single records of an endpoint at all.
    pub fn has_details(&self, endpoint: &str) -> bool {
        let none = |one: &Difference| matches!(one, Difference::NoList(name) | Difference::NoDetail(name) if *name == endpoint);
        self.says_nothing() || !self.differences.iter().any(none)
    }
}

impl Default for AlyxSpec {
    fn default() -> Self {
        Self::undescribed()
    }
}

impl Difference {
    /// The endpoint that it is of.
    pub fn endpoint(&self) -> &'static str {
        match self {
            Self::NoList(name)
            | Self::NoParameter(name, _)
            | Self::NewParameter(name, _)
            | Self::NoDetail(name)
            | Self::DetailById(name)
            | Self::OtherDetail(name) => name,
        }
    }
}

/// What of it can be said after "This Alyx".
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoList(endpoint) => write!(f, "has no /{endpoint}"),
            Self::NoParameter(endpoint, name) => write!(f, "knows no `{name}` of /{endpoint}"),
            Self::NewParameter(endpoint, name) => write!(f, "knows a `{name}` of /{endpoint}"),
            Self::NoDetail(endpoint) => write!(f, "shows no single record of /{endpoint}"),
            Self::DetailById(endpoint) => write!(f, "shows a record of /{endpoint} by its id"),
            Self::OtherDetail(endpoint) => write!(f, "shows a record of /{endpoint} by another key"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::alyx::schema;

    fn without(pointer: &str, key: &str) -> Description {
        let mut document = schema::document();
        let object = document.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap();
        assert!(object.remove(key).is_some());
        Description::of_openapi(&document).unwrap()
    }

    fn of_3_3() -> Description {
        let mut document = schema::document();
        let paths = document["paths"].as_object_mut().unwrap();
        paths.retain(|path, _| !path.starts_with("/data-notices"));
        let parameters = paths["/subjects"]["get"]["parameters"].as_array_mut().unwrap();
        parameters.extend(["reduced", "cull_method"].map(|name| json!({ "name": name, "in": "query" })));
        Description::of_openapi(&document).unwrap()
    }

    #[test]
    fn the_newest_has_nothing_otherwise() {
        let newest = AlyxSpec::newest();
        assert_eq!(newest.differences(), []);
        assert_eq!(newest.release().unwrap().name, "3.6");
        let sessions = Endpoint::named("sessions").unwrap();
        assert_eq!(newest.parameter(sessions, "lab"), ParameterUse::Asks);
        assert_eq!(newest.parameter(sessions, "nosuch"), ParameterUse::Ignored);
        assert_eq!(AlyxSpec::undescribed().parameter(sessions, "nosuch"), ParameterUse::Unknown);
    }

    #[test]
    fn an_older_one_has_rules_of_its_own() {
        let older = AlyxSpec::of(of_3_3());
        assert_eq!(older.release().unwrap().name, "3.3");
        let rules = older.rules().unwrap();
        assert_eq!((rules.alive, rules.pages.greatest), (Alive::Uncull, None));
        let (subjects, insertions) =
            (Endpoint::named("subjects").unwrap(), Endpoint::named("insertions").unwrap());
        assert_eq!(older.parameter(subjects, "reduced"), ParameterUse::Unknown);
        assert_eq!(rules.order(insertions).len(), 1);
        assert_eq!(rules.order(subjects).len(), 2);
        assert!(!older.has_list("data-notices") && older.has_list("subjects"));
    }

    #[test]
    fn one_that_is_none_that_is_known_is_taken_for_the_most_like() {
        let other = AlyxSpec::of(without("/paths", "/labs"));
        assert_eq!((other.release(), other.findings()), (None, Some(&Findings::default())));
        assert_eq!(other.rules().unwrap(), AlyxSpec::newest().rules().unwrap());
        let said = other.summary();
        assert!(said.starts_with("This Alyx has no /labs, ") && said.contains("taken for a 3.6"), "{said}");
        assert_eq!(AlyxSpec::newest().findings(), None);
        let silent = AlyxSpec::of(Description::none());
        assert!(silent.rules().is_err() && silent.findings().is_none());
    }
}
