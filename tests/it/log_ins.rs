//! Who may log in: the right password comes in whatever others do, and a password is called wrong only by whoever knows.

use std::sync::Arc;

use crate::support::{Answer, Asked, Fault, Lab, Proxy, Reply, Setup, Upstream, until, users};

const WRONG: &str = "Unable to log in with provided credentials.";

/// A log-in through a reverse proxy that says which address it comes from.
async fn log_in(proxy: &Proxy, from: &str, name: &str, password: &str) -> Answer {
    let ask = proxy.client().anonymous().ask("POST", "/auth-token").header("x-forwarded-for", from);
    ask.form(&[("username", name), ("password", password)]).send().await
}

fn setup(lab: &Lab) -> Setup {
    Setup::new(&lab.url())
        .set("server.trusted_proxies", "127.0.0.1")
        .set("access.login_attempts", "3")
        .set("upstream.timeout", "2s")
}

async fn cut(lab: &Lab, proxy: &Proxy) {
    lab.upstream.cut().await;
    proxy.get("/insertions").await;
    proxy.until_upstream_is("down").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_lock_nobody_else_out() {
    let (user, other) = (users::ONEUSER, users::ADMIN);
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    for offline in [false, true] {
        if offline {
            cut(&lab, &proxy).await;
        }
        let (here, there) = if offline { ("10.0.0.1", "10.0.0.2") } else { ("10.0.1.1", "10.0.1.2") };
        for n in 0..3 {
            log_in(&proxy, here, user.name, &format!("guess {n}")).await.expect(400);
        }
        let locked = log_in(&proxy, here, user.name, "guess 3").await.expect(429);
        assert!(locked.header("retry-after").is_some(), "{}", locked.describe());
        // The same name from another address, and another name from this one.
        log_in(&proxy, there, user.name, user.password).await.expect(200);
        log_in(&proxy, here, other.name, other.password).await.expect(200);
        assert_eq!(log_in(&proxy, there, user.name, "guess").await.expect(400).json()["status_code"], 400);
    }
}

/// One whom the others' guesses have locked: the password that Alyx accepted is known here.
#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_is_let_in_however_many_were_wrong() {
    let user = users::ONEUSER;
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    log_in(&proxy, "10.0.0.1", user.name, user.password).await.expect(200);
    for (offline, here) in [(false, "10.0.0.1"), (true, "10.0.0.2")] {
        if offline {
            cut(&lab, &proxy).await;
        }
        for n in 0..3 {
            log_in(&proxy, here, user.name, &format!("guess {n}")).await.expect(400);
        }
        let answer = log_in(&proxy, here, user.name, user.password).await.expect(200);
        assert_eq!(answer.json()["token"], user.token);
        // It has opened the lock; and while there are guesses, one look a second is left for it.
        for n in 0..3 {
            log_in(&proxy, here, user.name, &format!("guess {n}")).await.expect(400);
        }
        for n in 0..20 {
            log_in(&proxy, here, user.name, &format!("more {n}")).await.expect(429);
        }
        let comes_in = async || log_in(&proxy, here, user.name, user.password).await.status == 200;
        until("the right password comes in", comes_in).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_many_addresses_or_at_many_names_end_too() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).set("access.login_attempts", "1").start().await;
    for n in 0..50 {
        log_in(&proxy, &format!("10.0.0.{n}"), "guessed", "x").await.expect(400);
        log_in(&proxy, "10.0.1.1", &format!("name{n}"), "x").await.expect(400);
    }
    log_in(&proxy, "10.0.0.99", "guessed", "x").await.expect(429);
    log_in(&proxy, "10.0.1.1", "another", "x").await.expect(429);
    log_in(&proxy, "10.0.1.2", "another", "x").await.expect(400);
}

/// Not the person is wrong, but what lies between: 504 with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_a_wrong_password_by_whoever_does_not_know() {
    let (known, unknown) = (users::ONEUSER, users::ADMIN);
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    log_in(&proxy, "10.0.0.1", known.name, known.password).await.expect(200);
    let faults =
        [Fault::Silence, Fault::Portal, Fault::Gateway(502), Fault::NotJson, Fault::Truncated, Fault::Refuse];
    for fault in faults {
        lab.upstream.break_down(fault).await;
        // More often than may fail: none of these has.
        for n in 0..5 {
            let answer = log_in(&proxy, "10.0.0.1", unknown.name, unknown.password).await.expect(504);
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.starts_with("Alyx (http://"), "{fault:?}, {n}: {detail}");
            assert!(!detail.contains(WRONG), "{detail}");
        }
        lab.upstream.restore().await;
        proxy.until_upstream_is("up").await;
        log_in(&proxy, "10.0.0.1", known.name, known.password).await.expect(200);
    }
    cut(&lab, &proxy).await;
    let answer = log_in(&proxy, "10.0.0.1", unknown.name, unknown.password).await.expect(504);
    assert!(
        answer.text().contains("so it can't tell whether the password is right"),
        "{}",
        answer.describe()
    );
    // What is known to be another than the one that Alyx accepted is wrong.
    assert!(log_in(&proxy, "10.0.0.1", known.name, "x").await.expect(400).text().contains(WRONG));
    log_in(&proxy, "10.0.0.1", known.name, known.password).await.expect(200);
    // Nor does what an outage brings show that somebody's password was changed.
    lab.upstream.restore().await;
    proxy.until_upstream_is("up").await;
    log_in(&proxy, "10.0.0.1", unknown.name, unknown.password).await.expect(200);
}

/// `upstream.url` names another web server, or the port of TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_web_server_that_is_no_alyx_knows_no_passwords() {
    let user = users::ONEUSER;
    for status in [200, 400, 404, 405] {
        let page = "<html><body>400 The plain HTTP request was sent to HTTPS port</body></html>";
        let other =
            Upstream::start(Arc::new(move |_: &Asked| Reply::new(status, "text/html", page.to_owned())))
                .await;
        let proxy = Setup::new(&other.url()).start().await;
        let ask = proxy.client().anonymous().ask("POST", "/auth-token");
        let answer =
            ask.form(&[("username", user.name), ("password", user.password)]).send().await.expect(504);
        assert!(
            answer.json()["detail"].as_str().unwrap().starts_with("Alyx (http://"),
            "{}",
            answer.describe()
        );
    }
}
