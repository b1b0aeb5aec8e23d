//! The way of a request: which floor answers it.
//!
//! ```text
//! read    ▸ who asks ▸ mirrored lately? ▸ stored and fresh? ▸ Alyx, once for all who ask
//!         ▸ stored or mirrored, however old ▸ refusal
//! write   ▸ marked stale what it may change ▸ Alyx
//! others  ▸ Alyx, as a stream
//! ```

mod admin;
mod answer;
mod app;
mod asked;
mod control;
mod core;
mod exchange;
mod explain;
mod files;
mod floors;
mod gauges;
mod hot_cache;
mod interim;
mod load;
mod login;
mod mirror_status;
mod mirrored;
mod mode;
mod pages;
mod pass;
mod read;
mod refusal;
mod request_id;
mod run;
mod serve;
mod snapshot;
mod standard;
mod taking;
mod tasks;
mod tls;
mod unchanged;
mod verdict;
mod verify;
mod walks;
mod write;
mod written;

pub use app::App;
pub use core::OpenError;
pub use mode::{Mode, ServedSnapshot};
pub use run::ListenError;
pub use snapshot::Teller;
pub use tasks::{HttpServer, listen, listen_on};
pub use tls::{TlsError, only as only_this_certificate};

use exchange::Asked;
