//! The miniature Alyx over the sample lab: the upstream of the demo and of the tests.
//!
//! It answers lists with paging and filters, details, log-in, `/me`, the schema and ONE's cache
//! tables as Alyx 3.6.1 does (ALYX.md 1 to 5), and keeps writes in memory until it ends. What it can't
//! answer as Alyx would it refuses with 501 and the reason; it never answers wrongly. Its network can be
//! cut and restored.

#![allow(
    clippy::disallowed_methods,
    reason = "it plays a server that is elsewhere, and counts by its own time"
)]

mod answer;
mod cost;
pub(crate) mod data;
mod engine;
mod form;
mod negotiate;
mod network;
mod omit;
mod respond;
pub(crate) mod sample;
mod services;
mod water;
mod who;
mod write;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, PoisonError},
};

pub use cost::CostedLab;
pub use engine::Spent;
use http::{Method, StatusCode};
use respond::Alyx;

use crate::clock::SharedClock;

/// Someone who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user name.
    pub name: String,
    /// The password.
    pub password: String,
    /// The token that a log-in gives: 40 hexadecimal digits.
    pub token: String,
    /// Whether this is a public user, who may only GET.
    pub public: bool,
}

/// What the miniature shall be like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether to serve the sample with the sessions that have no start time too.
    pub complete: bool,
    /// Who may ask. `demo`, if among them, is a user of the lab with sessions.
    pub users: Vec<User>,
    /// Whether `GET /me` names the user, as the newest Alyx does; older ones answer 404 in HTML.
    pub serves_me: bool,
    /// Requests a minute for each user, above which 429 is answered.
    pub throttle: Option<u32>,
    /// Whether it has ONE's cache tables; many an Alyx was never told to make any.
    pub cache_tables: bool,
    /// The server's clock; none is the computer's.
    pub clock: Option<SharedClock>,
}

impl Default for Options {
    fn default() -> Self {
        let demo = User {
            name: "demo".to_owned(),
            password: "demo".to_owned(),
            token: "d3300d3300d3300d3300d3300d3300d3300d3300".to_owned(),
            public: false,
        };
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            complete: false,
            users: vec![demo],
            serves_me: true,
            throttle: None,
            cache_tables: true,
            clock: None,
        }
    }
}

/// A request that the miniature has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRequest {
    /// Its method.
    pub method: Method,
    /// Its target as it came.
    pub path_and_query: String,
    /// Whether it carried an `Authorization` header.
    pub authorization_present: bool,
    /// How it was answered.
    pub status: StatusCode,
}

/// A running miniature Alyx; it ends when this is dropped.
#[derive(Debug)]
pub struct Miniature {
    alyx: Arc<Alyx>,
    network: network::Network,
}

/// Starts a miniature Alyx on a thread of its own.
pub async fn start(options: Options) -> io::Result<Miniature> {
    let alyx = Arc::new(Alyx::new(&options)?);
    let network = network::Network::open(options.listen, Arc::clone(&alyx)).await?;
    Ok(Miniature { alyx, network })
}

impl Miniature {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.network.addr()
    }

    /// Its base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// The day that its clock stands at.
    #[allow(clippy::unused_self, reason = "a property of it, which happens to be the same for all")]
    pub fn today(&self) -> jiff::civil::Date {
        sample::TODAY
    }

    /// Cuts the network: connections are refused, open ones dropped. Done when this returns.
    pub fn cut(&self) {
        self.network.cut();
    }

    /// Restores the network, on the same port.
    pub async fn restore(&self) -> io::Result<()> {
        self.network.restore().await
    }

    /// The requests that it has answered so far, in order.
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.alyx.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the requests that it has answered.
    pub fn forget_requests(&self) {
        self.alyx.asked.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Ends it. What was written to it is lost.
    pub fn shutdown(self) {
        drop(self);
    }
}
