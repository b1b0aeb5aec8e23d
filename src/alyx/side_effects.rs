//! What a write through REST changes besides the record that it names, and how the record of the list is had from what Alyx
//! answers, which is the detail (ALYX.md 3, 7).
//!
//! Who shows fields of a record is told by [`super::change_tracking`]; here stands what Alyx writes or computes anew elsewhere.
//! What has no line here changes nobody knows what.

use super::{
    Endpoint,
    record::{self, Record},
};

/// Records of an endpoint change when one of another is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideEffect {
    /// The endpoint whose records change.
    pub on: &'static str,
    /// The fields of the record written that must change for that; none: whatever is written. A new record counts where the
    /// first of them holds anything.
    pub fields: &'static [&'static str],
    /// Whether only their details do.
    pub detail: bool,
}

const fn on(on: &'static str) -> SideEffect {
    SideEffect { on, fields: &[], detail: false }
}

const fn in_details(of: &'static str) -> SideEffect {
    SideEffect { detail: true, ..on(of) }
}

const fn with(on: &'static str, fields: &'static [&'static str]) -> SideEffect {
    SideEffect { on, fields, detail: false }
}

/// The default dataset of a name gives way to a new one.
const DEFAULT: &[&str] = &["session", "collection", "name", "revision", "default_dataset"];
/// What decides to which insertions and fields of view a dataset belongs.
const PLACE: &[&str] = &["session", "collection", "name"];
/// What subjects' water is reckoned by.
const WATER: &[&str] = &["reference_weight_pct", "zscore_weight_pct", "timezone"];

const EFFECTS: &[(&str, &[SideEffect])] = &[
    ("sessions", &[with("subjects", &["projects", "subject"])]),
    (
        "subjects",
        &[
            with("water-restriction", &["death_date"]),
            on("water-restricted-subjects"),
            with("users", &["responsible_user"]),
        ],
    ),
    ("insertions", &[with("chronic-insertions", &["chronic_insertion"])]),
    ("chronic-insertions", &[with("insertions", &["probe_insertion"]), with("trajectories", &["name"])]),
    ("trajectories", &[]),
    ("channels", &[on("trajectories")]),
    ("brain-regions", &[on("brain-regions")]),
    ("fields-of-view", &[on("fov-location"), on("imaging-stack")]),
    (
        "fov-location",
        &[on("fields-of-view"), on("imaging-stack"), with("fov-location", &["default_provenance"])],
    ),
    ("imaging-stack", &[on("fields-of-view")]),
    (
        "datasets",
        &[
            with("datasets", DEFAULT),
            with("revisions", &["revision"]),
            with("insertions", PLACE),
            with("fields-of-view", PLACE),
        ],
    ),
    ("files", &[on("datasets"), in_details("sessions"), in_details("insertions")]),
    ("notes", &[]),
    ("tasks", &[]),
    ("weighings", &[on("subjects"), on("water-restricted-subjects")]),
    ("water-administrations", &[on("subjects"), on("water-restricted-subjects")]),
    ("surgeries", &[on("subjects"), on("water-restricted-subjects")]),
    ("data-notices", &[]),
    ("downloads", &[]),
    ("labs", &[with("subjects", WATER), with("water-restricted-subjects", WATER)]),
    ("projects", &[]),
    ("tags", &[]),
    ("revisions", &[]),
    ("dataset-types", &[]),
    ("data-formats", &[]),
    ("data-repository", &[]),
    ("data-repository-type", &[]),
    ("locations", &[]),
    ("procedures", &[]),
    ("water-type", &[]),
];

/// Endpoints whose records nothing else refers to: nothing goes with one that is deleted.
const LEAVES: [&str; 6] =
    ["notes", "weighings", "water-administrations", "channels", "downloads", "data-notices"];

/// What else changes when a record of this endpoint is deleted; none where nobody knows.
pub fn of_deletion(deleted: &str) -> Option<&'static [SideEffect]> {
    of(deleted).filter(|_| LEAVES.contains(&deleted))
}

/// What else changes when a record of this endpoint is created or changed; none where nobody knows.
pub fn of(written: &str) -> Option<&'static [SideEffect]> {
    EFFECTS.iter().find(|(endpoint, _)| *endpoint == written).map(|(_, effects)| *effects)
}

