//! The audit log: who did what, for the administrator alone, without a secret; and nobody waits for its disk.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::{Value, json};

use crate::support::{Client, Proxy, Setup, command, miniature, users};

const ADMIN_TOKEN: &str = "the-token-of-the-administrator";
/// A password that somebody has typed where the name belongs.
const SLIP: &str = "hunter2-my-password";

fn setup(url: &str) -> Setup {
    Setup::new(url).set("access.admin_token", ADMIN_TOKEN)
}

fn admin(proxy: &Proxy) -> Client {
    proxy.client().with_authorization(&format!("Bearer {}", proxy.admin_token()))
}

async fn lines(proxy: &Proxy) -> Vec<Value> {
    let told = admin(proxy).get("/-/audit.json?limit=2000").await.expect(200).json();
    told["lines"].as_array().unwrap().clone()
}

fn files(proxy: &Proxy) -> Vec<PathBuf> {
    let folder = proxy.data_dir().join("audit");
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect()
}

/// A line with these fields.
#[track_caller]
fn line<'l>(lines: &'l [Value], fields: &[(&str, Value)]) -> &'l Value {
    let has = |line: &&Value| fields.iter().all(|(field, value)| line[field] == *value);
    lines.iter().find(has).unwrap_or_else(|| panic!("no line {fields:?} in {lines:#?}"))
}

async fn log_in(proxy: &Proxy, name: &str, password: &str, status: u16) {
    let form = [("username", name), ("password", password)];
    proxy.client().anonymous().ask("POST", "/auth-token").form(&form).send().await.expect(status);
}

