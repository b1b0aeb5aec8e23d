//! Nobody gets a byte that the data server would not give him, and nobody's credentials lie anywhere.

use std::fs;

use super::{
    ALICE, BLOCK, BOB, DataServer, Manner, alice, all_files, bytes, nginx::Nginx, setup, until_kept,
};
use crate::support::{Client, tried};

const WRONG: &str = "Basic YWxpY2U6d3Jvbmc=";

/// Who asks, with which `Authorization`.
const CALLERS: [(&str, Option<&str>); 6] = [
    ("nobody", None),
    ("alice", Some(ALICE)),
    ("bob", Some(BOB)),
    ("a wrong password", Some(WRONG)),
    ("a token of Alyx's", Some("Token d38bebd51cfafb6d836aacba3083d3e4ad139d84")),
    ("another scheme", Some("Bearer abc")),
];

fn client(of: &Client, authorization: Option<&str>) -> Client {
    match authorization {
        Some(authorization) => of.with_authorization(authorization),
        None => of.anonymous(),
    }
}

#[tokio::test]
async fn everybody_gets_what_the_data_server_gives_them() {
    let nginx = Nginx::start().await;
    let paths =
        ["/public/a.npy", "/lab/a.npy", "/alice/a.npy", "/alice/none.npy", "/alice/", "/lab/Subjects"];
    for path in &paths[..3] {
        nginx.put(path, path.as_bytes());
    }
    let proxy = setup(&nginx.url()).start().await;
    let mut cases = 0;
    // Each twice: what is asked for first fills what the second is answered from; then as the others left it.
    for round in 0..3 {
        for path in paths {
            for (who, authorization) in CALLERS {
                for (method, range) in [("GET", None), ("GET", Some("bytes=0-3")), ("HEAD", None)] {
                    let ask = |of: Client, target: &str| {
                        let ask = client(&of, authorization).ask(method, target);
                        range.into_iter().fold(ask, |ask, range| ask.header("range", range)).send()
                    };
                    let theirs = ask(nginx.client(), path).await;
                    let ours = ask(proxy.client(), &format!("/-/data{path}")).await;
                    let what =
                        format!("{who}: {method} {path} {range:?}, round {round}: {}", ours.describe());
                    assert_eq!(ours.status.is_success(), theirs.status.is_success(), "{what}");
                    if method == "GET" {
                        assert_eq!(ours.status, theirs.status, "{what}");
                        assert!(ours.body == theirs.body, "{what}");
                    }
                    assert_eq!(ours.header("www-authenticate"), theirs.header("www-authenticate"), "{what}");
                    cases += 1;
                }
            }
        }
    }
    tried("rights to data files", cases);
}

#[tokio::test]
async fn a_path_that_is_read_in_two_ways_goes_nowhere() {
    let origin = DataServer::start().await;
    origin.put("/alice/a", &bytes(10, 1));
    let proxy = setup(origin.url()).start().await;
    for path in [
        "/../alice/a",
        "/lab/../alice/a",
        "/lab/%2e%2e/alice/a",
        "/lab%2f..%2falice/a",
        "/alice%2fa",
        "/alice%5ca",
        "/alice//a",
        "//alice/a",
        "/./alice/a",
        "/alice/a%00",
        "/alice/a%0a",
        "/%252e%252e/alice/a",
        "/lab/..;/alice/a",
        "/alice/a%",
        "/alice\\a",
    ] {
        for method in ["GET", "HEAD"] {
            let answer = alice(&proxy).ask(method, &format!("/-/data{path}")).send().await;
            assert_eq!(answer.status, 400, "{path}");
        }
    }
    assert!(origin.asked().is_empty(), "{:?}", origin.asked());
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        alice(&proxy).ask(method, "/-/data/alice/a").send().await.expect(405);
    }
    assert!(origin.asked().is_empty());
}

