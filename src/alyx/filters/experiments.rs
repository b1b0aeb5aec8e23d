//! Filters of probes, channels, brain regions and imaging (ALYX.md 2.7.2 to 2.7.9).

use super::{
    super::{
        filter::{Filter, Input, Lookup, Predicate, RowEffect, Seed, shorthand::*},
        model::PROVENANCE,
    },
    region,
};

const TRACKS: &[&str] = &["trajectories", "channels", "brain-regions"];
const TREE: &[&str] = &["brain-regions"];
const PLACES: &[&str] = &["fov-location", "brain-regions"];
const DATASETS: &[&str] = &["datasets"];
const SESSIONS: &[&str] = &["sessions"];
const TRAJECTORIES_ONLY: &[&str] = &["trajectories"];

pub(super) const INSERTIONS: &[Filter] = &[
    uuid("id", "id", LIST),
    text("name", LIST),
    uuid("session", "session__id", LIST),
    text_at("model", "model__name", NOWHERE),
    text("serial", LIST),
    time("auto_datetime", LIST),
    asks(
        "datasets",
        Input::Text,
        Predicate::Datasets { relation: "datasets", qc: true },
        RowEffect::Distinct,
        with(DATASETS),
    ),
    key("chronic_insertion", Some("chronic-insertions"), LIST),
    DJANGO,
    text_at("subject", "session__subject__nickname", LIST),
    day_of("date", "session__start_time", LIST),
    number_text("experiment_number", "session__number", LIST),
    asks(
        "dataset_types",
        Input::Text,
        Predicate::DatasetTypes("datasets"),
        RowEffect::Distinct,
        with(DATASETS),
    ),
    asks(
        "dataset_qc_lte",
        Input::Text,
        Predicate::DatasetQc("datasets"),
        RowEffect::Multiply,
        with(DATASETS),
    ),
    iexact("lab", "session__lab__name", LIST),
    each(icontains("project", "session__projects__name", LIST)),
    icontains("task_protocol", "session__task_protocol", LIST),
    distinct(icontains("tag", "datasets__tags__name", with(DATASETS))),
    region("atlas_name", Seed::Name, RowEffect::One, TRACKS),
    region("atlas_acronym", Seed::Acronym, RowEffect::One, TRACKS),
    region("atlas_id", Seed::Id, RowEffect::One, TRACKS),
];

pub(super) const CHRONIC_INSERTIONS: &[Filter] = &[
    uuid("id", "id", LIST),
    text("name", LIST),
    keys("users", Some("users"), NOWHERE),
    text_at("subject", "subject__nickname", LIST),
    key("location", None, NOWHERE),
    text_at("lab", "lab__name", LIST),
    keys("procedures", Some("procedures"), NOWHERE),
    text("narrative", NOWHERE),
    time("start_time", LIST),
    time("end_time", NOWHERE),
    text("serial", LIST),
    text_at("model", "model__name", NOWHERE),
    DJANGO,
    uuid("probe", "probe_insertion__id", LIST),
    each(uuid("session", "probe_insertion__session__id", LIST)),
    region("atlas_name", Seed::Name, RowEffect::One, TRACKS),
    region("atlas_acronym", Seed::Acronym, RowEffect::One, TRACKS),
    region("atlas_id", Seed::Id, RowEffect::One, TRACKS),
];

pub(super) const TRAJECTORIES: &[Filter] = &[
    uuid("id", "id", LIST),
    key("probe_insertion", Some("insertions"), LIST),
    key("chronic_insertion", Some("chronic-insertions"), LIST),
    number("x", LIST),
    number("y", LIST),
    number("z", LIST),
    number("depth", LIST),
    number("theta", LIST),
    number("phi", LIST),
    number("roll", LIST),
    label("provenance", &PROVENANCE, LIST),
    key("coordinate_system", None, NOWHERE),
    time("datetime", LIST),
    DJANGO,
    text_at("subject", "probe_insertion__session__subject__nickname", LIST),
    text_at("project", "probe_insertion__session__projects__name", LIST),
    day_of("date", "probe_insertion__session__start_time", LIST),
    number_text("experiment_number", "probe_insertion__session__number", LIST),
    uuid("session", "probe_insertion__session__id", LIST),
    text_at("probe", "probe_insertion__name", LIST),
];

