//! The first minute with the demo: its log, what it prints, its user, and what ONE and rigs ask of it.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    thread::JoinHandle,
};

use crate::support::{Client, miniature, until};
use alyx_proxy::miniature::{self as demo, Miniature, Options};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// A running demo; killed when it is dropped.
struct Demo {
    child: Child,
    /// What it has printed to the end of its greeting.
    printed: String,
    log: File,
    rest: Option<JoinHandle<()>>,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let log = NamedTempFile::new().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"))
            .args(["demo", "--port", "0", "--alyx-port", "0"])
            .args(arguments)
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut printed = String::new();
        for line in lines.by_ref() {
            printed.push_str(&line);
            printed.push('\n');
            if line.starts_with("Stop with") {
                break;
            }
        }
        assert!(printed.contains("Stop with Ctrl-C."), "{printed}");
        // Read on, or the demo would stop when the pipe is full.
        let rest = std::thread::spawn(move || lines.for_each(drop));
        Self { child, printed, log: log.into_file(), rest: Some(rest) }
    }

    /// What stands behind these words.
    fn said(&self, words: &str) -> &str {
        self.printed.lines().find_map(|line| line.strip_prefix(words)).unwrap()
    }

    /// Stops it; what it logged.
    fn log(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        log
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.rest.take().unwrap().join().unwrap();
    }
}

/// Panics where a log holds a path of the machine that the program was built on.
fn must_have_no_paths(log: &str) {
    for of_the_build_machine in
        [env!("CARGO_MANIFEST_DIR"), ".cargo", "registry/src", "/rustc/", "log.file", ".rs"]
    {
        let line = log.lines().find(|line| line.contains(of_the_build_machine));
        assert_eq!(line, None, "{of_the_build_machine}");
    }
}

fn targets(log: &str) -> Vec<String> {
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    log.lines().map(|one| line(one)["target"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_this_programs_and_has_no_paths_of_the_build_machine() {
    let demo = Demo::start(&[]);
    // A line for this request at least.
    shell(&format!("curl -s {}/labs", demo.said("Listening on ")));
    until("it logs something", || std::future::ready(demo.log.metadata().unwrap().len() > 0)).await;
    let log = demo.log();
    must_have_no_paths(&log);
    let targets = targets(&log);
    assert!(!targets.is_empty());
    assert!(targets.iter().all(|target| target.starts_with("alyx_proxy")), "{log}");
}

#[test]
fn a_library_logs_where_it_is_named_and_has_no_paths_either() {
    let log = Demo::start(&["--set", "log.level=info,rusqlite_migration=debug"]).log();
    must_have_no_paths(&log);
    assert!(targets(&log).iter().any(|target| target == "rusqlite_migration"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_demo_prints_runs_as_it_stands() {
    let demo = Demo::start(&["--set", "mirror.interval=1s"]);
    let commands: Vec<&str> = demo
        .printed
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| line.starts_with("curl "))
        .collect();
    let said: Vec<String> = commands.iter().map(|command| shell(command)).collect();
    let [log_in, subjects, cut, asked, restored, changed, at_once, later] = said.as_slice() else {
        panic!("other commands than this test knows: {commands:#?}");
    };
    let token = serde_json::from_str::<Value>(log_in).unwrap()["token"].as_str().unwrap().to_owned();
    assert!(commands.iter().all(|command| !command.contains("Token ") || command.contains(&token)));
    assert!(subjects.starts_with("HTTP/1.1 200") && subjects.contains("\"count\":"), "{subjects}");
    assert!(!cut.contains("error") && !restored.contains("error"), "{cut} {restored}");
    // Asked while the network was cut, and by nobody before.
    assert!(asked.starts_with("HTTP/1.1 200") && asked.contains("mirror"), "{asked}");
    assert!(!asked.contains("\"count\":0"), "{asked}");
    let narrative = |text: &str| serde_json::from_str::<Value>(text).unwrap()["narrative"].clone();
    assert_eq!(narrative(changed), "changed in Alyx");
    assert_eq!(narrative(at_once), "changed in Alyx");
    assert!(later.starts_with("HTTP/1.1 200"), "{later}");
    let seen = || std::future::ready(shell(commands[7]).contains("changed in Alyx"));
    until("others see the change", seen).await;

    let page = demo.printed.lines().find(|line| line.ends_with("/-/")).unwrap().trim();
    assert!(shell(&format!("curl -sL {page}")).contains("<html"));
    assert_eq!(page.strip_suffix("/-/"), Some(demo.said("Listening on ")));
}

#[test]
fn a_taken_port_is_told_with_the_flag_that_sets_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
    demo.args(["demo", "--alyx-port", "0", "--port", &port]).stdin(Stdio::null());
    let output = demo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("`--port`"), "{said}");
    assert!(!said.contains("--listen") && !said.contains("WARN"), "{said}");
}

/// Starts the demo in a terminal, closes that, and says whether the demo ended.
const TERMINAL: &str = "
import os, pty, sys, time
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], 'demo', '--port', '0', '--alyx-port', '0'])
said = b''
while b'Stop with' not in said:
    said += os.read(terminal, 4096)
os.close(terminal)
for _ in range(600):
    ended, _ = os.waitpid(pid, os.WNOHANG)
    if ended:
        print('ended')
        sys.exit()
    time.sleep(0.1)
os.kill(pid, 9)
";

#[test]
fn it_ends_with_its_terminal() {
    let arguments = ["-c", TERMINAL, env!("CARGO_BIN_EXE_alyx-proxy")];
    let output = Command::new("python3").args(arguments).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "ended", "{output:?}");
}

