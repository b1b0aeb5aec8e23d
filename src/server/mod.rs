//! Sockets: listening, TLS, connections, interim responses, and streams that a client stopped reading.
//!
//! It knows nothing of Alyx: [`listener`] serves whatever handler it is given.

#![allow(clippy::disallowed_methods, reason = "sockets and streams of a live server wait in real time")]

pub(crate) mod connection_limit;
pub(crate) mod interim;
pub(crate) mod listener;
pub(crate) mod request_id;
mod stalled_streams;
mod tls;

pub use listener::ListenError;
pub(crate) use tls::Tls;
pub use tls::{TlsError, check as check_certificate, only as only_this_certificate};
