//! The mirror: whole tables of Alyx, kept here, so that questions which nobody asked before are answered
//! exactly as Alyx would answer them.
//!
//! [`shape`] derives the tables from what [`crate::alyx`] says of models and relations; [`load`] puts records
//! into them.

pub mod answer;
pub mod answers;
pub mod carry;
pub mod damage;
mod database;
mod doubt;
mod due;
mod file;
pub mod functions;
mod generation;
pub mod load;
mod pick;
pub mod plan;
#[cfg(test)]
mod properties;
mod scrub;
pub mod shape;
pub mod state;
mod sum;
pub mod sync;
pub mod unreadable;

pub use database::{Mirror, MirrorError, MirrorOpenError};
pub use sync::Synchroniser;
