//! A walk at random over faults, questions, writes, restarts and jumps of the clock, beside a model of what Alyx said when:
//! at every step an answer is what Alyx said at the stated age, or a clear refusal.
//!
//! The same seed makes the same walk (`ALYX_PROXY_SEED`); `./check --long` walks further.

use std::time::{Duration, Instant};

use crate::support::{Answer, Break, Breaker, Lab, Proxy, Setup, lab, rounds};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

/// How long records are fresh here.
const FRESH: Duration = Duration::from_secs(2);
/// What a busy machine may add between an answer and its being looked at.
const SLACK: Duration = Duration::from_millis(1500);
/// No answer takes longer.
const LONGEST: Duration = Duration::from_secs(6);

/// What Alyx said when.
struct Model {
    /// Since when each version holds; the first is version 1.
    since: Vec<Instant>,
    /// The version that whoever wrote last must see.
    written: usize,
}

impl Model {
    fn now(&self) -> usize {
        self.since.len()
    }

    /// Whether a version held at some time within the last `age`.
    fn held_within(&self, version: usize, age: Duration) -> bool {
        let ended = self.since.get(version).copied();
        ended.is_none_or(|ended| ended.elapsed() <= age)
    }

    /// What is wrong with an answer.
    fn judge(&self, answer: &Answer, about: &str) {
        assert!(answer.elapsed < LONGEST, "{about}: it took {:?}", answer.elapsed);
        if answer.status != 200 {
            let refusal = answer.json();
            let clear = refusal["detail"].as_str().is_some_and(|text| text.len() > 20);
            assert!([504, 429].contains(&answer.status.as_u16()) && clear, "{about}: {}", answer.describe());
            return;
        }
        let version = lab::version(&answer.json());
        assert!((1..=self.now()).contains(&version), "{about}: version {version}");
        let stand_in = answer.header("alyx-api-notice").is_some();
        let age = answer.age().map(Duration::from_secs);
        if let Some(age) = age {
            let stated = age + Duration::from_secs(1) + SLACK + answer.elapsed;
            assert!(self.held_within(version, stated), "{about}: not so old: {}", answer.describe());
        }
        if !stand_in {
            assert!(
                version >= self.written,
                "{about}: {version} after {} was written: {}",
                self.written,
                answer.describe()
            );
            let most = FRESH + SLACK + answer.elapsed;
            assert!(
                self.held_within(version, most),
                "{about}: too old without a word: {}",
                answer.describe()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_step_an_answer_is_what_alyx_said_or_a_refusal() {
    let steps = rounds(250, 4000);
    let seed = std::env::var("ALYX_PROXY_SEED").map_or(6, |seed| seed.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    let lab = Lab::open().await;
    let breaker = Breaker::before(lab.upstream.address()).await;
    let setup = Setup::new(&breaker.url())
        .with_a_clock()
        .set("upstream.timeout", "1s")
        .set("upstream.connect_timeout", "300ms")
        .set("upstream.serve_stale_after", "200ms")
        .set("health.timeout", "300ms")
        .set("health.idle_interval", "200ms")
        .set("freshness.records", "2s")
        .set("cache.stale_while_revalidate", "0s")
        .set("cache.max_response", "1 MiB")
        .set("cache.max_file", "4 MiB")
        .set("storage.max_memory", "64 kB");
    let mut proxy: Proxy = setup.start().await;
    let mut model = Model { since: vec![Instant::now()], written: 0 };
    let targets: Vec<String> = (0..4)
        .map(|n| format!("/sessions?limit={}", n + 1))
        .chain((0..4).map(|n| format!("/sessions/{}", lab::session_id(n))))
        .chain(["/subjects/one", "/insertions?limit=1"].map(str::to_owned))
        .collect();
    proxy.get(&targets[0]).await.expect(200);
    let (mut asked, mut given, mut stood_in, mut restarts) = (0, 0, 0, 0);
    let mut how = Break::Nothing;
    for step in 0..steps {
        let about = format!("seed {seed}, step {step}, {how:?}");
        match random.random_range(0..100) {
            // Mostly questions.
            0..70 => {
                let target = &targets[random.random_range(0..targets.len())];
                match proxy.client().ask("GET", target).try_send().await {
                    Ok(answer) => {
                        model.judge(&answer, &format!("{about}, {target}"));
                        asked += 1;
                        given += usize::from(answer.status == 200);
                        stood_in += usize::from(answer.header("alyx-api-notice").is_some());
                    }
                    Err(error) => {
                        assert!(
                            how == Break::Endless && error.contains("body"),
                            "{about}, {target}: {error}"
                        );
                    }
                }
            }
            // Alyx's data change without anybody telling.
            70..76 => {
                // Noted before: an answer may come of it from then on.
                model.since.push(Instant::now());
                assert_eq!(lab.renew(), model.now());
            }
            // They change by a write through the proxy.
            76..82 => {
                model.since.push(Instant::now());
                let version = lab.renew();
                let write = proxy.client().ask("PATCH", "/sessions/x").json(&json!({ "n": step }));
                if write.try_send().await.is_ok_and(|answer| answer.status == 200) {
                    model.written = version;
                }
            }
            82..92 => {
                how = if random.random_bool(0.4) {
                    Break::Nothing
                } else {
                    Break::ALL[random.random_range(0..Break::ALL.len())]
                };
                breaker.set(how).await;
                if how == Break::Nothing {
                    proxy.until_upstream_is("up").await;
                }
            }
            92..95 => {
                if random.random_bool(0.5) {
                    proxy.kill();
                }
                proxy = proxy.restart().await;
                restarts += 1;
            }
            95..98 => {
                let shift = ["+0s", "-1h", "+1h", "-2d", "+3d"][random.random_range(0..5)];
                proxy.setup().set_clock(shift);
            }
            _ => tokio::time::sleep(FRESH + Duration::from_millis(200)).await,
        }
    }
    // Well again, all is current.
    breaker.set(Break::Nothing).await;
    proxy.until_upstream_is("up").await;
    tokio::time::sleep(FRESH + Duration::from_millis(100)).await;
    for target in &targets {
        let answer =
            proxy.client().ask("GET", target).header("cache-control", "no-cache").send().await.expect(200);
        assert_eq!(lab::version(&answer.json()), model.now(), "{target}");
    }
    println!(
        "seed {seed}: {steps} steps, {asked} questions, {given} answers, {stood_in} of them told to stand in, \
         {restarts} restarts, {} versions",
        model.now()
    );
    assert!(given > asked / 2 && stood_in > 0 && restarts > 0, "the walk went somewhere");
    crate::support::tried("walk", steps);
}
