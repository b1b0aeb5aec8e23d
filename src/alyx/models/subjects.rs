//! Subjects and projects.

use super::super::model::{Kind, Model, shorthand::*};

pub(super) static SUBJECT: Model = Model {
    endpoint: "subjects",
    columns: &[
        column("id", Kind::Uuid),
        column("nickname", Kind::Text),
        column("birth_date", Kind::Date),
        column("death_date", Kind::Date),
        column("sex", Kind::Text),
        column("description", Kind::Text),
        column("json", Kind::Json),
        at("species__nickname", Kind::Text, "species"),
        at("litter__name", Kind::Text, "litter"),
        at("strain__name", Kind::Text, "strain"),
        at("source__name", Kind::Text, "source"),
        at("line__name", Kind::Text, "line"),
    ],
    relations: &[
        one("responsible_user", "users", "responsible_user", "username"),
        many("projects", "projects", "projects[]", "name"),
        one("lab", "labs", "lab", "name"),
        held("actions_sessions", "sessions", "subject"),
        held("actions_surgerys", "surgeries", "subject"),
        held("weighings", "weighings", "subject"),
        held("water_administrations", "water-administrations", "subject"),
        held("actions_waterrestrictions", "water-restriction", "subject"),
    ],
    hidden: &[
        "name",
        "cage",
        "ear_mark",
        "adverse_effects",
        "species",
        "litter",
        "strain",
        "source",
        "line",
        "request",
        "genotype",
        "genotype_test",
        "wean_date",
        "genotype_date",
        "reduced_date",
        "protocol_number",
        "actual_severity",
        "to_be_genotyped",
        "to_be_culled",
        "lab_id",
        "responsible_user_id",
    ],
    shortcuts: &[],
};

pub(super) static PROJECT: Model = Model {
    endpoint: "projects",
    columns: &[column("name", Kind::Text), column("description", Kind::Text)],
    relations: &[many("users", "users", "users[]", "username")],
    hidden: &["id", "json"],
    shortcuts: &[],
};
