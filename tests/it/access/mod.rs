//! Acceptance 5: who gets what, online and offline (ALYX.md 4.1), and that no secret is in clear anywhere.

mod denied;
mod log_in;

use std::{path::Path, time::Duration};

use crate::support::{Answer, Client, Lab, Proxy, Setup, users};
use log_in::log_in_form;
use serde_json::json;

/// Stored and fresh in all tests here.
const STORED: &str = "/labs";
/// Never asked before.
const UNKNOWN: &str = "/projects";

const NOBODY: &str = "Authentication credentials were not provided.";
const INVALID: &str = "Invalid token.";
const NO_TOKEN: &str = "Invalid token header. No credentials provided.";
const SPACES: &str = "Invalid token header. Token string should not contain spaces.";

async fn open() -> (Lab, Proxy) {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get(STORED).await.expect(200);
    (lab, proxy)
}

async fn cut(lab: &Lab, proxy: &Proxy) {
    lab.upstream.cut().await;
    // Whoever asks first finds out.
    proxy.get("/insertions").await.expect(504);
    proxy.until_upstream_is("down").await;
}

fn refused(answer: &Answer, detail: &str, about: &str) {
    assert_eq!(answer.status, 403, "{about}: {}", answer.describe());
    let body = json!({"detail": detail, "status_code": 403}).to_string();
    assert_eq!(answer.text(), body, "{about}: Alyx's own words");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{about}");
    assert_eq!(answer.header("www-authenticate"), None, "{about}: Alyx has no challenge");
}

/// Headers that are no valid token, and what Alyx says to them.
fn strangers() -> Vec<(Option<String>, &'static str)> {
    let one = users::ONEUSER.token;
    vec![
        (None, NOBODY),
        (Some(format!("Bearer {one}")), NOBODY),
        (Some(one.to_owned()), NOBODY),
        (Some(format!("Token {}", users::UNKNOWN_TOKEN)), INVALID),
        (Some(format!("Token {}", one.to_uppercase())), INVALID),
        (Some(format!("Token {}", &one[..39])), INVALID),
        (Some("Token".to_owned()), NO_TOKEN),
        (Some(format!("Token {one} {one}")), SPACES),
        (Some("Token a b".to_owned()), SPACES),
    ]
}

