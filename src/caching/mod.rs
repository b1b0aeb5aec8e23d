//! The caching core: what HTTP's standards say of storing and giving stored answers, as functions of messages.
//!
//! RFC 9111 (caching), RFC 9110 13 and 14 (conditional and range requests), RFC 5861 (stale answers) and RFC 9213
//! (targeted fields). Nothing here knows Alyx, waits, or stores: the profile for Alyx (`responses`, `server::read`)
//! and the one that keeps to the standard alone (`server::standard`) are two policies over these rules.

mod conditions;
pub mod control;
mod date;
mod freshness;
mod range;
mod storing;
mod vary;

pub use conditions::{names, not_modified};
pub use control::{Directives, ResponseControl};
pub use date::parse as parse_date;
pub use freshness::{Clocked, Lifetime, lifetime};
pub use range::{Validators, Wanted, wanted};
pub use storing::{Request, forbids_storing, may_store, merge};
pub use vary::{Selecting, selecting};
