//! Requests that may write, of who could not: nothing that is stored becomes stale by them, and the mirror goes on.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use super::{WORKER, is_mirrored, miniature, mirroring};
use crate::support::{Proxy, users};

/// What guests and those with tokens of their own making send: method, path and fields.
const WHOLE: &[(&str, &str, &str)] = &[
    ("POST", "/admin", ""),
    ("POST", "/admin", "Cookie: sessionid=1\r\n"),
    ("DELETE", "/", ""),
    ("DELETE", "/", "Cookie: sessionid=1\r\n"),
    ("BREW", "/labs", ""),
    ("BREW", "/labs", MADE_UP),
    ("BREW", "/", ""),
    ("PUT", "/x", ""),
    ("PATCH", "/labs/cortexlab", MADE_UP),
    ("DELETE", "/labs/cortexlab", ""),
    ("POST", "/sessions", MADE_UP),
    ("POST", "/media/x", "Cookie: x=y\r\n"),
    ("GET", "/check-protected", ""),
    ("GET", "/check-protected", MADE_UP),
    ("POST", "/sync-file-status", MADE_UP),
    ("POST", "/register-file", ""),
];
const MADE_UP: &str = "Authorization: Token 1111111111111111111111111111111111111111\r\n";

fn send(proxy: &Proxy, head: &str, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    // Whoever is refused early may be cut off.
    let _ = stream.write_all(body);
    let _ = stream.shutdown(Shutdown::Write);
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_becomes_stale_by_who_could_not_write() {
    let alyx = miniature().await;
    // Of what only Alyx answers something is stored.
    let proxy = mirroring(&alyx, &[("mirror.interval", "1h")]).await;
    let client = proxy.client().with(WORKER);
    let current = |path: &'static str| client.ask("GET", path).header("cache-control", "no-cache").send();
    let stored = current("/water-requirement/KS001").await;
    let fresh = async |what: &str| {
        for (n, path) in ["/labs?limit=", "/subjects?limit=", "/sessions?limit="].into_iter().enumerate() {
            let answer = client.get(&format!("{path}{}", 1 + n)).await.expect(200);
            assert!(is_mirrored(&answer), "{what}: {path}: {}", answer.describe());
        }
        if stored.status == 200 {
            let again = client.get("/water-requirement/KS001").await.expect(200);
            assert_ne!(again.cache().get("detail"), Some("written"), "{what}: {}", again.describe());
        }
    };
    fresh("before").await;
    for (method, path, fields) in WHOLE {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: lab\r\n{fields}Content-Length: 2\r\nConnection: close\r\n\r\n"
        );
        let said = send(&proxy, &head, b"{}");
        fresh(&format!("{method} {path} {fields}: {said:.60}")).await;
    }
    // Broken off: before anything was sent on, and after that; more than may be.
    for fields in ["", MADE_UP, "Cookie: sessionid=1\r\n"] {
        for path in ["/x", "/sessions", "/admin/misc/lab/add/"] {
            for (length, brought) in [(20, 1), (900_000, 200_000)] {
                let head =
                    format!("POST {path} HTTP/1.1\r\nHost: lab\r\n{fields}Content-Length: {length}\r\n\r\n");
                let said = send(&proxy, &head, &vec![b' '; brought]);
                fresh(&format!("{brought} of {length} for {path} {fields}: {said:.60}")).await;
            }
        }
    }
    // Who can write makes stale what they have written.
    let subject = client.get("/subjects?limit=1").await.expect(200).json()["results"][0]["nickname"].clone();
    let written =
        proxy.client().with(users::ADMIN).ask("PATCH", &format!("/subjects/{}", subject.as_str().unwrap()));
    let written = written.json(&serde_json::json!({ "description": "As a test wrote it." })).send().await;
    assert!(written.status.is_success(), "{}", written.describe());
    let after = client.get(&format!("/subjects?nickname={}", subject.as_str().unwrap())).await.expect(200);
    assert_eq!(after.json()["results"][0]["description"], "As a test wrote it.", "{}", after.describe());
}
