//! Each way in which an answer can break, for each kind of question: what the client gets, in how long, and what is kept.
//!
//! A breaking proxy stands between the proxy and the miniature Alyx. An answer is what Alyx said, or none is given.

use std::{fmt::Write, time::Duration};

use crate::support::{Answer, Break, Breaker, Client, Proxy, Setup, miniature, until, users};
use alyx_proxy::miniature::{Miniature, Options};
use futures_util::StreamExt;
use serde_json::json;

/// No client waits longer.
const TIMEOUT: Duration = Duration::from_secs(4);
/// What a busy machine, and all the tests beside this one, may add.
const SLACK: Duration = Duration::from_secs(4);

/// Stored, and fresh for a day.
const FRESH: &str = "/dataset-types?limit=3";
/// Stored, and stale at once.
const STALE: &str = "/weighings?limit=2";
/// In the mirror, which is recent.
const MIRRORED: &str = "/labs?limit=3&offset=1";
/// Neither stored nor mirrored.
const UNKNOWN: &str = "/tags";
/// What is written.
const SUBJECT: &str = "/subjects/KS005";

struct Bench {
    alyx: Miniature,
    breaker: Breaker,
    proxy: Proxy,
}

impl Bench {
    async fn open() -> Self {
        let alyx = miniature::start(Options::default()).await;
        let breaker = Breaker::before(alyx.addr()).await;
        let proxy = Setup::new(&breaker.url())
            .set("upstream.timeout", "4s")
            .set("upstream.connect_timeout", "500ms")
            .set("upstream.serve_stale_after", "300ms")
            .set("health.timeout", "1s")
            .set("freshness.endpoints.weighings", "1ms")
            .set("cache.stale_while_revalidate", "0s")
            .set("cache.max_response", "1 MiB")
            .set("cache.max_file", "16 MiB")
            .set("mirror.token", users::ADMIN.token)
            .set("mirror.endpoints", "labs,sessions")
            .set("mirror.details", "")
            .set("mirror.interval", "1h")
            .set("mirror.max_age", "1d")
            .set("mirror.verify_per_minute", "0")
            .start()
            .await;
        proxy.until_mirrored(2).await;
        for target in [FRESH, STALE, SUBJECT] {
            proxy.get(target).await.expect(200);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        Self { alyx, breaker, proxy }
    }

    /// What Alyx says to this, with links as the proxy's clients get them.
    async fn truth(&self, target: &str) -> String {
        let ask = Client::new(self.alyx.addr()).ask("GET", target).header("host", &self.breaker.host());
        let answer = ask.send().await.expect(200);
        answer.text().replace(&self.breaker.url(), &self.proxy.url())
    }

    async fn write(&self, weight: f64) -> Result<Answer, String> {
        self.proxy
            .client()
            .ask("PATCH", SUBJECT)
            .json(&json!({ "reference_weight": weight }))
            .try_send()
            .await
    }
}

fn assert_refused(answer: &Answer, about: &str) {
    let body = answer.json();
    let told = body["detail"].as_str().is_some_and(|text| text.len() > 20);
    assert!(answer.status.is_server_error() && told, "{about}: {}", answer.describe());
    assert!(answer.elapsed < TIMEOUT + SLACK, "{about}: {:?}", answer.elapsed);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_breaks_an_answer_is_what_alyx_said_or_none() {
    let rows = futures_util::stream::iter(Break::ALL.iter().copied()).map(cells).buffered(4);
    let rows: Vec<String> = rows.collect().await;
    println!("{:<18}fresh       stale       mirrored    unknown     write       synchronisation", "");
    println!("{}", rows.join("\n"));
    // Four kinds of reads, a write, a synchronisation.
    crate::support::tried("faults", rows.len() * 6);
}

/// All cells of one way to break; a line for the table.
async fn cells(how: Break) -> String {
    let bench = Bench::open().await;
    let Bench { breaker, proxy, .. } = &bench;
    let mut row = format!("{:<18}", format!("{how:?}"));
    let note = |row: &mut String, answer: &Answer| {
        let _ = write!(row, "{} {:>4} ms ", answer.status.as_u16(), answer.elapsed.as_millis());
    };
    let mut before = Vec::new();
    for target in [FRESH, STALE, MIRRORED, UNKNOWN, SUBJECT] {
        before.push(bench.truth(target).await);
    }
    breaker.set(how).await;
    let about = |what: &str| format!("{how:?}, {what}");

    // Reads.

    for (target, right) in [FRESH, STALE, MIRRORED, UNKNOWN].iter().zip(&before) {
        let answer = match proxy.client().ask("GET", target).try_send().await {
            Ok(answer) => answer,
            Err(error) => {
                // What is too large to be kept is passed on as it comes; it breaks off for the client too.
                assert!(how == Break::Endless && error.contains("body"), "{}: {error}", about(target));
                row.push_str("broken off  ");
                continue;
            }
        };
        note(&mut row, &answer);
        let known = *target != UNKNOWN;
        if known || how.is_harmless() {
            assert_eq!(answer.status, 200, "{}: {}", about(target), answer.describe());
        }
        match answer.status.as_u16() {
            200 => assert_eq!(answer.text(), right, "{}", about(target)),
            _ => assert_refused(&answer, &about(target)),
        }
        if [FRESH, MIRRORED].contains(target) {
            assert!(answer.elapsed < Duration::from_millis(1500), "{}: {:?}", about(target), answer.elapsed);
        }
        assert!(answer.elapsed < TIMEOUT + SLACK, "{}: {:?}", about(target), answer.elapsed);
    }

    // A write: it is said to be made only if it was, and not said to be refused by Alyx if it may have been made.
    let answer = bench.write(21.5).await;
    let is = bench.truth(SUBJECT).await;
    match answer {
        Err(error) => {
            assert!(how == Break::Endless && error.contains("body"), "{}: {error}", about("write"));
            row.push_str("broken off  ");
        }
        Ok(answer) if answer.status.is_success() => {
            note(&mut row, &answer);
            assert_eq!(answer.json()["nickname"], "KS005", "{}", about("write"));
            assert!(is.contains("21.5"), "{}: {}", about("write"), answer.describe());
        }
        Ok(answer) => {
            note(&mut row, &answer);
            assert_refused(&answer, &about("write"));
            assert!(!how.is_harmless(), "{}: {}", about("write"), answer.describe());
        }
    }

    // A synchronisation, by hand: it ends, and leaves what was there.
    let token = std::fs::read_to_string(proxy.data_dir().join("admin-token")).unwrap();
    let wish = json!({ "endpoints": ["labs", "sessions"], "wait": true });
    let ask =
        proxy.client().with_authorization(&format!("Bearer {}", token.trim())).ask("POST", "/-/api/sync");
    let answer = tokio::time::timeout(Duration::from_secs(20), ask.json(&wish).send());
    match answer.await {
        Ok(answer) => note(&mut row, &answer),
        Err(_) => assert!(
            // A page of a thousand records may take two minutes: it is waited for, and nobody waits for it.
            matches!(how, Break::Trickle | Break::Silence | Break::Endless),
            "{}: it does not end",
            about("synchronisation")
        ),
    }
    assert_eq!(
        proxy.get(MIRRORED).await.expect(200).text(),
        before[2],
        "{}",
        about("after a synchronisation")
    );

    afterwards(bench, how).await;
    row
}

/// Well again, everything is right, and nothing else is on disk.
async fn afterwards(bench: Bench, how: Break) {
    let Bench { breaker, proxy, .. } = &bench;
    let about = |what: &str| format!("{how:?}, {what}");
    // What was written is seen.
    breaker.set(Break::Nothing).await;
    proxy.until_upstream_is("up").await;
    for target in [FRESH, STALE, MIRRORED, UNKNOWN, SUBJECT] {
        let right = bench.truth(target).await;
        until(&about(&format!("{target} is right afterwards")), async || {
            let answer = proxy.get(target).await;
            let current = answer.status == 200 && answer.header("alyx-api-notice").is_none();
            if current {
                assert_eq!(answer.text(), right, "{}: {}", about(target), answer.cache().text);
            }
            current
        })
        .await;
    }
    // And nothing else is on disk.
    breaker.set(Break::Refuse).await;
    let right: Vec<String> = {
        let mut right = Vec::new();
        for target in [FRESH, STALE, MIRRORED, UNKNOWN, SUBJECT] {
            right.push(bench.truth(target).await);
        }
        right
    };
    let old = proxy.url();
    let proxy = bench.proxy.restart().await;
    for (target, right) in [FRESH, STALE, MIRRORED, UNKNOWN, SUBJECT].iter().zip(right) {
        let answer = proxy.get(target).await;
        if how == Break::Endless && answer.status == 504 {
            // What was too large a moment ago is passed on without being kept, for a while.
            continue;
        }
        assert_eq!(
            answer.expect(200).text().replace(&proxy.url(), &old),
            right,
            "{}",
            about("after a restart")
        );
    }
}
