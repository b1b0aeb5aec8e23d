//! The proxy's own site below `/-/`: what it is doing, what its operator may do, and its documentation.

mod acts;
mod api;
mod history;
mod mirror_status;
pub(crate) mod pages;
pub(crate) mod router;
