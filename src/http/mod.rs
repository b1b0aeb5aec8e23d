//! HTTP's own rules, without Alyx and without I/O.

pub(crate) mod body;
pub(crate) mod cache_status;
pub(crate) mod content_coding;
pub(crate) mod cross_site;
pub(crate) mod forwarded;
pub(crate) mod normalize;
pub(crate) mod reuse;
