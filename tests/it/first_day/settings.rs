//! One mistake is told once, where one looks, with the likely remedy: addresses, certificates, ports, settings.

use std::path::Path;

use super::{Home, text};
use crate::support::{Lab, Proxy, Setup, command, miniature, raw, until, users};
use alyx_proxy::miniature::Options;

/// What a wrong address of Alyx comes to: in the log, in what `status` says, on the page.
async fn is_told_where_one_looks(upstream: &str, hint: &str) {
    let proxy = Proxy::start(upstream).await;
    until("it is known", async || proxy.output().contains("Alyx was never reached")).await;
    assert!(proxy.output().contains(hint), "{}", proxy.output());
    assert!(proxy.output().contains("Upstream was never reached"), "{}", proxy.output());
    let said = command::done(&command::run_for(&proxy, &["status"]));
    assert!(said.contains("ATTENTION") && said.contains(hint), "{said}");
    let ask = proxy.client().anonymous().ask("GET", "/-/status");
    let owner = format!("Bearer {}", proxy.admin_token());
    let page = ask.header("authorization", &owner).send().await.expect(200);
    assert!(page.text().contains("Never reached:"), "{upstream}");
    // Names are not for strangers.
    let page = proxy.client().anonymous().get("/-/status").await.expect(200);
    assert!(!page.text().contains("Never reached:"), "{upstream}");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_14_a_wrong_url_is_no_outage() {
    let alyx = miniature::start(Options::default()).await;
    let https = alyx.url().replace("http://", "https://");
    is_told_where_one_looks(&https, "it does not speak https there").await;
    is_told_where_one_looks("http://127.0.0.1:9", "nothing listens at port 9").await;
    is_told_where_one_looks("http://alyx.invalid", "is `alyx.invalid` spelt right?").await;
    // What has answered once is away.
    let proxy = Proxy::start(&alyx.url()).await;
    proxy.get("/labs").await.expect(200);
    alyx.cut();
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
    proxy.until_upstream_is("down").await;
    let said = command::done(&command::run_for(&proxy, &["status"]));
    assert!(!said.contains("never reached"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_14_a_pasted_page_and_the_proxys_own_address() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&format!("{}/admin/", lab.url())).await;
    until("it is told", async || proxy.output().contains("upstream.url ends with /admin")).await;
    let home = Home::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for upstream in [format!("http://{free}"), format!("http://localhost:{}", free.port())] {
        let (listen, folder) = (free.to_string(), home.path("data"));
        let serve = ["serve", "--listen", &listen, "--upstream", &upstream, "--data-dir", text(&folder)];
        let said = command::failed(&home.run(&serve), 2);
        assert!(said.contains("this proxy's own address"), "{said}");
    }
}

/// A certificate for these names, valid up to the first day of a year, and its key, in files.
fn certificate(folder: &Path, names: &[&str], year: i32) -> [String; 2] {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = rcgen::CertificateParams::new(names).unwrap();
    parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let paths = [folder.join(format!("{year}.pem")), folder.join(format!("{year}.key"))];
    std::fs::write(&paths[0], certificate.pem()).unwrap();
    std::fs::write(&paths[1], key.serialize_pem()).unwrap();
    private(&paths[1]);
    paths.map(|path| text(&path).to_owned())
}

fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn point_20_a_certificate_that_clients_refuse_is_told() {
    let lab = Lab::open().await;
    let folder = tempfile::tempdir().unwrap();
    let [old, old_key] = certificate(folder.path(), &["lab-server"], 2020);
    let [good, good_key] = certificate(folder.path(), &["lab-server"], 2099);
    let check = |certificate: &str, key: &str, public: &str| {
        let home = Home::new().set("server.tls_certificate", certificate).set("server.tls_key", key);
        home.set("server.public_url", public).run(&["check-config"])
    };
    // Root reads every key; whose settings file it is does not.
    let settings = folder.path().join("settings.toml");
    let lines = format!("[server]\ntls_certificate = {good:?}\ntls_key = {good_key:?}\n");
    std::fs::write(&settings, lines).unwrap();
    private(&settings);
    std::os::unix::fs::chown(&settings, Some(65_534), Some(65_534)).expect("run this test as root");
    let said = command::done(&Home::new().run(&["check-config", "--config", text(&settings)]));
    assert!(said.contains("note:") && said.contains("(uid 65534) can't read it: `chown 65534 "), "{said}");
    let said = command::failed(&check(&good, &old_key, ""), 1);
    assert!(said.contains("don't go together"), "{said}");
    let said = command::done(&check(&old, &old_key, "https://lab-server"));
    assert!(said.contains("note:") && said.contains("it expired on 2020-01-01"), "{said}");
    let said = command::done(&check(&good, &good_key, "https://other-name"));
    assert!(said.contains("it is for lab-server, and not for other-name"), "{said}");
    let said = command::done(&check(&good, &good_key, "https://lab-server"));
    assert!(!said.contains("note:"), "{said}");
    let proxy = Setup::new(&lab.url())
        .set("server.tls_certificate", &old)
        .set("server.tls_key", &old_key)
        .start()
        .await;
    until("it is told", async || proxy.output().contains("it expired on 2020-01-01")).await;
    // On the page and in `status` too, until it is mended.
    let url = format!("https://{}", proxy.address());
    let browser =
        reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().unwrap();
    let page = async |owner: bool| {
        let ask = browser.get(format!("{url}/-/status"));
        let ask = if owner { ask.bearer_auth(proxy.admin_token()) } else { ask };
        ask.send().await.unwrap().text().await.unwrap()
    };
    assert!(page(true).await.contains("the certificate that is served: it expired on 2020-01-01"));
    let shown = page(false).await;
    assert!(shown.contains("clients may refuse the certificate") && !shown.contains("2020-01-01"), "{shown}");
    let home = Home::new().set("server.tls_certificate", &old).set("server.tls_key", &old_key);
    let home = home.set("server.listen", &proxy.address().to_string());
    let data = proxy.data_dir();
    let status = || command::done(&home.run(&["status", "--data-dir", text(&data)]));
    let said = status();
    assert!(said.contains("ATTENTION") && said.contains("it expired on 2020-01-01"), "{said}");
    std::fs::copy(&good_key, &old_key).unwrap();
    std::fs::copy(&good, &old).unwrap();
    // The page goes on telling that it was so, among what has happened.
    let mended = async || {
        let ask = browser.get(format!("{url}/-/status.json")).bearer_auth(proxy.admin_token());
        let told = ask.send().await.unwrap().text().await.unwrap();
        alyx_proxy::alyx::record::parse(&told)["certificate_remarks"] == serde_json::json!([])
    };
    until("it is mended", mended).await;
    assert!(!status().contains("ATTENTION"));
}

#[tokio::test(flavor = "multi_thread")]
async fn point_21_the_wrong_scheme_and_a_self_made_certificate_are_told_apart() {
    let lab = Lab::open().await;
    let folder = tempfile::tempdir().unwrap();
    let [good, key] = certificate(folder.path(), &["lab-server"], 2099);
    let secure =
        Setup::new(&lab.url()).set("server.tls_certificate", &good).set("server.tls_key", &key).start().await;
    let answer = raw(secure.address(), b"GET /-/health HTTP/1.1\r\nHost: lab-server\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("This port speaks https"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = answer.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), body.len());
    let home = Home::new();
    let url = |scheme: &str, proxy: &Proxy| format!("{scheme}://{}", proxy.address());
    let said = command::failed(&home.run(&["status", "--url", &url("http", &secure)]), 1);
    assert!(said.contains("speaks https"), "{said}");
    let said = command::failed(&home.run(&["status", "--url", &url("https", &secure)]), 3);
    assert!(said.contains("its certificate is not trusted here") && !said.contains("no proxy"), "{said}");
    let plain = Proxy::start(&lab.url()).await;
    let said = command::failed(&home.run(&["status", "--url", &url("https", &plain)]), 1);
    assert!(said.contains("speaks no https"), "{said}");
}

/// The commands that the documentation gives make a certificate that the program and its clients take.
#[test]
fn point_21_the_documentation_makes_a_certificate() {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/access.md")).unwrap();
    let (_, rest) = docs.split_once("```sh\n# A lab's own authority").expect("how to make one");
    let (commands, _) = rest.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let script = format!("set -eu\n# {commands}");
    let mut shell = std::process::Command::new("bash");
    let made = shell.args(["-c", &script]).current_dir(folder.path()).output().unwrap();
    command::done(&made);
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    let home = Home::new()
        .set("server.tls_certificate", &path("lab-server.pem"))
        .set("server.tls_key", &path("lab-server.key"))
        .set("server.public_url", "https://lab-server:8040");
    let said = command::done(&home.run(&["check-config"]));
    assert!(!said.contains("note:"), "{said}");
    let verify = std::process::Command::new("openssl")
        .args(["verify", "-CAfile", &path("lab-ca.pem"), &path("lab-server.pem")])
        .output()
        .unwrap();
    command::done(&verify);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_22_explain_takes_ones_token_and_knows_what_is_on_its_way() {
    let alyx = miniature::start(Options::default()).await;
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", "labs,subjects,sessions")
        .set("upstream.requests_per_minute", "30")
        .start()
        .await;
    let url = proxy.url();
    let home = Home::new();
    let said = command::failed(&home.run(&["explain", "/sessions?qc=PASS", "--url", &url]), 1);
    for part in ["--token", "$ALYX_PROXY_TOKEN", "ONE(base_url="] {
        assert!(said.contains(part), "{said}");
    }
    let one = home.path(".one");
    std::fs::create_dir(&one).unwrap();
    let name = format!(".{}", proxy.address().to_string().replace(':', "_"));
    let user = users::ONEUSER;
    let parameters =
        serde_json::json!({ "ALYX_LOGIN": user.name, "TOKEN": { user.name: { "token": user.token } } });
    std::fs::write(one.join(name), parameters.to_string()).unwrap();
    let said = command::done(&home.run(&["explain", "/sessions?qc=PASS", "--url", &url]));
    assert!(said.contains("They are being fetched") && !said.contains("mirror.details"), "{said}");
}

#[test]
fn point_24_an_account_that_is_half_or_twice_there_is_no_account() {
    let check = |home: &Home| command::failed(&home.run(&["check-config"]), 2);
    let said = check(&Home::new().set("mirror.username", "me"));
    assert!(said.contains("mirror.username is set, but mirror.password is not"), "{said}");
    let said = check(&Home::new().set("mirror.password", "secret"));
    assert!(said.contains("mirror.password is set, but mirror.username is not"), "{said}");
    let said = check(&Home::new().set("mirror.token_file", "/nowhere/token"));
    assert!(
        said.contains("mirror.token_file = \"/nowhere/token\"") && !said.contains("settings file"),
        "{said}"
    );
    let file = Home::new();
    std::fs::write(file.path("token"), "x").unwrap();
    private(&file.path("token"));
    let path = text(&file.path("token")).to_owned();
    let said = check(&file.set("mirror.token_file", &path).set("mirror.token", "a-token"));
    assert!(said.contains("mirror.token_file and mirror.token are both set"), "{said}");
    let both = Home::new().set("mirror.username", "me").set("mirror.password", "p").set("mirror.token", "t");
    let said = command::done(&both.run(&["check-config"]));
    assert!(said.contains("note:") && said.contains("the token is used"), "{said}");
}

#[test]
fn point_25_addresses_are_told_as_they_should_be() {
    let home = Home::new();
    for (listen, meant) in [
        ("8420", "did you mean `127.0.0.1:8420`?"),
        (":8420", "did you mean `0.0.0.0:8420`?"),
        ("localhost:8420", "did you mean `127.0.0.1:8420`?"),
    ] {
        let said = command::failed(&home.run(&["serve", "--listen", listen]), 2);
        assert!(said.contains(meant), "{said}");
    }
    let folder = home.path("data");
    let serve = |listen: &str| home.run(&["serve", "--listen", listen, "--data-dir", text(&folder)]);
    let said = command::failed(&serve("192.0.2.1:8420"), 1);
    assert!(said.contains("this machine has no such address") && !said.contains("something else"), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let said = command::failed(&serve(&taken.local_addr().unwrap().to_string()), 1);
    assert!(said.contains("something else is listening there"), "{said}");
}

#[test]
fn point_26_wrong_settings_name_the_line_and_the_nearest_key() {
    let home = Home::new();
    let path = home.path("settings.toml");
    let check = |lines: &str| -> String {
        std::fs::write(&path, lines).unwrap();
        command::failed(&home.run(&["check-config", "--config", text(&path)]), 2)
    };
    for (lines, line, meant) in [
        ("# mine\n[upstream]\nurll = \"http://a.b\"\n", 3, "did you mean `upstream.url`?"),
        ("[upstreams]\nurl = \"http://a.b\"\n", 1, "did you mean `upstream.url`?"),
        ("[upstream]\nlisten = \"0.0.0.0:8040\"\n", 2, "did you mean `server.listen`?"),
        ("[log]\n\nlevel = \"inof\"\n", 3, "did you mean `info`?"),
        ("[mirror]\nendpoints = [\"sessions\", \"subject\"]\n", 2, "did you mean `subjects`?"),
        ("[freshness.endpoints]\nsession = \"1m\"\n", 2, "did you mean `freshness.endpoints.sessions`?"),
        ("[upstream]\nserve_stale_after = \"3m\"\n", 2, "at most upstream.timeout"),
    ] {
        let said = check(lines);
        assert!(said.contains(&format!("settings.toml, line {line}:")), "{lines}: {said}");
        assert!(said.contains(meant), "{lines}: {said}");
    }
    let said = command::failed(&home.run(&["check-config", "--set", "upstream.urll=http://a.b"]), 2);
    assert!(said.contains("did you mean `upstream.url`?"), "{said}");
    let mut wrong = home.command(&["check-config"]);
    let output = wrong.env("ALYX_PROXY_UPSTREAM_URL", "http://a.b").output().unwrap();
    let said = command::failed(&output, 2);
    assert!(said.contains("did you mean `ALYX_PROXY_UPSTREAM__URL`?"), "{said}");
}
