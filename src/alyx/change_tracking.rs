//! How changes of records are found, and which other records show them (ALYX.md 6.1, 6.2).

use super::{
    derived::{Copied, CopyRule, rules},
    endpoint::ENDPOINTS,
    model::{Join, Model},
};

/// How the changed records of an endpoint can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// This column says when the record last changed.
    At(&'static str),
    /// A change is noted in a record of another endpoint: asked for by this path.
    With {
        /// The path of the time, from the record that changes.
        path: &'static str,
        /// The endpoint whose records note it.
        endpoint: &'static str,
    },
    /// Nothing tells; the list must be read as a whole.
    Unknown,
}

impl Changes {
    /// How changes of this endpoint's records are found.
    pub fn of(endpoint: &str) -> Self {
        match endpoint {
            "sessions" | "insertions" | "datasets" | "fov-location" => Self::At("auto_datetime"),
            "trajectories" | "tasks" => Self::At("datetime"),
            "channels" => Self::With { path: "trajectory_estimate__datetime", endpoint: "trajectories" },
            "files" => Self::With { path: "dataset__auto_datetime", endpoint: "datasets" },
            _ => Self::Unknown,
        }
    }

    /// The path that a change time is asked by.
    pub fn path(self) -> Option<&'static str> {
        match self {
            Self::At(path) | Self::With { path, .. } => Some(path),
            Self::Unknown => None,
        }
    }
}

/// How the records that show another are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinPath {
    /// The other names them: its column holds this key of theirs.
    Named {
        /// The other's column.
        column: &'static str,
        /// Their key.
        key: &'static str,
    },
    /// The other names a third record, which names them; all by their ids.
    Over {
        /// The other's column.
        column: &'static str,
        /// The endpoint of the third record.
        third: &'static str,
        /// Its column.
        names: &'static str,
    },
    /// They hold the other's key in this relation.
    Holding {
        /// The relation.
        relation: &'static str,
        /// The other's key.
        key: &'static str,
    },
    /// Records that stand within theirs name the other: its key is in this column of what the relation embeds.
    Within {
        /// The relation.
        relation: &'static str,
        /// The column.
        column: &'static str,
        /// The other's key.
        key: &'static str,
    },
    /// Each of them may, whatever it names, when the other changes.
    Every,
}

/// Records of one endpoint show those of another, and change with them though no time says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedIn {
    /// The endpoint whose records are shown.
    pub of: &'static str,
    /// The endpoint whose records show them.
    pub by: &'static str,
    /// How these are found.
    pub way: JoinPath,
    /// The fields that are shown; none: all.
    pub fields: &'static [&'static str],
    /// Whether only the detail shows them.
    pub detail: bool,
    /// How what is shown is made of them; none: nobody has shown that, and it is fetched.
    pub copied: Option<CopyRule>,
}

impl EmbeddedIn {
    /// Whether nothing but an id is shown: it never changes, so who shows it changes only when the record goes.
    pub fn is_by_id(&self) -> bool {
        self.fields == ["id"]
    }

    /// Whether two records say the same of one thing: where one is new, the other does not come of it.
    pub fn is_mutual(&self) -> bool {
        MUTUAL.contains(self)
    }

    /// Whether whole records are shown in details of their own: new ones too.
    pub fn is_in_details(&self) -> bool {
        self.detail && self.fields.is_empty()
    }
}

const fn in_detail(
    of: &'static str,
    by: &'static str,
    column: &'static str,
    key: &'static str,
) -> EmbeddedIn {
    EmbeddedIn { of, by, way: JoinPath::Named { column, key }, fields: &[], detail: true, copied: None }
}

const fn held(
    of: &'static str,
    by: &'static str,
    relation: &'static str,
    key: &'static str,
    fields: &'static [&'static str],
) -> EmbeddedIn {
    EmbeddedIn { of, by, way: JoinPath::Holding { relation, key }, fields, detail: false, copied: None }
}

const fn followed(shown: EmbeddedIn, rule: &'static Copied) -> EmbeddedIn {
    EmbeddedIn { copied: Some(CopyRule::Copied(rule)), ..shown }
}

const fn beside(
    of: &'static str,
    by: &'static str,
    fields: &'static [&'static str],
    detail: bool,
) -> EmbeddedIn {
    EmbeddedIn {
        of,
        by,
        way: JoinPath::Named { column: "session", key: "session" },
        fields,
        detail,
        copied: None,
    }
}

const fn filed(by: &'static str) -> EmbeddedIn {
    EmbeddedIn {
        of: "data-repository",
        by,
        way: JoinPath::Every,
        fields: &["globus_is_personal"],
        detail: true,
        copied: None,
    }
}

/// What of a dataset decides to which insertions and fields of view of its session it belongs (ALYX.md 3.4).
const PLACE: &[&str] = &["session", "collection", "name"];

