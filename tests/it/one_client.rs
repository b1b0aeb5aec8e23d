//! The real ONE client, of today and of the generation before, notices no proxy: online, offline, after a restart.
//!
//! Each run is a process of its own with a home of its own and ONE's REST cache off, so that nothing but the
//! proxy can remember anything.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::one::{Document, Login, One};
use crate::support::{Client, Proxy, Setup};
use alyx_proxy::miniature::{self as demo, Miniature, Options, User};
use serde_json::{Value, json};

const DEMO: Login = Login::Password { username: "demo", password: "demo" };

async fn miniature() -> Miniature {
    demo::start(Options::default()).await.unwrap()
}

fn demo_user() -> User {
    Options::default().users.swap_remove(0)
}

/// What the documentation of ONE asks has a known answer on the sample lab without its seven sessions that have
/// no start time.
fn must_be_the_sample_lab(document: &Document) {
    let subjects = ["KS004", "KS005", "KS017", "KS018", "KS019", "KS023", "KS024", "KS025"];
    assert_eq!(document.get("docs: subjects"), &json!(subjects));
    assert_eq!(document.count("docs: trajectories"), 1);
    assert_eq!(
        document.get("docs: session of the first"),
        &document.get("docs: trajectories")[0]["session"]["id"]
    );
    assert_eq!(document.count("docs: performance"), 82);
    assert_eq!(document.count("docs: search"), 95);
    assert_eq!(document.get("number of sessions"), 393);
    assert_eq!(document.count("list sessions"), 393);
    assert_eq!(document.get("list sessions by 100"), document.get("list sessions"));
    assert_eq!(document.get("downloaded"), &json!(["datasets.pqt", "sessions.pqt"]));
    assert_eq!(document.get("user"), "demo");
    let shown = |step: &str, word: &str| {
        let text = document.get(step).as_str().unwrap();
        assert!(text.contains(word), "{step} does not show {word}: {text}");
    };
    for endpoint in ["sessions", "subjects", "trajectories", "brain-regions", "water-administrations"] {
        shown("rest()", &format!("'{endpoint}'"));
    }
    for filter in ["performance_gte", "task_protocol", "date_range", "django"] {
        shown("rest('sessions')", filter);
    }
}

