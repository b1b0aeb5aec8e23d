//! A day that is played: the proxy, the clock that is moved on, and what came of it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use alyx_proxy::{
    app::AppByHand,
    clock::{Clock, Millis},
    miniature::Miniature,
};
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use rand::{RngExt, rngs::StdRng};
use serde_json::Value;

use crate::{
    plan::{HOUR, MIDNIGHT},
    world::{World, token},
};

/// The time stands until it is moved on: what something takes is nothing, and decides nothing. Only how often Alyx is asked counts.
#[derive(Debug)]
pub(crate) struct DayClock {
    now: AtomicI64,
    last_stamp: AtomicI64,
    began: Instant,
}

impl DayClock {
    pub(crate) fn at(now: Millis) -> Arc<Self> {
        Arc::new(Self { now: now.into(), last_stamp: now.into(), began: Instant::now() })
    }
}

impl Clock for DayClock {
    fn now(&self) -> Millis {
        self.now.load(Ordering::Relaxed)
    }

    fn instant(&self) -> Instant {
        let passed = Duration::from_millis((self.now() - MIDNIGHT + 100 * HOUR).unsigned_abs());
        // Deadlines are far from the computer's time.
        self.began + passed
    }

    fn awake(&self) -> Duration {
        self.instant().saturating_duration_since(self.began)
    }

    fn stamp(&self) -> Millis {
        let next = |last: Millis| self.now().max(last + 1);
        let last =
            self.last_stamp.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        let stamp = next(last.unwrap_or_default());
        // As on any clock, a stamp is not of the future for long.
        self.now.fetch_max(stamp, Ordering::Relaxed);
        stamp
    }

    fn stamps_continue_after(&self, last: Millis) {
        self.last_stamp.fetch_max(last, Ordering::Relaxed);
    }

    fn latest_stamp(&self) -> Millis {
        self.now().max(self.last_stamp.load(Ordering::Relaxed))
    }
}

/// What came of a day.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) reads: usize,
    pub(crate) writes: usize,
    /// Reads by how they were answered.
    pub(crate) by: BTreeMap<String, usize>,
    /// How long ago what a session showed was superseded, at the most,
    pub(crate) oldest: Millis,
    /// of so many that others had changed.
    pub(crate) looked: usize,
}

/// A day that is being played.
pub(crate) struct Day {
    pub(crate) proxy: AppByHand,
    pub(crate) clock: Arc<DayClock>,
    pub(crate) alyx: Miniature,
    /// Past the proxy.
    pub(crate) direct: reqwest::Client,
    pub(crate) chance: StdRng,
    pub(crate) world: World,
    /// What others made of a session's protocol, and when.
    pub(crate) edits: HashMap<String, Vec<(Millis, String)>>,
    /// The session that scripts have come to.
    pub(crate) script: usize,
    pub(crate) came: Outcome,
}

impl Day {
    pub(crate) fn new(
        proxy: AppByHand,
        clock: Arc<DayClock>,
        (alyx, direct): (Miniature, reqwest::Client),
        chance: StdRng,
        world: World,
    ) -> Self {
        let (edits, came) = (HashMap::new(), Outcome::default());
        Self { proxy, clock, alyx, direct, chance, world, edits, script: 0, came }
    }

    /// Moves the clock on, and does what is due meanwhile.
    pub(crate) async fn until(&mut self, at: Millis) {
        while self.clock.now() < at {
            let next = at.min(self.clock.now() + 15_000);
            self.clock.now.fetch_max(next, Ordering::Relaxed);
            self.proxy.background().await;
        }
    }

    pub(crate) async fn ask(
        &mut self,
        user: usize,
        method: Method,
        target: &str,
        body: Option<Value>,
    ) -> Value {
        // A client waits a moment between two requests.
        self.until(self.clock.now() + 300).await;
        let mut request = Request::builder()
            .method(method.clone())
            .uri(target)
            .header("host", "proxy.lab")
            .header("accept", "application/json")
            .header("authorization", format!("Token {}", token(user)));
        if method == Method::GET {
            self.came.reads += 1;
            // What must be the present state, for whoever says so.
            if self.chance.random_bool(0.002) {
                request = request.header("cache-control", "no-cache");
            }
        } else {
            self.came.writes += 1;
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let before = self.alyx.requests().len();
        let response = self.proxy.answer(request.body(body).unwrap()).await;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert!(head.status.as_u16() < 400, "{method} {target}: {} {bytes:?}", head.status);
        if method == Method::GET {
            let status = head.headers["cache-status"].to_str().unwrap();
            let word = status.split("; ").find_map(|part| part.strip_prefix("detail="));
            let way = if status.contains("; hit") { "hit" } else { "asked" };
            let word = word.map_or("miss", |word| word.trim_matches('"'));
            *self.came.by.entry(format!("{way} {word}")).or_default() += 1;
            if std::env::var_os("DAY_REQUESTS").is_some() {
                eprintln!("{} user{user} {way} {word} {target}", self.clock.now());
                for asked in &self.alyx.requests()[before..] {
                    eprintln!("    for it: {} {}", asked.method, asked.path_and_query);
                }
            }
        }
        let answer = serde_json::from_slice(&bytes).unwrap_or_default();
        if method == Method::GET && target.starts_with("/sessions") {
            self.judge(&answer);
        }
        answer
    }

    /// How long ago what a session shows was superseded.
    fn judge(&mut self, answer: &Value) {
        let now = self.clock.now();
        let one = [answer.clone()];
        let shown = answer["results"].as_array().map_or(&one[..], Vec::as_slice);
        for session in shown {
            let id = session["id"].as_str().or(session["url"].as_str()).unwrap_or_default();
            let Some(edits) = self.edits.get(id.rsplit('/').next().unwrap()) else { continue };
            let value = session["task_protocol"].as_str().unwrap_or_default();
            self.came.looked += 1;
            let known = edits.iter().position(|(_, made)| made == value);
            if let Some((superseded, _)) = edits.get(known.map_or(0, |known| known + 1)) {
                self.came.oldest = self.came.oldest.max(now - superseded);
            }
        }
    }

    pub(crate) async fn get(&mut self, user: usize, target: &str) -> Value {
        self.ask(user, Method::GET, target, None).await
    }

    /// All pages of a list, but no more than these.
    pub(crate) async fn pages(&mut self, user: usize, target: &str, most: usize) {
        let mut page = self.get(user, target).await;
        for _ in 1..most {
            let Some(next) = page["next"].as_str() else { break };
            let path = next.split_once("://").unwrap().1;
            let path = path[path.find('/').unwrap()..].to_owned();
            page = self.get(user, &path).await;
        }
    }

    /// One of so many, the first ones far more often.
    pub(crate) fn rank(&mut self, of: usize) -> usize {
        let at: f64 = self.chance.random();
        ((at * at * at * of as f64) as usize).min(of - 1)
    }

    pub(crate) fn session(&mut self) -> Value {
        let at = self.rank(self.world.sessions.len());
        self.world.sessions[at].clone()
    }

    pub(crate) fn subject(&mut self) -> String {
        let at = self.rank(self.world.subjects.len());
        self.world.subjects[at]["nickname"].as_str().unwrap().to_owned()
    }
}
