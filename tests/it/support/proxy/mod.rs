//! The real program as a child process: started, asked, killed, started again on what it has remembered.

mod owner;
mod program;

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    Client,
    disk::{Disk, is_root},
    until,
};

/// How a proxy is to be started.
#[derive(Clone)]
pub struct Setup {
    upstream: String,
    /// The snapshot to serve instead of an upstream.
    snapshot: Option<PathBuf>,
    /// What is said besides, as whose snapshot it is.
    words: Vec<String>,
    settings: Vec<(String, String)>,
    /// The size of a disk of its own, gone with it.
    disk: Option<&'static str>,
    /// The disk that an earlier one had.
    kept: Option<Arc<Disk>>,
    /// Whether it can write to its home alone, as in a container.
    read_only: bool,
    /// Whether its clock can be set.
    clock: bool,
    /// How many files it may have open, where that is said.
    files: Option<u32>,
    home: Arc<TempDir>,
}

/// A running proxy; killed when it is dropped.
pub struct Proxy {
    setup: Setup,
    child: Option<Child>,
    address: SocketAddr,
}

impl Setup {
    /// A proxy in front of `upstream`, with a data directory of its own. It asks as fast as it can, looks often
    /// for the return of an upstream that is away, and makes no request that nobody asked for while it is there; but its mirror
    /// looks at every table as often as its settings say.
    pub fn new(upstream: &str) -> Self {
        let home = TempDir::with_prefix("alyx-proxy-test-").unwrap();
        std::fs::create_dir(home.path().join("data")).unwrap();
        let (upstream, settings, home) = (upstream.to_owned(), Vec::new(), Arc::new(home));
        Self {
            upstream,
            snapshot: None,
            words: Vec::new(),
            settings,
            disk: None,
            kept: None,
            read_only: false,
            clock: false,
            files: None,
            home,
        }
        .set("upstream.requests_per_minute", "0")
        .set("health.interval", "100ms")
        .set("health.idle_interval", "0s")
        .set("mirror.background_per_day", "0")
        .set("log.level", "info,alyx_proxy=debug")
    }

    /// Sets a setting by its name, `section.key`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One that serves a snapshot and nothing else, whoever has signed it.
    #[must_use]
    pub fn of_snapshot(file: &Path) -> Self {
        Self { words: vec!["--once".to_owned()], ..Self::of_snapshot_of_a_friend(file) }
    }

    /// One that serves a snapshot whose maker is known in its data directory.
    #[must_use]
    pub fn of_snapshot_of_a_friend(file: &Path) -> Self {
        Self { snapshot: Some(file.to_owned()), ..Self::new("") }
    }

