//! Filters of labs, users and notes (ALYX.md 2.7.18 to 2.7.20).

use super::super::filter::{Filter, Input, Lookup, shorthand::*};

pub(super) const LABS: &[Filter] = &[
    uuid("id", "id", NOWHERE),
    text("name", LIST),
    text("institution", LIST),
    text("address", LIST),
    text("timezone", LIST),
    number("reference_weight_pct", LIST),
    number("zscore_weight_pct", LIST),
    key("cage_type", None, NOWHERE),
    key("enrichment", None, NOWHERE),
    key("food", None, NOWHERE),
    number("cage_cleaning_frequency_days", NOWHERE),
    on("light_cycle", Input::Choice(&["0", "1"]), "light_cycle", Lookup::Exact, NOWHERE),
    keys("repositories", None, NOWHERE),
    DJANGO,
];

pub(super) const USERS: &[Filter] = &[
    text("password", NOWHERE),
    time("last_login", NOWHERE),
    boolean("is_superuser", NOWHERE),
    integer_keys("groups", None, NOWHERE),
    integer_keys("user_permissions", None, NOWHERE),
    text("username", LIST),
    text("first_name", NOWHERE),
    text("last_name", NOWHERE),
    text("email", LIST),
    boolean("is_staff", NOWHERE),
    boolean("is_active", NOWHERE),
    time("date_joined", NOWHERE),
    uuid("id", "id", LIST),
    boolean("is_stock_manager", LIST),
    keys("allowed_users", Some("users"), with(&["users"])),
    boolean("is_public_user", NOWHERE),
    DJANGO,
];

pub(super) const NOTES: &[Filter] = &[DJANGO];
