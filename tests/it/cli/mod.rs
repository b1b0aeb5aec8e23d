//! The program's commands, run as people run them: their output, their one-line errors, their exit status.

mod refused;

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Output},
    thread,
};

use serde_json::{Value, json};

/// The program in an environment of its own: no settings but those of the test.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
        command.args(arguments).env_clear().env("HOME", self.path());
        command
    }

    fn run(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
        self.command(arguments).envs(environment.iter().copied()).output().unwrap()
    }

    /// The value and origin of `key` as `check-config` tells them.
    fn effective(&self, environment: &[(&str, &str)], arguments: &[&str], key: &str) -> (Value, String) {
        let output = self.run(environment, &[&["check-config", "--json"], arguments].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
        let settings = shown["settings"].as_array().unwrap();
        let found = settings.iter().find(|setting| setting["key"] == key).unwrap();
        (found["value"].clone(), found["origin"].as_str().unwrap().to_owned())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn settings_come_from_defaults_file_environment_and_flags_the_later_over_the_earlier() {
    let place = Place::new();
    let file = place.write("lab.toml", "[upstream]\ntimeout = \"20s\"\n");
    let variable = ("ALYX_PROXY_UPSTREAM__TIMEOUT", "30s");
    let with_file = ["--config", file.as_str()];
    let with_flag = ["--config", file.as_str(), "--set", "upstream.timeout=40s"];
    for (environment, arguments, value, origin) in [
        (&[][..], &[][..], "1m", "default"),
        (&[], &with_file, "20s", file.as_str()),
        (&[variable], &with_file, "30s", "environment variable ALYX_PROXY_UPSTREAM__TIMEOUT"),
        (&[variable], &with_flag, "40s", "--set"),
    ] {
        let found = place.effective(environment, arguments, "upstream.timeout");
        assert_eq!(found, (json!(value), origin.to_owned()));
    }
}

#[test]
fn the_file_is_the_flags_then_the_variables_then_the_users_own() {
    let place = Place::new();
    let own = place.write(".config/alyx-proxy/config.toml", "[upstream]\nrequests_per_minute = 1\n");
    let xdg = place.write("xdg/alyx-proxy/config.toml", "[upstream]\nrequests_per_minute = 2\n");
    let named = place.write("named.toml", "[upstream]\nrequests_per_minute = 3\n");
    let flag = place.write("flag.toml", "[upstream]\nrequests_per_minute = 4\n");
    let xdg_home = place.path().join("xdg").display().to_string();
    let xdg_variable = ("XDG_CONFIG_HOME", xdg_home.as_str());
    let variable = ("ALYX_PROXY_CONFIG", named.as_str());
    for (environment, arguments, value, origin) in [
        (&[][..], &[][..], 1, &own),
        (&[xdg_variable], &[], 2, &xdg),
        (&[xdg_variable, ("ALYX_PROXY_CONFIG", "")], &[], 2, &xdg),
        (&[xdg_variable, variable], &[], 3, &named),
        (&[xdg_variable, variable], &["--config", &flag], 4, &flag),
    ] {
        let found = place.effective(environment, arguments, "upstream.requests_per_minute");
        assert_eq!(found, (json!(value), origin.clone()));
    }
}

#[test]
fn flags_stand_before_or_after_the_command_and_none_is_lost() {
    let place = Place::new();
    let run = |arguments: &[&str]| {
        let output = place.run(&[], arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let shown = run(&[
        "--set",
        "upstream.requests_per_minute=7",
        "--log",
        "warn",
        "check-config",
        "--set",
        "upstream.retries=5",
    ]);
    for line in
        ["upstream.requests_per_minute 7 --set", "upstream.retries 5 --set", "log.level \"warn\" --log"]
    {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(shown.lines().any(|shown| words(shown) == line), "{line} in\n{shown}");
    }
    let shown = run(&[
        "--set",
        "upstream.requests_per_minute=7",
        "check-config",
        "--set",
        "upstream.requests_per_minute=8",
    ]);
    assert!(shown.contains(" 8 "), "the later one wins:\n{shown}");
}

#[test]
fn check_config_aligns_its_columns_and_names_the_places() {
    let place = Place::new();
    let output = place.run(&[], &["check-config", "--data-dir", "/data/alyx"]);
    let shown = text(&output.stdout);
    let rows: Vec<_> = shown.lines().take_while(|line| !line.is_empty()).collect();
    let origin = rows[0].find("default").unwrap();
    for row in &rows {
        assert!(row[origin..].starts_with("default") || row[origin..].starts_with("--data-dir"), "{row}");
        assert_eq!(&row[origin - 2..origin], "  ");
    }
    assert!(shown.ends_with("settings file:  none\ndata directory: /data/alyx\n"), "{shown}");
}

#[test]
fn wrong_usage_is_status_2() {
    let place = Place::new();
    for arguments in [
        &["serv"][..],
        &["--what"],
        &["--listen", "127.0.0.1:1", "status"],
        &["status", "--url", "lab"],
        &["demo", "--port", "99999"],
    ] {
        let output = place.run(&[], arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn version_says_which_version_it_is() {
    let place = Place::new();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(text(&place.run(&[], &["version"]).stdout), format!("alyx-proxy {version}\n"));
    let shown: Value = serde_json::from_slice(&place.run(&[], &["version", "--json"]).stdout).unwrap();
    assert_eq!(shown, json!({"name": "alyx-proxy", "version": version}));
}

#[test]
fn status_of_a_proxy_that_is_not_running_is_status_3() {
    let place = Place::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let listen = format!("server.listen=0.0.0.0:{port}");
    let output = place.run(&[], &["status", "--set", &listen]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains(&format!("no proxy is running at http://127.0.0.1:{port}")), "{error}");
}

/// Answers one request with `body`, and hands back what was asked.
fn answer_once(status: &'static str, body: String) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            asked.push(byte[0]);
        }
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
            .unwrap();
        text(&asked).lines().next().unwrap().to_owned()
    });
    (url, server)
}

fn a_status() -> Value {
    json!({
        "version": "1.2.3", "uptime_seconds": 3661, "listen": "127.0.0.1:8040",
        "upstream": {"url": "https://alyx.example.org", "state": "down",
                     "since": "2026-11-23T06:00:00Z", "reason": "connection refused"},
        "responses": {"memory": 11, "disk": 22, "stale": 33, "mirror": 4, "upstream": 44, "collapsed": 55, "refused": 66},
        "cache": {"entries": 77, "bytes": 1_572_864, "limit": 4_294_967_296_u64},
        "tokens": 88, "of_a_later_version": true,
    })
}

#[test]
fn status_of_a_running_proxy_is_readable_or_whole_json() {
    let place = Place::new();
    let (url, server) = answer_once("200 OK", a_status().to_string());
    let output = place.run(&[], &["status", "--url", &format!("{url}/")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(server.join().unwrap(), "GET /-/status.json HTTP/1.1");
    assert_eq!(
        text(&output.stdout),
        "alyx-proxy  1.2.3, listening on 127.0.0.1:8040, running for 1h 1m 1s\n\
         upstream    https://alyx.example.org: down since 2026-11-23 06:00 UTC (connection refused)\n\
         responses   11 from memory, 22 from disk, 33 stale, 4 from the mirror, 44 from upstream, 55 shared, 66 refused\n\
         cache       77 responses, 1.5 MiB of 4.0 GiB\n\
         tokens      88 accepted by Alyx\n"
    );
    let (url, _server) = answer_once("200 OK", a_status().to_string());
    let output = place.run(&[], &["status", "--json", "--url", &url]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), a_status());
}

#[tokio::test(flavor = "multi_thread")]
async fn status_asks_the_real_proxy_where_the_settings_let_it_listen() {
    let place = Place::new();
    let proxy = crate::support::Proxy::start("http://127.0.0.1:1").await;
    let listen = format!("server.listen={}", proxy.address());
    // Names are for who may see them.
    let stranger = place.run(&[], &["status", "--set", &listen]);
    assert!(!text(&stranger.stdout).contains("127.0.0.1:1:"), "{}", text(&stranger.stdout));
    let token = format!("access.admin_token={}", proxy.admin_token());
    let output = place.run(&[], &["status", "--set", &listen, "--set", &token]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.contains(&format!("listening on {}", proxy.address())), "{shown}");
    assert!(shown.contains("upstream    http://127.0.0.1:1: "), "{shown}");
    let output = place.run(&[], &["status", "--json", "--set", &listen, "--set", &token]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["upstream"]["url"], "http://127.0.0.1:1");
}

#[test]
fn status_of_something_else_is_status_1() {
    let place = Place::new();
    for (status, body) in [
        ("200 OK", "<html>".to_owned()),
        ("200 OK", "{}".to_owned()),
        ("404 Not Found", a_status().to_string()),
    ] {
        let (url, _server) = answer_once(status, body);
        let output = place.run(&[], &["status", "--url", &url]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains("not as this version of alyx-proxy does"));
    }
}

/// Whoever has several proxies on a machine names the data directory, and need not know where each listens.
#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_that_runs_on_a_data_directory_is_found_by_it() {
    let lab = crate::support::Lab::open().await;
    let mut proxy = crate::support::Proxy::start(&lab.url()).await;
    let place = Place::new();
    let data_dir = proxy.data_dir().display().to_string();
    let named = ["--data-dir", data_dir.as_str()];
    for command in [&["status"][..], &["purge", "--all"], &["offline"], &["online"]] {
        let output = place.run(&[], &[command, &named].concat());
        assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    }
    let output = place.run(&[], &[&["status", "--json"][..], &named].concat());
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["listen"], proxy.address().to_string());
    // What one that has ended has noted counts for nobody.
    proxy.terminate().await;
    assert!(!proxy.data_dir().join("listening").exists());
}
