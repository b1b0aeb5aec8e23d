//! The way of a request: which floor answers it.
//!
//! ```text
//! read    ▸ who asks ▸ mirrored lately? ▸ stored and fresh? ▸ Alyx, once for all who ask
//!         ▸ stored or mirrored, however old ▸ refusal
//! write   ▸ marked stale what it may change ▸ Alyx
//! others  ▸ Alyx, as a stream
//! ```

pub(crate) mod after_write;
pub(crate) mod authorize;
mod catch_up;
pub(crate) mod core;
pub(crate) mod data_files;
mod denied;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod explain;
mod files;
pub(crate) mod floors;
mod from_cache;
pub(crate) mod from_mirror;
mod from_upstream;
pub(crate) mod history;
pub(crate) mod hot_cache;
pub(crate) mod in_flight;
mod list_walks;
pub(crate) mod log_in_audit;
pub(crate) mod login;
pub(crate) mod lost_update;
mod mirror_budget;
pub(crate) mod mode;
pub(crate) mod passthrough;
mod read;
mod recency;
mod respond;
pub(crate) mod snapshot;
pub(crate) mod snapshot_audit;
mod stale;
#[cfg(test)]
mod tests;
pub(crate) mod together;
mod unsealed;
pub(crate) mod verify;
mod write;
mod write_outcome;

pub use core::OpenError;
pub use mode::{Mode, ServedSnapshot};
pub use snapshot::ProgressFn;

pub(crate) use exchange::Exchange;
