//! Acceptance 4: each way in which a network or a server fails, and what the proxy makes of it: the stored answer
//! where there is one, a clear 504 where there is none, nobody waits, and nothing wrong is remembered.
//!
//! Times are asserted only where not waiting is the promise, and then against the total time-out.

mod slow;

use std::time::Duration;

use crate::support::{Answer, Client, Fault, Lab, Proxy, Setup, lab, until, users};
use futures_util::StreamExt;

/// No client waits longer, whatever upstream does.
const TIMEOUT: Duration = Duration::from_secs(3);
/// What a busy machine may add to that.
const SLACK: Duration = Duration::from_secs(2);
/// An answer that comes within this did not wait for upstream.
const AT_ONCE: Duration = Duration::from_millis(1500);

/// A reference table: fresh for a day.
const FRESH: &str = "/labs";
/// Records, which are stale after 50 ms here.
const STALE: &str = "/sessions?limit=2";
/// Never asked while upstream was well.
const UNKNOWN: &str = "/projects";

/// Each way to fail, and whether it means that upstream is away: a broken answer may be that one answer's.
const FAULTS: &[(Fault, bool)] = &[
    (Fault::Refuse, true),
    (Fault::Drop, true),
    (Fault::Silence, true),
    (Fault::Reset, true),
    (Fault::Gateway(502), true),
    (Fault::Gateway(503), true),
    (Fault::Gateway(504), true),
    (Fault::Portal, true),
    (Fault::Truncated, false),
    (Fault::Unread, true),
    (Fault::Unanswered, true),
    (Fault::ChunksCut, false),
    (Fault::NotJson, false),
    (Fault::Trickle, false),
];

fn setup(upstream: &str) -> Setup {
    Setup::new(upstream)
        .set("upstream.timeout", "3s")
        .set("upstream.connect_timeout", "500ms")
        .set("upstream.serve_stale_after", "300ms")
        .set("health.timeout", "500ms")
        .set("freshness.records", "50ms")
        .set("cache.stale_while_revalidate", "0s")
}

