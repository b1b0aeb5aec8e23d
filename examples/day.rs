//! A lab's day by a clock that is moved on: what Alyx is asked, beside what it would be asked without the proxy.
//!
//! ```sh
//! cargo run --release --example day -- READS [mirror | cache [FRESH]]
//! ```
//!
//! The real proxy, led by hand, before a miniature Alyx: 24 hours from midnight on, after the first fill and one night. The mix
//! is told in `bench/README.md`. `FRESH` is another `freshness.records` than the default. Prints a line of JSON.
#![allow(clippy::disallowed_methods, reason = "it measures")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#![allow(clippy::cast_precision_loss)]

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use alyx_proxy::{
    app::{App, AppByHand},
    clock::{Clock, Millis},
    miniature::{self, Miniature, Options, User},
    mirror::sync::budget::Purpose,
    proxy::Mode,
    settings::Settings,
};
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;
/// Midnight before the day that is played.
const MIDNIGHT: Millis = 20_787 * 24 * HOUR;
/// Others change something at Alyx so often.
const OTHERS: Millis = 5 * MINUTE;

/// The time stands until it is moved on: what something takes is nothing, and decides nothing. Only how often Alyx is asked counts.
#[derive(Debug)]
struct DayClock(AtomicI64, Instant);

impl Clock for DayClock {
    fn now(&self) -> Millis {
        self.0.load(Ordering::Relaxed)
    }

    fn instant(&self) -> Instant {
        let passed = Duration::from_millis((self.now() - MIDNIGHT + 100 * HOUR).unsigned_abs());
        // Deadlines are far from the computer's time.
        self.1 + passed
    }

    fn stamp(&self) -> Millis {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn stamps_continue_after(&self, last: Millis) {
        self.0.fetch_max(last, Ordering::Relaxed);
    }

    fn latest_stamp(&self) -> Millis {
        self.now()
    }
}

fn token(user: usize) -> String {
    format!("{user:040}")
}

/// What a lab is like.
struct LabSize {
    people: usize,
    rigs: usize,
    /// Of the people's work, what scripts do that go through sessions one after the other.
    loaders: f64,
}

fn lab(reads: usize) -> LabSize {
    match reads {
        ..5_000 => LabSize { people: 5, rigs: 1, loaders: 0.2 },
        5_000..50_000 => LabSize { people: 20, rigs: 2, loaders: 0.4 },
        _ => LabSize { people: 40, rigs: 4, loaders: 0.7 },
    }
}

/// What is there to be asked about.
struct World {
    sessions: Vec<Value>,
    subjects: Vec<Value>,
    labs: Vec<Value>,
}

/// Something that somebody does.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// A person looks at a session that others look at too, and loads from it.
    Load,
    /// A script goes through sessions, one after the other.
    Script,
    /// A search, as others make it,
    Search,
    /// or one that nobody has made before.
    NewSearch,
    /// Subjects and what was weighed and given.
    Colony,
    /// What names mean.
    Names,
    /// Changes a record after having read it.
    Edit,
    /// A rig weighs an animal, runs a session, and registers it.
    Rig,
    /// A rig's server looks for tasks.
    Poll,
    /// Somebody else changes something at Alyx.
    Other,
}

struct Day {
    proxy: AppByHand,
    clock: Arc<DayClock>,
    alyx: Miniature,
    direct: reqwest::Client,
    chance: StdRng,
    world: World,
    reads: usize,
    writes: usize,
    by: BTreeMap<String, usize>,
    /// What others made of a session's protocol, and when.
    edits: HashMap<String, Vec<(Millis, String)>>,
    oldest: Millis,
    looked: usize,
    script: usize,
}

impl Day {
    /// Moves the clock on, and does what is due meanwhile.
    async fn until(&mut self, at: Millis) {
        while self.clock.now() < at {
            let next = at.min(self.clock.now() + 15_000);
            self.clock.0.fetch_max(next, Ordering::Relaxed);
            self.proxy.background().await;
        }
    }

