//! The load that the centre is spared: an hour of a lab of twenty people and two rigs, before a miniature Alyx that throttles
//! as the real one does. What they ask is what ONE and ibllib ask (searches, paging, details, loaders, polling for tasks,
//! registration); the hour is played in half a minute, the mirror's times shortened with it.

use std::{sync::Arc, time::Duration};

use crate::support::{
    Answer, Asked, Break, Breaker, Client, Fault, Lab, Reply, Setup, Upstream, miniature, until, users,
};
use alyx_proxy::miniature::{Options, User};
use futures_util::future::join_all;
use http::{Method, StatusCode};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

const PEOPLE: usize = 20;
/// What each of them does in the hour: a script that goes through sessions, or a search.
const TASKS: usize = 100;
/// A minute of the rigs, which poll and register.
const MINUTES: usize = 60;

fn token(n: usize) -> String {
    format!("{n:040}")
}

fn lab() -> Vec<User> {
    let user =
        |n| User { name: format!("user{n}"), password: "x".to_owned(), token: token(n), public: false };
    let mut users: Vec<User> = (0..PEOPLE + 2).map(user).collect();
    users.extend(miniature::everybody());
    users
}

struct Person {
    client: Client,
    random: StdRng,
    reads: usize,
    slowest: Duration,
}

impl Person {
    async fn ask(&mut self, target: &str) -> Value {
        let answer = self.client.get(target).await;
        self.seen(&answer, target);
        self.reads += 1;
        answer.json()
    }

    fn seen(&mut self, answer: &Answer, target: &str) {
        assert!(answer.status.is_success(), "{target}: {}", answer.describe());
        self.slowest = self.slowest.max(answer.elapsed);
    }

    /// All pages of a list.
    async fn pages(&mut self, target: &str) {
        let mut page = self.ask(target).await;
        while let Some(next) = page["next"].as_str() {
            let (_, rest) = next.split_once("://").unwrap();
            let target = rest[rest.find('/').unwrap()..].to_owned();
            page = self.ask(&target).await;
        }
    }

