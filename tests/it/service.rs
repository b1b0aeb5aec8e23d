//! Under systemd: it is told when clients can come, how Alyx is and that the program lives, may hold the socket,
//! and its unit files are sound.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::support::Lab;
use tempfile::TempDir;

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/systemd");

/// The program, started as a service manager does; killed when it is dropped.
struct Service(Child);

impl Service {
    fn start(
        upstream: &str,
        home: &TempDir,
        variables: &[(&str, &str)],
        socket: Option<&TcpListener>,
    ) -> Self {
        // The shell gives the socket the number that it must have.
        let script =
            r#"if [ -n "$GIVEN" ]; then exec 3<&0; export LISTEN_FDS=1 LISTEN_PID=$$; fi; exec "$@""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_alyx-proxy"), "serve", "--upstream", upstream]);
        command.args([
            "--config",
            "/dev/null",
            "--set",
            "health.interval=100ms",
            "--set",
            "health.idle_interval=100ms",
        ]);
        // Where a socket is given, nothing else may be bound: this port can't be had.
        let listen = if socket.is_some() { "192.0.2.1:1" } else { "127.0.0.1:0" };
        command.args(["--listen", listen, "--data-dir"]).arg(home.path().join("data"));
        command.env("HOME", home.path()).envs(variables.iter().copied()).stdout(Stdio::null());
        if let Some(socket) = socket {
            command.env("GIVEN", "yes").stdin(OwnedFd::from(socket.try_clone().unwrap()));
        }
        Self(command.spawn().unwrap())
    }

    fn terminate(&mut self) {
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the service manager hears: it listens until a message holds `word`.
fn hear(manager: &UnixDatagram, word: &str) -> String {
    let mut heard = String::new();
    loop {
        let mut message = [0; 4096];
        let length =
            manager.recv(&mut message).unwrap_or_else(|error| panic!("{error}; no {word} in {heard}"));
        let message = std::str::from_utf8(&message[..length]).unwrap();
        heard.push_str(message);
        heard.push('\n');
        if message.contains(word) {
            return heard;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told_what_it_must_know() {
    let (lab, home) = (Lab::open().await, tempfile::tempdir().unwrap());
    let path = home.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")];
    let mut service = Service::start(&lab.url(), &home, &variables, None);

    let first = hear(&manager, "READY=1");
    assert!(!first.contains("WATCHDOG"), "readiness comes first: {first}");
    hear(&manager, "answers");
    hear(&manager, "WATCHDOG=1");
    hear(&manager, "WATCHDOG=1");
    drop(lab);
    hear(&manager, "STATUS=Serving without Alyx");
    service.terminate();
    hear(&manager, "STOPPING=1");
    assert!(service.0.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_while_it_starts_is_served_by_the_socket_that_was_there_before() {
    let (lab, home) = (Lab::open().await, tempfile::tempdir().unwrap());
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut early = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    early.write_all(b"GET /-/status.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let _service = Service::start(&lab.url(), &home, &[], Some(&socket));

    early.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(&format!("\"listen\": \"{}\"", socket.local_addr().unwrap())), "{answer}");
}

#[test]
fn the_units_are_sound_and_hardened() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["alyx-proxy.service", "alyx-proxy.socket"] {
        let unit = std::fs::read_to_string(Path::new(UNITS).join(name)).unwrap();
        // It looks for the program, which need not be installed here.
        let unit = unit.replace("/usr/bin/alyx-proxy", env!("CARGO_BIN_EXE_alyx-proxy"));
        std::fs::write(folder.path().join(name), unit).unwrap();
    }
    let service = folder.path().join("alyx-proxy.service");
    let analyze = |arguments: &[&str], unit: &Path| {
        let output = Command::new("systemd-analyze").args(arguments).arg(unit).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    for name in ["alyx-proxy.service", "alyx-proxy.socket"] {
        let (sound, said) =
            analyze(&["verify", "--man=no", "--recursive-errors=no"], &folder.path().join(name));
        let ours: Vec<_> = said.lines().filter(|line| line.contains("alyx-proxy")).collect();
        assert!(sound && ours.is_empty(), "{name}: {said}");
    }
    // Of 100; a unit without any hardening has 96.
    let (safe, said) = analyze(&["security", "--offline=yes", "--threshold=20"], &service);
    assert!(safe, "{said}");
}
