//! What an administrator has a running proxy do: purge, synchronise, verify, keep away from Alyx. Nobody else can.

use std::process::{Command, Output};

use crate::support::{Client, Lab, Proxy, Setup, until};
use serde_json::{Value, json};

const SESSIONS: &str = "/sessions?lab=cortexlab";
const SAME: &str = "/sessions?limit=250&lab=%63ortexlab";

/// A client with the administrator's token.
fn admin(proxy: &Proxy) -> Client {
    let token = std::fs::read_to_string(proxy.data_dir().join("admin-token")).unwrap();
    proxy.client().with_authorization(&format!("Bearer {token}"))
}

async fn wish(proxy: &Proxy, action: &str, wish: &Value) -> Value {
    admin(proxy).ask("POST", &format!("/-/api/{action}")).json(wish).send().await.expect(200).json()
}

/// Whether the answer to this question is stored.
async fn is_stored(proxy: &Proxy, question: &str) -> bool {
    let answer = proxy.client().ask("GET", question).header("cache-control", "only-if-cached").send().await;
    answer.status == 200
}

/// The program's own command against a running proxy.
async fn command(proxy: &Proxy, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
    command.args(arguments).arg("--data-dir").arg(proxy.data_dir());
    command.env_clear().env("HOME", proxy.data_dir());
    command.env("ALYX_PROXY_SERVER__LISTEN", proxy.address().to_string());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_purged_is_asked_anew_and_nothing_else() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let record = "/subjects/one";
    let others = [record, "/subjects", "/labs"];
    for (name, wished, gone) in [
        ("question", json!({ "question": SAME }), &[SESSIONS, SAME][..]),
        ("endpoint", json!({ "endpoint": "subjects" }), &others[..2]),
        ("prefix", json!({ "prefix": "/subjects/one/" }), &others[..1]),
        ("all", json!({ "all": true }), &[SESSIONS, SAME, record, "/subjects", "/labs"]),
    ] {
        for question in [SESSIONS].iter().chain(&others) {
            proxy.get(question).await.expect(200);
        }
        let done = wish(&proxy, "purge", &wished).await;
        assert!(done["purged"].as_u64().unwrap() > 0, "{name}: {done}");
        for question in [SESSIONS, SAME].iter().chain(&others) {
            assert_eq!(is_stored(&proxy, question).await, !gone.contains(question), "{name}: {question}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_purged_stays_away_after_a_restart() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get(SESSIONS).await.expect(200);
    proxy.get("/labs").await.expect(200);
    let done = stdout(&command(&proxy, &["purge", "--endpoint", "sessions"]).await);
    assert_eq!(done, "1 stored answer is forgotten.\n");
    let proxy = proxy.restart().await;
    assert!(!is_stored(&proxy, SESSIONS).await);
    assert!(is_stored(&proxy, "/labs").await);
    let nothing = command(&proxy, &["purge", "--endpoint", "sessions", "--json"]).await;
    assert_eq!(nothing.status.code(), Some(1), "nothing is no success");
    assert_eq!(serde_json::from_slice::<Value>(&nothing.stdout).unwrap(), json!({ "purged": 0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_cache_tables_are_purged_too() {
    let lab = Lab::open().await;
    let mut proxy = Proxy::start(&lab.url()).await;
    for (name, wished, gone) in [
        ("endpoint", json!({ "endpoint": "subjects" }), false),
        ("question", json!({ "question": "/cache.zip?tag=another" }), false),
        ("question", json!({ "question": "/cache.zip" }), true),
        ("prefix", json!({ "prefix": "/cache.zip" }), true),
        ("all", json!({ "all": true }), true),
    ] {
        let kept = async || proxy.get("/cache.zip").await.expect(200).cache().hit();
        until("they are kept", kept).await;
        let done = wish(&proxy, "purge", &wished).await;
        assert_eq!(done["purged"].as_u64().unwrap() > 0, gone, "{name}: {done}");
        assert_eq!(kept().await, !gone, "{name}: {wished}");
    }
    until("they are kept", async || proxy.get("/cache.zip").await.expect(200).cache().hit()).await;
    wish(&proxy, "purge", &json!({ "all": true })).await;
    lab.upstream.cut().await;
    proxy = proxy.restart().await;
    proxy.until_upstream_is("down").await;
    assert_ne!(proxy.get("/cache.zip").await.status, 200, "they are gone after a restart, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_controls_the_proxy() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get(SESSIONS).await.expect(200);
    let purge = |client: &Client| client.ask("POST", "/-/api/purge").json(&json!({ "all": true }));
    // Alyx's own users, strangers, and those who guess.
    purge(&proxy.client()).send().await.expect(401);
    purge(&proxy.client().anonymous()).send().await.expect(401);
    purge(&proxy.client().with_authorization("Bearer ")).send().await.expect(401);
    purge(&proxy.client().with_authorization("Bearer 0123456789abcdef")).send().await.expect(401);
    let admin = admin(&proxy);
    // A page of another site, even with the token.
    purge(&admin).header("sec-fetch-site", "cross-site").send().await.expect(403);
    purge(&admin).header("origin", "http://elsewhere.example").send().await.expect(403);
    // A form, which any page can send.
    admin.ask("POST", "/-/api/purge").form(&[("all", "true")]).send().await.expect(415);
    admin.ask("GET", "/-/api/purge").send().await.expect(405);
    assert!(is_stored(&proxy, SESSIONS).await);
    let token = std::fs::read_to_string(proxy.data_dir().join("admin-token")).unwrap();
    purge(&admin).send().await.expect(200);
    assert!(!is_stored(&proxy, SESSIONS).await);
    assert!(!proxy.output().contains(token.trim()), "the token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_makes_no_sense_is_refused_with_a_reason() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    for (action, wished, status, reason) in [
        ("purge", "{}", 400, "exactly one"),
        ("purge", r#"{"all": true, "endpoint": "labs"}"#, 400, "exactly one"),
        ("purge", r#"{"endpoint": "smells"}"#, 400, "no endpoint `smells`"),
        ("purge", r#"{"everything": true}"#, 400, "everything"),
        ("purge", "[]", 400, "object"),
        ("purge", "{", 400, "not JSON"),
        ("sync", "{}", 409, "no account"),
        ("verify", "{}", 409, "no account"),
        ("explode", "{}", 404, "purge, sync"),
    ] {
        let ask = admin(&proxy).ask("POST", &format!("/-/api/{action}"));
        let answer = ask.body("application/json", wished).send().await.expect(status);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(reason), "{action} {wished}: {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_taken_offline_asks_nobody_until_it_may() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url())
        .set("health.interval", "10ms")
        .set("health.idle_interval", "10ms")
        .start()
        .await;
    proxy.get(SESSIONS).await.expect(200);
    let said = stdout(&command(&proxy, &["offline"]).await);
    assert!(said.contains("alyx-proxy online"), "{said}");
    let status = proxy.status().await;
    assert_eq!(status["upstream"]["state"], "down");
    assert_eq!(status["upstream"]["forced_offline"], true);
    let before = lab.upstream.asked().len();
    proxy.get(SESSIONS).await.expect(200);
    let refused = proxy.get("/labs").await.expect(504);
    assert!(refused.text().contains("an administrator has taken this proxy offline"), "{}", refused.text());
    // Looks would come every 10 ms.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(lab.upstream.asked().len(), before);
    stdout(&command(&proxy, &["online"]).await);
    proxy.until_upstream_is("up").await;
    proxy.get("/labs").await.expect(200);
}
