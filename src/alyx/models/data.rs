//! Datasets, the files they are, and where those lie.

use super::super::model::{Embedded, Kind, Model, QC, Relation, shorthand::*};

pub(super) static DATASET: Model = Model {
    endpoint: "datasets",
    columns: &[
        at("id", Kind::Uuid, "url#"),
        column("name", Kind::Text),
        column("created_datetime", Kind::DateTime),
        column("collection", Kind::Text),
        column("file_size", Kind::Integer),
        column("hash", Kind::Text),
        column("version", Kind::Text),
        column("auto_datetime", Kind::DateTime),
        column("default_dataset", Kind::Boolean),
        column("qc", Kind::Labels(&QC)),
        column("json", Kind::Json),
    ],
    relations: &[
        CREATED_BY,
        one("dataset_type", "dataset-types", "dataset_type", "name"),
        one("data_format", "data-formats", "data_format", "name"),
        one("session", "sessions", "session#", "id"),
        one("revision", "revisions", "revision", "name"),
        many("tags", "tags", "tags[]", "name"),
        many("file_records", "files", "file_records[].id", "id"),
        held("probe_insertion", "insertions", "datasets"),
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
    shortcuts: &[shortcut("session__number", Kind::Integer, "experiment_number")],
    embedded: &[Embedded {
        relation: "file_records",
        columns: &[
            column("data_repository", Kind::Text),
            column("relative_path", Kind::Text),
            column("exists", Kind::Boolean),
        ],
    }],
};

const CREATED_BY: Relation = one("created_by", "users", "created_by", "username");

pub(super) static FILE_RECORD: Model = Model {
    endpoint: "files",
    columns: &[
        at("id", Kind::Uuid, "url#"),
        column("name", Kind::Text),
        column("json", Kind::Json),
        column("relative_path", Kind::Text),
        column("exists", Kind::Boolean),
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
    columns: &[column("id", Kind::Uuid), column("count", Kind::Integer), column("json", Kind::Json)],
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
        column("id", Kind::Uuid),
        column("name", Kind::Text),
        column("json", Kind::Json),
        column("description", Kind::Text),
        column("importance", Kind::Integer),
        column("created_datetime", Kind::DateTime),
        column("version_affected", Kind::Text),
        column("affected_date_start", Kind::Date),
        column("affected_date_end", Kind::Date),
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
    columns: &[column("id", Kind::Uuid), column("name", Kind::Text), column("description", Kind::Text)],
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
        column("id", Kind::Uuid),
        column("json", Kind::Json),
        column("name", Kind::Text),
        column("description", Kind::Text),
        column("file_extension", Kind::Text),
        column("matlab_loader_function", Kind::Text),
        column("python_loader_function", Kind::Text),
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
        column("name", Kind::Text),
        column("timezone", Kind::Text),
        column("globus_path", Kind::Text),
        column("hostname", Kind::Text),
        column("data_url", Kind::Text),
        column("globus_endpoint_id", Kind::Uuid),
        column("globus_is_personal", Kind::Boolean),
        column("json", Kind::Json),
    ],
    relations: &[
        one("repository_type", "data-repository-type", "repository_type", "name"),
        held("lab", "labs", "repositories"),
    ],
    hidden: &["id", "repository_type_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static DATA_REPOSITORY_TYPE: Model = Model {
    endpoint: "data-repository-type",
    columns: &[column("name", Kind::Text), column("json", Kind::Json)],
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
        column("id", Kind::Uuid),
        column("json", Kind::Json),
        column("name", Kind::Text),
        column("description", Kind::Text),
        column("created_datetime", Kind::DateTime),
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
        column("id", Kind::Uuid),
        column("json", Kind::Json),
        column("name", Kind::Text),
        column("description", Kind::Text),
        column("protected", Kind::Boolean),
        column("public", Kind::Boolean),
        column("hash", Kind::Text),
    ],
    relations: &[held("datasets", "datasets", "tags")],
    hidden: &[],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};
