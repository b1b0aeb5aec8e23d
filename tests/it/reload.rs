//! SIGHUP makes a running proxy read its settings again; it says what has to wait for a restart.

use std::{
    fs::File,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use alyx_proxy::miniature::Options;

use crate::support::{Client, miniature, until};
use tempfile::TempDir;

/// A proxy with a settings file, and nothing else set: not even where its data lie.
struct Place {
    home: TempDir,
    child: Child,
}

impl Place {
    async fn start(settings: &str) -> Self {
        let home = TempDir::new().unwrap();
        let file = home.path().join("alyx-proxy.toml");
        std::fs::write(&file, settings).unwrap();
        let output = |name: &str| File::create(home.path().join(name)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"))
            .arg("--config")
            .arg(&file)
            .env_clear()
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .unwrap();
        let place = Self { home, child };
        until("it listens", async || place.read("stdout").contains("Listening on ")).await;
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Changes the file and sends SIGHUP; what was logged until `word` appeared.
    async fn reload(&self, settings: &str, word: &str) -> String {
        std::fs::write(self.path("alyx-proxy.toml"), settings).unwrap();
        let before = self.read("stderr").len();
        let sent = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        until(word, async || self.read("stderr")[before..].contains(word)).await;
        self.read("stderr")[before..].to_owned()
    }

    fn address(&self) -> SocketAddr {
        let greeting = self.read("stdout");
        greeting.split_once("Listening on http://").unwrap().1.lines().next().unwrap().parse().unwrap()
    }

    /// Whether a request leaves a line that is logged at `debug` only.
    async fn logs_at_debug(&self) -> bool {
        let address = self.address();
        let before = self.read("stderr").len();
        // Once the second is logged, all of the first is.
        for count in [1, 2] {
            Client::new(address).anonymous().get("/-/health").await.expect(200);
            let logged = async || self.read("stderr")[before..].matches("\"request\"").count() == count;
            until("the request is logged", logged).await;
        }
        self.read("stderr")[before..].contains("DEBUG")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

const BASIS: &str = "server.listen = \"127.0.0.1:0\"\nupstream.url = \"http://127.0.0.1:1\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_takes_effect_or_says_what_needs_a_restart() {
    let place = Place::start(BASIS).await;
    assert!(!place.logs_at_debug().await);

    let debug = format!("{BASIS}log.level = \"alyx_proxy=debug\"\n");
    let said = place.reload(&debug, "settings read again").await;
    assert!(!said.contains("take effect at the next start"), "nothing else has changed: {said}");
    assert!(place.logs_at_debug().await);

    // Each time, as long as it is so.
    let fixed = debug.replace("127.0.0.1:0", "127.0.0.1:1");
    for _ in 0..2 {
        let said = place.reload(&fixed, "settings read again").await;
        assert!(said.contains("these settings take effect at the next start: server.listen\""), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_with_wrong_settings_changes_nothing() {
    let place = Place::start(BASIS).await;
    let said = place
        .reload(
            &format!("{BASIS}log.level = \"debug\"\nupstream.timeout = 5\n"),
            "settings stay as they were",
        )
        .await;
    assert!(said.contains("upstream.timeout = 5: must be a span of time"), "{said}");
    assert!(!place.logs_at_debug().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_changes_how_often_alyx_is_asked() {
    let alyx = miniature::start(Options::default()).await;
    let at = |rate: u32| {
        let basis = BASIS.replace("http://127.0.0.1:1", &alyx.url());
        format!(
            "{basis}upstream.timeout = \"2s\"\nupstream.retries = 0\nupstream.requests_per_minute = {rate}\n"
        )
    };
    let place = Place::start(&at(1)).await;
    let client = Client::new(place.address());
    let ask = async |number: u32| client.get(&format!("/labs?never={number}")).await.status.as_u16();
    // One to have the token accepted, one as its user.
    let mut answers = Vec::new();
    for number in 0..3 {
        answers.push(ask(number).await);
    }
    assert_eq!(answers.last(), Some(&503), "{answers:?}");
    place.reload(&at(0), "settings read again").await;
    for number in 10..20 {
        assert_eq!(ask(number).await, 200, "{number}");
    }
}