    /// What is said besides of the snapshot that it serves (`--trust`, `--unsigned`).
    #[must_use]
    pub fn with_the_word(mut self, words: &[&str]) -> Self {
        self.words.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Its data directory is a disk of its own, of this size (`8m`, with options of `mount` behind it); what is on it is gone when
    /// it ends.
    #[must_use]
    pub fn on_a_disk_of(mut self, size: &'static str) -> Self {
        self.disk = Some(size);
        self
    }

    /// Its data directory is the disk of one that has ended.
    #[must_use]
    pub fn on_the_disk(mut self, disk: &Arc<Disk>) -> Self {
        self.kept = Some(disk.clone());
        self
    }

    /// It can write to its home alone: every other folder is read-only, those for temporary files, too.
    #[must_use]
    pub fn with_a_read_only_root(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// It may have so many files open, connections among them.
    #[must_use]
    pub fn with_files(mut self, most: u32) -> Self {
        self.files = Some(most);
        self
    }

    /// Its clock can be set ([`Setup::set_clock`]).
    #[must_use]
    pub fn with_a_clock(mut self) -> Self {
        self.clock = true;
        self.set_clock("+0s");
        self
    }

    /// Sets its clock, from now on: `-1h`, `+2d`.
    pub fn set_clock(&self, shift: &str) {
        let (file, new) = (self.home.path().join("clock"), self.home.path().join("clock.new"));
        // It is read all the time: never half of it.
        std::fs::write(&new, format!("{shift}\n")).unwrap();
        std::fs::rename(new, file).unwrap();
    }

    #[must_use]
    pub fn upstream(mut self, url: &str) -> Self {
        url.clone_into(&mut self.upstream);
        self
    }

    pub async fn start(self) -> Proxy {
        let mut child = self.spawn();
        let address = self.listening(&mut child).await;
        Proxy { setup: self, child: Some(child), address }
    }

    /// What it says when it can't start.
    pub async fn refusal(&self) -> String {
        let mut child = self.spawn();
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(20), "it goes on:\n{}", self.output());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!child.wait().unwrap().success(), "it ended well:\n{}", self.output());
        self.output()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// All that it has printed, by this and earlier runs.
    pub fn output(&self) -> String {
        ["stdout", "stderr"]
            .map(|name| std::fs::read_to_string(self.home.path().join(name)).unwrap_or_default())
            .concat()
    }

    fn spawn(&self) -> Child {
        let append =
            |name: &str| File::options().create(true).append(true).open(self.home.path().join(name)).unwrap();
        // What an earlier run printed must not be taken for this one's.
        File::create(self.home.path().join("stdout")).unwrap();
        let mut command = self.program();
        let alien =
            |name: &str| name.starts_with("ALYX_PROXY_") || name.to_ascii_lowercase().ends_with("_proxy");
        for (name, _) in std::env::vars().filter(|(name, _)| alien(name)) {
            command.env_remove(name);
        }
        for (name, value) in &self.settings {
            command.env(format!("ALYX_PROXY_{}", name.to_uppercase().replace('.', "__")), value);
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(self.data_dir());
        match &self.snapshot {
            Some(file) => command.arg("--snapshot").arg(file).args(&self.words),
            None => command.args(["--upstream", &self.upstream]),
        };
        command
            .env("HOME", self.home.path())
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .stdin(Stdio::null())
            .stdout(append("stdout"))
            .stderr(append("stderr"))
            .spawn()
            .unwrap()
    }

    async fn listening(&self, child: &mut Child) -> SocketAddr {
        let start = Instant::now();
        loop {
            let stdout = std::fs::read_to_string(self.home.path().join("stdout")).unwrap();
            let lines = stdout.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let url = lines.filter_map(|line| line.split_once("Listening on ")).map(|(_, url)| url).next();
            if let Some((_, url)) = url.and_then(|url| url.split_once("://")) {
                let address = url.split_whitespace().next().unwrap_or_default().trim_end_matches('/');
                return address.parse().unwrap_or_else(|e| panic!("{e}: {url}"));
            }
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the proxy ended ({status}) before it listened:\n{}", self.output());
            }
            assert!(start.elapsed() < Duration::from_secs(20), "it does not listen:\n{}", self.output());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Proxy {
    /// Starts one in front of `upstream` with the settings of [`Setup::new`].
    pub async fn start(upstream: &str) -> Self {
        Setup::new(upstream).start().await
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until so many tables are mirrored, with all details that there are.
    pub async fn until_mirrored(&self, count: usize) {
        let start = Instant::now();
        loop {
            let status = self.status().await;
            let progress = status["mirror"]["progress"].as_object().cloned().unwrap_or_default();
            let tables = status["mirror"]["tables"].as_array().map_or(0, Vec::len);
            let done = progress.values().all(|table| table["phase"] == "done");
            if done && tables == count && progress.len() == count {
                return;
            }
            assert!(start.elapsed() < Duration::from_mins(3), "not mirrored: {status:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// A path below its data directory as it sees it, also where that is a disk of its own.
    pub fn seen(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.pid()));
        root.join(path.strip_prefix("/").unwrap())
    }

    /// The disk of its own, which then outlives it.
    pub fn disk(&self) -> Arc<Disk> {
        let open = |name: &str| File::open(format!("/proc/{}/ns/{name}", self.pid())).unwrap();
        Arc::new(Disk { mounts: open("mnt"), user: (!is_root()).then(|| open("user")) })
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    pub fn data_dir(&self) -> PathBuf {
        self.setup.data_dir()
    }

    /// The database of its upstream.
    pub fn database(&self) -> PathBuf {
        let own = self.setup.disk.is_some();
        database(&if own { self.seen(&self.data_dir()) } else { self.data_dir() })
    }

    pub fn output(&self) -> String {
        self.setup.output()
    }

    /// A client of it with the token of `oneuser`.
    pub fn client(&self) -> Client {
        Client::new(self.address)
    }

    /// Asks as `oneuser`.
    pub async fn get(&self, target: &str) -> super::Answer {
        self.client().get(target).await
    }

    /// Waits until it considers its upstream `up` or `down`.
    pub async fn until_upstream_is(&self, state: &str) {
        until(&format!("upstream is {state}"), async || self.status().await["upstream"]["state"] == state)
            .await;
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM, and waits until it has ended; it must end well.
    pub async fn terminate(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "it ended with {status}:\n{}", self.output());
                return;
            }
            if start.elapsed() > Duration::from_secs(20) {
                child.kill().unwrap();
                panic!("it does not end on SIGTERM:\n{}", self.output());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends it if it still runs, and starts it again on the same data.
    pub async fn restart(mut self) -> Self {
        if self.child.is_some() {
            self.terminate().await;
        }
        self.setup.clone().start().await
    }

    /// The same with a setting changed.
    pub async fn restart_with(mut self, name: &str, value: &str) -> Self {
        self.setup = self.setup.clone().set(name, value);
        self.restart().await
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(12).collect();
            eprintln!("--- the proxy's last lines ---");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// The only database below a data directory.
pub fn database(data_dir: &Path) -> PathBuf {
    let upstreams = data_dir.join("upstreams");
    let mut found: Vec<PathBuf> = std::fs::read_dir(&upstreams)
        .unwrap_or_else(|e| panic!("{}: {e}", upstreams.display()))
        .map(|folder| folder.unwrap().path().join("proxy.db"))
        .collect();
    assert_eq!(found.len(), 1, "one upstream, one database: {found:?}");
    found.remove(0)
}