/// What a line of the greeting does, typed as it stands.
fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).env("NO_PROXY", "*").output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn miniature() -> (Miniature, Client) {
    let alyx = demo::start(Options::default()).await.unwrap();
    let token = &Options::default().users[0].token;
    let client = Client::new(alyx.addr()).with_authorization(&format!("Token {token}"));
    (alyx, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_the_demo_is_a_user_with_sessions_who_may_add_to_the_lab() {
    let (_alyx, client) = miniature().await;
    let user = client.get("/users/demo").await.expect(200).json();
    assert_eq!((&user["username"], &user["lab"]), (&json!("demo"), &json!(["cortexlab"])));
    let names: Vec<String> = client.get("/users").await.expect(200).json()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["username"].as_str().unwrap().to_owned())
        .collect();
    assert!(names.contains(&"demo".to_owned()) && names.is_sorted(), "{names:?}");
    let own = client.get("/sessions?users=demo").await.expect(200).json();
    let before = own["count"].as_u64().unwrap();
    assert!(before > 0);
    let first = own["results"][0]["id"].as_str().unwrap();
    let detail = client.get(&format!("/sessions/{first}")).await.expect(200).json();
    assert!(detail["users"].as_array().unwrap().contains(&json!("demo")), "{detail}");

    // What a rig registers: a session, its water, a weighing.
    let session = json!({
        "subject": "KS004", "users": ["demo"], "start_time": "2026-11-23T10:00:00", "number": 1,
        "projects": ["ibl_neuropixel_brainwide_01"], "procedures": ["Behavior training/tasks"], "lab": "cortexlab",
        "type": "Experiment", "task_protocol": "_iblrig_tasks_trainingChoiceWorld8.0.0",
    });
    let session = client.ask("POST", "/sessions").json(&session).send().await.expect(201).json();
    assert_eq!(session["users"], json!(["demo"]));
    assert_eq!(client.get("/sessions?users=demo").await.expect(200).json()["count"], before + 1);
    let id = session["url"].as_str().unwrap().rsplit('/').next().unwrap();
    let water = json!({
        "subject": "KS004", "session": id, "user": "demo", "date_time": "2026-11-23T11:00:00",
        "water_administered": 0.5, "water_type": "Water",
    });
    client.ask("POST", "/water-administrations").json(&water).send().await.expect(201);
    let weighing =
        json!({ "subject": "KS004", "user": "demo", "date_time": "2026-11-23T09:00:00", "weight": 19.5 });
    client.ask("POST", "/weighings").json(&weighing).send().await.expect(201);

    // And its first question: how much water it needs now.
    let target = "/water-requirement/KS004?start_date=2026-11-23&end_date=2026-11-23";
    let requirement = client.get(target).await.expect(200).json();
    let day = &requirement["records"][0];
    assert_eq!((&day["weighing_at"], &day["weight"]), (&json!(19.5), &json!(19.5)));
    assert_eq!((&day["given_water_reward"], &day["given_water_supplement"]), (&json!(0.5), &json!(0)));
    assert_eq!(day["expected_water"], json!(0.04 * 19.5));
}

/// What the miniature can't answer of it, and why.
const BEYOND: &[(&str, &str)] = &[(
    "session__project__name",
    "Django's words about a relation that isn't there, of which there is no recording",
)];

#[tokio::test(flavor = "multi_thread")]
async fn what_one_and_rigs_ask_is_answered() {
    let (alyx, client) = miniature().await;
    let asked = include_str!("../fixtures/asked.txt");
    assert!(asked.lines().count() > 100);
    let mut unexpected = Vec::new();
    let mut beyond = vec![0; BEYOND.len()];
    for line in asked.lines() {
        let (method, target) = line.split_once(' ').unwrap();
        for target in [target.to_owned(), adapted(&alyx, target).await] {
            let known = BEYOND.iter().position(|(part, _)| target.contains(part));
            let answer = client.ask(method, &target).send().await;
            match (answer.status == 501, known) {
                (true, Some(known)) => beyond[known] += 1,
                (true, None) => unexpected.push(format!("{method} {target}: {}", answer.text())),
                (false, Some(_)) => unexpected.push(format!("{method} {target} is answered now")),
                (false, None) => {}
            }
        }
    }
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    // Who asks for no JSON gets the schema as YAML, which is not made here: no client of Alyx's reads it.
    let schema = client.ask("GET", "/api/schema").header("accept", "*/*").send().await.expect(501);
    assert!(schema.text().contains("YAML"), "{}", schema.text());
    assert!(beyond.iter().all(|count| *count > 0), "{beyond:?}");
}

/// A request with ids that the sample lab has in the place of others.
async fn adapted(alyx: &Miniature, target: &str) -> String {
    const ID: usize = 36;
    let mut adapted = target.to_owned();
    let starts: Vec<usize> = (0..target.len())
        .filter(|at| target.get(*at..at + ID).is_some_and(|id| uuid::Uuid::parse_str(id).is_ok()))
        .collect();
    let path = target[1..].split(['?', '/']).next().unwrap();
    for start in starts {
        let before = &target[..start];
        let name = before.rsplit(['?', '&', '/']).next().unwrap();
        let of = [
            ("probe_insertion", "insertions"),
            ("session", "sessions"),
            ("dataset", "datasets"),
            ("object_id", "sessions"),
        ];
        let endpoint = of.iter().find(|(part, _)| name.contains(part)).map_or(path, |(_, endpoint)| endpoint);
        let record = miniature::get(alyx, &format!("/{endpoint}?limit=1")).await;
        let record: Value = serde_json::from_str(&record).unwrap_or_default();
        let record = &record["results"][0];
        let id = record["id"].as_str().or_else(|| record["url"].as_str()?.rsplit('/').next());
        if let Some(id) = id.filter(|id| id.len() == ID) {
            adapted.replace_range(start..start + ID, id);
        }
    }
    adapted
}