    /// One of these, the first ones far more often: people of one lab look at the same things.
    fn some<'l>(&mut self, of: &'l [Value]) -> &'l Value {
        let at: f64 = self.random.random();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place"
        )]
        let at = (at * at * of.len() as f64) as usize;
        &of[at.min(of.len() - 1)]
    }

    async fn work(mut self, sessions: &[Value], subjects: &[Value]) -> Self {
        for _ in 0..TASKS {
            let eid = self.some(sessions)["id"].as_str().unwrap().to_owned();
            if self.random.random_range(0..3) == 0 {
                let subject = self.some(subjects)["nickname"].as_str().unwrap().to_owned();
                let lab = self.some(sessions)["lab"].as_str().unwrap().to_owned();
                self.ask(&format!("/subjects/{subject}")).await;
                self.pages(&format!("/sessions?lab={lab}&limit=100")).await;
                self.pages(&format!("/sessions?subject={subject}")).await;
            } else {
                self.ask(&format!("/sessions/{eid}")).await;
                self.ask(&format!("/datasets?session={eid}&exists=True")).await;
                let insertions = self.ask(&format!("/insertions?session={eid}")).await;
                let probe = insertions.pointer("/results/0/id").and_then(Value::as_str).map(str::to_owned);
                if let Some(probe) = probe {
                    self.ask(&format!("/trajectories?probe_insertion={probe}")).await;
                }
                self.ask("/data-repository?limit=5").await;
            }
        }
        self
    }

    /// A rig: looks for tasks every five minutes, and registers the weight of an animal now and then.
    async fn rig(mut self, subjects: &[Value]) -> Self {
        for minute in 0..MINUTES {
            if minute % 5 == 0 {
                self.ask("/tasks?status=Waiting&limit=5").await;
            }
            if minute % 10 == 3 {
                let subject = self.some(subjects)["nickname"].as_str().unwrap().to_owned();
                let weighing = json!({ "subject": subject, "weight": 21.5, "user": "zoltan", "date_time": "2026-11-26T10:00:00" });
                let answer = self.client.ask("POST", "/weighings").json(&weighing).send().await;
                self.seen(&answer, "POST /weighings");
                self.ask(&format!("/weighings?nickname={subject}")).await;
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        self
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_a_lab_costs_alyx_a_twentieth_of_its_reads() {
    let options = Options { users: lab(), complete: true, ..Options::default() };
    let alyx = alyx_proxy::miniature::start(options.clone()).await.unwrap();
    let proxy = Setup::new(&alyx.url())
        .set("upstream.requests_per_minute", "6000")
        .set("mirror.token", users::ADMIN.token)
        // Instead of every five minutes; on a busy machine there are more of them than in an hour.
        .set("mirror.interval", "2s")
        .set("mirror.verify_per_minute", "0")
        .start()
        .await;
    // It is filled the day before, by an Alyx that does not throttle: at its pace that lasts longer than a test may.
    let tables = alyx_proxy::alyx::ENDPOINTS.iter().filter(|endpoint| endpoint.name != "tasks").count();
    let start = std::time::Instant::now();
    loop {
        let status = proxy.status().await;
        let progress = status["mirror"]["progress"].as_object().cloned().unwrap_or_default();
        let done = progress.values().filter(|table| table["phase"] == "done").count();
        if done > 20 && progress.values().all(|table| table["phase"] == "done" || !table["error"].is_null()) {
            break;
        }
        assert!(start.elapsed() < Duration::from_mins(2), "not mirrored ({done} of {tables}): {status:#}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let listen = alyx.addr();
    drop(alyx);
    let start = std::time::Instant::now();
    let alyx = loop {
        // Its port is free in a moment.
        match alyx_proxy::miniature::start(Options { listen, throttle: Some(550), ..options.clone() }).await {
            Ok(alyx) => break alyx,
            Err(error) => assert!(start.elapsed() < Duration::from_secs(10), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    proxy.get("/labs").await;
    proxy.until_upstream_is("up").await;
    let direct = Client::new(alyx.addr()).with_authorization(&format!("Token {}", users::ADMIN.token));
    let list = async |target: &str| {
        direct.get(target).await.expect(200).json()["results"].as_array().unwrap().clone()
    };
    let mut sessions = list("/sessions?limit=400").await;
    sessions.retain(|session| session["lab"].is_string());
    let subjects: Vec<Value> = list("/subjects?limit=200")
        .await
        .into_iter()
        .filter(|subject| {
            subject["nickname"].as_str().is_some_and(|name| {
                name.is_ascii() && !name.contains([' ', '/', '.']) && !name.starts_with("dup")
            })
        })
        .collect();
    alyx.forget_requests();
    let person = |n: usize| Person {
        client: proxy.client().with_authorization(&format!("Token {}", token(n))),
        random: StdRng::seed_from_u64(n as u64),
        reads: 0,
        slowest: Duration::ZERO,
    };
    let people = join_all((0..PEOPLE).map(|n| person(n).work(&sessions, &subjects)));
    let rigs = join_all((PEOPLE..PEOPLE + 2).map(|n| person(n).rig(&subjects)));
    let (people, rigs) = tokio::join!(people, rigs);
    let reads: usize = people.iter().chain(&rigs).map(|person| person.reads).sum();
    let asked = alyx.requests();
    let of = |start: &str| asked.iter().filter(|asked| asked.path_and_query.starts_with(start)).count();
    let all = asked.iter().filter(|asked| asked.method == Method::GET).count();
    // A synchronisation asks each of nine tables whether it has changed; nobody else asks for channels. An hour has twelve.
    let cycles = of("/channels");
    let upstream = all - 9 * cycles.saturating_sub(12);
    let refused = asked.iter().filter(|asked| asked.status == StatusCode::TOO_MANY_REQUESTS).count();
    let slowest = people.iter().map(|person| person.slowest).max().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let spared = 100.0 * (1.0 - upstream as f64 / reads as f64);
    println!(
        "{reads} reads of people and rigs, {upstream} at Alyx ({all} in {cycles} synchronisations, {spared:.1} % spared), {refused} of them throttled; the slowest took {slowest:?}"
    );
    assert!(spared >= 95.0, "{spared:.1} % of {reads} reads were spared");
    crate::support::tried("day", reads);
}

/// Whoever comes waits for the one request of background work that is under way, where there is one place; while people
/// wait for their turn none is added.
#[tokio::test(flavor = "multi_thread")]
async fn people_wait_for_one_request_of_background_work_at_most() {
    let alyx = miniature::start(Options::default()).await;
    let breaker = Breaker::before(alyx.addr()).await;
    breaker.set(Break::Delay(200)).await;
    let proxy = Setup::new(&breaker.url())
        .set("upstream.concurrency", "1")
        .set("upstream.requests_per_minute", "6000")
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", "sessions,datasets")
        .start()
        .await;
    let clients = users::ALL.map(|user| proxy.client().with(user));
    for client in &clients {
        client.get("/labs").await.expect(200);
    }
    let busy = async || {
        let status = proxy.status().await;
        let progress = status["mirror"]["progress"].as_object().cloned().unwrap_or_default();
        progress.values().any(|table| table["phase"] != "done")
    };
    until("there is background work", &busy).await;
    let before = alyx.requests().len();
    // Each asks the next thing as soon as it has the last: the others wait meanwhile.
    let work = async |n: usize| {
        for page in 1..=10 {
            clients[n].get(&format!("/tags?limit={page}&offset={n}")).await.expect(200);
        }
    };
    join_all((0..clients.len()).map(work)).await;
    assert!(busy().await, "there still is background work");
    let asked = alyx.requests();
    let of_people: Vec<usize> =
        (before..asked.len()).filter(|place| asked[*place].path_and_query.starts_with("/tags")).collect();
    let (first, last) = (of_people[0], of_people[of_people.len() - 1]);
    // One was under way; another may have begun between the look at Alyx's list and the first question.
    assert!(first - before <= 2, "{}", first - before);
    // When all but one are done, nobody waits any more.
    let added = last + 1 - first - of_people.len();
    assert!(added <= 4, "{added} requests between {}", of_people.len());
}

/// Longer than anybody waits here: who is held back by it is told so at once.
const PAUSE: &str = "90";

/// An Alyx that lets everybody in, and throttles the pages that describe it and whoever asks for tasks.
async fn throttling() -> Upstream {
    let answer = |asked: &Asked| {
        let json = |status, text: &str| Reply::new(status, "application/json", text.to_owned());
        match (asked.method.as_str(), asked.path().as_str()) {
            (_, "/docs/" | "/tasks") => json(429, r#"{"detail":"Request was throttled.","status_code":429}"#)
                .header("retry-after", PAUSE),
            ("POST", _) => json(201, r#"{"id":1}"#),
            _ => json(200, r#"{"count":0,"next":null,"previous":null,"results":[]}"#),
        }
    };
    Upstream::start(Arc::new(answer)).await
}

/// Alyx counts each user, and by itself who asks for its description (ALYX.md 4.2).
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_kept_by_whom_alyx_has_asked_for_it() {
    let alyx = throttling().await;
    let proxy = Setup::new(&alyx.url()).set("upstream.retries", "0").start().await;
    let user = |n: usize| proxy.client().with_authorization(&format!("Token {}", token(n)));
    for n in 0..5 {
        user(n).get("/labs").await.expect(200);
    }
    // Guests, as browsers and programs ask.
    for accept in ["text/html", "application/json"] {
        let guest = proxy.client().anonymous().ask("GET", "/docs/").header("accept", accept).send().await;
        assert_eq!(guest.expect(429).header("retry-after"), Some(PAUSE));
    }
    assert_eq!(alyx.count("/docs/"), 1, "the pause is kept");
    user(0).get("/subjects?lab=a").await.expect(200);
    user(0).ask("POST", "/notes").json(&json!({})).send().await.expect(201);
    // Two users are two users; where three are told so, Alyx counts by address, which is this proxy's.
    for n in 1..3 {
        user(n).get("/tasks").await.expect(429);
        let told = user(n).get(&format!("/subjects?lab=b{n}")).await.expect(429);
        assert!(told.header("retry-after").is_some(), "{}", told.describe());
        user(0).get(&format!("/subjects?lab=c{n}")).await.expect(200);
    }
    user(3).get("/tasks").await.expect(429);
    let before = alyx.asked().len();
    user(0).get("/subjects?lab=d").await.expect(429);
    user(4).get("/subjects?lab=d").await.expect(429);
    assert_eq!(alyx.asked().len(), before);
    assert_eq!(proxy.status().await["upstream"]["state"], "up", "throttled is not away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_for_those_who_wait_for_a_place() {
    let lab = Lab::open().await;
    let proxy =
        Setup::new(&lab.url()).set("upstream.retries", "0").set("upstream.concurrency", "4").start().await;
    proxy.get("/labs").await.expect(200);
    lab.throttle(Some(PAUSE.parse().unwrap()));
    lab.upstream.behave(Fault::Slow(1000));
    let client = proxy.client();
    let answers = join_all((0..40).map(|n| {
        let client = client.clone();
        async move { client.get(&format!("/subjects/throttled-{n}")).await }
    }))
    .await;
    for answer in answers {
        answer.expect(429);
    }
    let asked = lab.count_below("/subjects/");
    assert!(asked <= 4, "{asked} requests, though the first ones were told to pause");
}

/// Whoever gets a turn late gets an answer: Alyx works for it to the end, and cut off it would have more to do than it
/// can do at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_gets_a_turn_late_is_not_cut_off() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url())
        .set("upstream.retries", "0")
        .set("upstream.concurrency", "1")
        .set("upstream.timeout", "6s")
        .start()
        .await;
    proxy.get("/labs").await.expect(200);
    lab.upstream.behave(Fault::Slow(4000));
    let client = proxy.client();
    let answers = join_all(["/subjects/a", "/subjects/b", "/subjects/c"].map(|path| client.get(path))).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    let of = |status| statuses.iter().filter(|other| **other == status).count();
    // The first, the second (whose answer is late), and the third, for which there was no place.
    assert_eq!([of(200), of(504), of(503)], [1, 1, 1], "{statuses:?}");
    let crowded = answers.iter().find(|answer| answer.status == 503).unwrap();
    assert_eq!(crowded.header("retry-after"), Some("5"));
    assert_eq!(crowded.cache().get("detail"), Some("saturated"));
    let stored = async || {
        let mut stored = 0;
        for path in ["/subjects/a", "/subjects/b", "/subjects/c"] {
            let ask = proxy.client().ask("GET", path).header("cache-control", "only-if-cached");
            stored += usize::from(ask.send().await.status == 200);
        }
        stored == 2
    };
    until("the late answer is stored", stored).await;
    assert_eq!(lab.count_below("/subjects/"), 2);
    assert_eq!(proxy.status().await["upstream"]["state"], "up", "{}", proxy.output());
}

/// Anybody can make up any number of tokens.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_alyx_has_yet_to_accept_are_paced_together() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url())
        .set("upstream.retries", "0")
        .set("upstream.timeout", "2s")
        .set("upstream.requests_per_minute", "10")
        .start()
        .await;
    proxy.get("/labs").await.expect(200);
    let answers = join_all((0..60).map(|n| {
        let client = proxy.client().with_authorization(&format!("Token {}", token(n)));
        async move { client.get("/projects").await.status.as_u16() }
    }))
    .await;
    // Ten at once and one in six seconds; the others are not told that their tokens are bad, which nobody has looked at.
    let asked = lab.count("/projects");
    assert!(asked < 30, "{asked} requests");
    let of = |status| answers.iter().filter(|other| **other == status).count();
    assert!(of(403) <= asked, "{answers:?}");
    assert_eq!(of(403) + of(503), answers.len(), "{answers:?}");
    assert!(of(503) > 0, "{answers:?}");
    proxy.get("/projects").await.expect(200);
}
