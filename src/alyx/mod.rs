//! What Alyx is, as data: endpoints, filters, links in bodies, error bodies, what a write changes.
//!
//! Everything here is stated from the reference of Alyx 3.6.1's REST surface. Nothing here does
//! input or output.

pub mod belonging;
pub mod cache_info;
pub mod cache_tables;
pub mod cache_zip;
pub mod change_tracking;
pub(crate) mod collation;
pub mod coreapi;
pub mod data_links;
pub mod dataset_files;
pub mod derived;
pub mod descriptions;
pub mod endpoint;
pub mod error_body;
pub mod filter;
mod filters;
pub mod filterset;
pub mod invalidates;
pub mod json;
pub mod json_path;
pub mod known_values;
pub mod links;
pub mod model;
mod models;
pub mod pagination;
pub mod query_string;
pub mod reads;
pub mod record;
pub mod redact;
pub mod route;
pub mod schema;
pub mod side_effects;
pub mod spec;
pub mod water;

pub use endpoint::{Class, Detail, DetailKey, DetailShape, ENDPOINTS, Endpoint};
pub use filter::strips;
pub use route::{Route, Service};
pub use spec::AlyxSpec;