/// What all of these tests have done.
async fn done(proxy: &Proxy) {
    let user = users::ONEUSER;
    log_in(proxy, user.name, user.password, 200).await;
    log_in(proxy, user.name, "wrong-password-7", 400).await;
    log_in(proxy, SLIP, "wrong-password-7", 400).await;
    let made_up = proxy.client().with_authorization(&format!("Token {}", users::UNKNOWN_TOKEN));
    made_up.get("/labs").await.expect(403);
    let wrong = proxy.client().with_authorization("Bearer a-guess-at-the-token");
    wrong.get("/-/status.json").await.expect(200);
    let guest = proxy.client().anonymous();
    guest.ask("POST", "/-/api/purge").json(&json!({ "all": true })).send().await.expect(401);
    guest.ask("POST", "/-/admin").form(&[("token", "a-guess-at-the-token")]).send().await.expect(403);
    guest.ask("POST", "/-/mirror").form(&[("action", "offline")]).send().await.expect(303);
    let question = json!({ "question": "/subjects?nickname=KS022" });
    admin(proxy).ask("POST", "/-/api/purge").json(&question).send().await.expect(200);
    admin(proxy).ask("POST", "/-/api/nonsense").json(&json!({})).send().await.expect(404);
    let pages = guest.ask("POST", "/-/admin").form(&[("token", ADMIN_TOKEN)]).send().await.expect(303);
    let cookie = pages.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let pasted = [("token", user.token)];
    guest.ask("POST", "/-/login").form(&pasted).send().await.expect(303);
    guest.ask("POST", "/-/logout").header("cookie", &cookie).form(&[]).send().await.expect(403);
    proxy.client().get("/labs").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_what_is_told_to_the_administrator_alone_and_without_a_secret() {
    let alyx = miniature::start(<_>::default()).await;
    let proxy = setup(&alyx.url()).start().await;
    done(&proxy).await;
    let told = lines(&proxy).await;
    let from = ("from", json!("127.0.0.1"));
    let user = ("user", json!("oneuser"));
    let event = |event: &str| ("event", json!(event));
    let outcome = |outcome: &str| ("outcome", json!(outcome));
    line(&told, &[event("proxy"), outcome("started")]);
    let accepted = line(&told, &[event("log-in"), outcome("accepted"), user.clone(), from.clone()]);
    assert!(accepted["token"].as_str().unwrap().starts_with("token-"), "{accepted}");
    // The same token, pasted.
    line(&told, &[event("log-in"), ("by", json!("token")), ("token", accepted["token"].clone())]);
    // A name that is known here is told, what somebody has typed there is not.
    line(&told, &[event("log-in"), outcome("refused"), user, from.clone()]);
    let refused = told.iter().filter(|line| line["event"] == "log-in" && line["outcome"] == "refused");
    assert!(refused.clone().any(|line| line["user"].as_str().unwrap().starts_with("name-")), "{told:#?}");
    line(&told, &[event("token"), outcome("refused"), from.clone()]);
    line(&told, &[event("token"), outcome("refused"), ("of", json!("administrator")), from.clone()]);
    for act in ["api/purge", "admin", "mirror", "logout"] {
        line(&told, &[event("act"), ("act", json!(act)), outcome("refused"), from.clone()]);
    }
    let purged = [event("act"), ("act", json!("api/purge")), outcome("done"), from.clone()];
    assert_eq!(line(&told, &purged)["question"], "/subjects?nickname=KS022");
    line(&told, &[event("act"), ("act", json!("admin")), outcome("done"), from]);
    // The last first.
    let times: Vec<&str> = told.iter().map(|line| line["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");

    // Nobody else sees it.
    for client in [proxy.client(), proxy.client().anonymous(), admin(&proxy).with(users::ADMIN)] {
        client.get("/-/audit.json").await.expect(401);
        let page = client.get("/-/audit").await.expect(403);
        assert!(!page.text().contains("oneuser"), "{}", page.text());
    }
    // No secret is in it, and nobody else on the machine reads it.
    let all: String = files(&proxy).iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let secrets = [users::ONEUSER.password, users::ONEUSER.token, users::UNKNOWN_TOKEN, ADMIN_TOKEN, SLIP];
    for secret in secrets.into_iter().chain(["wrong-password-7", "a-guess-at-the-token"]) {
        assert!(!all.contains(secret), "{secret} is in the audit log");
    }
    for file in files(&proxy) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
    }
    // A restart goes on.
    let proxy = proxy.restart().await;
    let after = lines(&proxy).await;
    line(&after, &[event("proxy"), outcome("stopped")]);
    assert!(after.len() > told.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_hashes_where_that_is_set_the_same_name_the_same_hash() {
    let alyx = miniature::start(<_>::default()).await;
    let proxy = setup(&alyx.url()).set("audit.hash_names", "true").start().await;
    done(&proxy).await;
    let told = lines(&proxy).await;
    let names: Vec<&str> = told
        .iter()
        .filter(|line| line["event"] == "log-in")
        .filter_map(|line| line["user"].as_str())
        .collect();
    assert_eq!(names.len(), 3, "{told:#?}");
    let same = names.iter().filter(|name| **name == names[2]).count();
    assert!(same == 2 && names.iter().all(|name| name.starts_with("name-")), "{names:?}");
    let all: String = files(&proxy).iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    for name in ["oneuser", "KS022", SLIP] {
        assert!(!all.contains(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_come_and_go_are_told_with_checksum_and_key() {
    let alyx = miniature::start(<_>::default()).await;
    // Commands find the token where the proxy has made it.
    let maker = Setup::new(&alyx.url()).start().await;
    maker.get("/labs?limit=2").await.expect(200);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lab.tar.zst");
    let path = file.to_str().unwrap();
    command::done(&command::run_for(&maker, &["export", path]));
    let bytes = fs::read(&file).unwrap();
    let checksum: String =
        bytes[bytes.len() - 32..].iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    let made = lines(&maker).await;
    let made = line(&made, &[("event", json!("export")), ("outcome", json!("done"))]);
    assert_eq!(made["checksum"], checksum);
    assert!(made["key"].as_str().unwrap().starts_with("ed25519:"), "{made}");

    let there = Setup::new(&alyx.url()).start().await;
    command::failed(&command::run_for(&there, &["import", path]), 1);
    command::done(&command::run_for(&there, &["import", path, "--trust", "the lab"]));
    let told = lines(&there).await;
    let event = ("event", json!("import"));
    let refused = line(&told, &[event.clone(), ("outcome", json!("refused"))]);
    assert!(refused["why"].as_str().unwrap().contains("not known"), "{refused}");
    let admitted = line(&told, &[event.clone(), ("outcome", json!("admitted"))]);
    assert_eq!((&admitted["checksum"], &admitted["key"]), (&json!(checksum), &made["key"]));
    assert_eq!((&admitted["maker"], &admitted["word"]), (&json!("the lab"), &json!(["trust"])));
    let done = line(&told, &[event, ("outcome", json!("done"))]);
    assert!(done["answers"].as_u64() >= Some(1), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_can_not_be_written_requests_go_on_and_what_is_missing_is_told() {
    let alyx = miniature::start(<_>::default()).await;
    let proxy = setup(&alyx.url()).start().await;
    let user = users::ONEUSER;
    log_in(&proxy, user.name, user.password, 200).await;
    assert!(!lines(&proxy).await.is_empty());
    // After a restart no file is open yet, and in their places are folders.
    let stopped = proxy.setup().clone();
    let folder = proxy.data_dir().join("audit");
    drop(proxy);
    fs::remove_dir_all(&folder).unwrap();
    for name in ["acts", "log-ins", "refusals"] {
        fs::create_dir_all(folder.join(format!("{name}.jsonl"))).unwrap();
    }
    let proxy = stopped.start().await;
    log_in(&proxy, user.name, user.password, 200).await;
    let question = json!({ "all": true });
    admin(&proxy).ask("POST", "/-/api/purge").json(&question).send().await.expect(200);
    crate::support::until("counted", async || {
        let metrics = proxy.client().get("/-/metrics").await.expect(200);
        // The start, the log-in, the act.
        metrics.text().contains("alyx_proxy_audit_lines_lost_total 3\n")
    })
    .await;
    assert!(proxy.output().contains("the audit log can't be written"), "{}", proxy.output());
    assert_eq!(proxy.client().get("/-/ready").await.expect(200).text(), "ready\n");
    for name in ["acts", "log-ins", "refusals"] {
        fs::remove_dir(folder.join(format!("{name}.jsonl"))).unwrap();
    }
    log_in(&proxy, user.name, user.password, 200).await;
    let told = lines(&proxy).await;
    line(&told, &[("event", json!("audit")), ("outcome", json!("lines-lost")), ("count", json!(3))]);
    line(&told, &[("event", json!("log-in")), ("outcome", json!("accepted"))]);
}
