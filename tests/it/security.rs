//! The threats of `docs/src/threats.md` that no other file of tests is about: smuggled requests, an open proxy, redirects,
//! tricks with paths and fields, probing for secrets, hostile answers, forged log lines.

use std::{sync::Arc, time::Duration};

use crate::support::{Fault, Lab, Proxy, Reply, Setup, Upstream, raw, until, users};

fn token() -> String {
    format!("Authorization: {}\r\n", users::ONEUSER.authorization())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_smuggled_in_another() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    let inner = format!("GET /projects HTTP/1.1\r\nHost: lab\r\n{}\r\n", token());
    let post = |fields: &str, body: &str| {
        format!(
            "POST /notes HTTP/1.1\r\nHost: lab\r\n{}Content-Type: text/plain\r\n{fields}\r\n{body}",
            token()
        )
    };
    let chunked = format!("0\r\n\r\n{inner}");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "length and chunks",
            post(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", chunked.len()), &chunked)
                .into(),
        ),
        (
            "chunks and length",
            post(&format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", chunked.len()), &chunked)
                .into(),
        ),
        (
            "two lengths",
            post(&format!("Content-Length: 0\r\nContent-Length: {}\r\n", inner.len()), &inner).into(),
        ),
        ("a list of lengths", post(&format!("Content-Length: 0, {}\r\n", inner.len()), &inner).into()),
        ("a negative length", post("Content-Length: -1\r\n", &inner).into()),
        ("a length with a sign", post("Content-Length: +0\r\n", &inner).into()),
        (
            "a length too large for any number",
            post("Content-Length: 99999999999999999999999\r\n", &inner).into(),
        ),
        ("unknown coding", post("Transfer-Encoding: xchunked\r\n", &chunked).into()),
        ("chunks that are not last", post("Transfer-Encoding: chunked, identity\r\n", &chunked).into()),
        ("space before the colon", post("Transfer-Encoding : chunked\r\n", &chunked).into()),
        ("a folded line", post("X: a\r\n Transfer-Encoding: chunked\r\n", &chunked).into()),
        ("a folded length", post("Content-Length:\r\n 0\r\n", &inner).into()),
        ("bare CR", post("X: a\rTransfer-Encoding: chunked\r\n", &chunked).into()),
        ("NUL", post("X: a\0b\r\n", "").into()),
        (
            "a chunk's size in another form",
            post("Transfer-Encoding: chunked\r\n", &format!("0x0\r\n\r\n{inner}")).into(),
        ),
        (
            "a chunk's size too large",
            post("Transfer-Encoding: chunked\r\n", &format!("fffffffffffffffff0\r\n{inner}")).into(),
        ),
        ("no host", format!("GET /labs HTTP/1.1\r\n{}\r\n", token()).into()),
        ("two hosts", format!("GET /labs HTTP/1.1\r\nHost: a\r\nHost: b\r\n{}\r\n", token()).into()),
        (
            "a line before the request",
            format!("X: y\r\nGET /labs HTTP/1.1\r\nHost: lab\r\n{}\r\n", token()).into(),
        ),
        ("space in the address", format!("GET /labs /x HTTP/1.1\r\nHost: lab\r\n{}\r\n", token()).into()),
    ];
    for (what, bytes) in &cases {
        let (bytes, address) = (bytes.clone(), proxy.address());
        let said = tokio::task::spawn_blocking(move || raw(address, &bytes)).await.unwrap();
        // What came within the body of another request has asked for nothing.
        let answers = said.matches("HTTP/1.1 ").count();
        let first = said.split(' ').nth(1).unwrap_or_default();
        assert_eq!(lab.count("/projects"), 0, "{what}: {said}");
        // With chunks a length counts for nothing, and the connection ends with this request (RFC 9112 6.3); what Alyx
        // gets has one length again.
        let both = what.contains("length and chunks") || what.contains("chunks and length");
        let last = both && first == "201" && said.contains("connection: close");
        assert!(answers <= 1 && (first.is_empty() || first.starts_with('4') || last), "{what}: {said}");
    }
    assert!(lab.count("/notes") <= 2, "the others were not passed on");
    crate::support::tried("smuggling", cases.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_reaches_no_other_host() {
    let evil = Upstream::start(Arc::new(|_| Reply::new(200, "application/json", "{\"evil\": true}"))).await;
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    let host = evil.address().to_string();
    let mut tried = 0;
    for line in [
        format!("GET http://{host}/labs HTTP/1.1\r\nHost: {host}"),
        format!("GET http://{host}/x HTTP/1.1\r\nHost: lab"),
        format!("POST http://{host}/x HTTP/1.1\r\nHost: lab\r\nContent-Length: 0"),
        format!("CONNECT {host} HTTP/1.1\r\nHost: {host}"),
        format!("CONNECT /labs HTTP/1.1\r\nHost: {host}"),
        format!("GET //{host}/labs HTTP/1.1\r\nHost: lab"),
        format!("GET /\\{host}/labs HTTP/1.1\r\nHost: lab"),
        format!("GET @{host}/labs HTTP/1.1\r\nHost: lab"),
        format!("GET /.{host}/labs HTTP/1.1\r\nHost: {host}"),
        format!("GET /labs HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: {host}\r\nForwarded: host={host}"),
        format!("OPTIONS * HTTP/1.1\r\nHost: {host}"),
        format!("GET * HTTP/1.1\r\nHost: {host}"),
    ] {
        let (request, address) = (format!("{line}\r\n{}Connection: close\r\n\r\n", token()), proxy.address());
        let said = tokio::task::spawn_blocking(move || raw(address, request.as_bytes())).await.unwrap();
        assert!(!said.contains("evil"), "{line}: {said}");
        // Put behind a host without a port, `*` would name another one.
        assert!(!line.contains(" * ") || said.starts_with("HTTP/1.1 400 "), "{line}: {said}");
        // Nor is Alyx, which may have a proxy of its own before it, asked for a tunnel.
        assert!(!line.starts_with("CONNECT /") || said.starts_with("HTTP/1.1 405 "), "{line}: {said}");
        tried += 1;
    }
    assert!(evil.asked().is_empty(), "{:?}", evil.asked());
    crate::support::tried("open proxy", tried);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_another_host_is_not_followed() {
    let evil = Upstream::start(Arc::new(|_| Reply::new(200, "application/json", "{\"evil\": true}"))).await;
    let to = format!("{}/stolen", evil.url());
    let upstream =
        Upstream::start(Arc::new(move |_| Reply::new(302, "text/html", "").header("location", &to))).await;
    let proxy = Setup::new(&upstream.url()).set("mirror.token", users::ADMIN.token).start().await;
    for (method, path) in [
        ("GET", "/labs"),
        ("GET", "/sessions"),
        ("GET", "/cache.zip"),
        ("GET", "/cache/info/"),
        ("GET", "/admin/x"),
        ("POST", "/auth-token"),
        ("PATCH", "/subjects/x"),
        ("DELETE", "/sessions/x"),
    ] {
        let ask = proxy.client().ask(method, path);
        let ask = if method == "GET" { ask } else { ask.form(&[("username", "a"), ("password", "b")]) };
        let answer = ask.send().await;
        assert!(!answer.text().contains("evil"), "{method} {path}: {}", answer.describe());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(evil.asked().is_empty(), "no token went there: {:?}", evil.asked());
    crate::support::tried("redirects", 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_lead_nowhere_but_where_they_say() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    let admin = std::fs::read_to_string(proxy.data_dir().join("admin-token")).unwrap();
    let paths = [
        "/../../../../etc/passwd",
        "/-/../admin-token",
        "/-/docs/../../admin-token",
        "/-/docs/%2e%2e/%2e%2e/admin-token",
        "/-/docs/..%2f..%2fadmin-token",
        "/-/docs/..%5c..%5cadmin-token",
        "/-/docs/start.md%00",
        "/-/docs//etc/passwd",
        "/-/static/../../../secret.key",
        "/%2d/status.json",
        "/%2D%2Fapi%2Fpurge",
        "//-/api/purge",
        "/cache.zip/../admin-token",
        "/cache/../secret.key",
        "/cache/info/..%2f..%2fsecret.key",
        "/cache.zip?tag=../../secret.key",
    ];
    // Read as another path by some, they would be judged as one and asked as the other.
    let ambiguous = [
        "/subjects/x\\..\\..\\static\\x.json",
        "/subjects/%2e%2e\\static\\x.json",
        "/subjects/../users/oneuser",
        "/subjects/.%2E/auth-token",
        "/./users",
        "/labs/%2e",
    ];
    for path in ambiguous {
        let request = format!("GET {path} HTTP/1.1\r\nHost: lab\r\n{}Connection: close\r\n\r\n", token());
        let (address, before) = (proxy.address(), lab.upstream.asked().len());
        let said = tokio::task::spawn_blocking(move || raw(address, request.as_bytes())).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 400 ") && said.contains("segments"), "{path}: {said}");
        assert_eq!(lab.upstream.asked().len(), before, "{path}");
    }
    for path in paths {
        let request = format!("GET {path} HTTP/1.1\r\nHost: lab\r\n{}Connection: close\r\n\r\n", token());
        let address = proxy.address();
        let said = tokio::task::spawn_blocking(move || raw(address, request.as_bytes())).await.unwrap();
        assert!(!said.contains(admin.trim()) && !said.contains("root:"), "{path}: {said}");
        let status = said.split(' ').nth(1).unwrap_or_default();
        assert!(!status.starts_with('2'), "{path}: {said}");
    }
    crate::support::tried("paths", paths.len() + ambiguous.len());
}

/// What is not part of the question changes neither the answer that others get nor what Alyx is asked.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_poisons_what_others_get() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    let fields = [
        ("host", "evil.invalid"),
        ("x-forwarded-host", "evil.invalid"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-original-url", "/admin/"),
        ("x-rewrite-url", "/admin/"),
        ("x-http-method-override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-method-override", "DELETE"),
        ("accept-language", "xx"),
        ("range", "bytes=0-3"),
        ("cookie", "sessionid=stolen"),
        ("origin", "https://evil.invalid"),
        ("if-none-match", "*"),
    ];
    for (n, (name, value)) in fields.into_iter().enumerate() {
        let target = format!("/sessions?limit=1&n={n}");
        lab.upstream.forget();
        let poison = proxy.client().ask("GET", &target).header(name, value).send().await;
        if let Some(asked) = lab.upstream.asked().into_iter().rfind(|asked| asked.path() == "/sessions") {
            assert_eq!(asked.method, "GET", "{name}");
            assert!(!format!("{:?} {}", asked.headers, asked.target).contains("evil"), "{name}: {asked:?}");
            let passed = asked.headers.contains_key(name);
            assert!(!passed || ["cookie", "accept-language", "host"].contains(&name), "{name} is passed on");
        }
        let answer = proxy.get(&target).await.expect(200);
        assert!(
            !answer.text().contains("evil") && !format!("{:?}", answer.headers).contains("evil"),
            "{name}"
        );
        let base = format!("\"url\":\"{}/sessions/", proxy.url());
        assert!(answer.text().contains(&base), "{name}: {} after {}", answer.text(), poison.status);
    }
    crate::support::tried("poisoning", fields.len());
}

/// Alyx lets passwords' hashes be guessed by filters: nobody gets such an answer but from Alyx, by a token of their own.
#[tokio::test(flavor = "multi_thread")]
async fn probing_for_secrets_is_never_answered_from_here() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("mirror.token", users::ADMIN.token).start().await;
    proxy.get("/labs").await.expect(200);
    let questions = [
        "/sessions?django=users__password__startswith,pbkdf2",
        "/sessions?django=users__auth_token__key__startswith,d3",
        "/subjects?django=responsible_user__password__gt,a",
        "/sessions?django=~users__password__contains,x",
        "/sessions?django=users__auth_token,d3&limit=1",
    ];
    for question in questions {
        let before = lab.upstream.asked().len();
        for _ in 0..2 {
            let answer = proxy.get(question).await;
            assert!(
                !answer.cache().has("stored") && !answer.cache().hit(),
                "{question}: {}",
                answer.cache().text
            );
        }
        let asked = lab.upstream.asked();
        let own: Vec<_> = asked[before..].iter().filter(|asked| asked.target.contains("django")).collect();
        assert_eq!(own.len(), 2, "{question}");
        for asked in own {
            assert_eq!(asked.header("authorization"), Some(&*users::ONEUSER.authorization()), "{question}");
        }
    }
    lab.upstream.cut().await;
    for question in questions {
        proxy.get(question).await.expect(504);
    }
    crate::support::tried("secrets", questions.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_answers_neither_harm_nor_stay() {
    let deep = |open: &str, close: &str| open.repeat(200_000) + &close.repeat(200_000);
    let list =
        |record: &str| format!("{{\"count\":1,\"next\":null,\"previous\":null,\"results\":[{record}]}}");
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nested lists", deep("[", "]").into()),
        ("nested objects", deep("{\"a\":", "}").into()),
        ("nested in a record", list(&format!("{{\"json\":{}}}", deep("[", "]"))).into()),
        ("a huge number", list(&format!("{{\"n\":{}}}", "9".repeat(500_000))).into()),
        ("a huge exponent", list("{\"n\":1e999999999}").into()),
        ("a lone surrogate", list("{\"name\":\"\\ud800\"}").into()),
        ("half an escape", list("{\"name\":\"\\u12\"}").into()),
        ("the same key twice", list("{\"name\":\"a\",\"name\":\"b\"}").into()),
        (
            "two counts",
            b"{\"count\":1,\"count\":999999999999,\"next\":null,\"previous\":null,\"results\":[]}".to_vec(),
        ),
        ("a count that is none", b"{\"count\":-1,\"next\":null,\"previous\":null,\"results\":[]}".to_vec()),
        ("no UTF-8", b"{\"count\":1,\"next\":null,\"previous\":null,\"results\":[\"\xff\xfe\"]}".to_vec()),
        ("NUL", b"{\"count\":1,\0\"next\":null}".to_vec()),
        (
            "a link elsewhere",
            b"{\"count\":9,\"next\":\"http://evil.invalid/x\",\"previous\":null,\"results\":[]}".to_vec(),
        ),
        ("a million fields", format!("{{{}\"z\":1}}", "\"a\":1,".repeat(1_000_000)).into()),
    ];
    for (what, body) in &bodies {
        let body = bytes::Bytes::from(body.clone());
        let served = body.clone();
        let upstream = Upstream::start(Arc::new(move |asked| {
            if asked.path() == "/labs" && asked.query().is_empty() {
                return Reply::new(200, "application/json", "[]");
            }
            Reply::new(200, "application/json", served.clone())
        }))
        .await;
        let proxy = Setup::new(&upstream.url())
            .set("mirror.token", users::ADMIN.token)
            .set("mirror.endpoints", "sessions,subjects")
            .start()
            .await;
        proxy.get("/labs").await.expect(200);
        let first = proxy.get("/subjects?limit=1").await;
        match first.status.as_u16() {
            // As Alyx sent it, whatever it means.
            200 => assert_eq!(first.body, body, "{what}"),
            504 => {}
            _ => panic!("{what}: {}", first.describe()),
        }
        proxy.get("/sessions").await;
        proxy.client().anonymous().get("/-/health").await.expect(200);
        // Time for a synchronisation to stumble.
        tokio::time::sleep(Duration::from_millis(300)).await;
        upstream.cut().await;
        let again = proxy.get("/subjects?limit=1").await;
        assert!(
            again.status == 504 || again.body == first.body && first.status == 200,
            "{what}: {}",
            again.describe()
        );
        assert!(!proxy.output().contains("panicked"), "{what}:\n{}", proxy.output());
        assert!(peak(&proxy) < 600 << 20, "{what}: {} bytes", peak(&proxy));
    }
    crate::support::tried("hostile answers", bodies.len());
}

/// The most memory that it has had.
fn peak(proxy: &Proxy) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_forges_lines_of_the_log() {
    let lab = Lab::open().await;
    for format in ["human", "json"] {
        let setup = Setup::new(&lab.url()).set("log.format", format).set("log.level", "trace");
        let proxy = setup.start().await;
        let forged = "2026-11-26T00:00:00Z ERROR forged: all is lost";
        let encoded = "%0a%0d%1b[31m2026-11-26T00:00:00Z%20ERROR%20forged:%20all%20is%20lost";
        for path in [format!("/labs?x={encoded}"), format!("/{encoded}"), format!("/subjects/{encoded}")] {
            proxy.get(&path).await;
        }
        for field in
            ["X-Request-Id", "User-Agent", "One-Api-Version", "Referer", "X-Forwarded-For", "Host", "Accept"]
        {
            for value in [format!("\x1b[31m{forged}"), format!("\t{forged}"), format!("é{forged}")] {
                let host = if field == "Host" { "" } else { "Host: lab\r\n" };
                let request = format!(
                    "GET /labs HTTP/1.1\r\n{host}{field}: {value}\r\n{}Connection: close\r\n\r\n",
                    token()
                );
                let address = proxy.address();
                tokio::task::spawn_blocking(move || raw(address, request.as_bytes())).await.unwrap();
            }
        }
        lab.upstream.break_down(Fault::Portal).await;
        proxy.get("/projects").await;
        lab.upstream.restore().await;
        let output = proxy.output();
        assert!(!output.contains('\x1b'), "{format}: no commands for terminals");
        assert!(!output.lines().any(|line| line.starts_with(forged)), "{format}:\n{output}");
        if format == "json" {
            let lines = output.lines().filter(|line| line.starts_with('{'));
            for line in lines {
                serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            }
        }
        until("it still answers", async || proxy.get("/labs").await.status == 200).await;
    }
    crate::support::tried("log lines", 2 * (3 + 7 * 3));
}