async fn notices_no_proxy(one: &One) {
    let alyx = miniature().await;
    let direct = one.run(&alyx.url(), DEMO);
    must_be_the_sample_lab(&direct);

    let proxy = Proxy::start(&alyx.url()).await;
    let online = one.run(&proxy.url(), DEMO);
    online.must_equal(&direct, "through the proxy");
    assert_eq!(online.notices, Vec::<String>::new());

    alyx.cut();
    let offline = one.run(&proxy.url(), DEMO);
    offline.must_equal(&direct, "from another process, offline");

    let proxy = proxy.restart().await;
    let restarted = one.run(&proxy.url(), DEMO);
    restarted.must_equal(&direct, "after a restart of the proxy, offline");
    // Since when it is away, a new proxy can't know: it says since when it finds it so.
    for document in [&offline, &restarted] {
        let told = document.notices.iter().map(|notice| notice.starts_with("Alyx is out of reach since "));
        let expected: &[bool] = if one.shows_notices() { &[true] } else { &[] };
        assert_eq!(told.collect::<Vec<_>>(), expected, "shown once: {:?}", document.notices);
    }

    alyx.restore().await.unwrap();
    proxy.until_upstream_is("up").await;
    one.run(&proxy.url(), DEMO).must_equal(&direct, "through the proxy, online again");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_3_notices_no_proxy() {
    notices_no_proxy(&One::newest()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_2_notices_no_proxy() {
    notices_no_proxy(&One::last_of_2()).await;
}

/// Newer ONE takes a pasted token and asks `/me` whose it is; an older Alyx has no `/me`, then the user must be told.
#[tokio::test(flavor = "multi_thread")]
async fn one_3_with_a_token_notices_no_proxy() {
    let one = One::newest();
    let user = demo_user();
    for (serves_me, username) in [(true, None), (false, Some(user.name.as_str()))] {
        let alyx = demo::start(Options { serves_me, ..Options::default() }).await.unwrap();
        let login = Login::Token { token: &user.token, username };
        let direct = one.run(&alyx.url(), login);
        must_be_the_sample_lab(&direct);
        let proxy = Proxy::start(&alyx.url()).await;
        one.run(&proxy.url(), login).must_equal(&direct, "with a token");
        alyx.cut();
        one.run(&proxy.url(), login).must_equal(&direct, "with a token, offline");
        let proxy = proxy.restart().await;
        one.run(&proxy.url(), login).must_equal(&direct, "with a token, offline after a restart");
    }
}

/// Issue "The mirror", acceptance 3: what nobody has asked before is answered without Alyx as Alyx answers it.
#[tokio::test(flavor = "multi_thread")]
async fn one_3_asks_what_nobody_asked_before_without_alyx() {
    let one = One::newest();
    let alyx = miniature().await;
    let user = demo_user();
    let direct = one.run_script(crate::one::QUESTIONS, &alyx.url(), DEMO);

    let everything: Vec<_> = alyx_proxy::alyx::ENDPOINTS.iter().map(|endpoint| endpoint.name).collect();
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", &user.token)
        // Users are kept apart for each who asks, unless this says otherwise.
        .set("access.private_paths", "/me")
        .set("mirror.endpoints", &everything.join(","))
        .start()
        .await;
    proxy.until_mirrored(everything.len()).await;
    // What ONE asks before all else, and a log-in; both are no questions about records.
    let client = proxy.client().with_authorization(&format!("Token {}", user.token));
    client
        .ask("GET", "/api/schema")
        .header("accept", "application/vnd.oai.openapi+json")
        .send()
        .await
        .expect(200);
    let form = format!("username={}&password={}", user.name, user.password);
    let login = proxy.client().anonymous().ask("POST", "/auth-token");
    login.body("application/x-www-form-urlencoded", form).send().await.expect(200);

    alyx.cut();
    alyx.forget_requests();
    one.run_script(crate::one::QUESTIONS, &proxy.url(), DEMO).must_equal(&direct, "from the mirror, offline");
    assert!(alyx.requests().is_empty());
}

/// A running demo; killed when it is dropped.
struct Demo {
    child: Child,
    url: String,
    /// From its start to its first answer.
    answered_after: Duration,
}

impl Demo {
    async fn start(arguments: &[&str]) -> Self {
        let start = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"))
            .args(["demo", "--port", "0", "--alyx-port", "0"])
            .args(arguments)
            .env_clear()
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let url = lines.find_map(|line| Some(line.split_once("Listening on ")?.1.trim().to_owned()));
        let url = url.expect("it says where it listens");
        let mut demo = Self { child, url, answered_after: Duration::ZERO };
        demo.ask("/labs").await;
        demo.answered_after = start.elapsed();
        // Read on, or the demo would stop when the pipe is full.
        std::thread::spawn(move || lines.count());
        demo
    }

    fn client(&self) -> Client {
        let address = self.url.strip_prefix("http://").unwrap().parse().unwrap();
        Client::new(address).with_authorization(&format!("Token {}", demo_user().token))
    }

    async fn ask(&self, target: &str) -> Value {
        self.client().get(target).await.expect(200).json()
    }

    /// Cuts or restores the network to the miniature.
    async fn network(&self, state: &str) {
        self.client().ask("POST", &format!("/-/demo/{state}")).send().await.expect(200);
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_answers_what_the_documentation_asks() {
    let demo = Demo::start(&[]).await;
    // The promise is for the release build; the others are slower.
    let bound = if cfg!(debug_assertions) { 5 } else { 1 };
    assert!(demo.answered_after < Duration::from_secs(bound), "{:?}", demo.answered_after);
    let online = One::newest().run(&demo.url, DEMO);
    must_be_the_sample_lab(&online);
    assert_eq!(online.notices, Vec::<String>::new());

    demo.network("offline").await;
    let offline = One::newest().run(&demo.url, DEMO);
    offline.must_equal(&online, "with the demo's network cut");
    assert_eq!(offline.notices.len(), 1);
    demo.network("online").await;
    assert_eq!(demo.ask("/sessions?subject=KS004").await["count"], 7, "nobody had asked this before");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_complete_demo_has_the_sessions_without_a_start_time_too() {
    for (arguments, sessions, performant) in [(&[][..], 393, 82), (&["--complete"], 400, 83)] {
        let demo = Demo::start(arguments).await;
        assert_eq!(demo.ask("/sessions").await["count"], sessions);
        let found = demo.ask("/sessions?performance_gte=70&task_protocol=ephys").await;
        assert_eq!(found["count"], performant);
    }
}
