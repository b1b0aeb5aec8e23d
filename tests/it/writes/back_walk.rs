//! A walk at random of several clients that read, change and write back, some through the proxy, some direct, while Alyx
//! fails or takes its time now and then; with the mirror, and without it. Beside it stands what would have become of the
//! same steps without a proxy.
//!
//! The same seed makes the same walk (`ALYX_PROXY_SEED`); `./check --long` walks further.

use std::{collections::BTreeMap, time::Duration};

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
/// What happens to one step alone: an answer that comes late, or after the proxy has given up; a connection that ends before
/// the request is looked at, or after it was carried out.
const HICCUPS: [Fault; 6] = [
    Fault::Slow(350),
    Fault::Slow(350),
    Fault::Slow(350),
    Fault::Slow(1_200),
    Fault::Unread,
    Fault::Unanswered,
];

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

    /// Reads the detail, or the list; nothing where no whole answer comes.
    async fn fetch(&self, who: usize, of: usize, listed: bool) -> Option<Held> {
        let (endpoint, key, _) = CHANGED[of];
        let path = if listed { format!("/{endpoint}") } else { path(endpoint, key) };
        let then = self.records.now(endpoint, key);
        let answer = self.client(who).ask("GET", &path).try_send().await.ok()?;
        if answer.status != 200 {
            return None;
        }
        let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
            assert!(who >= BEHIND_THE_PROXY, "{}", answer.describe());
            return None;
        };
        let copy = body.pointer("/results/0").unwrap_or(&body).as_object().unwrap().clone();
        Some(Held { copy, then })
    }

    fn hold(&mut self, who: usize, of: usize, held: Option<Held>) {
        let Some(held) = held else { return };
        if who < BEHIND_THE_PROXY && held.copy.get("json") != held.then.get("json") {
            self.count("old copies");
        }
        self.held.insert((who, of), held);
    }

    async fn read(&mut self, who: usize, of: usize) {
        let listed = self.random.random_bool(0.4);
        let held = self.fetch(who, of, listed).await;
        self.hold(who, of, held);
    }

    fn somebody_who_has_read(&mut self) -> Option<(usize, usize)> {
        let place = self.random.random_range(0..self.held.len().max(1));
        self.held.keys().nth(place).copied()
    }

    /// Changes a key of the JSON column, or the narrative, in the copy that it has, and sends that. While `slow`, somebody
    /// else reads before the answer is there.
    async fn write(&mut self, who: usize, of: usize, slow: bool, about: &str) {
        let (endpoint, key, column) = CHANGED[of];
        let Some(Held { copy, then }) = self.held.remove(&(who, of)) else { return };
        self.last += 1;
        let own = format!("of {who}");
        let plain = self.random.random_bool(0.2);
        let name = if plain { "narrative" } else { column };
        let mut value = copy[name].clone();
        if plain {
            value = json!(format!("{} {own}", self.last));
        } else {
            value.as_object_mut().unwrap().insert(own.clone(), json!(self.last));
        }
        let (before, writes) = (self.records.now(endpoint, key), self.records.writes());
        let write = self.client(who).ask("PATCH", &path(endpoint, key)).json(&json!({ name: value }));
        let (other, listed) = ((who + 1) % CLIENTS, self.random.random_bool(0.4));
        let (answer, read) = tokio::join!(write.try_send(), async {
            if !slow {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(60)).await;
            self.fetch(other, of, listed).await
        });
        if read.is_some() {
            self.count("read beside a write");
        }
        self.hold(other, of, read);
        let (after, done) = (self.records.now(endpoint, key), self.records.writes() - writes);
        assert!(done <= 1, "{about}: written {done} times");
        let Ok(answer) = answer else {
            assert!(who >= BEHIND_THE_PROXY, "{about}: {answer:?}");
            return;
        };
        self.judge(&answer, about, (who, done), before == after);
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

    /// Whoever is told that it was not sent doesn't find it there; of all other failures it is told to look.
    fn judge(&mut self, answer: &Answer, about: &str, (who, done): (usize, usize), same: bool) {
        let told = answer.text();
        match answer.status.as_u16() {
            200 => self.count("written"),
            // Without a proxy the gateway's own word.
            502 if who >= BEHIND_THE_PROXY => {}
            409 | 503 if told.contains("was not sent") => {
                self.count(if answer.status == 409 { "refused" } else { "not sent" });
                assert!(done == 0 && same, "{about}: told as not sent: {}", answer.describe());
            }
            504 => {
                self.count(if done == 1 { "unknown, and done" } else { "unknown, and not done" });
                assert!(told.contains("ook before you send it again"), "{about}: {}", answer.describe());
            }
            _ => panic!("{about}: {}", answer.describe()),
        }
    }

    /// Steps that are neither a read nor a write.
    async fn otherwise(&mut self, step: usize, chance: u32, who: usize) {
        match chance {
            // Somebody who has not written yet; the first one has never been asked about.
            900..975 => {
                self.tokens[who] = 1000 + step;
                self.held.retain(|(holder, _), _| *holder != who);
                let _ = self.client(who).ask("GET", "/labs").try_send().await;
            }
            975..982 => {
                let faults = [Fault::None, Fault::Gateway(502), Fault::Truncated, Fault::NotJson];
                self.records.upstream.behave(faults[self.random.random_range(0..faults.len())]);
            }
            982..985 => self.records.fail(self.random.random_bool(0.5).then_some(500)),
            _ => {
                self.records.upstream.behave(Fault::None);
                self.records.fail(None);
                self.proxy.until_upstream_is("up").await;
            }
        }
    }
}

