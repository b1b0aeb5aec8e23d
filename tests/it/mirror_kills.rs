//! Issue "The mirror", acceptance 5: `alyx-proxy sync` is killed at random points of a first fill and of
//! increments. Tables are whole or not there, no record is other than Alyx ever showed it, and nobody begins
//! from zero.

use std::{
    collections::{BTreeMap, HashSet},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::support::miniature;
use alyx_proxy::{
    alyx::record,
    miniature::{self as demo, Miniature, Options},
    mirror::{Mirror, schema::Schema},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::json;

/// Tables with and without details, by ranges and as a whole, with and without change times.
const TABLES: [&str; 7] =
    ["sessions", "insertions", "trajectories", "channels", "datasets", "subjects", "brain-regions"];
const KILLS: usize = 15;

fn token() -> String {
    Options::default().users.swap_remove(0).token
}

/// When a run is killed: so long after it has asked Alyx so often. Counted in requests, since how long a run
/// takes differs tenfold between machines.
struct Kill {
    requests: usize,
    after: Duration,
}

/// Runs `sync`, and kills it at some point; whether it ended by itself before.
fn sync(alyx: &Miniature, data_dir: &Path, kill: Option<Kill>) -> bool {
    let before = alyx.requests().len();
    let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ALYX_PROXY_")) {
        command.env_remove(name);
    }
    let mut child = command
        .args([
            "sync",
            "--set",
            &format!("upstream.url={}", alyx.url()),
            "--set",
            "upstream.requests_per_minute=0",
            "--set",
        ])
        .arg(format!("storage.data_dir={}", data_dir.display()))
        .args(["--set", "log.level=warn"])
        .env("ALYX_PROXY_MIRROR__TOKEN", token())
        .env("ALYX_PROXY_MIRROR__ENDPOINTS", TABLES.join(","))
        .env("HOME", data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let Some(kill) = kill else {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        return true;
    };
    while alyx.requests().len() < before + kill.requests && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(kill.after);
    let ended = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    ended
}

fn folder(data_dir: &Path) -> Option<PathBuf> {
    let mut folders = std::fs::read_dir(data_dir.join("upstreams")).ok()?;
    Some(folders.next()?.unwrap().path())
}

/// All records that Alyx ever showed, and how many there were of each table.
#[derive(Default)]
struct Ever {
    records: BTreeMap<&'static str, HashSet<String>>,
    counts: BTreeMap<&'static str, HashSet<u64>>,
}

impl Ever {
    async fn look(&mut self, alyx: &Miniature) {
        for endpoint in TABLES {
            let records = miniature::list(alyx, endpoint).await;
            self.counts.entry(endpoint).or_default().insert(records.len() as u64);
            self.records.entry(endpoint).or_default().extend(records);
        }
    }

    /// What stands in the mirror was so at some time; how many tables are there.
    async fn covers(&self, data_dir: &Path) -> usize {
        let Some(folder) = folder(data_dir) else { return 0 };
        let mirror = Mirror::open(&folder).unwrap();
        let states = mirror.states();
        for (endpoint, state) in states.iter() {
            assert!(self.counts[endpoint].contains(&state.rows), "{endpoint}: {} rows", state.rows);
            let name = Schema::get().table(endpoint).unwrap().name.clone();
            let look = move |connection: &rusqlite::Connection, _: &_| {
                let mut statement = connection.prepare(&format!("SELECT list FROM \"{name}__body\""))?;
                statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
            };
            let records = mirror.read(look).await.unwrap();
            assert_eq!(records.len() as u64, state.rows, "{endpoint}");
            let strange = records.iter().find(|record| !self.records[endpoint].contains(*record));
            assert_eq!(strange, None, "{endpoint} has what Alyx never showed");
        }
        let tables = states.iter().count();
        tokio::task::spawn_blocking(move || mirror.close()).await.unwrap();
        tables
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_point_it_is_never_wrong_and_never_begins_from_zero() {
    let alyx = demo::start(Options::default()).await.unwrap();
    let mut ever = Ever::default();
    ever.look(&alyx).await;
    let mut random = StdRng::seed_from_u64(5);

    // What a fill takes that nobody interrupts.
    let scratch = tempfile::tempdir().unwrap();
    alyx.forget_requests();
    sync(&alyx, scratch.path(), None);
    let needed = alyx.requests().len();

    let home = tempfile::tempdir().unwrap();
    alyx.forget_requests();
    let (mut kills, mut tables) = (0, 0);
    for _ in 0..KILLS {
        let requests = random.random_range(0..needed / 10);
        let kill = Kill { requests, after: Duration::from_millis(random.random_range(0..60)) };
        kills += usize::from(!sync(&alyx, home.path(), Some(kill)));
        let now = ever.covers(home.path()).await;
        assert!(now >= tables, "a table that was here is gone");
        tables = now;
    }
    sync(&alyx, home.path(), None);
    let asked = alyx.requests().len();
    assert_eq!(ever.covers(home.path()).await, TABLES.len());
    println!("fill: killed {kills} times; {needed} requests without kills, {asked} with them");
    assert!(kills >= KILLS / 2, "it was killed {kills} times only");
    // Each kill costs what was under way: a batch of details or a page.
    assert!(asked < needed + KILLS * 80, "{asked} requests instead of {needed}");

    let sessions = miniature::list(&alyx, "sessions").await;
    alyx.forget_requests();
    sync(&alyx, home.path(), None);
    let needed = alyx.requests().len();
    let mut kills = 0;
    for (round, session) in sessions.iter().step_by(7).take(KILLS).enumerate() {
        let id = record::Record::new(session.as_str()).plain("id").unwrap().to_owned();
        let change = json!({ "task_protocol": format!("changed {round}") });
        let request = reqwest::Client::new().patch(format!("{}/sessions/{id}", alyx.url()));
        let request = request.header("Authorization", format!("Token {}", token()));
        let request = request.header("Content-Type", "application/json").body(change.to_string());
        assert_eq!(request.send().await.unwrap().status().as_u16(), 200);
        ever.look(&alyx).await;
        let requests = random.random_range(0..needed);
        let kill = Kill { requests, after: Duration::from_millis(random.random_range(0..20)) };
        kills += usize::from(!sync(&alyx, home.path(), Some(kill)));
        assert_eq!(ever.covers(home.path()).await, TABLES.len());
    }
    println!("increments: killed {kills} times; {needed} requests each without kills");
    assert!(kills >= KILLS / 3, "it was killed {kills} times only");
    sync(&alyx, home.path(), None);
    let mut now = Ever::default();
    now.look(&alyx).await;
    assert_eq!(now.covers(home.path()).await, TABLES.len());
}
