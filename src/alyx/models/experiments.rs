//! Probes, where they went, and what was imaged.

use super::super::model::{Embedded, Kind, Model, PROVENANCE, shorthand::*};

pub(super) static PROBE_INSERTION: Model = Model {
    endpoint: "insertions",
    columns: &[
        column("id", Kind::Uuid),
        column("name", Kind::Text),
        column("json", Kind::Json),
        column("serial", Kind::Text),
        column("auto_datetime", Kind::DateTime),
        at("model__probe_model", Kind::Text, "model"),
    ],
    relations: &[
        one("session", "sessions", "session", "id"),
        one("chronic_insertion", "chronic-insertions", "chronic_insertion", "id"),
        many("datasets", "datasets", "datasets[]", "id"),
        held("trajectory_estimate", "trajectories", "probe_insertion"),
    ],
    hidden: &["model", "model_id", "session_id", "chronic_insertion_id"],
    complete: false,
    shortcuts: &[
        shortcut("session__subject__nickname", Kind::Text, "session_info.subject"),
        shortcut("session__start_time", Kind::DateTime, "session_info.start_time"),
        shortcut("session__number", Kind::Integer, "session_info.number"),
        shortcut("session__lab__name", Kind::Text, "session_info.lab"),
        shortcut("session__projects__name", Kind::Text, "session_info.projects[]"),
        shortcut("session__task_protocol", Kind::Text, "session_info.task_protocol"),
    ],
    embedded: &[],
};

pub(super) static CHRONIC_INSERTION: Model = Model {
    endpoint: "chronic-insertions",
    columns: &[
        column("id", Kind::Uuid),
        column("name", Kind::Text),
        column("start_time", Kind::DateTime),
        column("serial", Kind::Text),
        column("json", Kind::Json),
        at("model__probe_model", Kind::Text, "model"),
    ],
    relations: &[
        one("subject", "subjects", "subject", "nickname"),
        one("lab", "labs", "lab", "name"),
        many("probe_insertion", "insertions", "probe_insertion[].id", "id"),
        held("trajectory_estimate", "trajectories", "chronic_insertion"),
    ],
    hidden: &["model", "users", "location", "procedures", "narrative", "end_time"],
    complete: false,
    shortcuts: &[shortcut("probe_insertion__session__id", Kind::Uuid, "probe_insertion[].session_info.id")],
    embedded: &[],
};

pub(super) static TRAJECTORY_ESTIMATE: Model = Model {
    endpoint: "trajectories",
    columns: &[
        column("id", Kind::Uuid),
        column("x", Kind::Float),
        column("y", Kind::Float),
        column("z", Kind::Float),
        column("depth", Kind::Float),
        column("theta", Kind::Float),
        column("phi", Kind::Float),
        column("roll", Kind::Float),
        column("provenance", Kind::Labels(&PROVENANCE)),
        column("datetime", Kind::DateTime),
        column("json", Kind::Json),
        at("coordinate_system__name", Kind::Text, "coordinate_system"),
    ],
    relations: &[
        one("probe_insertion", "insertions", "probe_insertion", "id"),
        one("chronic_insertion", "chronic-insertions", "chronic_insertion", "id"),
        held("channels", "channels", "trajectory_estimate"),
    ],
    hidden: &["coordinate_system", "coordinate_system_id", "probe_insertion_id", "chronic_insertion_id"],
    // `session` and `probe_name` of a record may also be those of its chronic insertion; they are no shortcut.
    complete: false,
    shortcuts: &[],
    embedded: &[],
};

pub(super) static CHANNEL: Model = Model {
    endpoint: "channels",
    columns: &[
        column("id", Kind::Uuid),
        column("name", Kind::Text),
        column("json", Kind::Json),
        column("axial", Kind::Float),
        column("lateral", Kind::Float),
        column("x", Kind::Float),
        column("y", Kind::Float),
        column("z", Kind::Float),
    ],
    relations: &[
        one("trajectory_estimate", "trajectories", "trajectory_estimate", "id"),
        one("brain_region", "brain-regions", "brain_region", "id"),
    ],
    hidden: &["trajectory_estimate_id", "brain_region_id"],
    complete: false,
    shortcuts: &[],
    embedded: &[],
};

pub(super) static BRAIN_REGION: Model = Model {
    endpoint: "brain-regions",
    columns: &[
        column("id", Kind::Integer),
        column("acronym", Kind::Text),
        column("name", Kind::Text),
        column("description", Kind::Text),
    ],
    relations: &[
        one("parent", "brain-regions", "parent", "id"),
        held("channels", "channels", "brain_region"),
    ],
    hidden: &["level", "lft", "rght", "tree_id", "ontology", "parent_id"],
    complete: false,
    shortcuts: &[],
    embedded: &[],
};

pub(super) static FOV: Model = Model {
    endpoint: "fields-of-view",
    columns: &[
        column("id", Kind::Uuid),
        column("name", Kind::Text),
        column("json", Kind::Json),
        at("imaging_type__name", Kind::Text, "imaging_type"),
    ],
    relations: &[
        one("session", "sessions", "session", "id"),
        one("stack", "imaging-stack", "stack", "id"),
        many("datasets", "datasets", "datasets[]", "id"),
        many("location", "fov-location", "location[].id", "id"),
    ],
    hidden: &["imaging_type", "imaging_type_id", "session_id", "stack_id"],
    complete: false,
    shortcuts: &[],
    embedded: &[],
};

pub(super) static FOV_LOCATION: Model = Model {
    endpoint: "fov-location",
    columns: &[
        column("id", Kind::Uuid),
        column("provenance", Kind::Text),
        column("x", Kind::Array),
        column("y", Kind::Array),
        column("z", Kind::Array),
        column("n_xyz", Kind::Array),
        column("default_provenance", Kind::Boolean),
        column("auto_datetime", Kind::DateTime),
        at("coordinate_system__name", Kind::Text, "coordinate_system"),
        detail("json", Kind::Json),
    ],
    relations: &[
        many("brain_region", "brain-regions", "brain_region[]", "id"),
        held("field_of_view", "fields-of-view", "location"),
    ],
    hidden: &["name", "coordinate_system", "coordinate_system_id", "field_of_view_id"],
    complete: false,
    shortcuts: &[],
    embedded: &[],
};

pub(super) static IMAGING_STACK: Model = Model {
    endpoint: "imaging-stack",
    columns: &[column("id", Kind::Uuid), detail("name", Kind::Text), detail("json", Kind::Json)],
    relations: &[many("slices", "fields-of-view", "slices[].id", "id")],
    hidden: &[],
    complete: false,
    shortcuts: &[],
    embedded: &[Embedded { relation: "slices", columns: &[column("name", Kind::Text)] }],
};
