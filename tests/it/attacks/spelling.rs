//! Requests that others read otherwise than this proxy: by their framing, their names, and the fields that come along.

use std::sync::{Arc, Mutex};

use crate::support::{Lab, Proxy, Reply, Setup, Upstream, raw, users};

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_one_coding() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    let inner = "GET /projects HTTP/1.1\r\nHost: lab\r\n\r\n";
    let codings: &[&[&str]] = &[
        &["identity", "chunked"],
        &["chunked", "identity"],
        &["chunked", "chunked"],
        &["identity"],
        &["identity, chunked"],
        &["gzip, chunked"],
        &["", "chunked"],
        &["chunked", ""],
    ];
    for method in ["POST /notes", "GET /labs", "POST /-/api/offline", "PUT /x"] {
        for lines in codings {
            let fields: Vec<_> = lines.iter().map(|line| format!("Transfer-Encoding: {line}\r\n")).collect();
            let fields = fields.concat();
            let token = users::ONEUSER.authorization();
            let request = format!(
                "{method} HTTP/1.1\r\nHost: lab\r\nAuthorization: {token}\r\n{fields}\r\n0\r\n\r\n{inner}"
            );
            let address = proxy.address();
            let said = tokio::task::spawn_blocking(move || raw(address, request.as_bytes())).await.unwrap();
            assert!(said.starts_with("HTTP/1.1 400 "), "{method} {lines:?}: {said}");
            assert_eq!(
                said.matches("HTTP/1.1 ").count(),
                1,
                "{method} {lines:?}: its connection goes on: {said}"
            );
        }
    }
    assert_eq!(lab.count("/notes") + lab.count("/projects"), 0);
    let plain = "POST /notes HTTP/1.1\r\nHost: lab\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n0\r\n\r\n";
    let address = proxy.address();
    let said = tokio::task::spawn_blocking(move || raw(address, plain.as_bytes())).await.unwrap();
    assert_eq!(lab.count("/notes"), 1, "{said}");
}

/// An upstream that shows what it was asked.
async fn mirror() -> Upstream {
    Upstream::start(Arc::new(|asked| {
        let fields = ["accept", "accept-version", "one-api-version", "x-evil"]
            .map(|name| format!("{name}={}", asked.header(name).unwrap_or_default()));
        let body = serde_json::json!({ "target": asked.target, "fields": fields });
        Reply::new(200, "application/json", body.to_string())
    }))
    .await
}

/// Django keeps apart what is no UTF-8 (`repercent_broken_unicode`).
#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_are_another_name() {
    let alyx = mirror().await;
    let proxy = Proxy::start(&alyx.url()).await;
    let target =
        async |path: &str| proxy.get(path).await.expect(200).json()["target"].as_str().unwrap().to_owned();
    let names = ["/subjects/%FF", "/subjects/%FE", "/subjects/%C3", "/subjects/%EF%BF%BD", "/subjects/a%FFb"];
    let mut shown: Vec<String> = Vec::new();
    for name in names {
        shown.push(target(name).await);
        // What Django makes of a name of its own is that name.
        assert_eq!(target(&name.to_lowercase().replace("a%ffb", "a%FFb")).await, *shown.last().unwrap());
    }
    let mut different = shown.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), names.len(), "{shown:?}");
}

/// Of a question whose answer others get nothing goes along but what is its key.
#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_no_part_of_a_question_do_not_go_along() {
    let alyx = mirror().await;
    let proxy = Proxy::start(&alyx.url()).await;
    for path in ["/labs", "/subjects/one", "/labs?limit=1", "/me", "/cache/info/", "/water-requirement/one"] {
        for (name, value) in [
            ("accept-version", "EVIL\"><x"),
            ("one-api-version", "EVIL"),
            ("accept", "application/json;q=0.1, text/csv, EVIL/x"),
            ("x-evil", "EVIL"),
        ] {
            let ask = proxy.client().ask("GET", path).header(name, value).header("cache-control", "no-cache");
            let answer = ask.send().await.expect(200);
            assert!(!answer.text().contains("EVIL"), "{path} {name}: {}", answer.describe());
            let other = proxy.client().with(users::PUBLIC).get(path).await.expect(200);
            assert!(!other.text().contains("EVIL"), "{path} {name}: {}", other.describe());
        }
    }
}

/// Django strips spaces around names of users: what is kept of one log-in is that of the other.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_spaces_around_it_is_the_same_name() {
    let password = Arc::new(Mutex::new("first"));
    let current = password.clone();
    let alyx = Upstream::start(Arc::new(move |asked| {
        if asked.path() != "/auth-token" {
            return Reply::new(200, "application/json", "[]");
        }
        let field = |name: &str| {
            let fields = form_urlencoded::parse(&asked.body).into_owned();
            fields.into_iter().find(|(field, _)| field == name).map(|(_, value)| value).unwrap_or_default()
        };
        let password = *current.lock().unwrap();
        if field("username").trim() == "alice" && field("password") == password {
            Reply::new(200, "application/json", format!("{{\"token\":\"token-of-the-{password}\"}}"))
        } else {
            let body =
                r#"{"non_field_errors":["Unable to log in with provided credentials."],"status_code":400}"#;
            Reply::new(400, "application/json", body)
        }
    }))
    .await;
    let proxy = Setup::new(&alyx.url()).set("health.idle_interval", "100ms").start().await;
    let log_in = async |name: &str, password: &str| {
        let ask = proxy.client().anonymous().ask("POST", "/auth-token");
        let answer = ask.form(&[("username", name), ("password", password)]).send().await;
        answer.json()["token"].as_str().map(str::to_owned)
    };
    let names = [" alice", "alice", "alice\u{a0}", "\talice \u{2003}"];
    for name in names {
        assert_eq!(log_in(name, "first").await.as_deref(), Some("token-of-the-first"), "{name:?}");
    }
    *password.lock().unwrap() = "second";
    assert_eq!(log_in("alice", "second").await.as_deref(), Some("token-of-the-second"));
    alyx.cut().await;
    proxy.until_upstream_is("down").await;
    for name in names {
        assert_eq!(log_in(name, "first").await, None, "{name:?}: the password of before");
        assert_eq!(log_in(name, "second").await.as_deref(), Some("token-of-the-second"), "{name:?}");
    }
}
