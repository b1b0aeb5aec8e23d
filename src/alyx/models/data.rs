//! Datasets, the files they are, and where those lie.

use super::super::model::{ColumnKind, Embedded, Model, QC, Relation, shorthand::*};

pub(super) static DATASET: Model = Model {
    endpoint: "datasets",
    columns: &[
        at("id", ColumnKind::Uuid, "url#"),
        column("name", ColumnKind::Text),
        column("created_datetime", ColumnKind::DateTime),
        column("collection", ColumnKind::Text),
        column("file_size", ColumnKind::Integer),
        column("hash", ColumnKind::Text),
        column("version", ColumnKind::Text),
        column("auto_datetime", ColumnKind::DateTime),
        column("default_dataset", ColumnKind::Boolean),
        column("qc", ColumnKind::Labels(&QC)),
        column("json", ColumnKind::Json),
    ],
    relations: &[
        CREATED_BY,
        one("dataset_type", "dataset-types", "dataset_type", "name"),
        one("data_format", "data-formats", "data_format", "name"),
        one("session", "sessions", "session#", "id"),
        one("revision", "revisions", "revision", "name"),
        many("tags", "tags", "tags[]", "name"),
        held_by(many("file_records", "files", "file_records[].id", "id")),
        shown("probe_insertion", "insertions", "datasets"),
        held("download", "downloads", "dataset"),
        shown("data_notices", "data-notices", "datasets"),
    ],
    hidden: &[
        "generating_software",
        "provenance_directory",
        "content_type",
        "object_id",
        "md5",
        "session_id",
        "dataset_type_id",
        "data_format_id",
        "revision_id",
        "created_by_id",
    ],
    complete: false,
    shown: &[],
    shortcuts: &[shortcut("session__number", ColumnKind::Integer, "experiment_number")],
    embedded: &[Embedded {
        relation: "file_records",
        columns: &[
            column("data_repository", ColumnKind::Text),
            column("relative_path", ColumnKind::Text),
            column("exists", ColumnKind::Boolean),
        ],
    }],
};

const CREATED_BY: Relation = one("created_by", "users", "created_by", "username");

pub(super) static FILE_RECORD: Model = Model {
    endpoint: "files",
    columns: &[
        at("id", ColumnKind::Uuid, "url#"),
        column("name", ColumnKind::Text),
        column("json", ColumnKind::Json),
        column("relative_path", ColumnKind::Text),
        column("exists", ColumnKind::Boolean),
    ],
    relations: &[
        one("dataset", "datasets", "dataset#", "id"),
        one("data_repository", "data-repository", "data_repository", "name"),
    ],
    hidden: &["dataset_id", "data_repository_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static DOWNLOAD: Model = Model {
    endpoint: "downloads",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("count", ColumnKind::Integer),
        column("json", ColumnKind::Json),
    ],
    relations: &[one("user", "users", "user", "username"), one("dataset", "datasets", "dataset", "id")],
    hidden: &["first_download", "last_download", "projects", "user_id", "dataset_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static DATA_NOTICE: Model = Model {
    endpoint: "data-notices",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("name", ColumnKind::Text),
        column("json", ColumnKind::Json),
        column("description", ColumnKind::Text),
        column("importance", ColumnKind::Integer),
        column("created_datetime", ColumnKind::DateTime),
        column("version_affected", ColumnKind::Text),
        column("affected_date_start", ColumnKind::Date),
        column("affected_date_end", ColumnKind::Date),
    ],
    relations: &[CREATED_BY, many("datasets", "datasets", "datasets[]", "id")],
    hidden: &["created_by_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static DATASET_TYPE: Model = Model {
    endpoint: "dataset-types",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("name", ColumnKind::Text),
        column("description", ColumnKind::Text),
    ],
    relations: &[CREATED_BY],
    // Null is shown as an empty text, so its column can't be told from the record.
    hidden: &["json", "filename_pattern", "created_by_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static DATA_FORMAT: Model = Model {
    endpoint: "data-formats",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("json", ColumnKind::Json),
        column("name", ColumnKind::Text),
        column("description", ColumnKind::Text),
        column("file_extension", ColumnKind::Text),
        column("matlab_loader_function", ColumnKind::Text),
        column("python_loader_function", ColumnKind::Text),
    ],
    relations: &[],
    hidden: &[],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static DATA_REPOSITORY: Model = Model {
    endpoint: "data-repository",
    columns: &[
        column("name", ColumnKind::Text),
        column("timezone", ColumnKind::Text),
        column("globus_path", ColumnKind::Text),
        column("hostname", ColumnKind::Text),
        column("data_url", ColumnKind::Text),
        column("globus_endpoint_id", ColumnKind::Uuid),
        column("globus_is_personal", ColumnKind::Boolean),
        column("json", ColumnKind::Json),
    ],
    relations: &[
        one("repository_type", "data-repository-type", "repository_type", "name"),
        shown("lab", "labs", "repositories"),
    ],
    hidden: &["id", "repository_type_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static DATA_REPOSITORY_TYPE: Model = Model {
    endpoint: "data-repository-type",
    columns: &[column("name", ColumnKind::Text), column("json", ColumnKind::Json)],
    relations: &[],
    hidden: &["id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static REVISION: Model = Model {
    endpoint: "revisions",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("json", ColumnKind::Json),
        column("name", ColumnKind::Text),
        column("description", ColumnKind::Text),
        column("created_datetime", ColumnKind::DateTime),
    ],
    relations: &[],
    hidden: &[],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static TAG: Model = Model {
    endpoint: "tags",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("json", ColumnKind::Json),
        column("name", ColumnKind::Text),
        column("description", ColumnKind::Text),
        column("protected", ColumnKind::Boolean),
        column("public", ColumnKind::Boolean),
        column("hash", ColumnKind::Text),
    ],
    relations: &[shown("datasets", "datasets", "tags")],
    hidden: &[],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};
