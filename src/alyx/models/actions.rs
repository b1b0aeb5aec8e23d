//! Sessions and what is done to subjects.

use super::super::model::{Column, Kind, Model, QC, Relation, shorthand::*};

pub(super) static SESSION: Model = Model {
    endpoint: "sessions",
    columns: &[
        column("id", Kind::Uuid),
        column("start_time", Kind::DateTime),
        column("number", Kind::Integer),
        column("task_protocol", Kind::Text),
        detail("type", Kind::Text),
        detail("end_time", Kind::DateTime),
        detail("narrative", Kind::Text),
        detail("n_correct_trials", Kind::Integer),
        detail("n_trials", Kind::Integer),
        detail("extended_qc", Kind::Json),
        detail("qc", Kind::Labels(&QC)),
        detail("auto_datetime", Kind::DateTime),
        detail("json", Kind::Json),
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
const ID_IN_URL: Column = at("id", Kind::Uuid, "url#");

pub(super) static SURGERY: Model = Model {
    endpoint: "surgeries",
    columns: &[
        column("id", Kind::Uuid),
        column("name", Kind::Text),
        column("json", Kind::Json),
        column("narrative", Kind::Text),
        column("start_time", Kind::DateTime),
        column("end_time", Kind::DateTime),
        column("outcome_type", Kind::Text),
        column("implant_weight", Kind::Float),
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
    columns: &[ID_IN_URL, column("date_time", Kind::DateTime), column("weight", Kind::Float)],
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
        column("date_time", Kind::DateTime),
        column("water_administered", Kind::Float),
        column("adlib", Kind::Boolean),
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
        column("start_time", Kind::DateTime),
        column("end_time", Kind::DateTime),
        column("reference_weight", Kind::Float),
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
    columns: &[column("name", Kind::Text), column("json", Kind::Json)],
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
        column("id", Kind::Uuid),
        column("name", Kind::Text),
        column("json", Kind::Json),
        column("description", Kind::Text),
    ],
    relations: &[],
    hidden: &[],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};
