//! HTTP's own rules, as functions of messages: nothing here knows Alyx, waits, or stores.
//!
//! RFC 9111 (caching), RFC 9110 13 and 14 (conditional and range requests), RFC 5861 (stale answers), RFC 9211
//! (`Cache-Status`) and RFC 9213 (targeted fields). The profile for Alyx (`cache`, `proxy::read`) and the one that
//! keeps to the standard alone (`rfc9111`) are two policies over these rules.

pub(crate) mod body;
pub mod cache_control;
pub(crate) mod cache_status;
mod conditional;
pub(crate) mod content_coding;
pub(crate) mod cross_site;
mod date;
pub(crate) mod forwarded;
mod freshness;
pub(crate) mod hop_by_hop;
pub(crate) mod hosts;
pub(crate) mod normalize;
mod range;
pub(crate) mod response_fields;
pub(crate) mod reuse;
mod storable;
pub mod stored_fields;
mod vary;

pub use cache_control::{Directives, ResponseControl};
pub use conditional::{names, not_modified, precondition};
pub use date::parse as parse_date;
pub use freshness::{Clocked, Lifetime, lifetime};
pub use range::{RequestedRange, Validators, wanted};
pub use storable::{Request, forbids_storing, may_store, merge};
pub use vary::{Selecting, selecting};
