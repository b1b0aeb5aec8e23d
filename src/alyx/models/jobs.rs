//! Tasks.

use super::super::model::{Kind, Model, STATUS, shorthand::*};

pub(super) static TASK: Model = Model {
    endpoint: "tasks",
    columns: &[
        column("id", Kind::Uuid),
        column("status", Kind::Labels(&STATUS)),
        column("name", Kind::Text),
        column("priority", Kind::Integer),
        column("io_charge", Kind::Integer),
        column("level", Kind::Integer),
        column("gpu", Kind::Integer),
        column("cpu", Kind::Integer),
        column("ram", Kind::Integer),
        column("time_out_secs", Kind::Integer),
        column("time_elapsed_secs", Kind::Float),
        column("executable", Kind::Text),
        column("graph", Kind::Text),
        column("log", Kind::Text),
        column("version", Kind::Text),
        column("datetime", Kind::DateTime),
        column("arguments", Kind::Json),
    ],
    relations: &[
        many("parents", "tasks", "parents[]", "id"),
        one("session", "sessions", "session", "id"),
        one("data_repository", "data-repository", "data_repository", "name"),
    ],
    hidden: &["session_id", "data_repository_id"],
    complete: false,
    shown: &[],
    shortcuts: &[],
    embedded: &[],
};
