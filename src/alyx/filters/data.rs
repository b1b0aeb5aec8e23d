//! Filters of datasets and their files (ALYX.md 2.7.11 to 2.7.13, 2.7.21, 2.7.22).

use super::super::{
    filter::{Filter, Input, Keyed, Lookup, Predicate, RowEffect, shorthand::*},
    model::QC,
};

pub(super) const DATASETS: &[Filter] = &[
    uuid("id", "id", LIST),
    text("name", LIST),
    key("session", Some("sessions"), LIST),
    text_at("created_by", "created_by__username", LIST),
    time("created_datetime", LIST),
    text("generating_software", NOWHERE),
    key("provenance_directory", Some("datasets"), NOWHERE),
    integer_key("content_type", None, NOWHERE),
    uuid("object_id", "object_id", NOWHERE),
    number("file_size", LIST),
    uuid("md5", "md5", NOWHERE),
    text("hash", LIST),
    text("version", LIST),
    text("collection", LIST),
    text_at("dataset_type", "dataset_type__name", LIST),
    key("data_format", Some("data-formats"), with(&["data-formats"])),
    text_at("revision", "revision__name", LIST),
    keys("tags", Some("tags"), with(&["tags"])),
    time("auto_datetime", LIST),
    boolean("default_dataset", LIST),
    label("qc", &QC, LIST),
    DJANGO,
    text_at("subject", "session__subject__nickname", with(&["sessions"])),
    text_at("lab", "session__lab__name", with(&["sessions"])),
    day_of("created_date", "created_datetime", LIST),
    day_of("date", "session__start_time", with(&["sessions"])),
    number_text("experiment_number", "session__number", LIST),
    on("created_date_gte", Input::FormDateTime, "created_datetime", Lookup::DateFrom, LIST),
    on("created_date_lte", Input::FormDateTime, "created_datetime", Lookup::DateUntil, LIST),
    asks(
        "exists",
        Input::SelectedBoolean,
        Predicate::ExistsOnServer,
        RowEffect::One,
        with(&["data-repository"]),
    ),
    asks("probe_insertion", Input::Uuid, Predicate::OfInsertion, RowEffect::One, with(&["insertions"])),
    asks("public", Input::SelectedBoolean, Predicate::Tagged("public"), RowEffect::Distinct, with(&["tags"])),
    asks(
        "protected",
        Input::SelectedBoolean,
        Predicate::Tagged("protected"),
        RowEffect::Distinct,
        with(&["tags"]),
    ),
    text_at("tag", "tags__name", LIST),
];

pub(super) const FILES: &[Filter] = &[
    uuid("id", "id", LIST),
    text("name", LIST),
    key("dataset", Some("datasets"), LIST),
    text_at("data_repository", "data_repository__name", LIST),
    text("relative_path", LIST),
    boolean("exists", LIST),
    DJANGO,
    text_at("lab", "dataset__session__lab__name", with(&["datasets", "sessions"])),
    on(
        "globus_is_personal",
        Input::SelectedBoolean,
        "data_repository__globus_is_personal",
        Lookup::Exact,
        with(&["data-repository"]),
    ),
];

pub(super) const DOWNLOADS: &[Filter] = &[
    number("count", LIST),
    DJANGO,
    asks("json", Input::Text, Predicate::JsonText("json"), RowEffect::One, NOWHERE),
    text_at("dataset", "dataset__name", with(&["datasets"])),
    text_at("user", "user__username", LIST),
    icontains("dataset_type", "dataset__dataset_type__name", with(&["datasets"])),
];

pub(super) const DATA_NOTICES: &[Filter] = &[
    text("name", LIST),
    on("importance", Input::Choice(&["50", "40", "30", "20"]), "importance", Lookup::Exact, LIST),
    on(
        "created_by",
        Input::Key(Keyed { by: Some("users"), integer: false }),
        "created_by",
        Lookup::Exact,
        with(&["users"]),
    ),
    text("version_affected", LIST),
    day("affected_date_start", LIST),
    day("affected_date_end", LIST),
    asks("datasets", Input::Uuids, Predicate::AnyDataset, RowEffect::Multiply, LIST),
    once(text_at("dataset_tag", "datasets__tags__name", with(&["datasets"]))),
    DJANGO,
];

pub(super) const DATA_REPOSITORY: &[Filter] = &[
    text("name", LIST),
    boolean("globus_is_personal", LIST),
    uuid("globus_endpoint_id", "globus_endpoint_id", LIST),
];

pub(super) const NAME_ONLY: &[Filter] = &[text("name", LIST)];