fn path(endpoint: &str, key: &str) -> String {
    format!("/{endpoint}/{}", key.replace(' ', "%20"))
}

async fn start(mirrored: bool) -> Walk {
    let records = Records::open().await;
    let setup = Setup::new(&records.upstream.url())
        .set("upstream.timeout", "1s")
        .set("upstream.serve_stale_after", "200ms")
        .set("upstream.retries", "0")
        .set("log.level", "warn");
    let proxy = if mirrored {
        let setup = setup
            .set("mirror.token", &format!("{:040x}", 999))
            .set("mirror.endpoints", &CHANGED.map(|(endpoint, ..)| endpoint).join(","))
            .set("mirror.interval", "1s")
            .set("mirror.full_interval", "2s")
            .set("mirror.verify_per_minute", "0");
        let proxy = setup.start().await;
        proxy.until_mirrored(CHANGED.len()).await;
        proxy
    } else {
        setup.start().await
    };
    Walk {
        random: StdRng::seed_from_u64(0),
        records,
        proxy,
        held: BTreeMap::new(),
        tokens: (1..=CLIENTS).collect(),
        last: 0,
        counts: BTreeMap::new(),
    }
}

async fn walk(mirrored: bool) -> usize {
    let steps = rounds(1_000, 50_000);
    // Most of the time goes into them.
    let hiccups = if steps > 1_000 { 0.05 } else { 0.2 };
    let seed = std::env::var("ALYX_PROXY_SEED").map_or(18, |seed| seed.parse().unwrap());
    let mut walk = start(mirrored).await;
    walk.random = StdRng::seed_from_u64(seed);
    let mut well = true;
    for step in 0..steps {
        let about = format!("seed {seed}, step {step}");
        let (who, of) = (walk.random.random_range(0..CLIENTS), walk.random.random_range(0..CHANGED.len()));
        let chance = walk.random.random_range(0..1000);
        let hiccup = HICCUPS[walk.random.random_range(0..HICCUPS.len())];
        let hiccup = (walk.random.random_bool(hiccups) && well && chance < 900).then_some(hiccup);
        if let Some(fault) = hiccup {
            walk.records.upstream.behave(fault);
            walk.count("hiccups");
        }
        match chance {
            0..500 => walk.read(who, of).await,
            500..900 => {
                let (who, of) = walk.somebody_who_has_read().unwrap_or((who, of));
                walk.write(who, of, matches!(hiccup, Some(Fault::Slow(_))), &about).await;
            }
            900..998 => walk.otherwise(step, chance, who).await,
            // Copies from before a restart are forgotten, and are nobody's here.
            _ => {
                walk.held.clear();
                walk.proxy = walk.proxy.restart().await;
            }
        }
        if hiccup.is_some() {
            walk.records.upstream.behave(Fault::None);
        }
        match chance {
            975..982 => well = false,
            985..998 => well = true,
            _ => {}
        }
        walk.records.upstream.forget();
    }
    println!(
        "seed {seed}, {}: {steps} steps, {:?}",
        if mirrored { "mirror" } else { "no mirror" },
        walk.counts
    );
    let met = [
        "old copies",
        "written",
        "refused",
        "not sent",
        "unknown, and done",
        "unknown, and not done",
        "read beside a write",
    ];
    for what in met {
        assert!(
            walk.counts.get(what).is_some_and(|count| *count > 0),
            "the walk met no {what}: {:?}",
            walk.counts
        );
    }
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_is_lost_that_would_be_kept_without_a_proxy() {
    let (without, with) = tokio::join!(walk(false), walk(true));
    tried("read change write", without + with);
}
