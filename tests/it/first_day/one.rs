//! The scientist's own machine: ONE's parameters.

use std::fs;

use serde_json::{Value, json};

use super::{Home, text};
use crate::{
    one::One,
    support::{Lab, Proxy, command, miniature},
};

/// A home in which ONE knows another Alyx than the one behind the proxy, with a user, a data server and data files.
fn home_of_another_alyx() -> Home {
    let home = Home::new();
    let (one, data) = (home.path(".one"), home.path("data"));
    fs::create_dir_all(&one).unwrap();
    fs::create_dir_all(data.join("lab")).unwrap();
    let caches =
        json!({ "DEFAULT": "other.example.org", "CLIENT_MAP": { "other.example.org": text(&data) } });
    fs::write(one.join(".caches"), caches.to_string()).unwrap();
    let parameters = json!({
        "ALYX_URL": "https://other.example.org", "ALYX_LOGIN": "somebody-else",
        "HTTP_DATA_SERVER": "https://data.other.example.org", "HTTP_DATA_SERVER_LOGIN": "other-user",
        "HTTP_DATA_SERVER_PWD": "other-password",
    });
    fs::write(one.join(".other.example.org"), parameters.to_string()).unwrap();
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn point_13_nothing_of_another_alyx_is_taken_over_unless_it_is_named() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let own = format!(".{}", proxy.address().to_string().replace(':', "_"));
    let parameters = |home: &Home| -> Value {
        let text = fs::read_to_string(home.path(".one").join(&own)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let home = home_of_another_alyx();
    let url = proxy.url();
    let said = command::done(&home.run(&["one-setup", "--url", &url]));
    for part in ["other.example.org", "--like", &lab.url(), "a folder of their own"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let written = parameters(&home);
    assert!(!written.to_string().contains("other"), "{written:#}");
    assert_eq!(written["ALYX_LOGIN"], "");
    let caches: Value =
        serde_json::from_str(&fs::read_to_string(home.path(".one").join(".caches")).unwrap()).unwrap();
    let folder = caches["CLIENT_MAP"][own.trim_start_matches('.')].as_str().unwrap();
    assert_ne!(folder, text(&home.path("data")));

    // Whoever says that it is the same Alyx has all of it.
    let home = home_of_another_alyx();
    let named = ["one-setup", "--url", &url, "--like", "https://other.example.org"];
    let said = command::done(&home.run(&named));
    assert!(said.contains(text(&home.path("data"))), "{said}");
    assert_eq!(parameters(&home)["ALYX_LOGIN"], "somebody-else");
    assert_eq!(parameters(&home)["HTTP_DATA_SERVER"], "https://data.other.example.org");
}

/// What ONE gives its user of a session, asked at this address.
fn asked_by_one(url: &str, session: &str) -> Value {
    let home = Home::new();
    let mut python = std::process::Command::new(One::newest().python());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/one/packed.py");
    python.arg(script).args([url, "demo", "demo", session]).env_clear().env("HOME", home.path("."));
    serde_json::from_str(&command::done(&python.output().unwrap())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packed_session_is_all_that_one_asks_of_it_on_the_train() {
    let alyx = miniature::start_for_all().await;
    let proxy = Proxy::start(&alyx.url()).await;
    let demo = proxy.client().anonymous();
    let form = [("username", "demo"), ("password", "demo")];
    let token = demo.ask("POST", "/auth-token").form(&form).send().await.expect(200).json();
    let found = proxy.get("/insertions?limit=1").await.expect(200).json();
    let session = found["results"][0]["session"].as_str().unwrap();
    let mut pack = Home::new().command(&["pack", "--session", session, "--url", &proxy.url()]);
    let said =
        command::done(&pack.env("ALYX_PROXY_TOKEN", token["token"].as_str().unwrap()).output().unwrap());
    let until = said.lines().find(|line| line.contains("token counts")).unwrap();
    assert!(until.ends_with(" UTC."), "a time for people: {until}");
    let there = asked_by_one(&alyx.url(), session);
    alyx.cut();
    assert_eq!(asked_by_one(&proxy.url(), session), there);
}
