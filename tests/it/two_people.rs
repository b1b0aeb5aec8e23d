//! Two people who work with the same records at once, each with the real ONE, before an Alyx that takes three seconds for
//! each answer: registration of sessions, quality control, JSON columns of five endpoints, water, weighing. What a direct
//! connection keeps is kept; nothing is done twice; and whoever is told that it is done reads it.
//!
//! The same script runs directly, through the proxy, through one with a mirror, and with one of the two past the proxy.

use std::{path::Path, sync::Arc, time::Duration};

use alyx_proxy::miniature::{self as demo, Miniature, Options, User};
use futures_util::future::{join_all, try_join_all};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    one::{Document, Login, One},
    support::{
        Proxy, Setup, miniature,
        slow_alyx::{Change, SlowAlyx},
        tried,
    },
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/one/two_people.py");
/// How long an answer takes.
const DELAY: Duration = Duration::from_secs(3);
const SUBJECT: &str = "KS004";
const DAY: &str = "2026-11-22";
/// Their JSON columns are written.
const CHANGED: [&str; 5] = ["sessions", "subjects", "insertions", "surgeries", "data-repository"];

/// Where the two are connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Proxy,
    Mirror,
    /// The second through the proxy, the first not.
    SecondAlone,
    SecondByMirror,
}

/// What somebody tried, and was told.
#[derive(Debug, Deserialize)]
struct Attempt {
    path: String,
    what: String,
    began: f64,
    ended: f64,
    told: Value,
}

fn people() -> [User; 2] {
    let alba = User {
        name: "alba".to_owned(),
        password: "alba".to_owned(),
        token: "a1baa1baa1baa1baa1baa1baa1baa1baa1baa1ba".to_owned(),
        public: false,
    };
    [Options::default().users.swap_remove(0), alba]
}

/// One record of each endpoint that is changed, by its key.
async fn records(alyx: &Miniature) -> serde_json::Map<String, Value> {
    let session = first(alyx, &format!("sessions?subject={SUBJECT}")).await;
    let mut records = serde_json::Map::new();
    records.insert("sessions".to_owned(), session["id"].clone());
    for (endpoint, field) in
        [("subjects", "nickname"), ("insertions", "id"), ("surgeries", "id"), ("data-repository", "name")]
    {
        records.insert(endpoint.to_owned(), first(alyx, endpoint).await[field].clone());
    }
    records
}

async fn first(alyx: &Miniature, list: &str) -> Value {
    let text = miniature::get(alyx, &format!("/{list}")).await;
    let list: Value = serde_json::from_str(&text).unwrap();
    list["results"][0].clone()
}

async fn listed(alyx: &Miniature, list: &str) -> Vec<Value> {
    let text = miniature::get(alyx, &format!("/{list}")).await;
    let list: Value = serde_json::from_str(&text).unwrap();
    list["results"].as_array().unwrap().clone()
}

async fn start(way: Way, slow: &SlowAlyx, account: &User) -> Proxy {
    let setup = Setup::new(&slow.url()).set("upstream.concurrency", "64").set("log.level", "warn");
    if !matches!(way, Way::Mirror | Way::SecondByMirror) {
        return setup.start().await;
    }
    let tables = [&CHANGED[..], &["weighings", "water-administrations"]].concat();
    let setup = setup.set("mirror.token", &account.token).set("mirror.endpoints", &tables.join(","));
    let proxy = setup.start().await;
    proxy.until_mirrored(tables.len()).await;
    proxy
}

/// What the two have done, and what became of it.
async fn work(way: Way, ones: [Arc<One>; 2]) -> usize {
    let users = people();
    let alyx = demo::start(Options { users: users.to_vec(), ..Options::default() }).await.unwrap();
    let slow = SlowAlyx::before(&alyx.url()).await;
    let records = records(&alyx).await;
    let proxy = if way == Way::Direct { None } else { Some(start(way, &slow, &users[0]).await) };
    slow.take(DELAY);
    let folder = tempfile::tempdir().unwrap();
    let plan = json!({
        "people": users.each_ref().map(|user| user.name.clone()),
        "records": records, "subject": SUBJECT, "day": DAY, "repository": "flatiron_cortexlab",
        // A read and half of a write: it is carried out, and not yet answered.
        "lag": (DELAY * 5 / 3).as_secs_f64(),
    });
    std::fs::write(folder.path().join("plan.json"), plan.to_string()).unwrap();
    let url = |place: usize| match (&proxy, way, place) {
        (None, ..) | (_, Way::SecondAlone | Way::SecondByMirror, 0) => slow.url(),
        (Some(proxy), ..) => proxy.url(),
    };
    let running = [0, 1].map(|place| {
        let (one, user, url) = (ones[place].clone(), users[place].clone(), url(place));
        let home = folder.path().join(&user.name);
        tokio::task::spawn_blocking(move || person(&one, &user, &url, &home))
    });
    let documents = try_join_all(running).await.unwrap();
    slow.take(Duration::ZERO);
    let about = format!("{way:?}");
    let mut tried = 0;
    for (place, (user, document)) in users.iter().zip(&documents).enumerate() {
        let about = format!("{about}, {}", user.name);
        let [attempts, refused] = judge(&about, user, document, &slow.changes());
        // Who has copies from here of what others write past it is refused; nobody is without a proxy.
        let has_old_copies = place == 1 && matches!(way, Way::SecondAlone | Way::SecondByMirror);
        assert!(if has_old_copies { refused > 0 } else { way != Way::Direct || refused == 0 }, "{about}");
        tried += attempts;
    }
    must_be_there(&about, &alyx).await;
    tried
}

