//! What Alyx is, as data: endpoints, filters, links in bodies, error bodies, what a write changes.
//!
//! Everything here is stated from the reference of Alyx 3.6.1's REST surface. Nothing here does
//! input or output, and this module imports no other of the program.

pub mod ask;
pub mod cache_tables;
pub mod changes;
pub mod coreapi;
pub mod endpoint;
pub mod errors;
pub mod filter;
mod filters;
pub mod json;
pub mod links;
pub mod model;
mod models;
pub mod paging;
pub mod place;
pub mod query;
pub mod reads;
pub mod record;
pub mod route;
pub mod schema;
pub mod secrets;
pub mod tables;
pub mod water;
pub mod writes;

pub use endpoint::{Class, Detail, ENDPOINTS, Endpoint, Key, Shape};
pub use filter::strips;
pub use route::{Route, Service};
