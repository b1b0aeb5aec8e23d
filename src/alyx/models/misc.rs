//! Labs, their members and places, and notes.

use super::super::model::{ColumnKind, Model, shorthand::*};

pub(super) static LAB: Model = Model {
    endpoint: "labs",
    columns: &[
        column("name", ColumnKind::Text),
        column("institution", ColumnKind::Text),
        column("address", ColumnKind::Text),
        column("timezone", ColumnKind::Text),
        column("reference_weight_pct", ColumnKind::Float),
        column("zscore_weight_pct", ColumnKind::Float),
        column("json", ColumnKind::Json),
    ],
    relations: &[
        many("repositories", "data-repository", "repositories[]", "name"),
        held("subject", "subjects", "lab"),
        held("session", "sessions", "lab"),
    ],
    hidden: &["id", "cage_type", "enrichment", "food", "cage_cleaning_frequency_days", "light_cycle"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static LAB_MEMBER: Model = Model {
    endpoint: "users",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("username", ColumnKind::Text),
        column("email", ColumnKind::Text),
        column("is_stock_manager", ColumnKind::Boolean),
    ],
    relations: &[
        many("allowed_users", "users", "allowed_users[]", "username"),
        held_by(many("subjects_responsible", "subjects", "subjects_responsible[]", "nickname")),
        shown("project", "projects", "users"),
    ],
    // The first three must never be asked for on another's behalf (ALYX.md 8, trap 12).
    hidden: &[
        "password",
        "auth_token",
        "last_login",
        "is_superuser",
        "groups",
        "user_permissions",
        "first_name",
        "last_name",
        "is_staff",
        "is_active",
        "date_joined",
        "is_public_user",
    ],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static LAB_LOCATION: Model = Model {
    endpoint: "locations",
    columns: &[column("name", ColumnKind::Text), column("json", ColumnKind::Json)],
    relations: &[one("lab", "labs", "lab", "name")],
    hidden: &["id", "lab_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static NOTE: Model = Model {
    endpoint: "notes",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("date_time", ColumnKind::DateTime),
        column("object_id", ColumnKind::Uuid),
        column("text", ColumnKind::Text),
        column("json", ColumnKind::Json),
        at("content_type__app_label", ColumnKind::Text, "content_type<."),
        at("content_type__model", ColumnKind::Text, "content_type>."),
    ],
    relations: &[one("user", "users", "user", "username")],
    // `image` is a path there and a link, or a signed URL, in the record.
    hidden: &["content_type", "content_type_id", "image", "user_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};
