//! Probes, where they went, and what was imaged.

use super::super::model::{ColumnKind, Embedded, Model, PROVENANCE, shorthand::*};

pub(super) static PROBE_INSERTION: Model = Model {
    endpoint: "insertions",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("name", ColumnKind::Text),
        column("json", ColumnKind::Json),
        column("serial", ColumnKind::Text),
        column("auto_datetime", ColumnKind::DateTime),
        at("model__probe_model", ColumnKind::Text, "model"),
    ],
    relations: &[
        one("session", "sessions", "session", "id"),
        one("chronic_insertion", "chronic-insertions", "chronic_insertion", "id"),
        many("datasets", "datasets", "datasets[]", "id"),
        held("trajectory_estimate", "trajectories", "probe_insertion"),
    ],
    hidden: &["model", "model_id", "session_id", "chronic_insertion_id"],
    complete: false,
    shown: &[],
    shortcuts: &[
        shortcut("session__subject__nickname", ColumnKind::Text, "session_info.subject"),
        shortcut("session__start_time", ColumnKind::DateTime, "session_info.start_time"),
        shortcut("session__number", ColumnKind::Integer, "session_info.number"),
        shortcut("session__lab__name", ColumnKind::Text, "session_info.lab"),
        shortcut("session__projects__name", ColumnKind::Text, "session_info.projects[]"),
        shortcut("session__task_protocol", ColumnKind::Text, "session_info.task_protocol"),
    ],
    embedded: &[],
};

pub(super) static CHRONIC_INSERTION: Model = Model {
    endpoint: "chronic-insertions",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("name", ColumnKind::Text),
        column("start_time", ColumnKind::DateTime),
        column("serial", ColumnKind::Text),
        column("json", ColumnKind::Json),
        at("model__probe_model", ColumnKind::Text, "model"),
    ],
    relations: &[
        one("subject", "subjects", "subject", "nickname"),
        one("lab", "labs", "lab", "name"),
        held_by(many("probe_insertion", "insertions", "probe_insertion[].id", "id")),
        held("trajectory_estimate", "trajectories", "chronic_insertion"),
    ],
    hidden: &["model", "users", "location", "procedures", "narrative", "end_time"],
    complete: false,
    shown: &[],
    shortcuts: &[shortcut(
        "probe_insertion__session__id",
        ColumnKind::Uuid,
        "probe_insertion[].session_info.id",
    )],
    embedded: &[],
};

pub(super) static TRAJECTORY_ESTIMATE: Model = Model {
    endpoint: "trajectories",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("x", ColumnKind::Float),
        column("y", ColumnKind::Float),
        column("z", ColumnKind::Float),
        column("depth", ColumnKind::Float),
        column("theta", ColumnKind::Float),
        column("phi", ColumnKind::Float),
        column("roll", ColumnKind::Float),
        column("provenance", ColumnKind::Labels(&PROVENANCE)),
        column("datetime", ColumnKind::DateTime),
        column("json", ColumnKind::Json),
        at("coordinate_system__name", ColumnKind::Text, "coordinate_system"),
    ],
    relations: &[
        one("probe_insertion", "insertions", "probe_insertion", "id"),
        one("chronic_insertion", "chronic-insertions", "chronic_insertion", "id"),
        held("channels", "channels", "trajectory_estimate"),
    ],
    hidden: &["coordinate_system", "coordinate_system_id", "probe_insertion_id", "chronic_insertion_id"],
    // `session` and `probe_name` of a record may also be those of its chronic insertion; they are no shortcut.
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static CHANNEL: Model = Model {
    endpoint: "channels",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("name", ColumnKind::Text),
        column("json", ColumnKind::Json),
        column("axial", ColumnKind::Float),
        column("lateral", ColumnKind::Float),
        column("x", ColumnKind::Float),
        column("y", ColumnKind::Float),
        column("z", ColumnKind::Float),
    ],
    relations: &[
        one("trajectory_estimate", "trajectories", "trajectory_estimate", "id"),
        one("brain_region", "brain-regions", "brain_region", "id"),
    ],
    hidden: &["trajectory_estimate_id", "brain_region_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static BRAIN_REGION: Model = Model {
    endpoint: "brain-regions",
    columns: &[
        column("id", ColumnKind::Integer),
        column("acronym", ColumnKind::Text),
        column("name", ColumnKind::Text),
        column("description", ColumnKind::Text),
    ],
    relations: &[
        in_tree(one("parent", "brain-regions", "parent", "id")),
        held("children", "brain-regions", "parent"),
        held("channels", "channels", "brain_region"),
    ],
    hidden: &["level", "lft", "rght", "tree_id", "ontology", "parent_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static FOV: Model = Model {
    endpoint: "fields-of-view",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("name", ColumnKind::Text),
        column("json", ColumnKind::Json),
        at("imaging_type__name", ColumnKind::Text, "imaging_type"),
    ],
    relations: &[
        one("session", "sessions", "session", "id"),
        one("stack", "imaging-stack", "stack", "id"),
        many("datasets", "datasets", "datasets[]", "id"),
        held_by(many("location", "fov-location", "location[].id", "id")),
    ],
    hidden: &["imaging_type", "imaging_type_id", "session_id", "stack_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static FOV_LOCATION: Model = Model {
    endpoint: "fov-location",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("provenance", ColumnKind::Text),
        column("x", ColumnKind::Array),
        column("y", ColumnKind::Array),
        column("z", ColumnKind::Array),
        column("n_xyz", ColumnKind::Array),
        column("default_provenance", ColumnKind::Boolean),
        column("auto_datetime", ColumnKind::DateTime),
        at("coordinate_system__name", ColumnKind::Text, "coordinate_system"),
        detail("json", ColumnKind::Json),
    ],
    relations: &[
        many("brain_region", "brain-regions", "brain_region[]", "id"),
        shown("field_of_view", "fields-of-view", "location"),
    ],
    hidden: &["name", "coordinate_system", "coordinate_system_id", "field_of_view_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};

pub(super) static IMAGING_STACK: Model = Model {
    endpoint: "imaging-stack",
    columns: &[
        column("id", ColumnKind::Uuid),
        detail("name", ColumnKind::Text),
        detail("json", ColumnKind::Json),
    ],
    relations: &[held_by(many("slices", "fields-of-view", "slices[].id", "id"))],
    hidden: &[],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[Embedded { relation: "slices", columns: &[column("name", ColumnKind::Text)] }],
};