const INFO: &[&str] = &["subject", "start_time", "number", "lab", "projects", "task_protocol"];

/// What is shown beside the keys of relations.
const SHOWN: &[EmbeddedIn] = &[
    followed(in_detail("datasets", "sessions", "session", "id"), &rules::IN_SESSION),
    followed(in_detail("insertions", "sessions", "session", "id"), &rules::PROBES),
    EmbeddedIn {
        of: "trajectories",
        by: "sessions",
        way: JoinPath::Over { column: "probe_insertion", third: "insertions", names: "session" },
        fields: &[],
        detail: true,
        copied: None,
    },
    in_detail("fields-of-view", "sessions", "session", "id"),
    followed(in_detail("water-administrations", "sessions", "session", "id"), &rules::WATER),
    followed(in_detail("notes", "sessions", "object_id", "id"), &rules::NOTES),
    in_detail("weighings", "subjects", "subject", "nickname"),
    in_detail("water-administrations", "subjects", "subject", "nickname"),
    in_detail("water-restriction", "subjects", "subject", "nickname"),
    // Registering a dataset adds it to the insertions of its session, and does not bump them.
    followed(beside("datasets", "insertions", &[], true), &rules::IN_INSERTION),
    beside("datasets", "insertions", PLACE, false),
    beside("datasets", "fields-of-view", PLACE, false),
    EmbeddedIn { detail: true, ..held("fields-of-view", "imaging-stack", "slices", "id", &[]) },
    followed(held("sessions", "insertions", "session", "id", INFO), &rules::SESSION_INFO),
    followed(held("sessions", "datasets", "session", "id", &["number"]), &rules::SESSION_NUMBER),
    followed(
        held("insertions", "trajectories", "probe_insertion", "id", &["name", "session_info"]),
        &rules::TRAJECTORY,
    ),
    followed(held("insertions", "chronic-insertions", "probe_insertion", "id", &[]), &rules::CHRONIC),
    held("fov-location", "fields-of-view", "location", "id", &[]),
    held("tags", "datasets", "tags", "name", &["name", "protected", "public"]),
    held("datasets", "files", "dataset", "id", &["name", "collection"]),
    // A dataset shows where its files are; sessions and insertions show the datasets that can be had from a server.
    EmbeddedIn {
        of: "data-repository",
        by: "datasets",
        way: JoinPath::Within { relation: "file_records", column: "data_repository", key: "name" },
        fields: &["name", "data_url", "globus_path"],
        detail: false,
        copied: Some(CopyRule::Copied(&rules::FILES)),
    },
    filed("sessions"),
    filed("insertions"),
];

/// What two records both say of one thing, so that neither waits for the other: who has read one of them knows it of both.
const MUTUAL: &[EmbeddedIn] = &[
    followed(
        held("files", "datasets", "file_records", "id", &["data_repository", "relative_path", "exists"]),
        &rules::IN_DATASET,
    ),
    followed(held("datasets", "files", "dataset", "id", &["file_records"]), &rules::FILE),
];

/// How what records show of others is made of these, where that is known: who shows them, and the rule.
pub fn rules_by(by: &str) -> impl Iterator<Item = (&'static EmbeddedIn, &'static Copied)> {
    let all = SHOWN.iter().chain(MUTUAL).filter(move |shown| shown.by == by);
    all.filter_map(|shown| match shown.copied {
        Some(CopyRule::Copied(rule)) => Some((shown, rule)),
        _ => None,
    })
}

/// Whose records, not only their keys, those of this endpoint show.
pub fn shows(by: &str) -> impl Iterator<Item = &'static EmbeddedIn> {
    SHOWN.iter().filter(move |shown| shown.by == by)
}

/// Who shows records of this endpoint, the keys of relations included.
pub fn shown(of: &str) -> Vec<EmbeddedIn> {
    let declared = SHOWN.iter().chain(MUTUAL).filter(|shown| shown.of == of).copied();
    let models = ENDPOINTS.iter().filter_map(|endpoint| Model::of(endpoint.name));
    let keys = models.flat_map(|model| model.relations.iter().map(move |relation| (model, relation)));
    let by_key = keys.filter_map(|(model, relation)| match relation.join {
        // Who refers to a record by its id changes when that record goes.
        Join::Holds { at, key, detail } if relation.to == of => Some(EmbeddedIn {
            of: relation.to,
            by: model.endpoint,
            way: JoinPath::Holding { relation: relation.name, key },
            fields: if key == "id" { &["id"] } else { &["name", "nickname", "username"] },
            detail,
            copied: (key != "id").then_some(CopyRule::Key { at, key }),
        }),
        _ => None,
    });
    declared.chain(by_key).collect()
}
