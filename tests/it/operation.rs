//! What the technician relies on: the first run, one proxy a directory, settings read again.

use std::process::Command;

use crate::support::{Lab, Proxy, Setup, lab, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_run_makes_what_it_needs_and_says_what_to_do_next() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    until("it has said whether Alyx answers", async || proxy.output().contains("Upstream answers.")).await;
    let said = proxy.output();
    for line in [
        format!("Listening on {}", proxy.url()),
        format!("Upstream      {}", lab.url()),
        format!("Remembers in  {}", proxy.data_dir().display()),
        "from one.api import ONE".to_owned(),
        format!("ONE(base_url='{}'", proxy.url()),
    ] {
        assert!(said.contains(&line), "{line:?} is missing in:\n{said}");
    }
    assert!(proxy.database().exists() && proxy.data_dir().join("secret.key").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_away_at_the_start_is_told() {
    let lab = Lab::open().await;
    lab.upstream.cut().await;
    let proxy = Proxy::start(&lab.url()).await;
    until("it has said so", async || proxy.output().contains("Upstream was never reached: ")).await;
    lab.upstream.restore().await;
    proxy.until_upstream_is("up").await;
    proxy.get("/labs").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_proxy_on_the_same_directory_is_refused() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let second = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"))
        .args(["serve", "--listen", "127.0.0.1:0", "--upstream", &lab.url(), "--data-dir"])
        .arg(proxy.data_dir())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    let line = said.lines().find(|line| line.starts_with("alyx-proxy: ")).expect("one line says why");
    assert!(line.contains(&proxy.data_dir().display().to_string()), "{line}");
    assert!(line.contains(&format!("process {}", proxy.pid())), "it names the other: {line}");
    proxy.get("/labs").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_told_with_its_setting() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let second = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"))
        .args(["serve", "--listen", &proxy.address().to_string(), "--upstream", &lab.url(), "--data-dir"])
        .arg(elsewhere.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("server.listen") && said.contains(&proxy.address().to_string()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_read_again_on_a_hangup() {
    let lab = Lab::open().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("alyx-proxy.toml");
    std::fs::write(&file, "[freshness]\nrecords = \"0s\"\n").unwrap();
    let proxy = Setup::new(&lab.url()).set("config", file.to_str().unwrap()).start().await;
    for n in 1..=2 {
        proxy.get("/sessions").await.expect(200);
        assert_eq!(lab.count("/sessions"), n, "never fresh");
    }

    std::fs::write(&file, "[freshness]\nrecords = \"1h\"\n[server]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    hang_up(&proxy);
    until("they are read", async || proxy.output().contains("settings read again")).await;
    assert!(proxy.get("/sessions").await.expect(200).cache().hit(), "fresh for an hour now");

    std::fs::write(&file, "[freshness]\nrecords = \"soon\"\n").unwrap();
    hang_up(&proxy);
    until("the error is told", async || proxy.output().contains("settings stay as they were")).await;
    let said = proxy.output();
    assert!(said.contains("freshness.records") && said.contains("soon"), "{said}");
    assert!(proxy.get("/sessions").await.expect(200).cache().hit(), "they stayed as they were");
    assert_eq!(lab::version(&proxy.get("/sessions").await.expect(200).json()), 1);
}

fn hang_up(proxy: &Proxy) {
    let told = Command::new("kill").args(["-HUP", &proxy.pid().to_string()]).status().unwrap();
    assert!(told.success());
}

/// Behind a trusted reverse proxy all requests come from one address. One guesser must not lock out the lab.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_counted_for_the_client_behind_a_trusted_proxy() {
    let lab = Lab::open().await;
    let setup =
        Setup::new(&lab.url()).set("access.login_attempts", "2").set("server.trusted_proxies", "127.0.0.1");
    let proxy = setup.start().await;
    let log_in = async |from: &str, password: &str| {
        let ask = proxy.client().anonymous().ask("POST", "/auth-token");
        let form =
            [("username", if password == "wrong" { "guessed" } else { "oneuser" }), ("password", password)];
        ask.form(&form).header("x-forwarded-for", from).send().await.status
    };
    for _ in 0..2 {
        assert_eq!(log_in("10.0.0.66", "wrong").await, 400);
    }
    assert_eq!(log_in("10.0.0.66", "wrong").await, 429, "the guesser waits");
    // What a client says of the way before it can't be believed: the last hop counts.
    assert_eq!(log_in("10.0.0.7, 10.0.0.66", "wrong").await, 429);
    assert_eq!(log_in("10.0.0.7", "wrong").await, 400, "others don't");
    assert_eq!(log_in("10.0.0.66", "one-pass-1").await, 200, "nor another name from there");
}
