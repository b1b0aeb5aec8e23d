//! A real PostgreSQL of a test's own: started, killed, started again. Where the tests run as root it runs as `nobody`.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;

const PASSWORD: &str = "a-pass-word-of-the-engine";

#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    port: u16,
    server: Option<Child>,
}

/// The newest one that is installed.
fn binaries() -> PathBuf {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|folder| folder.join("initdb").exists())
        .collect();
    found.sort();
    let in_path = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|folder| folder.join("initdb").exists())
    };
    found.pop().or_else(in_path).expect("PostgreSQL is not installed: `./check --install` does that")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program of PostgreSQL's, as a user who may run it.
fn program(name: &str) -> Command {
    let path = binaries().join(name);
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]).arg(path);
        command
    } else {
        Command::new(path)
    };
    command.env("LC_ALL", "C").current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn give_to_its_user(path: &Path) {
    if is_root() {
        let given = Command::new("chown").arg("-R").arg("nobody:nogroup").arg(path).status().unwrap();
        assert!(given.success());
    }
}

impl Postgres {
    /// Makes one, and starts it.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let word = folder.path().join("word");
        fs::write(&word, PASSWORD).unwrap();
        give_to_its_user(folder.path());
        let made = program("initdb")
            .args(["--username=alyx", "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8"])
            .arg(format!("--pwfile={}", word.display()))
            .arg("-D")
            .arg(folder.path().join("data"))
            .status()
            .unwrap();
        assert!(made.success(), "initdb");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut postgres = Self { folder, port, server: None };
        postgres.again();
        postgres
    }

    /// Its URL, with its password.
    pub fn url(&self) -> String {
        format!("postgres://alyx:{PASSWORD}@127.0.0.1:{}/postgres", self.port)
    }

    /// The password alone, to look for.
    #[allow(clippy::unused_self)]
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Starts it again, and returns when it takes connections.
    pub fn again(&mut self) {
        let start = Instant::now();
        loop {
            let log =
                fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
            let server = program("postgres")
                .arg("-D")
                .arg(self.folder.path().join("data"))
                .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-c", "unix_socket_directories="])
                .stderr(log)
                .spawn()
                .unwrap();
            let server = self.server.insert(server);
            loop {
                // Where those of a killed one are still about it gives up at once, and is tried again.
                if server.try_wait().unwrap().is_some() {
                    break;
                }
                if is_ready(self.port) {
                    return;
                }
                sleep(Duration::from_millis(20));
            }
            assert!(start.elapsed() < Duration::from_mins(1), "PostgreSQL does not start: {}", self.log());
            sleep(Duration::from_millis(100));
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Its data, log of changes and all.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// Whether it answers, be it by a refusal.
fn is_ready(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
        && program("pg_isready")
            .args(["-h", "127.0.0.1", "-p", &port.to_string()])
            .status()
            .is_ok_and(|it| it.success())
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            // At once, but as a whole: what it has started ends with it.
            let pid = rustix::process::Pid::from_child(server);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        }
        if let Some(mut server) = self.server.take() {
            let _ = server.wait();
        }
    }
}