/// A proxy that has stored [`FRESH`] and [`STALE`], the latter long enough ago.
async fn primed(lab: &Lab) -> Proxy {
    let proxy = setup(&lab.url()).start().await;
    for target in [FRESH, STALE] {
        assert_eq!(lab::version(&proxy.get(target).await.expect(200).json()), 1);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    proxy
}

fn assert_stored(answer: &Answer, about: &str) {
    assert_eq!(answer.status, 200, "{about}: {}", answer.describe());
    assert_eq!(lab::version(&answer.json()), 1, "{about}");
    assert!(answer.age().is_some(), "{about}: a stored answer tells its age: {}", answer.describe());
}

fn assert_told_stale(answer: &Answer, about: &str) {
    let notice = answer.header("alyx-api-notice").unwrap_or_default();
    assert!(notice.starts_with("!!!"), "{about}: ONE shows no warning: {}", answer.describe());
}

fn assert_gone(answer: &Answer, about: &str) {
    assert_eq!(answer.status, 504, "{about}: {}", answer.describe());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{about}");
    let body = answer.json();
    assert_eq!(body["status_code"], 504, "{about}: {body}");
    assert!(body["detail"].as_str().is_some_and(|text| !text.is_empty()), "{about}: {body}");
    assert!(!answer.cache().hit(), "{about}: {}", answer.cache().text);
    assert!(answer.age().is_none(), "{about}: made up here, so of no age");
}

/// The same where upstream is known to be away: the answer says since when.
fn assert_gone_since(answer: &Answer, about: &str) {
    assert_gone(answer, about);
    assert!(
        answer.json()["detail"].as_str().is_some_and(|text| text.contains("since")),
        "{about}: {}",
        answer.text()
    );
}

fn assert_within(answer: &Answer, limit: Duration, about: &str) {
    assert!(answer.elapsed < limit, "{about}: it took {:?}", answer.elapsed);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_the_stored_answer_comes_or_a_clear_504() {
    futures_util::stream::iter(FAULTS).for_each_concurrent(4, |(fault, away)| fails(*fault, *away)).await;
}

async fn fails(fault: Fault, away: bool) {
    let lab = Lab::open().await;
    let proxy = primed(&lab).await;
    lab.renew();
    lab.upstream.break_down(fault).await;
    let about = |what: &str| format!("{fault:?}, {what}");

    // What finds out that upstream is away may wait, but never longer than the time-out.
    let fresh = proxy.get(FRESH).await;
    assert_stored(&fresh, &about("fresh"));
    assert_within(&fresh, AT_ONCE, &about("fresh"));
    let (stale, unknown) = tokio::join!(proxy.get(STALE), proxy.get(UNKNOWN));
    assert_stored(&stale, &about("stale"));
    assert_told_stale(&stale, &about("stale"));
    assert_within(&stale, AT_ONCE, &about("stale: longer than its patience"));
    assert_gone(&unknown, &about("unknown"));
    assert_within(&unknown, TIMEOUT + SLACK, &about("unknown"));

    if away {
        nobody_waits(fault, &lab, &proxy).await;
    }

    // Back again: the probe sees it, and what comes then is right and current. What was asked before may still fail.
    lab.upstream.restore().await;
    proxy.until_upstream_is("up").await;
    for target in [STALE, UNKNOWN] {
        until(&about(&format!("{target} is current after its return")), async || {
            let answer = proxy.get(target).await;
            if answer.status != 200 {
                assert_gone(&answer, &about(target));
                return false;
            }
            let told_stale = answer.header("alyx-api-notice").is_some();
            let version = lab::version(&answer.json());
            assert_eq!(version, if told_stale { 1 } else { 2 }, "{}: {}", about(target), answer.describe());
            !told_stale
        })
        .await;
    }
    assert_stored(&proxy.get(FRESH).await, &about("fresh after its return"));
}

/// Once it is known that upstream is away, nobody waits for it and nobody asks.
async fn nobody_waits(fault: Fault, lab: &Lab, proxy: &Proxy) {
    let about = |what: &str| format!("{fault:?}, known to be away, {what}");
    proxy.until_upstream_is("down").await;
    let asked = || (lab.count("/labs"), lab.count("/sessions"), lab.count("/projects"));
    let before = asked();
    for target in [FRESH, STALE, UNKNOWN] {
        let answer = proxy.get(target).await;
        assert_within(&answer, AT_ONCE, &about(&format!("{target} while down")));
        match target {
            UNKNOWN => assert_gone_since(&answer, &about("unknown while down")),
            _ => assert_stored(&answer, &about(&format!("{target} while down"))),
        }
        if target == STALE {
            assert_told_stale(&answer, &about("stale while down"));
        }
    }
    assert_eq!(asked(), before, "{}", about("asked though it was known to be away"));
    let status = proxy.status().await;
    assert!(status["upstream"]["since"].is_string(), "{fault:?}: {status}");
    assert!(
        status["upstream"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
        "{fault:?}: {status}"
    );
}

/// Nothing of a failure is on disk either: what is stored before it is all that is stored after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_failure_leaves_nothing_behind_for_the_next_run() {
    for fault in [Fault::Portal, Fault::Truncated, Fault::NotJson, Fault::ChunksCut] {
        let lab = Lab::open().await;
        let proxy = primed(&lab).await;
        lab.upstream.break_down(fault).await;
        assert_gone(&proxy.get(UNKNOWN).await, &format!("{fault:?}"));
        assert_stored(&proxy.get(STALE).await, &format!("{fault:?}"));
        lab.upstream.cut().await;
        let proxy = proxy.restart().await;
        assert_gone(&proxy.get(UNKNOWN).await, &format!("{fault:?} after a restart"));
        assert_stored(&proxy.get(STALE).await, &format!("{fault:?} after a restart"));
        assert_stored(&proxy.get(FRESH).await, &format!("{fault:?} after a restart"));
    }
}

/// A name that does not resolve and a server that does not speak TLS can't come about while the proxy runs. So it is
/// started on them, with what an earlier run stored.
#[tokio::test(flavor = "multi_thread")]
async fn without_dns_or_tls_the_stored_answers_come() {
    let lab = Lab::open().await;
    let no_tls = lab.url().replace("http://", "https://");
    for url in ["http://does-not-exist.invalid", &no_tls] {
        let proxy = setup(url).start().await;
        let answer = proxy.client().anonymous().get(UNKNOWN).await.expect(403);
        assert_eq!(answer.json()["detail"], "Authentication credentials were not provided.", "{url}");
        proxy.until_upstream_is("down").await;
        // Alyx describes itself to anyone; a token it would judge first.
        let unknown = proxy.client().anonymous().get("/api/schema").await;
        assert_within(&unknown, AT_ONCE, url);
        assert_gone_since(&unknown, url);
        let database = proxy.database();
        let setup = proxy.setup().clone();
        drop(proxy);

        let mut earlier = primed(&lab).await;
        earlier.terminate().await;
        // What was killed has left its own log beside its database.
        for log in ["db-wal", "db-shm"] {
            let _ = std::fs::remove_file(database.with_extension(log));
        }
        std::fs::copy(earlier.database(), &database).unwrap();
        std::fs::copy(earlier.data_dir().join("secret.key"), setup.data_dir().join("secret.key")).unwrap();
        let proxy = setup.start().await;
        for target in [FRESH, STALE] {
            let answer = proxy.get(target).await;
            assert_stored(&answer, url);
            assert_within(&answer, TIMEOUT + SLACK, url);
        }
        proxy.until_upstream_is("down").await;
        assert_told_stale(&proxy.get(STALE).await, url);
        assert_gone(&proxy.get(UNKNOWN).await, url);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_alyx_itself_do_not_mean_that_it_is_away() {
    let lab = Lab::open().await;
    let proxy = setup(&lab.url()).start().await;
    proxy.get("/labs").await.expect(200);
    let unknown = format!("Token {}", users::UNKNOWN_TOKEN);
    for _ in 0..5 {
        proxy.get("/sessions?number=x").await.expect(400);
        proxy.client().with_authorization(&unknown).get("/sessions").await.expect(403);
        proxy.get("/sessions/00000000-0000-4000-8000-00000000ffff").await.expect(404);
        proxy.get("/sessions/not-a-uuid").await.expect(404);
        proxy.get("/no/such/page").await.expect(404);
        proxy.get("/subjects/dup_mouse").await.expect(500);
    }
    assert_eq!(proxy.status().await["upstream"]["state"], "up");
    assert_eq!(
        lab.count("/subjects/dup_mouse"),
        5,
        "a 500 of Alyx is its answer: not stored, not tried again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_starts_without_upstream_answers_what_it_knows_at_once() {
    let lab = Lab::open().await;
    let proxy = primed(&lab).await;
    lab.upstream.cut().await;
    let proxy = proxy.restart().await;
    for target in [FRESH, STALE] {
        let answer = proxy.get(target).await;
        assert_stored(&answer, target);
        assert_within(&answer, AT_ONCE, target);
    }
    lab.renew();
    lab.upstream.restore().await;
    proxy.until_upstream_is("up").await;
    assert_eq!(lab::version(&proxy.get(STALE).await.expect(200).json()), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reads_the_whole_body_or_none_of_it() {
    let lab = Lab::open().await;
    let proxy = setup(&lab.url()).start().await;
    proxy.get(FRESH).await.expect(200);
    // What is streamed through is cut off for the client as it was for the proxy: an error, never a short file.
    lab.upstream.break_down(Fault::Truncated).await;
    for target in ["/static/style.css", "/admin/page"] {
        let answer = proxy.client().ask("GET", target).header("accept", "*/*").try_send().await;
        if let Ok(answer) = answer {
            assert_gone(&answer, target);
        }
    }
}

/// The faults themselves: each is what it says, seen without a proxy.
#[tokio::test(flavor = "multi_thread")]
async fn the_faulty_upstream_fails_as_it_is_told() {
    let lab = Lab::open().await;
    let client = Client::new(lab.upstream.address());
    let ask = async || {
        let answer = client.ask("GET", FRESH).try_send();
        tokio::time::timeout(Duration::from_millis(700), answer)
            .await
            .map_err(|_| "silence".to_owned())
            .flatten()
    };
    assert!(ask().await.is_ok());
    for &(fault, _) in FAULTS {
        lab.upstream.break_down(fault).await;
        let seen = ask().await;
        let as_told = match fault {
            Fault::Gateway(status) => seen.as_ref().is_ok_and(|answer| answer.status == status),
            Fault::Portal => {
                seen.as_ref().is_ok_and(|a| a.status == 200 && a.body.starts_with(b"<!doctype html>"))
            }
            Fault::NotJson => {
                seen.as_ref().is_ok_and(|a| serde_json::from_slice::<serde_json::Value>(&a.body).is_err())
            }
            Fault::Refuse => seen.as_ref().is_err_and(|e| e.contains("refused")),
            Fault::Drop | Fault::Silence | Fault::Trickle => seen.as_ref().is_err_and(|e| e == "silence"),
            Fault::Unread | Fault::Unanswered => seen.as_ref().is_err_and(|e| e.contains("response")),
            Fault::Reset => seen.as_ref().is_err_and(|e| e.contains("response") || e.contains("reset")),
            Fault::Truncated | Fault::ChunksCut => seen.as_ref().is_err_and(|e| e.contains("body")),
            Fault::None | Fault::Slow(_) => true,
        };
        assert!(as_told, "{fault:?}: {:?}", seen.map(|answer| answer.describe()));
        lab.upstream.restore().await;
        assert!(ask().await.is_ok(), "back after {fault:?}");
    }
}
