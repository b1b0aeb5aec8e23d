//! Filters of tasks (ALYX.md 2.7.10).

use super::super::{
    filter::{Filter, shorthand::*},
    model::STATUS,
};

pub(super) const TASKS: &[Filter] = &[
    uuid("id", "id", LIST),
    text("name", LIST),
    number("priority", LIST),
    number("io_charge", LIST),
    number("level", LIST),
    number("gpu", LIST),
    number("cpu", LIST),
    number("ram", LIST),
    number("time_out_secs", LIST),
    number("time_elapsed_secs", LIST),
    text("executable", LIST),
    text("graph", LIST),
    label("status", &STATUS, LIST),
    text("log", LIST),
    key("session", Some("sessions"), LIST),
    text("version", LIST),
    keys("parents", Some("tasks"), LIST),
    time("datetime", LIST),
    text("arguments", LIST),
    key("data_repository", None, NOWHERE),
    DJANGO,
    text_at("lab", "session__lab__name", with(&["sessions"])),
];