fn person(one: &One, user: &User, url: &str, home: &Path) -> Document {
    std::fs::create_dir(home).unwrap();
    one.run_at(home, SCRIPT, url, Login::Password { username: &user.name, password: &user.password })
}

/// What one of them was told is true, and nothing was lost by what this one wrote.
fn judge(about: &str, user: &User, document: &Document, changes: &[Change]) -> [usize; 2] {
    let attempts: Vec<Attempt> = serde_json::from_value(document.get("attempts").clone()).unwrap();
    let authorization = format!("Token {}", user.token);
    for (name, value) in &document.results {
        if name.starts_with("water 7") || name.starts_with("weight ") {
            assert_eq!(value, true, "{about}: told that it is done, and does not read it: {name}");
        }
    }
    for attempt in &attempts {
        let about = format!("{about}: {attempt:?}");
        let own: Vec<&Change> = changes
            .iter()
            .filter(|change| change.path == attempt.path && change.authorization == authorization)
            .filter(|change| {
                (attempt.began..=attempt.ended).contains(&change.at)
                    && change.sent.get(&attempt.what).is_some()
            })
            .collect();
        if attempt.told == "done" {
            if ["create", "register"].contains(&attempt.what.as_str()) {
                continue;
            }
            assert_eq!(own.len(), 1, "{about}: carried out {} times", own.len());
            kept(&about, attempt, own[0], changes);
        } else {
            assert_eq!(attempt.told[0], 409, "{about}");
            assert!(attempt.told[1].as_str().unwrap().contains("was not sent"), "{about}");
            assert!(own.is_empty(), "{about}: told as not sent");
        }
    }
    // Each is done in the end.
    let done = attempts.iter().filter(|attempt| attempt.told == "done").count();
    assert_eq!(done, 3 * CHANGED.len() + 2 * (2 + 2 + 2), "{about}: {attempts:#?}");
    println!("{about}: {done} done, {} refused", attempts.len() - done);
    [attempts.len(), attempts.len() - done]
}

/// What was in the column when this one began to read is there after its write, as it would be without a proxy.
fn kept(about: &str, attempt: &Attempt, own: &Change, changes: &[Change]) {
    let Some(before) = own.before[&attempt.what].as_object() else { return };
    let earlier = changes.iter().rev().find(|change| change.path == own.path && change.at <= attempt.began);
    let first = changes.iter().find(|change| change.path == own.path);
    let then = earlier.map_or_else(|| first.map(|change| &change.before), |change| Some(&change.after));
    for (key, value) in before {
        let seen = then.and_then(|record| record[&attempt.what].get(key)) == Some(value);
        assert!(!seen || own.after[&attempt.what].get(key) == Some(value), "{about}: {key} was lost");
    }
}

/// Each thing is there once.
async fn must_be_there(about: &str, alyx: &Miniature) {
    // Nobody in the sample weighs so much, or is given so much.
    let new = |records: Vec<Value>, field: &str, from: f64| {
        let mut values: Vec<f64> = records.iter().filter_map(|record| record[field].as_f64()).collect();
        values.retain(|value| (from..from + 2.0).contains(value));
        values.sort_by(f64::total_cmp);
        values
    };
    let weighed = listed(alyx, &format!("weighings?nickname={SUBJECT}&limit=1000")).await;
    assert_eq!(new(weighed, "weight", 70.0), [70.0, 70.1, 71.0, 71.1], "{about}");
    let given = listed(alyx, &format!("water-administrations?nickname={SUBJECT}&limit=1000")).await;
    assert_eq!(new(given, "water_administered", 7.0), [7.0, 7.01, 7.1, 7.11], "{about}");
    let sessions = listed(alyx, &format!("sessions?subject={SUBJECT}&date_range={DAY},{DAY}")).await;
    let mut numbers: Vec<i64> = sessions.iter().map(|session| session["number"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [7, 8], "{about}");
    for session in &sessions {
        let id = session["id"].as_str().unwrap();
        let datasets = listed(alyx, &format!("datasets?session={id}")).await;
        let mut names: Vec<&str> = datasets.iter().map(|dataset| dataset["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["spikes.clusters.npy", "spikes.times.npy"], "{about}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_direct_connection_keeps_is_kept() {
    let (newest, last) = (Arc::new(One::newest()), Arc::new(One::last_of_2()));
    let pairs = [
        (Way::Direct, [&newest, &last]),
        (Way::Proxy, [&newest, &last]),
        (Way::Mirror, [&last, &newest]),
        (Way::SecondAlone, [&newest, &last]),
        (Way::SecondByMirror, [&last, &newest]),
    ];
    let counts = join_all(pairs.map(|(way, ones)| work(way, ones.map(Arc::clone)))).await;
    tried("two people", counts.iter().sum());
}
