//! A walk at random of several clients that read, change and write back, some through the proxy, some directly, while Alyx
//! fails now and then. Beside it stands what would have become of the same steps without a proxy.
//!
//! The same seed makes the same walk (`ALYX_PROXY_SEED`); `./check --long` walks further.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Map, Value, json};

use super::support::{
    Answer, Client, Fault, Proxy, Setup,
    records::{CHANGED, Records},
    rounds, tried,
};

/// Clients, of which those that come first use the proxy.
const CLIENTS: usize = 7;
const BEHIND_THE_PROXY: usize = 5;

type Record = Map<String, Value>;

/// What a client has read and not yet written back.
struct Held {
    /// What it was given.
    copy: Record,
    /// What Alyx had at that moment: the copy that it would have without a proxy.
    then: Record,
}

struct Walk {
    random: StdRng,
    records: Records,
    proxy: Proxy,
    held: BTreeMap<(usize, usize), Held>,
    tokens: Vec<usize>,
    last: usize,
    counts: BTreeMap<&'static str, usize>,
}

impl Walk {
    fn client(&self, who: usize) -> Client {
        let address =
            if who < BEHIND_THE_PROXY { self.proxy.address() } else { self.records.upstream.address() };
        Client::new(address).with_authorization(&format!("Token {:040x}", self.tokens[who]))
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    async fn read(&mut self, who: usize, of: usize) {
        let (endpoint, key, _) = CHANGED[of];
        let listed = self.random.random_bool(0.4);
        let path = if listed { format!("/{endpoint}") } else { path(endpoint, key) };
        let then = self.records.now(endpoint, key);
        let Ok(answer) = self.client(who).ask("GET", &path).try_send().await else { return };
        if answer.status != 200 {
            return;
        }
        let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
            assert!(who >= BEHIND_THE_PROXY, "{}", answer.describe());
            return;
        };
        let copy = body.pointer("/results/0").unwrap_or(&body).as_object().unwrap().clone();
        if who < BEHIND_THE_PROXY && copy.get("json") != then.get("json") {
            self.count("old copies");
        }
        self.held.insert((who, of), Held { copy, then });
    }

    /// Changes a key of the JSON column, or the narrative, in the copy that it has, and sends that.
    async fn write(&mut self, who: usize, of: usize, about: &str) {
        let (endpoint, key, column) = CHANGED[of];
        let Some(Held { copy, then }) = self.held.remove(&(who, of)) else { return };
        self.last += 1;
        let own = format!("of {who}");
        let plain = self.random.random_bool(0.2);
        let mut value = copy[if plain { "narrative" } else { column }].clone();
        if plain {
            value = json!(format!("{} {own}", self.last));
        } else {
            value.as_object_mut().unwrap().insert(own.clone(), json!(self.last));
        }
        let name = if plain { "narrative" } else { column };
        let (before, writes) = (self.records.now(endpoint, key), self.records.writes());
        let write = self.client(who).ask("PATCH", &path(endpoint, key)).json(&json!({ name: value }));
        let answer = write.try_send().await;
        let (after, done) = (self.records.now(endpoint, key), self.records.writes() - writes);
        assert!(done <= 1, "{about}: written {done} times");
        let Ok(answer) = answer else { return };
        self.judge(&answer, about, done, before == after);
        if answer.status == 200 {
            assert_eq!((done, &after[name]), (1, &value), "{about}: whoever is told so finds it there");
        }
        if done == 1 && !plain && who < BEHIND_THE_PROXY {
            // What would have been there when it was read without a proxy, and has been there until now, is there yet.
            for (key, kept) in before[column].as_object().unwrap().iter().filter(|(key, _)| **key != own) {
                let seen = then[column].get(key) == Some(kept);
                assert!(
                    !seen || after[column].get(key) == Some(kept),
                    "{about}: {key} was lost: {}",
                    answer.describe()
                );
            }
        }
        if done == 1 && plain && who < BEHIND_THE_PROXY {
            let seen = then[name] == before[name];
            assert!(!seen || copy[name] == before[name], "{about}: {} was lost", before[name]);
        }
    }

    fn judge(&mut self, answer: &Answer, about: &str, done: usize, same: bool) {
        let told = answer.text();
        match answer.status.as_u16() {
            200 => self.count("written"),
            409 | 503 if told.contains("was not sent") => {
                self.count(if answer.status == 409 { "refused" } else { "not sent" });
                assert!(done == 0 && same, "{about}: told as not sent: {}", answer.describe());
            }
            504 => {
                self.count("unknown");
                assert!(told.contains("ook before you send it again"), "{about}: {}", answer.describe());
            }
            // Without a proxy the gateway's own word.
            502 => {}
            _ => panic!("{about}: {}", answer.describe()),
        }
    }
}

fn path(endpoint: &str, key: &str) -> String {
    format!("/{endpoint}/{}", key.replace(' ', "%20"))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_is_lost_that_would_be_kept_without_a_proxy() {
    let steps = rounds(700, 100_000);
    let seed = std::env::var("ALYX_PROXY_SEED").map_or(18, |seed| seed.parse().unwrap());
    let records = Records::open().await;
    let proxy = Setup::new(&records.upstream.url())
        .set("upstream.timeout", "1s")
        .set("upstream.serve_stale_after", "200ms")
        .set("upstream.retries", "0")
        .set("log.level", "warn")
        .start()
        .await;
    let mut walk = Walk {
        random: StdRng::seed_from_u64(seed),
        records,
        proxy,
        held: BTreeMap::new(),
        tokens: (1..=CLIENTS).collect(),
        last: 0,
        counts: BTreeMap::new(),
    };
    for step in 0..steps {
        let about = format!("seed {seed}, step {step}");
        let (who, of) = (walk.random.random_range(0..CLIENTS), walk.random.random_range(0..CHANGED.len()));
        match walk.random.random_range(0..1000) {
            0..500 => walk.read(who, of).await,
            500..900 => walk.write(who, of, &about).await,
            // Somebody who has not written yet; the first one has never been asked about.
            900..985 => {
                walk.tokens[who] = 1000 + step;
                walk.held.retain(|(holder, _), _| *holder != who);
                walk.client(who).get("/labs").await;
            }
            985..992 => {
                let faults = [Fault::None, Fault::Gateway(502), Fault::Truncated, Fault::NotJson];
                walk.records.upstream.behave(faults[walk.random.random_range(0..faults.len())]);
            }
            992..995 => walk.records.fail(walk.random.random_bool(0.5).then_some(500)),
            995..998 => {
                walk.records.upstream.behave(Fault::None);
                walk.records.fail(None);
                walk.proxy.until_upstream_is("up").await;
            }
            // Copies from before a restart are forgotten, and are nobody's here.
            _ => {
                walk.held.clear();
                walk.proxy = walk.proxy.restart().await;
            }
        }
        walk.records.upstream.forget();
    }
    println!("seed {seed}: {steps} steps, {:?}", walk.counts);
    for what in ["old copies", "written", "refused", "not sent", "unknown"] {
        assert!(
            walk.counts.get(what).is_some_and(|count| *count > 0),
            "the walk met no {what}: {:?}",
            walk.counts
        );
    }
    tried("read change write", steps);
}
