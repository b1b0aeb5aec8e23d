//! The rules: what is shown of which record, and how it is made of it (ALYX.md 3, 6.2).

use super::{Copied, Source};

const fn same(name: &'static str) -> (&'static str, Source) {
    (name, Source::Field(name))
}

/// What is shown of a repository in the files of a dataset;
pub(in crate::alyx) static FILES: Copied = Copied {
    at: "file_records",
    key: ("data_repository", "name"),
    fields: &[("data_repository_path", Source::Field("globus_path")), ("data_url", Source::FileUrl)],
    unseen: &[],
};

/// Fields of a dataset that no other record shows.
const UNSEEN: &[&str] = &[
    "auto_datetime",
    "created_by",
    "created_datetime",
    "data_format",
    "experiment_number",
    "json",
    "protected",
    "public",
    "tags",
];

/// of a dataset in the detail of its session,
pub(in crate::alyx) static IN_SESSION: Copied = Copied {
    at: "data_dataset_session_related",
    key: ("id", "url#"),
    fields: &[
        same("dataset_type"),
        ("data_url", Source::DatasetUrl),
        same("file_size"),
        same("hash"),
        same("version"),
        same("qc"),
    ],
    unseen: UNSEEN,
};

/// and of its insertion;
pub(in crate::alyx) static IN_INSERTION: Copied = Copied {
    at: "datasets",
    key: ("id", "url#"),
    fields: &[
        same("dataset_type"),
        ("data_url", Source::DatasetUrl),
        same("file_size"),
        same("hash"),
        same("version"),
        ("qc", Source::Quality("qc")),
    ],
    unseen: UNSEEN,
};

/// of a session in its insertions,
pub(in crate::alyx) static SESSION_INFO: Copied = Copied {
    at: "session_info",
    key: ("id", "id"),
    fields: &[
        same("subject"),
        same("start_time"),
        same("number"),
        same("lab"),
        ("projects", Source::Set("projects")),
        same("task_protocol"),
    ],
    unseen: &[],
};

/// and its datasets;
pub(in crate::alyx) static SESSION_NUMBER: Copied = Copied {
    at: "",
    key: ("session#", "id"),
    fields: &[("experiment_number", Source::Field("number"))],
    unseen: &[],
};

/// of an insertion in the detail of its session,
pub(in crate::alyx) static PROBES: Copied = Copied {
    at: "probe_insertion",
    key: ("id", "id"),
    fields: &[
        same("model"),
        ("session_info", Source::Inner("session_info")),
        same("name"),
        same("json"),
        same("serial"),
        same("auto_datetime"),
        same("chronic_insertion"),
    ],
    unseen: &[],
};

/// in its trajectories,
pub(in crate::alyx) static TRAJECTORY: Copied = Copied {
    at: "",
    key: ("probe_insertion", "id"),
    fields: &[("session", Source::Inner("session_info")), ("probe_name", Source::Field("name"))],
    unseen: &[],
};

/// and in the chronic insertion that it is one of; its model has another name there.
pub(in crate::alyx) static CHRONIC: Copied = Copied {
    at: "probe_insertion",
    key: ("id", "id"),
    fields: &[same("name"), same("serial"), ("session_info", Source::Inner("session_info"))],
    unseen: &["auto_datetime", "json", "datasets"],
};

/// What is shown of a note in the detail of its session.
pub(in crate::alyx) static NOTES: Copied = Copied {
    at: "notes",
    key: ("id", "id"),
    fields: &[same("user"), same("date_time"), same("text"), same("image"), same("json")],
    unseen: &[],
};

/// What is shown of a file in its dataset,
pub(in crate::alyx) static IN_DATASET: Copied = Copied {
    at: "file_records",
    key: ("id", "url#"),
    fields: &[
        same("data_repository"),
        ("data_repository_path", Source::RepositoryField("globus_path")),
        same("relative_path"),
        ("data_url", Source::UrlOfFile),
        same("exists"),
    ],
    unseen: &[],
};

/// and the same the other way round.
pub(in crate::alyx) static FILE: Copied = Copied {
    at: "",
    key: ("dataset#", "url#"),
    fields: &[
        ("data_repository", Source::OwnFile("data_repository")),
        ("relative_path", Source::OwnFile("relative_path")),
        ("exists", Source::OwnFile("exists")),
    ],
    unseen: &[],
};

/// What is shown of an administration of water in the detail of its session.
pub(in crate::alyx) static WATER: Copied = Copied {
    at: "wateradmin_session_related",
    key: ("id", "url#"),
    fields: &[same("water_type"), same("water_administered")],
    unseen: &["subject", "date_time", "user", "adlib"],
};