    async fn ask(&mut self, user: usize, method: Method, target: &str, body: Option<Value>) -> Value {
        // A client waits a moment between two requests.
        self.until(self.clock.now() + 300).await;
        let mut request = Request::builder()
            .method(method.clone())
            .uri(target)
            .header("host", "proxy.lab")
            .header("accept", "application/json")
            .header("authorization", format!("Token {}", token(user)));
        if method == Method::GET {
            self.reads += 1;
            // What must be the present state, for whoever says so.
            if self.chance.random_bool(0.002) {
                request = request.header("cache-control", "no-cache");
            }
        } else {
            self.writes += 1;
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.proxy.answer(request.body(body).unwrap()).await;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert!(head.status.as_u16() < 400, "{method} {target}: {} {bytes:?}", head.status);
        if method == Method::GET {
            let status = head.headers["cache-status"].to_str().unwrap();
            let word = status.split("; ").find_map(|part| part.strip_prefix("detail="));
            let way = if status.contains("; hit") { "hit" } else { "asked" };
            let word = word.map_or("miss", |word| word.trim_matches('"'));
            *self.by.entry(format!("{way} {word}")).or_default() += 1;
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
            self.looked += 1;
            let known = edits.iter().position(|(_, made)| made == value);
            if let Some((superseded, _)) = edits.get(known.map_or(0, |known| known + 1)) {
                self.oldest = self.oldest.max(now - superseded);
            }
        }
    }

    async fn get(&mut self, user: usize, target: &str) -> Value {
        self.ask(user, Method::GET, target, None).await
    }

    /// All pages of a list, but no more than these.
    async fn pages(&mut self, user: usize, target: &str, most: usize) {
        let mut page = self.get(user, target).await;
        for _ in 1..most {
            let Some(next) = page["next"].as_str() else { break };
            let path = next.split_once("://").unwrap().1;
            let path = path[path.find('/').unwrap()..].to_owned();
            page = self.get(user, &path).await;
        }
    }

    /// One of so many, the first ones far more often.
    fn rank(&mut self, of: usize) -> usize {
        let at: f64 = self.chance.random();
        ((at * at * at * of as f64) as usize).min(of - 1)
    }

    fn session(&mut self) -> Value {
        let at = self.rank(self.world.sessions.len());
        self.world.sessions[at].clone()
    }

    fn subject(&mut self) -> String {
        let at = self.rank(self.world.subjects.len());
        self.world.subjects[at]["nickname"].as_str().unwrap().to_owned()
    }

    async fn load(&mut self, user: usize, session: &Value) {
        let eid = id(session);
        self.get(user, &format!("/sessions/{eid}")).await;
        let datasets = self.get(user, &format!("/datasets?session={eid}&exists=True")).await;
        let insertions = self.get(user, &format!("/insertions?session={eid}")).await;
        for insertion in insertions["results"].as_array().into_iter().flatten().take(2) {
            let (pid, name) = (id(insertion), insertion["name"].as_str().unwrap_or_default().to_owned());
            let track = format!("/trajectories?session={eid}&probe={name}&provenance=Histology track");
            self.get(user, &track.replace(' ', "%20")).await;
            self.pages(user, &format!("/channels?probe_insertion={pid}"), 4).await;
        }
        let some: Vec<String> = datasets["results"]
            .as_array()
            .into_iter()
            .flatten()
            .take(6)
            .map(|dataset| format!("%27{}%27", id(dataset)))
            .collect();
        if !some.is_empty() {
            let ids = some.join("%2C%20");
            self.get(user, &format!("/datasets?exists=True&django=id__in%2C%5B{ids}%5D")).await;
        }
        self.get(user, &format!("/datasets?django=session__id%2C{eid}%2Cdataset_type__name%2Ctrials.table"))
            .await;
    }

    async fn search(&mut self, user: usize, is_new: bool) {
        let (subject, session) = (self.subject(), self.session());
        let lab = session["lab"].as_str().unwrap_or("cortexlab").to_owned();
        let at = self.chance.random_range(0..10);
        let number: u32 = if is_new { self.chance.random_range(1..100_000) } else { at * 7_000 };
        let share = f64::from(number) / 1000.0;
        let year = 2018 + number % 6;
        let (month, day) = (1 + number / 7 % 12, 1 + number / 31 % 28);
        let target = match at {
            0 => format!("/sessions?performance_gte={share}&task_protocol=ephys"),
            1 => format!("/sessions?lab={lab}&date_range={year}-{month:02}-{day:02}%2C2030-01-01"),
            2 => format!("/sessions?subject={subject}"),
            3 => format!("/sessions?django=projects__name__icontains%2Cibl%2Cn_trials__gte%2C{number}"),
            4 => format!(
                "/insertions?django=session__projects__name__icontains%2Cibl%2Csession__number__lt%2C{number}"
            ),
            5 => format!("/sessions?atlas_acronym=CA1&performance_gte={share}"),
            6 => format!("/trajectories?provenance=Planned&django=x__gte%2C{number}"),
            7 => format!("/sessions?dataset_types=spikes.times&lab={lab}&performance_lte={share}"),
            8 => format!("/sessions?lab={lab}"),
            _ => format!(
                "/insertions?atlas_acronym=CA1&django=session__start_time__date__lte%2C{year}-{month:02}-{day:02}"
            ),
        };
        self.pages(user, &target, 3).await;
    }

    async fn names(&mut self, user: usize) {
        let at = self.rank(self.world.labs.len());
        let lab = self.world.labs[at]["name"].as_str().unwrap().to_owned();
        for target in ["/dataset-types".to_owned(), format!("/labs/{lab}"), "/projects".to_owned()] {
            self.pages(user, &target, 2).await;
        }
        self.get(user, "/brain-regions?acronym=CA1").await;
        self.get(user, "/data-repository?limit=5").await;
    }

    async fn colony(&mut self, user: usize) {
        let subject = self.subject();
        self.get(user, "/subjects?alive=True&stock=False").await;
        self.get(user, &format!("/subjects/{subject}")).await;
        self.get(user, &format!("/weighings?nickname={subject}")).await;
    }

    /// Reads a record, and writes into it.
    async fn edit(&mut self, user: usize) {
        let eid = id(&self.session());
        self.get(user, &format!("/sessions/{eid}")).await;
        let narrative = json!({ "narrative": format!("seen at {}", self.clock.now()) });
        self.ask(user, Method::PATCH, &format!("/sessions/{eid}"), Some(narrative)).await;
        self.get(user, &format!("/sessions/{eid}")).await;
    }

    async fn rig(&mut self, user: usize) {
        let subject = self.subject();
        self.get(user, &format!("/subjects/{subject}")).await;
        self.get(user, "/users/zoltan").await;
        let at = self.chance.random_range(8..18);
        let weighing = json!({ "subject": subject, "weight": 21.5, "user": "zoltan",
                               "date_time": format!("2026-11-26T{at:02}:00:00") });
        self.ask(user, Method::POST, "/weighings", Some(weighing)).await;
        self.get(user, &format!("/weighings?nickname={subject}")).await;
        let start = format!("2026-11-26T{at:02}:10:00");
        let session = json!({ "subject": subject, "users": ["zoltan"], "start_time": start, "number": 1,
                              "projects": ["ibl_neuropixel_brainwide_01"], "lab": "cortexlab", "type": "Experiment",
                              "procedures": ["Behavior training/tasks"], "task_protocol": "training" });
        let made = self.ask(user, Method::POST, "/sessions", Some(session)).await;
        let eid = id(&made);
        self.until(self.clock.now() + 2 * MINUTE).await;
        self.get(user, &format!("/sessions/{eid}")).await;
        let trials = json!({ "n_trials": 512, "n_correct_trials": 400 });
        self.ask(user, Method::PATCH, &format!("/sessions/{eid}"), Some(trials)).await;
        self.get(user, &format!("/sessions?subject={subject}&date_range=2026-11-26%2C2026-11-26&number=1"))
            .await;
    }

    /// Past the proxy, as other labs do.
    async fn other(&mut self) {
        let eid = id(&self.session());
        let protocol = format!("ephys, changed at {}", self.clock.now());
        let request = self
            .direct
            .patch(format!("{}/sessions/{eid}", self.alyx.url()))
            .header("authorization", format!("Token {}", token(0)))
            .header("content-type", "application/json")
            .body(json!({ "task_protocol": protocol }).to_string());
        assert!(request.send().await.unwrap().status().is_success());
        self.edits.entry(eid).or_default().push((self.clock.now(), protocol));
    }

    async fn work(&mut self, user: usize, work: Work) {
        match work {
            Work::Load => {
                let session = self.session();
                self.load(user, &session).await;
            }
            Work::Script => {
                for _ in 0..20 {
                    self.script = (self.script + 1) % self.world.sessions.len();
                    let session = self.world.sessions[self.script].clone();
                    self.load(user, &session).await;
                }
            }
            Work::Search => self.search(user, false).await,
            Work::NewSearch => self.search(user, true).await,
            Work::Colony => self.colony(user).await,
            Work::Names => self.names(user).await,
            Work::Edit => self.edit(user).await,
            Work::Rig => self.rig(user).await,
            Work::Poll => drop(self.get(user, "/tasks?status=Waiting&limit=5").await),
            Work::Other => self.other().await,
        }
    }
}

fn id(record: &Value) -> String {
    let link = record["id"].as_str().or(record["url"].as_str()).unwrap();
    link.rsplit('/').next().unwrap().to_owned()
}

/// What is done in the day, and when.
fn plan(reads: usize, size: &LabSize, chance: &mut StdRng) -> Vec<(Millis, usize, Work)> {
    let mut plan = Vec::new();
    let at = |hour: f64| MIDNIGHT + (hour * HOUR as f64) as Millis;
    let rig = size.people + 1;
    for _ in 0..size.rigs {
        plan.extend((0..72).map(|n| (at(8.0) + n * 10 * MINUTE, rig, Work::Poll)));
        let starts = (0..6).map(|n| (at(9.0 + 1.4 * f64::from(n) + chance.random::<f64>()), rig, Work::Rig));
        plan.extend(starts);
    }
    let left = reads.saturating_sub(plan.len()) as f64;
    plan.extend((0..14 * HOUR / OTHERS).map(|n| (at(7.0) + n * OTHERS, 0, Work::Other)));
    let scripts = (left * size.loaders / READS_OF_SCRIPT).round() as usize;
    let of_script = |chance: &mut StdRng| 1 + chance.random_range(0..size.people);
    plan.extend((0..scripts).map(|_| {
        let hour = 6.0 + 17.0 * chance.random::<f64>();
        (at(hour), of_script(chance), Work::Script)
    }));
    let sittings: Vec<(usize, f64)> = (0..size.people * SITTINGS)
        .map(|n| (1 + n % size.people, 8.0 + 5.7 * (chance.random::<f64>() + chance.random::<f64>())))
        .collect();
    let works = (left * (1.0 - size.loaders) / READS_OF_WORK).round() as usize;
    for _ in 0..works {
        let (user, sits_down) = sittings[chance.random_range(0..sittings.len())];
        let hour = sits_down + SITTING * chance.random::<f64>();
        let work = match chance.random_range(0..100) {
            0..45 => Work::Load,
            45..70 => Work::Search,
            70..80 => Work::NewSearch,
            80..88 => Work::Colony,
            88..97 => Work::Names,
            _ => Work::Edit,
        };
        plan.push((at(hour), user, work));
    }
    plan.sort_by_key(|(at, ..)| *at);
    plan
}

/// What a script reads, and one work of a person, in the mean.
const READS_OF_SCRIPT: f64 = 92.0;
const READS_OF_WORK: f64 = 3.6;
/// People sit down so often a day, for so many hours.
const SITTINGS: usize = 4;
const SITTING: f64 = 0.5;

async fn records(alyx: &Miniature, client: &reqwest::Client, target: &str) -> Vec<Value> {
    let url = format!("{}{target}", alyx.url());
    let asked = client.get(url).header("authorization", format!("Token {}", token(0))).send().await.unwrap();
    let answer: Value = serde_json::from_slice(&asked.bytes().await.unwrap()).unwrap();
    answer["results"].as_array().unwrap().clone()
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(reads) = arguments.next().and_then(|reads| reads.parse::<usize>().ok()) else {
        eprintln!("usage: day READS [mirror | cache [FRESH]]");
        std::process::exit(2);
    };
    let mirrored = arguments.next().is_none_or(|word| word == "mirror");
    let size = lab(reads);
    let users = (0..=size.people + 1).map(|n| User {
        name: if n == size.people + 1 { "zoltan".to_owned() } else { format!("user{n}") },
        password: "x".to_owned(),
        token: token(n),
        public: false,
    });
    let options = Options { users: users.collect(), complete: true, ..Options::default() };
    let alyx = miniature::start(options).await.unwrap();
    let direct = reqwest::Client::new();
    let world = world(&alyx, &direct).await;
    let mut chance = StdRng::seed_from_u64(20);
    let plan = plan(reads, &size, &mut chance);
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.upstream.url = alyx.url();
    settings.upstream.requests_per_minute = 0;
    settings.storage.data_dir = folder.path().join("data");
    if let Some(fresh) = arguments.next() {
        settings.freshness.records = fresh.parse().expect("a span such as 15m");
    }
    if mirrored {
        settings.mirror.token = token(0);
    }
    let clock = Arc::new(DayClock(AtomicI64::new(MIDNIGHT - 32 * HOUR), Instant::now()));
    let app = App::open_by(settings, Mode::Live, clock.clone()).await.unwrap();
    let proxy = AppByHand::of(app.clone());
    alyx.forget_requests();
    let mut day = Day {
        proxy,
        clock,
        alyx,
        direct,
        chance,
        world,
        reads: 0,
        writes: 0,
        by: BTreeMap::new(),
        edits: HashMap::new(),
        oldest: 0,
        looked: 0,
        script: 0,
    };
    // The first fill, and a night.
    day.proxy.background().await;
    let fill = gets(&day.alyx);
    day.until(MIDNIGHT).await;
    day.alyx.forget_requests();
    for (at, user, work) in plan {
        day.until(at).await;
        day.work(user, work).await;
    }
    day.until(MIDNIGHT + 24 * HOUR).await;
    let at_alyx = gets(&day.alyx);
    let used = app.synchroniser().map(|synchroniser| synchroniser.budget.used()).unwrap_or_default();
    let by_mirror: BTreeMap<&str, u64> =
        Purpose::ALL.into_iter().map(|purpose| (purpose.name(), used.of(purpose))).collect();
    println!(
        "{}",
        json!({
            "reads": day.reads, "writes": day.writes, "mirror": mirrored, "first_fill": fill, "gets_at_alyx": at_alyx,
            "percent": (at_alyx * 10_000 / day.reads) as f64 / 100.0, "by_mirror": by_mirror, "answers": day.by,
            "background": used.background(), "allowed": used.allowed,
            "oldest_minutes": day.oldest as f64 / MINUTE as f64, "looked_at": day.looked,
        })
    );
    app.close().await;
}

fn gets(alyx: &Miniature) -> usize {
    alyx.requests().iter().filter(|asked| asked.method == Method::GET).count()
}

async fn world(alyx: &Miniature, direct: &reqwest::Client) -> World {
    let mut sessions = records(alyx, direct, "/sessions?limit=1000").await;
    sessions.retain(|session| session["lab"].is_string());
    let mut subjects = records(alyx, direct, "/subjects?limit=1000").await;
    subjects.retain(|subject| {
        let name = subject["nickname"].as_str().unwrap_or_default();
        name.is_ascii() && !name.contains([' ', '/', '.']) && !name.starts_with("dup")
    });
    let labs = records(alyx, direct, "/labs?limit=1000").await;
    World { sessions, subjects, labs }
}
