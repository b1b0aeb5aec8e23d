//! A write reaches Alyx as it came, once, or not at all.

use std::convert::Infallible;

use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

use super::{
    SESSION, assert_gone, create, posts, primed,
    support::{Lab, Proxy, Setup, lab, raw, users},
};

#[tokio::test(flavor = "multi_thread")]
async fn bodies_reach_alyx_as_they_came() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let client = proxy.client();
    let mut image: Vec<u8> = (0..=255u8).cycle().take(3_000_000).collect();
    image[..8].copy_from_slice(b"\x89PNG\r\n\x1a\n");
    let boundary = "----a-boundary";
    let mut multipart = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nü\r\n--{boundary}\r\n\
         Content-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n"
    )
    .into_bytes();
    multipart.extend(&image);
    multipart.extend(format!("\r\n--{boundary}--\r\n").bytes());
    let cases: Vec<(&str, String, Bytes)> = vec![
        (
            "PATCH",
            "application/json".to_owned(),
            Bytes::from(r#"{ "x" : NaN, "n":123456789012345678901234567890 ,"z": 1e-05}"#),
        ),
        ("POST", "application/json".to_owned(), Bytes::from("[{\"a\":1},\n {\"a\":2}]")),
        ("POST", "application/x-www-form-urlencoded".to_owned(), Bytes::from("a=1&b=%20+%C3%BC&a=2")),
        ("POST", format!("multipart/form-data; boundary={boundary}"), multipart.into()),
        ("PUT", "application/json; charset=utf-8".to_owned(), Bytes::from("{}")),
        ("POST", "text/plain".to_owned(), Bytes::from_static(b"\xff\x00\xfe")),
    ];
    for (method, kind, body) in cases {
        let target = "/sessions/x?a=%20&b=/";
        let answer = client.ask(method, target).body(&kind, body.clone()).send().await;
        assert!(answer.status.is_success(), "{}", answer.describe());
        let said = answer.json();
        assert_eq!(said["hash"], blake3::hash(&body).to_hex().to_string(), "{method} {kind}");
        assert_eq!(said["length"], body.len(), "{method} {kind}");
        assert_eq!(said["content_type"], kind);
        let sent = lab.upstream.last("/sessions/x");
        assert_eq!((sent.method.as_str(), sent.target.as_str()), (method, target));
        assert_eq!(
            sent.header("authorization"),
            Some(users::ONEUSER.authorization().as_str()),
            "with the caller's own token"
        );
    }
    let deleted = client.ask("DELETE", SESSION).send().await.expect(204);
    assert!(deleted.body.is_empty());

    // ONE asks `check-protected` by a GET with a body.
    let body = r#"{"path": "KS004/2020-01-01/001", "filenames": ["a", "b"]}"#;
    let answer =
        client.ask("GET", "/check-protected").body("application/json", body).send().await.expect(200);
    assert_eq!(answer.json()["asked"], body);
    // On any other path it is passed on as well, and is no question that could be remembered.
    for n in 1..=2 {
        client.ask("GET", "/projects").body("application/json", "{\"a\":1}").send().await.expect(200);
        assert_eq!(lab.count("/projects"), n);
    }
    assert_eq!(lab.upstream.last("/projects").body, "{\"a\":1}");
}

/// In HTTP/2 nothing need say that there is a body, in HTTP/1.1 not how long it is.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_whose_length_is_not_said_reach_alyx() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let stream = tokio::net::TcpStream::connect(proxy.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (method, target) in [("POST", "/weighings"), ("PATCH", SESSION), ("GET", "/check-protected")] {
        for length in [14, 300_000] {
            let text = format!("{{\"weight\": {}}}", "2".repeat(length - 12));
            let pieces: Vec<_> =
                text.as_bytes().chunks(10_000).map(|piece| Ok::<_, Infallible>(piece.to_vec())).collect();
            let body = axum::body::Body::from_stream(futures_util::stream::iter(pieces));
            let request = hyper::Request::builder()
                .method(method)
                .uri(format!("http://lab{target}"))
                .header("authorization", users::ONEUSER.authorization())
                .header("content-type", "application/json")
                .body(body)
                .unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert!(response.status().is_success(), "{method}: {}", response.status());
            assert_eq!(lab.upstream.last(target).body, text, "{method} {length}");
        }
    }
    for method in ["GET", "POST"] {
        let request = format!(
            "{method} /check-protected HTTP/1.1\r\nHost: lab\r\nAuthorization: {}\r\nTransfer-Encoding: \
             chunked\r\nConnection: close\r\n\r\n3\r\n{{\"a\r\n4\r\n\":1}}\r\n0\r\n\r\n",
            users::ONEUSER.authorization()
        );
        let address = proxy.address();
        let said = tokio::task::spawn_blocking(move || raw(address, request.as_bytes())).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 2"), "{said}");
        assert_eq!(lab.upstream.last("/check-protected").body, "{\"a\":1}", "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_is_refused_and_changes_nothing() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("server.max_body", "1 KiB").start().await;
    proxy.client().ask("POST", "/notes").body("application/json", "1".repeat(1024)).send().await.expect(201);
    let answer = proxy.client().ask("POST", "/notes").body("application/json", "1".repeat(1025)).send().await;
    assert_eq!(answer.expect(413).json()["status_code"], 413, "Alyx's shape");
    assert_eq!(lab.count("/notes"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_a_write_is_refused_and_not_kept() {
    let (lab, proxy, _) = primed().await;
    lab.upstream.cut().await;
    assert_gone(&create(&proxy).send().await);
    proxy.until_upstream_is("down").await;
    for ask in [
        create(&proxy),
        proxy.client().ask("PATCH", SESSION).json(&json!({"json": {"a": 1}})),
        proxy.client().ask("DELETE", SESSION),
        proxy.client().ask("POST", "/notes").multipart(&[("text", "a note")]),
        proxy.client().ask("POST", "/register-file").json(&json!({"path": "KS004/2020-01-01/001"})),
    ] {
        assert_gone(&ask.send().await);
    }
    // Whoever asks by GET is told as any reader.
    proxy.client().ask("GET", "/check-protected").body("application/json", "{}").send().await.expect(504);
    // What is stored is as good as it was.
    assert_eq!(lab::version(&proxy.get("/sessions").await.expect(200).json()), 1);
    lab.upstream.restore().await;
    proxy.until_upstream_is("up").await;
    proxy.get("/projects").await.expect(200);
    assert_eq!(posts(&lab), 0, "nothing is sent later");
}
