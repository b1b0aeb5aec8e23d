//! Sessions and what is done to subjects.

use super::super::model::{Column, ColumnKind, Model, QC, Relation, shorthand::*};

pub(super) static SESSION: Model = Model {
    endpoint: "sessions",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("start_time", ColumnKind::DateTime),
        column("number", ColumnKind::Integer),
        column("task_protocol", ColumnKind::Text),
        detail("type", ColumnKind::Text),
        detail("end_time", ColumnKind::DateTime),
        detail("narrative", ColumnKind::Text),
        detail("n_correct_trials", ColumnKind::Integer),
        detail("n_trials", ColumnKind::Integer),
        detail("extended_qc", ColumnKind::Json),
        detail("qc", ColumnKind::Labels(&QC)),
        detail("auto_datetime", ColumnKind::DateTime),
        detail("json", ColumnKind::Json),
    ],
    relations: &[
        SUBJECT,
        one("lab", "labs", "lab", "name"),
        many("projects", "projects", "projects[]", "name"),
        in_detail(many("users", "users", "users[]", "username")),
        in_detail(one("location", "locations", "location", "name")),
        in_detail(many("procedures", "procedures", "procedures[]", "name")),
        in_detail(one("parent_session", "sessions", "parent_session#", "id")),
        held("session", "sessions", "parent_session"),
        held("data_dataset_session_related", "datasets", "session"),
        held("probe_insertion", "insertions", "session"),
        held("field_of_view", "fields-of-view", "session"),
        held("tasks", "tasks", "session"),
        held("wateradmin_session_related", "water-administrations", "session"),
    ],
    hidden: &["name", "lab_id", "location_id", "parent_session_id", "subject_id"],
    complete: true,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

const SUBJECT: Relation = one("subject", "subjects", "subject", "nickname");
const USER: Relation = one("user", "users", "user", "username");
const WATER: Relation = one("water_type", "water-type", "water_type", "name");
const ID_IN_URL: Column = at("id", ColumnKind::Uuid, "url#");

pub(super) static SURGERY: Model = Model {
    endpoint: "surgeries",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("name", ColumnKind::Text),
        column("json", ColumnKind::Json),
        column("narrative", ColumnKind::Text),
        column("start_time", ColumnKind::DateTime),
        column("end_time", ColumnKind::DateTime),
        column("outcome_type", ColumnKind::Text),
        column("implant_weight", ColumnKind::Float),
    ],
    relations: &[
        SUBJECT,
        many("users", "users", "users[]", "id"),
        many("procedures", "procedures", "procedures[]", "id"),
    ],
    hidden: &["lab", "lab_id", "location", "location_id", "subject_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static WEIGHING: Model = Model {
    endpoint: "weighings",
    columns: &[ID_IN_URL, column("date_time", ColumnKind::DateTime), column("weight", ColumnKind::Float)],
    relations: &[SUBJECT, USER],
    hidden: &["name", "json", "subject_id", "user_id"],
    complete: true,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static WATER_ADMINISTRATION: Model = Model {
    endpoint: "water-administrations",
    columns: &[
        ID_IN_URL,
        column("date_time", ColumnKind::DateTime),
        column("water_administered", ColumnKind::Float),
        column("adlib", ColumnKind::Boolean),
    ],
    relations: &[SUBJECT, USER, WATER, one("session", "sessions", "session", "id")],
    hidden: &["name", "json", "subject_id", "user_id", "water_type_id", "session_id"],
    complete: true,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static WATER_RESTRICTION: Model = Model {
    endpoint: "water-restriction",
    columns: &[
        column("start_time", ColumnKind::DateTime),
        column("end_time", ColumnKind::DateTime),
        column("reference_weight", ColumnKind::Float),
    ],
    relations: &[SUBJECT, WATER],
    hidden: &[
        "id",
        "name",
        "json",
        "narrative",
        "users",
        "location",
        "lab",
        "procedures",
        "lab_id",
        "location_id",
        "subject_id",
        "water_type_id",
    ],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static WATER_TYPE: Model = Model {
    endpoint: "water-type",
    columns: &[column("name", ColumnKind::Text), column("json", ColumnKind::Json)],
    relations: &[],
    hidden: &["id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static PROCEDURE_TYPE: Model = Model {
    endpoint: "procedures",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("name", ColumnKind::Text),
        column("json", ColumnKind::Json),
        column("description", ColumnKind::Text),
    ],
    relations: &[],
    hidden: &[],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};