/// A field of a list's record that the detail has not, or in another form.
struct Otherwise {
    endpoint: &'static str,
    field: &'static str,
    /// It stays as it is while this field of the detail does; none: a write may change it whatever it says.
    follows: Option<&'static str>,
    /// What it is where that is an empty array.
    empty: &'static str,
}

const OTHERWISE: &[Otherwise] = &[
    Otherwise { endpoint: "datasets", field: "protected", follows: Some("tags"), empty: "0" },
    Otherwise { endpoint: "datasets", field: "public", follows: Some("tags"), empty: "0" },
    Otherwise { endpoint: "subjects", field: "genotype", follows: Some("genotype"), empty: "[]" },
    // Saving an insertion makes its datasets anew.
    Otherwise { endpoint: "insertions", field: "datasets", follows: None, empty: "" },
];

/// A record as it was before it was written: its text in the list, and its detail where that is another.
#[derive(Debug, Clone, Copy)]
pub struct Before<'t> {
    /// Its text in the list.
    pub list: &'t str,
    /// Its detail.
    pub detail: Option<&'t str>,
}

/// The text in the list of a record that a write was answered with; none where the answer does not tell. Its fields are those
/// of `like`, the text of any record of that list.
pub fn listed(endpoint: &Endpoint, answer: &str, before: Option<Before<'_>>, like: &str) -> Option<String> {
    if same_fields(answer, like) {
        return Some(answer.to_owned());
    }
    let answer = Record::new(answer);
    let mut list = Record::new("{}");
    for (field, _) in record::fields(like) {
        let otherwise =
            OTHERWISE.iter().find(|known| known.endpoint == endpoint.name && known.field == field);
        let text = match otherwise {
            None => answer.field(field)?.to_owned(),
            Some(otherwise) => otherwise.text(&answer, before)?,
        };
        list = list.with(field, &text);
    }
    Some(list.text().to_owned())
}

impl Otherwise {
    fn text(&self, answer: &Record, before: Option<Before<'_>>) -> Option<String> {
        let follows = self.follows?;
        let now = answer.field(follows)?;
        if now == "[]" {
            return Some(self.empty.to_owned());
        }
        let before = before?;
        let then = Record::new(before.detail.unwrap_or(before.list));
        let same = then.field(follows) == Some(now);
        same.then(|| Record::new(before.list).field(self.field).map(str::to_owned)).flatten()
    }
}

/// Whether two records show the same fields in the same order.
pub fn same_fields(one: &str, other: &str) -> bool {
    record::fields(one).map(|(key, _)| key).eq(record::fields(other).map(|(key, _)| key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alyx::ENDPOINTS;

    #[test]
    fn every_line_names_endpoints() {
        let known = |name: &str| Endpoint::named(name).is_some();
        for (written, effects) in EFFECTS {
            assert!(known(written), "{written}");
            for effect in *effects {
                assert!(known(effect.on), "{written}: {}", effect.on);
            }
        }
        let unknown: Vec<_> =
            ENDPOINTS.iter().map(|endpoint| endpoint.name).filter(|name| of(name).is_none()).collect();
        // Users are shown by one another; the others are never written.
        assert_eq!(unknown, ["water-restriction", "water-restricted-subjects", "users"]);
    }

    #[test]
    fn what_an_answer_does_not_tell_is_not_made_up() {
        let datasets = Endpoint::named("datasets").unwrap();
        let like = r#"{"url":"a","tags":["t"],"protected":1}"#;
        let tagged = Before { list: like, detail: None };
        let listed = |answer, before| listed(datasets, answer, before, like);
        let new = r#"{"url":"b","tags":[]}"#;
        assert_eq!(listed(new, None).as_deref(), Some(r#"{"url":"b","tags":[],"protected":0}"#));
        let same = r#"{"url":"c","tags":["t"]}"#;
        assert_eq!(listed(same, Some(tagged)).as_deref(), Some(r#"{"url":"c","tags":["t"],"protected":1}"#));
        assert_eq!(listed(same, None), None);
        assert_eq!(listed(r#"{"url":"c","tags":["u"]}"#, Some(tagged)), None);
        assert_eq!(listed(r#"{"url":"c"}"#, Some(tagged)), None);
        assert_eq!(listed(like, None).as_deref(), Some(like));
    }
}
