//! The miniature's own behaviour: a network that can be cut, its log of requests, throttling, `/me`,
//! and the sample without the sessions that have no start time.

use std::{net::TcpStream, time::Duration};

use crate::wire::Wire;
use alyx_proxy::miniature::{self as demo, Options};
use serde_json::{Value, json};

fn get(wire: &mut Wire, token: Option<&str>, path: &str) -> crate::wire::Answer {
    let mut headers = vec![
        ("Host".to_owned(), "localhost".to_owned()),
        ("Accept".to_owned(), "application/json".to_owned()),
    ];
    headers.extend(token.map(|token| ("Authorization".to_owned(), format!("Token {token}"))));
    wire.ask("GET", path, &headers, "")
}

fn demo_token() -> String {
    Options::default().users[0].token.clone()
}

// Also where the caller's runtime has one thread, which waits here for the cut.
#[tokio::test]
async fn a_cut_network_refuses_and_comes_back_on_the_same_port() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let mut open = Wire::open(alyx.addr());
    assert_eq!(get(&mut open, Some(&demo_token()), "/labs").status, 200);
    let addr = alyx.addr();
    for _ in 0..20 {
        alyx.cut();
        alyx.cut();
        let refused = TcpStream::connect_timeout(&addr, Duration::from_secs(1)).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        assert!(open.closed(), "open connections are dropped");
        alyx.restore().await.unwrap();
        alyx.restore().await.unwrap();
        assert_eq!(alyx.addr(), addr);
        open = Wire::open(addr);
        assert_eq!(get(&mut open, Some(&demo_token()), "/labs").status, 200);
    }
    alyx.shutdown();
    assert!(TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_told() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let mut wire = Wire::open(alyx.addr());
    get(&mut wire, None, "/labs?x=%20");
    get(&mut wire, Some(&demo_token()), "/nothing");
    let told: Vec<_> = alyx
        .requests()
        .into_iter()
        .map(|one| (one.path_and_query, one.authorization_present, one.status.as_u16()))
        .collect();
    assert_eq!(told, [("/labs?x=%20".to_owned(), false, 403), ("/nothing".to_owned(), true, 404)]);
    alyx.forget_requests();
    assert!(alyx.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn throttles_each_user_as_alyx_does() {
    let alyx = demo::start(Options { throttle: Some(2), ..Options::default() }).await.unwrap();
    let mut wire = Wire::open(alyx.addr());
    let token = demo_token();
    assert_eq!(get(&mut wire, Some(&token), "/labs").status, 200);
    assert_eq!(get(&mut wire, None, "/labs").status, 403, "refused requests don't count");
    assert_eq!(get(&mut wire, Some(&token), "/labs").status, 200);
    let throttled = get(&mut wire, Some(&token), "/labs");
    let seconds: u64 = throttled.header("retry-after").unwrap().parse().unwrap();
    assert!(throttled.status == 429 && (1..=60).contains(&seconds));
    let detail = format!("Request was throttled. Expected available in {seconds} seconds.");
    assert_eq!(throttled.body, json!({ "detail": detail, "status_code": 429 }).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_the_user_of_a_token_where_it_is_new_enough() {
    let token = demo_token();
    let new = demo::start(Options::default()).await.unwrap();
    let answer = get(&mut Wire::open(new.addr()), Some(&token), "/me");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &body["username"]), (200, &json!("demo")));
    assert_eq!(get(&mut Wire::open(new.addr()), None, "/me").status, 403);
    let old = demo::start(Options { serves_me: false, ..Options::default() }).await.unwrap();
    let answer = get(&mut Wire::open(old.addr()), Some(&token), "/me");
    assert_eq!((answer.status, answer.header("content-type")), (404, Some("text/html; charset=utf-8")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_leaves_out_sessions_without_start_and_what_hangs_on_them() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let token = demo_token();
    let mut wire = Wire::open(alyx.addr());
    let mut count = |path: &str| {
        let answer = get(&mut wire, Some(&token), path);
        serde_json::from_str::<Value>(&answer.body).unwrap()["count"].as_u64().unwrap()
    };
    assert_eq!(count("/sessions?limit=1"), 393);
    assert_eq!(count("/sessions?django=start_time__isnull,True&limit=1"), 0);
    for (path, all, gone) in [
        ("/insertions?limit=1", 150, 2),
        ("/trajectories?limit=1", 458, 4),
        ("/channels?limit=1", 4896, 72),
        ("/datasets?limit=1", 8062, 92),
        ("/files?limit=1", 16119, 183),
        ("/downloads?limit=1", 42, 2),
        ("/notes?limit=1", 60, 1),
    ] {
        assert_eq!(count(path), all - gone, "{path}");
    }
    // Nothing that is left refers to what is gone.
    assert_eq!(count("/insertions?django=datasets__isnull,False,session__isnull,True"), 0);
    assert_eq!(count("/data-notices"), 8);
}