fn client_with(proxy: &Proxy, authorization: Option<&str>) -> Client {
    match authorization {
        Some(authorization) => proxy.client().with_authorization(authorization),
        None => proxy.client().anonymous(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused_as_alyx_refuses_them_online_and_offline() {
    let (lab, proxy) = open().await;
    for offline in [false, true] {
        if offline {
            cut(&lab, &proxy).await;
        }
        for (authorization, detail) in strangers() {
            for target in [STORED, UNKNOWN, "/users", "/me"] {
                let about = format!("{authorization:?} {target} offline: {offline}");
                let answer = client_with(&proxy, authorization.as_deref()).get(target).await;
                refused(&answer, detail, &about);
            }
        }
        // They have not harmed who is known.
        proxy.get(STORED).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_stored_answer_serves_all_whom_alyx_knows() {
    let (lab, proxy) = open().await;
    let spellings = users::ALL.map(|user| user.authorization()).into_iter().chain([
        format!("token {}", users::ONEUSER.token),
        format!("TOKEN {}", users::ONEUSER.token),
        format!("Token   {}", users::ONEUSER.token),
    ]);
    for authorization in spellings {
        let client = proxy.client().with_authorization(&authorization);
        // Alyx vouches for a token once; then the stored answer serves it.
        client.get(STORED).await.expect(200);
        let before = lab.count(STORED);
        let answer = client.get(STORED).await.expect(200);
        assert!(answer.cache().hit(), "{authorization}: {}", answer.cache().text);
        assert_eq!(lab.count(STORED), before, "{authorization}");
    }
    cut(&lab, &proxy).await;
    for user in users::ALL {
        proxy.client().with(user).get(STORED).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_never_let_in_because_something_is_stored() {
    let (lab, proxy) = open().await;
    // Never seen by the proxy, but Alyx would know it.
    cut(&lab, &proxy).await;
    let answer = proxy.client().with(users::ADMIN).get(STORED).await.expect(504);
    // ONE throws a token away that was refused: only Alyx refuses one.
    assert!(answer.text().contains("only Alyx can say whether it is good"), "{}", answer.text());
    lab.upstream.restore().await;
    proxy.until_upstream_is("up").await;
    proxy.client().with(users::ADMIN).get(STORED).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_is_forgotten_at_once() {
    let (lab, proxy) = open().await;
    proxy.client().with(users::ADMIN).get(STORED).await.expect(200);
    lab.revoke(users::ONEUSER);
    // Within `recheck` the proxy can't know. The first refusal tells it.
    refused(&proxy.get(UNKNOWN).await, INVALID, "refused upstream");
    refused(&proxy.get(STORED).await, INVALID, "forgotten, although the answer is fresh");
    let proxy = proxy.restart().await;
    cut_as_admin(&lab, &proxy).await;
    refused(&proxy.get(STORED).await, INVALID, "offline, after a restart");
    proxy.client().with(users::ADMIN).get(STORED).await.expect(200);
}

async fn cut_as_admin(lab: &Lab, proxy: &Proxy) {
    lab.upstream.cut().await;
    proxy.client().with(users::ADMIN).get("/insertions").await.expect(504);
    proxy.until_upstream_is("down").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alyx_is_asked_about_a_token_again_after_the_time_to_recheck() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("access.token_ttl", "500ms").start().await;
    proxy.get(STORED).await.expect(200);
    lab.revoke(users::ONEUSER);
    tokio::time::sleep(Duration::from_millis(600)).await;
    refused(&proxy.get(STORED).await, INVALID, "fresh, but the token has to be asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_depend_on_the_user_are_kept_apart() {
    let (lab, proxy) = open().await;
    let paths = ["/users", "/users/oneuser", "/me"];
    let about = |answer: &Answer| {
        let body = answer.json();
        let name = body.pointer("/results/0/username").or(body.get("asked_by")).or(body.get("username"));
        name.and_then(|name| name.as_str()).unwrap().to_owned()
    };
    for user in [users::ONEUSER, users::ADMIN] {
        for path in paths {
            assert_eq!(about(&proxy.client().with(user).get(path).await.expect(200)), user.name, "{path}");
        }
    }
    // The public user is known, and has never asked for any of them.
    proxy.client().with(users::PUBLIC).get(STORED).await.expect(200);
    let proxy = proxy.restart().await;
    cut(&lab, &proxy).await;
    for path in paths {
        for user in [users::ADMIN, users::ONEUSER] {
            let answer = proxy.client().with(user).get(path).await.expect(200);
            assert_eq!(about(&answer), user.name, "{path} offline");
        }
        proxy.client().with(users::PUBLIC).get(path).await.expect(504);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_depend_on_the_user_can_be_configured() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("access.private_paths", "[\"/labs\"]").start().await;
    proxy.get("/labs").await.expect(200);
    proxy.client().with(users::ADMIN).get("/labs").await.expect(200);
    proxy.client().with(users::ADMIN).get("/labs").await.expect(200);
    assert_eq!(lab.count("/labs"), 2, "one for each user");
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_a_token_counts_within_its_grace_and_is_told_why_not_after_it() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("access.grace", "5s").start().await;
    log_in_form(&proxy, users::ONEUSER.name, users::ONEUSER.password).await.expect(200);
    proxy.get(STORED).await.expect(200);
    let vouched = std::time::Instant::now();
    cut(&lab, &proxy).await;
    if vouched.elapsed() < Duration::from_secs(4) {
        proxy.get(STORED).await.expect(200);
    }
    tokio::time::sleep(Duration::from_secs(6).saturating_sub(vouched.elapsed())).await;
    let answer = proxy.get(STORED).await.expect(504);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    // ONE deletes its token when it reads these words.
    assert!(!answer.text().contains(INVALID), "{detail}");
    assert!(detail.to_lowercase().contains("token"), "a reason: {detail}");
    let log_in = log_in_form(&proxy, users::ONEUSER.name, users::ONEUSER.password).await;
    assert_ne!(log_in.status, 200, "the log-in's grace has run out as well");
    assert!(!log_in.text().contains(users::ONEUSER.token));

    lab.upstream.restore().await;
    proxy.until_upstream_is("up").await;
    proxy.get(STORED).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_cookies_and_other_schemes_pass_through_and_are_not_kept() {
    let (lab, proxy) = open().await;
    let with_cookie = || {
        let ask = proxy.client().anonymous().ask("GET", STORED);
        ask.header("cookie", "sessionid=abc; csrftoken=def")
    };
    let before = lab.count(STORED);
    for n in 1..=2 {
        // The miniature lab knows no cookies; what counts is that Alyx itself was asked.
        refused(&with_cookie().send().await, NOBODY, "a cookie");
        assert_eq!(lab.count(STORED), before + n);
    }
    let sent = lab.upstream.asked().into_iter().rev().find(|asked| asked.path() == STORED).unwrap();
    assert_eq!(sent.header("cookie"), Some("sessionid=abc; csrftoken=def"));
    for n in 1..=2 {
        let answer = proxy.client().with_authorization("Basic b25lOnR3bw==").get(STORED).await;
        refused(&answer, NOBODY, "another scheme");
        assert_eq!(lab.count(STORED), before + 2 + n);
    }
    // A valid token beside a cookie: the cookie would come first at Alyx, so nothing of it is kept.
    let both = || proxy.client().ask("GET", UNKNOWN).header("cookie", "sessionid=abc");
    both().send().await.expect(200);
    cut(&lab, &proxy).await;
    both().send().await.expect(504);
    proxy.get(UNKNOWN).await.expect(504);
    with_cookie().send().await.expect(504);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alyx_shows_to_anybody_needs_no_token() {
    let (lab, proxy) = open().await;
    proxy.client().anonymous().get("/api/schema").await.expect(200);
    let unknown = proxy.client().with_authorization(&format!("Token {}", users::UNKNOWN_TOKEN));
    refused(&unknown.get("/api/schema").await, INVALID, "a bad token is refused even here (ALYX.md 4.1)");
    cut(&lab, &proxy).await;
    proxy.client().anonymous().get("/api/schema").await.expect(200);
    refused(&unknown.get("/api/schema").await, INVALID, "offline");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_pages_show_no_records_and_need_no_token() {
    let (lab, proxy) = open().await;
    let client = proxy.client().anonymous();
    client.get("/-/health").await.expect(200);
    client.get("/-/ready").await.expect(200);
    let metrics = client.get("/-/metrics").await.expect(200);
    assert!(metrics.text().contains("# TYPE"), "Prometheus's text: {}", metrics.describe());
    let status = proxy.status().await;
    assert_eq!(status["upstream"]["url"], lab.url());
    assert_eq!(status["upstream"]["state"], "up");
    assert!(status["cache"]["entries"].as_u64().is_some_and(|n| n >= 1), "{status}");
    assert!(status["version"].is_string() && status["uptime_seconds"].is_number(), "{status}");
    assert_eq!(lab.upstream.asked().iter().filter(|asked| asked.path().starts_with("/-/")).count(), 0);
    client.get("/-/nosuch").await.expect(404);
}

/// No token and no password in clear: not in any file of the data directory, not in what it prints at its most
/// talkative, not in what it shows.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_clear_anywhere() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url()).set("log.level", "trace");
    let proxy = setup.start().await;
    let guess = "a-wrong-guess-of-a-password";
    let mut shown = String::new();
    for offline in [false, true] {
        for user in users::ALL {
            let client = proxy.client().anonymous();
            let ask = || client.ask("POST", "/auth-token");
            let (name, password) = (user.name, user.password);
            ask().form(&[("username", name), ("password", password)]).send().await.expect(200);
            ask().json(&json!({"username": name, "password": password})).send().await.expect(200);
            ask().multipart(&[("username", name), ("password", password)]).send().await.expect(200);
            ask().form(&[("username", name), ("password", guess)]).send().await.expect(400);
            proxy.client().with(user).get(STORED).await.expect(200);
            proxy.client().with(user).get("/users").await.expect(200);
            proxy.client().with(user).get("/me").await.expect(200);
        }
        proxy
            .client()
            .with_authorization(&format!("Token {}", users::UNKNOWN_TOKEN))
            .get("/me")
            .await
            .expect(403);
        proxy.client().ask("GET", "/admin/x").header("cookie", "sessionid=a-secret-cookie").send().await;
        for page in ["/-/metrics", "/-/status.json", "/-/health", "/-/ready"] {
            shown += proxy.get(page).await.text();
        }
        if !offline {
            cut(&lab, &proxy).await;
        }
    }
    let mut proxy = proxy;
    let files_while_running = files(&proxy.data_dir());
    proxy.terminate().await;
    let mut haystacks = files_while_running;
    haystacks.extend(files(&proxy.data_dir()));
    haystacks.push(("its pages".to_owned(), shown.into_bytes()));
    haystacks.push(("its output".to_owned(), proxy.output().into_bytes()));
    let bytes = |name: &str| haystacks.iter().filter(|(n, _)| n.ends_with(name)).map(|(_, h)| h.len()).max();
    assert!(bytes("proxy.db") > Some(0) && bytes("its output") > Some(1000), "there is something to search");

    let secrets = users::ALL.iter().flat_map(|user| [user.token, user.password]);
    for secret in secrets.chain([users::UNKNOWN_TOKEN, guess, "a-secret-cookie"]) {
        for (name, haystack) in &haystacks {
            let found = memchr::memmem::find(haystack, secret.as_bytes());
            let around = found.map(|at| {
                let piece = &haystack[at.saturating_sub(80)..haystack.len().min(at + 80)];
                String::from_utf8_lossy(piece).into_owned()
            });
            assert_eq!(around, None, "{secret} is in {name}");
        }
    }
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_secret_key_and_the_data_are_their_owner_s_alone() {
    use std::os::unix::fs::PermissionsExt;

    let (lab, proxy) = open().await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&proxy.data_dir().join("secret.key")), 0o600);
    let key = std::fs::read(proxy.data_dir().join("secret.key")).unwrap();
    assert!(key.len() >= 32);
    // Made once, and another for each data directory.
    let proxy = proxy.restart().await;
    assert_eq!(std::fs::read(proxy.data_dir().join("secret.key")).unwrap(), key);
    let other = Proxy::start(&lab.url()).await;
    assert_ne!(std::fs::read(other.data_dir().join("secret.key")).unwrap(), key);
}
