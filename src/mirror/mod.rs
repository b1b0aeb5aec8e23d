//! The mirror: whole tables of Alyx, kept here, so that questions which nobody asked before are answered
//! exactly as Alyx would answer them.
//!
//! [`shape`] derives the tables from what [`crate::alyx`] says of models and relations; [`load`] puts records
//! into them.

pub mod answer;
pub mod capabilities;
mod change_log;
mod checksum;
mod connection_clock;
pub mod corruption;
mod database;
mod ddl;
mod described;
pub mod export;
mod faults;
mod file;
mod follow;
mod generation;
pub mod ingest;
pub mod json_nulls;
mod kept;
pub mod learn;
pub mod plan;
mod probes;
mod projection;
mod quarantine;
mod readers;
mod refetch;
mod reshape;
pub mod schema;
mod scrub;
mod sealing;
pub mod shown;
pub mod sql_functions;
pub mod state;
pub mod sync;
pub mod unreadable;
mod values;

pub use database::{Mirror, MirrorError, MirrorOpenError};
pub use described::Described;
pub use file::create_tables;
pub use sync::Synchroniser;
