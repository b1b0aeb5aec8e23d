//! What the tests share: the real program as a child process, upstreams that answer, change and break on command,
//! and a client that sends exactly what it is told to.
//!
//! Everything goes through sockets on ports that the system picks, and every proxy has a data directory of its
//! own, so that all tests can run at once.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::option_option
)]

pub mod breaker;
pub mod cache_status;
pub mod client;
pub mod command;
pub mod disk;
pub mod kept;
pub mod lab;
pub mod lens;
pub mod miniature;
pub mod moved_clock;
pub mod postgres;
pub mod proxy;
pub mod recordings;
pub mod records;
pub mod slow_alyx;
pub mod snapshots;
pub mod tool;
pub mod upstream;

pub use breaker::{Break, Breaker};
pub use cache_status::CacheStatus;
pub use client::{Answer, Client};
pub use lab::Lab;
pub use proxy::{Proxy, Setup};
pub use recordings::{Recording, Recordings};
pub(crate) use tool::tool;
pub use upstream::{Asked, Fault, Reply, Upstream};

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Serves this on a port of loopback: its base URL, and what ends when it is aborted.
pub async fn serve(app: axum::Router) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (url, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

/// Users of the recordings (`fixtures/auth.json`).
pub mod users {
    pub const ADMIN: User =
        User { name: "admin", password: "admin-pass-1", token: "7107022458bc7bf0aefba56b4832fcdfad2ec1fe" };
    pub const ONEUSER: User =
        User { name: "oneuser", password: "one-pass-1", token: "d38bebd51cfafb6d836aacba3083d3e4ad139d84" };
    pub const PUBLIC: User = User {
        name: "intbrainlab",
        password: "international",
        token: "24e7ed13c5c06f40817e5eb875caf5b23585a5ec",
    };
    pub const ALL: [User; 3] = [ADMIN, ONEUSER, PUBLIC];
    /// A token that nobody has.
    pub const UNKNOWN_TOKEN: &str = "0000000000000000000000000000000000000000";

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct User {
        pub name: &'static str,
        pub password: &'static str,
        pub token: &'static str,
    }

    impl User {
        /// The value of the `Authorization` header.
        pub fn authorization(&self) -> String {
            format!("Token {}", self.token)
        }
    }
}

/// How often something is tried: `few` times as a rule, `many` times under `./check --long`.
pub fn rounds(few: usize, many: usize) -> usize {
    if std::env::var_os("CHECK_LONG").is_some() { many } else { few }
}

/// Notes how many cases of a promise were tried without a failure, for the table of promises (`tests/promises`).
pub fn tried(promise: &str, cases: usize) {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("promises");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(promise.replace(' ', "-")), cases.to_string()).unwrap();
}

/// Waits until `done` holds; panics with `what` after a minute: a busy machine is slow, and how long things take is measured in `bench`.
pub async fn until<F, Fut>(what: &str, mut done: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let start = std::time::Instant::now();
    while !done().await {
        assert!(start.elapsed() < Duration::from_mins(1), "after a minute still not so: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends bytes and reads what comes within a second, or until the end.
pub fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let (mut said, mut buffer) = (Vec::new(), vec![0; 65536]);
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        said.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&said).into_owned()
}