pub(super) const CHANNELS: &[Filter] = &[
    uuid("id", "id", LIST),
    text("name", LIST),
    number("axial", LIST),
    number("lateral", LIST),
    number("x", LIST),
    number("y", LIST),
    number("z", LIST),
    integer_key("brain_region", Some("brain-regions"), LIST),
    key("trajectory_estimate", Some("trajectories"), LIST),
    DJANGO,
    uuid("session", "trajectory_estimate__probe_insertion__session__id", with(TRAJECTORIES_ONLY)),
    uuid("probe_insertion", "trajectory_estimate__probe_insertion__id", with(TRAJECTORIES_ONLY)),
    text_at(
        "subject",
        "trajectory_estimate__probe_insertion__session__subject__nickname",
        with(TRAJECTORIES_ONLY),
    ),
    text_at("lab", "trajectory_estimate__probe_insertion__session__lab__name", with(TRAJECTORIES_ONLY)),
];

pub(super) const BRAIN_REGIONS: &[Filter] = &[
    number("id", LIST),
    iexact("acronym", "acronym", LIST),
    icontains("description", "description", LIST),
    icontains("name", "name", LIST),
    integer_key("parent", Some("brain-regions"), LIST),
    DJANGO,
    asks("ancestors", Input::Text, Predicate::Ancestors, RowEffect::One, with(TREE)),
    asks("descendants", Input::Text, Predicate::Descendants, RowEffect::One, with(TREE)),
];

pub(super) const FIELDS_OF_VIEW: &[Filter] = &[
    uuid("id", "id", LIST),
    text("name", LIST),
    key("session", Some("sessions"), LIST),
    icontains("imaging_type", "imaging_type__name", LIST),
    asks(
        "datasets",
        Input::Text,
        Predicate::Datasets { relation: "datasets", qc: false },
        RowEffect::Distinct,
        with(DATASETS),
    ),
    key("stack", Some("imaging-stack"), LIST),
    DJANGO,
    text_at("subject", "session__subject__nickname", with(SESSIONS)),
    iexact("lab", "session__lab__name", with(SESSIONS)),
    text_at("project", "session__projects__name", with(SESSIONS)),
    day_of("date", "session__start_time", with(SESSIONS)),
    number_text("experiment_number", "session__number", with(SESSIONS)),
    asks(
        "dataset_types",
        Input::Text,
        Predicate::DatasetTypes("datasets"),
        RowEffect::Distinct,
        with(DATASETS),
    ),
    region("atlas_name", Seed::Name, RowEffect::Multiply, PLACES),
    region("atlas_acronym", Seed::Acronym, RowEffect::Multiply, PLACES),
    region("atlas_id", Seed::Id, RowEffect::Multiply, PLACES),
];

pub(super) const FOV_LOCATION: &[Filter] = &[
    uuid("id", "id", LIST),
    text("name", NOWHERE),
    key("field_of_view", Some("fields-of-view"), with(&["fields-of-view"])),
    on(
        "provenance",
        Input::CodeLabel(&[("E", "Estimate"), ("F", "Functional"), ("L", "Landmark"), ("H", "Histology")]),
        "provenance",
        Lookup::Exact,
        LIST,
    ),
    boolean("default_provenance", LIST),
    text_at("coordinate_system", "coordinate_system__name", LIST),
    time("auto_datetime", LIST),
    asks("x", Input::Number, Predicate::Broken, RowEffect::One, LIST),
    asks("y", Input::Number, Predicate::Broken, RowEffect::One, LIST),
    asks("z", Input::Number, Predicate::Broken, RowEffect::One, LIST),
    asks("n_xyz", Input::Number, Predicate::Broken, RowEffect::One, LIST),
    integer_keys("brain_region", Some("brain-regions"), LIST),
    DJANGO,
];

/// What the slices of a stack show.
const SLICES: &[&str] = &["fields-of-view", "fov-location", "brain-regions"];

pub(super) const IMAGING_STACK: &[Filter] = &[
    uuid("id", "id", LIST),
    text("name", DETAIL),
    DJANGO,
    region("atlas_name", Seed::Name, RowEffect::Multiply, SLICES),
    region("atlas_acronym", Seed::Acronym, RowEffect::Multiply, SLICES),
    region("atlas_id", Seed::Id, RowEffect::Multiply, SLICES),
];
