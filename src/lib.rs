//! alyx-proxy: a lab's own Alyx.
//!
//! It imitates Alyx's REST endpoints, remembers what Alyx said, and goes on answering when Alyx is
//! out of reach. A request walks down one staircase, and each floor answers it or passes it on:
//!
//! [`app`] ▸ [`proxy`] ▸ [`auth`], [`mirror`], [`cache`] ▸ [`upstream`]
//!
//! [`alyx`] is what Alyx *is*, as data; every other module asks it and none of them names an
//! endpoint of Alyx. [`http`] has HTTP's own rules of caching. [`miniature`] is a miniature Alyx over the
//! sample lab: the upstream of the demo and of the tests.

mod admin;
pub mod alyx;
pub mod app;
pub mod auth;
pub mod cache;
pub mod clock;
pub mod cluster;
pub mod data_dir;
pub mod docs;
mod files;
pub mod http;
pub mod log;
pub mod miniature;
pub mod mirror;
pub mod one;
pub mod progress;
pub mod proxy;
mod rfc9111;
pub mod server;
pub mod settings;
mod single_flight;
pub mod snapshot;
pub mod spelling;
pub mod storage;
pub mod store;
mod telemetry;
pub mod upstream;

#[cfg(test)]
#[path = "../tests/oracle/mod.rs"]
mod oracle;
