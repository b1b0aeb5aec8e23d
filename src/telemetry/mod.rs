//! What is told of the proxy's work: to logs, metrics and the status page.

pub(crate) mod access_log;
pub(crate) mod activity;
pub(crate) mod audit;
pub(crate) mod counters;
pub(crate) mod metrics;
