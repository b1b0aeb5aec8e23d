//! An Alyx that is slow, or silent, rather than away.

use alyx_proxy::miniature::Options;

use super::*;
use crate::support::{Break, Breaker, miniature};

#[tokio::test(flavor = "multi_thread")]
async fn where_upstream_is_slow_the_stored_answer_comes_and_the_refresh_goes_on() {
    let lab = Lab::open().await;
    let proxy = primed(&lab).await;
    lab.renew();
    lab.upstream.break_down(Fault::Slow(2000)).await;
    let before = lab.count("/sessions");

    let answer = proxy.get(STALE).await;
    assert_stored(&answer, "slow");
    assert_told_stale(&answer, "slow");
    assert!(answer.elapsed >= Duration::from_millis(250), "it gave up on Alyx early: {:?}", answer.elapsed);
    assert_within(&answer, AT_ONCE, "patience was 300ms");

    let refreshed = async || {
        let ask = proxy.client().ask("GET", STALE).header("cache-control", "only-if-cached, max-stale");
        let answer = ask.send().await;
        answer.status == 200 && lab::version(&answer.json()) == 2
    };
    until("the refresh is stored", refreshed).await;
    assert_eq!(lab.count("/sessions"), before + 1, "the refresh that was under way, no other");

    // What is not stored is waited for.
    let answer = proxy.get(UNKNOWN).await.expect(200);
    assert_eq!(lab::version(&answer.json()), 2);
    assert_eq!(proxy.status().await["upstream"]["state"], "up", "slow is not away");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_longer_than_the_time_out_and_then_nobody_waits_at_all() {
    let lab = Lab::open().await;
    let proxy = primed(&lab).await;
    lab.upstream.break_down(Fault::Silence).await;
    let client = proxy.client();
    let waiting = (0..10).map(|i| {
        let client = client.clone();
        async move { client.get(&format!("{UNKNOWN}?n={i}")).await }
    });
    for answer in futures_util::future::join_all(waiting).await {
        assert_gone(&answer, "silence");
        assert_within(&answer, TIMEOUT + SLACK, "silence");
    }
    proxy.until_upstream_is("down").await;
    let before = lab.count(UNKNOWN);
    for i in 0..50 {
        let answer = proxy.get(&format!("{UNKNOWN}?m={i}")).await;
        assert_gone_since(&answer, "known to be silent");
        assert_within(&answer, AT_ONCE, "known to be silent");
    }
    assert_eq!(lab.count(UNKNOWN), before);
}

/// ONE throws a token away that was refused: only Alyx refuses one.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_alyx_had_no_time_for_is_not_refused() {
    let lab = Lab::open().await;
    let proxy = setup(&lab.url()).set("upstream.retries", "0").start().await;
    proxy.get(FRESH).await.expect(200);
    let new = proxy.client().with(users::ADMIN);
    lab.throttle(Some(90));
    for target in [UNKNOWN, FRESH, "/cache.zip"] {
        let answer = new.get(target).await.expect(429);
        assert!(answer.header("retry-after").is_some(), "{target}: {}", answer.describe());
    }
    lab.throttle(None);
    let proxy = proxy.restart().await;
    let new = proxy.client().with(users::ADMIN);
    // Slower than anyone waits, and not away.
    lab.upstream.behave(Fault::Trickle);
    let name_and_password = [("username", users::ADMIN.name), ("password", users::ADMIN.password)];
    let log_in = proxy.client().anonymous().ask("POST", "/auth-token").form(&name_and_password).send();
    let (unknown, tables, log_in) = tokio::join!(new.get(UNKNOWN), new.get("/cache.zip"), log_in);
    for answer in [unknown, tables, log_in] {
        assert_gone(&answer, "slow");
        assert_within(&answer, TIMEOUT + SLACK, "slow");
    }
    assert_eq!(proxy.status().await["upstream"]["state"], "up");
    lab.upstream.cut().await;
    new.get(UNKNOWN).await;
    proxy.until_upstream_is("down").await;
    new.get(UNKNOWN).await.expect(504);
}

/// A log-in of the mirror's account that is not answered ends, and is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn the_mirrors_account_does_not_wait_for_a_log_in_for_ever() {
    let account = |setup: Setup| {
        let (user, every) = (users::ADMIN, "1s");
        setup
            .set("mirror.username", user.name)
            .set("mirror.password", user.password)
            .set("mirror.interval", every)
    };
    let lab = Lab::open().await;
    let log_ins = || lab.upstream.asked().iter().filter(|asked| asked.method == "POST").count();
    lab.upstream.behave(Fault::Silence);
    let _proxy = account(setup(&lab.url())).start().await;
    until("it logs in", async || log_ins() == 1).await;
    // The one that is under way goes on as it began.
    lab.upstream.behave(Fault::None);
    until("it logs in again", async || log_ins() == 2).await;

    // Nor is an answer without an end read.
    let alyx = miniature::start(Options::default()).await;
    let breaker = Breaker::before(alyx.addr()).await;
    breaker.set(Break::Endless).await;
    let _proxy = account(setup(&breaker.url()).set("upstream.timeout", "600s")).start().await;
    let log_ins = || alyx.requests().iter().filter(|asked| asked.method == http::Method::POST).count();
    until("it logs in, and again", async || log_ins() >= 2).await;
}