#[tokio::test]
async fn a_right_that_is_taken_away_ends_with_the_time_that_it_counts_for() {
    let nginx = Nginx::start().await;
    nginx.put("/lab/a.npy", b"secret");
    let proxy = setup(&nginx.url()).set("files.credentials_ttl", "0s").start().await;
    let bob = proxy.client().with_authorization(BOB);
    bob.get("/-/data/lab/a.npy").await.expect(200);
    until_kept(&proxy, 1).await;
    nginx.let_in_only_alice();
    bob.get("/-/data/lab/a.npy").await.expect(401);
    alice(&proxy).get("/-/data/lab/a.npy").await.expect(200);
    drop(nginx);
    // What was taken away is not given while the data server is away either.
    bob.get("/-/data/lab/a.npy").await.expect(504);
    alice(&proxy).get("/-/data/lab/a.npy").await.expect(200);
    // Whoever gives no name is asked for one, whether there is such a file or not.
    for path in ["/lab/a.npy", "/lab/none.npy"] {
        proxy.client().anonymous().get(&format!("/-/data{path}")).await.expect(401);
    }
}

/// Where the data server gave nothing to a name, none is asked for.
#[tokio::test]
async fn nobody_is_asked_for_a_name_that_would_not_help() {
    let nginx = Nginx::start().await;
    nginx.put("/public/a.npy", b"open");
    let proxy = setup(&nginx.url()).start().await;
    let client = proxy.client().anonymous();
    client.get("/-/data/public/a.npy").await.expect(200);
    until_kept(&proxy, 1).await;
    drop(nginx);
    client.get("/-/data/public/a.npy").await.expect(200);
    client.get("/-/data/public/none.npy").await.expect(504);
}

/// Who was let in counts for an hour yet, but what is not here the data server is asked for, and it says no.
#[tokio::test]
async fn where_a_key_was_turned_nobody_gets_more_than_was_here() {
    let origin = DataServer::start().await;
    let file = bytes(3 * BLOCK, 1);
    origin.put("/lab/raw.bin", &file);
    let long = setup(origin.url()).set("files.max_age", "1h").set("files.credentials_ttl", "1h");
    let proxy = long.start().await;
    let here = "/-/data/lab/raw.bin";
    let part = async |from: usize| {
        let range = format!("bytes={from}-{}", from + 99);
        alice(&proxy).ask("GET", here).header("range", &range).send().await
    };
    assert_eq!(part(0).await.expect(206).body, file[..100]);
    until_kept(&proxy, 1).await;
    origin.behave(Manner::Refusing);
    // All of it begins with what is here; it is cut off where that ends.
    let whole = alice(&proxy).ask("GET", here).try_send().await;
    assert!(whole.is_err() || whole.is_ok_and(|answer| answer.status == 403));
    part(2 * BLOCK).await.expect(403);
    // The data server has said so now: what is here is given no longer either.
    part(0).await.expect(403);
    let mut proxy = proxy;
    proxy.terminate().await;
    let proxy = proxy.restart().await;
    alice(&proxy).get(here).await.expect(403);
    origin.behave(Manner::Plain);
    assert!(alice(&proxy).get(here).await.expect(200).body == file);
}

#[tokio::test]
async fn credentials_go_to_the_data_server_alone_and_lie_nowhere() {
    let origin = DataServer::start().await;
    origin.put("/a", &bytes(1000, 1));
    let proxy = setup(origin.url()).set("log.level", "trace").start().await;
    let token = "Token d38bebd51cfafb6d836aacba3083d3e4ad139d84";
    for authorization in [ALICE, token, WRONG] {
        proxy.client().with_authorization(authorization).get("/-/data/a").await.expect(200);
    }
    until_kept(&proxy, 1).await;
    assert!(origin.asked().iter().any(|asked| asked.authorization.as_deref() == Some(ALICE)));
    assert!(!origin.asked().iter().any(|asked| asked.authorization.as_deref() == Some(token)));
    let mut told = proxy.output().into_bytes();
    for path in all_files(&proxy.data_dir()) {
        told.extend(fs::read(path).unwrap());
    }
    for secret in [&ALICE[6..], "wonder-land-1", &token[6..], &WRONG[6..]] {
        let found = told.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} lies there");
    }
}

#[tokio::test]
async fn without_the_setting_there_are_no_files() {
    let origin = DataServer::start().await;
    origin.put("/a", &bytes(10, 1));
    let proxy = setup(origin.url()).set("files.enabled", "false").start().await;
    alice(&proxy).get("/-/data/a").await.expect(404);
    assert!(origin.asked().is_empty());
    let refusal = setup("").refusal().await;
    assert!(refusal.contains("files.enabled") && refusal.contains("files.origin"), "{refusal}");
}
