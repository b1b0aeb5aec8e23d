//! The miniature Alyx alone, for measurements (`bench/run day`): the sample lab with as many users as are wished.
//!
//! ```sh
//! cargo run --release --example miniature -- PORT USERS [REQUESTS_A_MINUTE]
//! ```
//!
//! User number `n` has the token of forty digits that ends with `n`. For each line on its input it prints what it was
//! asked since the last, as JSON: `{"reads": 1, "writes": 0, "refused": 0}`; `refused` counts 429.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{io::BufRead, net::SocketAddr};

use alyx_proxy::miniature::{self as demo, Options, User};
use http::{Method, StatusCode};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|number| number.parse::<u32>().ok());
    let (Some(Some(port)), Some(Some(users))) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: miniature PORT USERS [REQUESTS_A_MINUTE]");
        std::process::exit(2);
    };
    let user = |n: u32| User {
        name: format!("user{n}"),
        password: format!("user{n}"),
        token: format!("{n:040}"),
        public: false,
    };
    let listen = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).expect("a port")));
    let throttle = arguments.next().flatten();
    let users = (0..users).map(user).collect();
    let miniature = demo::start(Options { listen, users, throttle, ..Options::default() }).await.unwrap();
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
        let asked = miniature.requests();
        miniature.forget_requests();
        let count = |of: fn(&demo::LoggedRequest) -> bool| asked.iter().filter(|asked| of(asked)).count();
        println!(
            "{}",
            serde_json::json!({
                "reads": count(|asked| asked.method == Method::GET),
                "writes": count(|asked| asked.method != Method::GET),
                "refused": count(|asked| asked.status == StatusCode::TOO_MANY_REQUESTS),
            })
        );
    }
}
