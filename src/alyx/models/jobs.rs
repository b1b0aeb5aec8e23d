//! Tasks.

use super::super::model::{ColumnKind, Model, STATUS, shorthand::*};

pub(super) static TASK: Model = Model {
    endpoint: "tasks",
    columns: &[
        column("id", ColumnKind::Uuid),
        column("status", ColumnKind::Labels(&STATUS)),
        column("name", ColumnKind::Text),
        column("priority", ColumnKind::Integer),
        column("io_charge", ColumnKind::Integer),
        column("level", ColumnKind::Integer),
        column("gpu", ColumnKind::Integer),
        column("cpu", ColumnKind::Integer),
        column("ram", ColumnKind::Integer),
        column("time_out_secs", ColumnKind::Integer),
        column("time_elapsed_secs", ColumnKind::Float),
        column("executable", ColumnKind::Text),
        column("graph", ColumnKind::Text),
        column("log", ColumnKind::Text),
        column("version", ColumnKind::Text),
        column("datetime", ColumnKind::DateTime),
        column("arguments", ColumnKind::Json),
    ],
    relations: &[
        many("parents", "tasks", "parents[]", "id"),
        shown("children", "tasks", "parents"),
        one("session", "sessions", "session", "id"),
        one("data_repository", "data-repository", "data_repository", "name"),
    ],
    hidden: &["session_id", "data_repository_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};
