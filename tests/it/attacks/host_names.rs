//! Pages on the web that have a name of their own lead to this proxy ("DNS rebinding"): under a name that is not its own
//! nothing is given without a token that Alyx has accepted.

use std::path::PathBuf;

use crate::support::{Answer, Client, Lab, Proxy, Setup, command, raw, users};

const EVIL: &str = "rebind.evil.example:8321";

async fn at(client: &Client, host: &str, path: &str) -> Answer {
    client.ask("GET", path).header("host", host).send().await
}

/// It is refused, in words that name the setting.
fn is_misdirected(answer: &Answer) {
    let said =
        answer.status == 421 && answer.text().contains("server.hosts") && answer.text().contains("rebind");
    assert!(said, "{}", answer.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_pages_are_not_for_whoever_gives_it_a_name() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let (user, guest) = (proxy.client(), proxy.client().anonymous());
    user.get("/labs").await.expect(200);
    let made_up = proxy.client().with_authorization(&format!("Token {}", users::UNKNOWN_TOKEN));
    let wrong = proxy.client().with_authorization("Bearer no-such-administrator");
    let (own, mut tried) = (proxy.client().with_authorization(&format!("Bearer {}", proxy.admin_token())), 0);
    for path in super::OWN {
        for client in [&guest, &made_up] {
            is_misdirected(&at(client, EVIL, path).await);
            tried += 1;
        }
        let session = guest.ask("GET", path).header("host", EVIL).header("cookie", "alyx_proxy_session=1");
        is_misdirected(&session.send().await);
    }
    is_misdirected(&at(&wrong, EVIL, "/-/status.json").await);
    for client in [&user, &own] {
        at(client, EVIL, "/-/status.json").await.expect(200);
    }
    // Whoever asks for an action is asked for the administrator's token, under whatever name.
    guest.ask("POST", "/-/api/offline").header("host", EVIL).send().await.expect(401);
    is_misdirected(
        &guest.ask("POST", "/-/login").header("host", EVIL).form(&[("username", "a")]).send().await,
    );
    // What shows nothing, and what only Alyx answers, has no need of a name.
    for path in ["/-/health", "/-/ready", "/-/one-setup.py"] {
        at(&guest, EVIL, path).await.expect(200);
    }
    at(&user, EVIL, "/labs").await.expect(200);
    at(&guest, EVIL, "/labs").await.expect(403);
    at(&made_up, EVIL, "/labs").await.expect(403);
    let log_in = guest.ask("POST", "/auth-token").header("host", EVIL);
    let form = [("username", users::ONEUSER.name), ("password", users::ONEUSER.password)];
    log_in.form(&form).send().await.expect(200);
    // What is no host is none of anything.
    for host in ["a'b", "a$(id)b", "a b", "a_b", "[::1", "a:b", "-", "a,b"] {
        for path in ["/-/health", "/-/status.json", "/labs", "/auth-token"] {
            at(&user, host, path).await.expect(400);
            tried += 1;
        }
    }
    crate::support::tried("host names", tried);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_known_by_its_own_names() {
    let lab = Lab::open().await;
    let settings = |setup: Setup| setup.set("server.hosts", "alyx-proxy, *.svc.cluster.local");
    let proxy = settings(Setup::new(&lab.url())).start().await;
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let short = machine.split('.').next().unwrap();
    let guest = proxy.client().anonymous();
    for host in [
        "127.0.0.1",
        "10.1.2.3:8040",
        "[::1]:8040",
        "localhost:8040",
        "LOCALHOST",
        "me.localhost",
        &machine,
        &format!("{short}:8040"),
        &format!("{short}.local"),
        "alyx-proxy:8040",
        "ALYX-proxy.",
        "alyx.lab.svc.cluster.local",
    ] {
        at(&guest, host, "/-/status.json").await.expect(200);
    }
    for host in [
        "svc.cluster.local",
        "alyx-proxy.rebind.example",
        "localhost.rebind.example",
        "127.0.0.1.rebind.example",
    ] {
        at(&guest, host, "/-/status.json").await.expect(421);
    }
    let proxy = proxy.restart_with("server.public_url", "https://alyx.lab.example/x").await;
    at(&proxy.client().anonymous(), "alyx.lab.example", "/-/status.json").await.expect(200);
    at(&proxy.client().anonymous(), EVIL, "/-/status.json").await.expect(421);
    // A reverse proxy says by which name it was called; nobody else does.
    let forwarded =
        |host: &str| guest_of(&proxy).ask("GET", "/-/status.json").header("x-forwarded-host", host);
    forwarded(EVIL).send().await.expect(200);
    let proxy = proxy.restart_with("server.trusted_proxies", "127.0.0.1").await;
    let forwarded =
        |host: &str| guest_of(&proxy).ask("GET", "/-/status.json").header("x-forwarded-host", host);
    is_misdirected(&forwarded(EVIL).send().await);
    forwarded("alyx-proxy").send().await.expect(200);
    forwarded("a'b").send().await.expect(400);
}

fn guest_of(proxy: &Proxy) -> Client {
    proxy.client().anonymous()
}

/// What is open is so under names of its own; under others Alyx judges who comes.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_open_under_its_own_names_only() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).set("access.anonymous", "true").start().await;
    let (user, guest) = (proxy.client(), proxy.client().anonymous());
    user.get("/labs").await.expect(200);
    user.get("/subjects/one").await.expect(200);
    guest.get("/labs").await.expect(200);
    let made_up = proxy.client().with_authorization(&format!("Token {}", users::UNKNOWN_TOKEN));
    made_up.get("/labs").await.expect(200);
    for path in ["/labs", "/labs?limit=1", "/subjects/one", "/cache.zip", "/cache/info/", "/docs/"] {
        is_misdirected(&at(&guest, EVIL, path).await);
        let malformed = guest.with_authorization("Token a b");
        is_misdirected(&at(&malformed, EVIL, path).await);
        let made_up = at(&made_up, EVIL, path).await;
        assert!(!made_up.status.is_success(), "{}", made_up.describe());
    }
    // One that Alyx has accepted, or accepts now.
    at(&user, EVIL, "/labs").await.expect(200);
    at(&proxy.client().with(users::PUBLIC), EVIL, "/labs").await.expect(200);
    lab.upstream.cut().await;
    user.ask("GET", "/subjects/one").header("cache-control", "no-cache").send().await.expect(200);
    proxy.until_upstream_is("down").await;
    guest.get("/subjects/one").await.expect(200);
    let offline = at(&made_up, EVIL, "/subjects/one").await;
    assert!(!offline.status.is_success(), "{}", offline.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_served_snapshot_is_read_under_its_own_names_only() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("lab.tar.zst");
    command::done(&command::run_for(&proxy, &["export", file.to_str().unwrap()]));
    let frozen = Setup::of_snapshot(&file).start().await;
    let guest = frozen.client().anonymous();
    guest.get("/labs").await.expect(200);
    at(&guest, "localhost", "/labs").await.expect(200);
    let log_in = guest.ask("POST", "/auth-token").header("host", EVIL);
    let token =
        log_in.form(&[("username", "a"), ("password", "b")]).send().await.expect(200).json()["token"].clone();
    let given = guest.with_authorization(&format!("Token {}", token.as_str().unwrap()));
    for client in [&guest, &frozen.client(), &given] {
        is_misdirected(&at(client, EVIL, "/labs").await);
        is_misdirected(&at(client, EVIL, "/-/status.json").await);
    }
    // The request line says more than `Host` (RFC 9112 3.2.2).
    for (line, status) in [(format!("http://{EVIL}"), "421"), ("http://localhost".to_owned(), "200")] {
        for path in ["/labs", "/-/status.json"] {
            let request =
                format!("GET {line}{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let address = frozen.address();
            let said = tokio::task::spawn_blocking(move || raw(address, request.as_bytes())).await.unwrap();
            assert_eq!(said.split(' ').nth(1), Some(status), "{line}{path}: {said}");
        }
    }
}
