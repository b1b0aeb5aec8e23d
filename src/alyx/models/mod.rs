//! The models, a file for each app of Alyx (ALYX.md 3).

#![allow(clippy::wildcard_imports, reason = "the tables are written in shorthand")]

mod actions;
mod data;
mod experiments;
mod jobs;
mod misc;
mod subjects;

use super::model::Model;

/// Every model that an endpoint lists.
pub static MODELS: &[&Model] = &[
    &actions::SESSION,
    &actions::SURGERY,
    &actions::WEIGHING,
    &actions::WATER_ADMINISTRATION,
    &actions::WATER_RESTRICTION,
    &actions::WATER_TYPE,
    &actions::PROCEDURE_TYPE,
    &data::DATASET,
    &data::FILE_RECORD,
    &data::DOWNLOAD,
    &data::DATA_NOTICE,
    &data::DATASET_TYPE,
    &data::DATA_FORMAT,
    &data::DATA_REPOSITORY,
    &data::DATA_REPOSITORY_TYPE,
    &data::REVISION,
    &data::TAG,
    &experiments::PROBE_INSERTION,
    &experiments::CHRONIC_INSERTION,
    &experiments::TRAJECTORY_ESTIMATE,
    &experiments::CHANNEL,
    &experiments::BRAIN_REGION,
    &experiments::FOV,
    &experiments::FOV_LOCATION,
    &experiments::IMAGING_STACK,
    &jobs::TASK,
    &misc::LAB,
    &misc::LAB_MEMBER,
    &misc::LAB_LOCATION,
    &misc::NOTE,
    &subjects::SUBJECT,
    &subjects::PROJECT,
];
