//! The filters of each endpoint, a file for each app of Alyx (ALYX.md 2.7).

#![allow(clippy::wildcard_imports, reason = "the tables are written in shorthand")]

mod actions;
mod data;
mod experiments;
mod jobs;
mod misc;
mod subjects;

use super::filter::{Decided, Filter, Input, Predicate, RowEffect, Seed, shorthand::asks};

/// The filters of an endpoint, in Alyx's order.
pub(super) const fn of(endpoint: &str) -> &'static [Filter] {
    match endpoint.as_bytes() {
        b"sessions" => actions::SESSIONS,
        b"surgeries" => actions::SURGERIES,
        b"weighings" => actions::WEIGHINGS,
        b"water-administrations" => actions::WATER_ADMINISTRATIONS,
        b"water-restriction" => actions::WATER_RESTRICTION,
        b"datasets" => data::DATASETS,
        b"files" => data::FILES,
        b"downloads" => data::DOWNLOADS,
        b"data-notices" => data::DATA_NOTICES,
        b"data-repository" => data::DATA_REPOSITORY,
        b"revisions" | b"tags" => data::NAME_ONLY,
        b"insertions" => experiments::INSERTIONS,
        b"chronic-insertions" => experiments::CHRONIC_INSERTIONS,
        b"trajectories" => experiments::TRAJECTORIES,
        b"channels" => experiments::CHANNELS,
        b"brain-regions" => experiments::BRAIN_REGIONS,
        b"fields-of-view" => experiments::FIELDS_OF_VIEW,
        b"fov-location" => experiments::FOV_LOCATION,
        b"imaging-stack" => experiments::IMAGING_STACK,
        b"tasks" => jobs::TASKS,
        b"labs" => misc::LABS,
        b"users" => misc::USERS,
        b"notes" => misc::NOTES,
        b"subjects" => subjects::SUBJECTS,
        _ => &[],
    }
}

/// `atlas_name`, `atlas_acronym` and `atlas_id`.
const fn region(name: &'static str, seed: Seed, rows: RowEffect, with: &'static [&'static str]) -> Filter {
    let input = match seed {
        Seed::Id => Input::Number,
        Seed::Acronym | Seed::Name => Input::Text,
    };
    asks(name, input, Predicate::Region(seed), rows, Decided::With(with))
}
