//! A folder of recordings: the tables of a real Alyx, and what it said to questions.
//!
//! Two forms are read: `tables/<endpoint>.jsonl.zst` with `<endpoint>.detail.jsonl.zst` and
//! `golden/<endpoint>.jsonl.zst` (bodies as JSON), and `tables-detail.tar.zst` with `golden.jsonl.zst` (bodies
//! as text).

#![allow(dead_code, unused_imports, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use alyx_proxy::{
    alyx::{
        AlyxSpec, DetailKey, ENDPOINTS, Endpoint, pagination::Window, query_string, record, spec::Description,
    },
    mirror::{
        answer::{self, MirrorOutcome, MirrorQuestion},
        create_tables,
        ingest::{EncodedRecord, IncomingRecord, RecordWriter},
        json_nulls, learn, plan,
        schema::Schema,
        sql_functions,
        state::{self, States, TableState},
    },
};
use jiff::civil::Date;
use rusqlite::Connection;
use serde_json::Value;

pub use super::recordings::{recordings, recordings_in};
use super::{Recording, Said, endpoint};

/// The host under which the sample was recorded.
pub const HOST: &str = "127.0.0.1:8010";

/// The tables of a folder in memory, as the mirror keeps them.
pub struct Tables {
    connection: Connection,
    states: States,
    base: String,
    today: Date,
    pub filling: Filling,
}

/// What filling the tables took.
#[derive(Debug, Default, Clone, Copy)]
pub struct Filling {
    pub records: u64,
    pub putting: Duration,
    pub indexing: Duration,
}

/// The lines of a packed file.
pub fn lines(path: &Path) -> impl Iterator<Item = String> {
    let reader = BufReader::new(zstd::Decoder::new(File::open(path).unwrap()).unwrap());
    reader.lines().map(|line| line.unwrap())
}

/// The key by which the detail of a record is asked for.
pub fn key_of(endpoint: &Endpoint, record: &Value) -> Option<String> {
    match endpoint.detail?.key {
        DetailKey::Name(field) => record[field].as_str().map(str::to_owned),
        _ => record["id"].as_str().or_else(|| record["url"].as_str()?.rsplit('/').next()).map(str::to_owned),
    }
}

/// Files by their names.
pub type Files = HashMap<String, Vec<String>>;

/// The files of a packed folder, line by line.
pub fn archive(path: &Path) -> Files {
    let mut archive = tar::Archive::new(zstd::Decoder::new(File::open(path).unwrap()).unwrap());
    let mut files = HashMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(name, text.lines().map(str::to_owned).collect());
    }
    files
}

impl Tables {
    pub fn load(folder: &Path, today: Date) -> Self {
        Self::load_into(Connection::open_in_memory().unwrap(), folder, today)
    }

    /// The tables of a folder in this database, which is empty.
    pub fn load_into(connection: Connection, folder: &Path, today: Date) -> Self {
        let packed = folder.join("tables-detail.tar.zst");
        let files = if packed.exists() { archive(&packed) } else { HashMap::new() };
        sql_functions::register(&connection).unwrap();
        create_tables(&connection).unwrap();
        connection.set_prepared_statement_cache_capacity(256);
        let mut states = HashMap::new();
        let mut filling = Filling::default();
        for endpoint in ENDPOINTS {
            let name = endpoint.name;
            let records: Vec<String> = if packed.exists() {
                files[&format!("tables/{name}.jsonl")].clone()
            } else {
                let path = folder.join(format!("tables/{name}.jsonl.zst"));
                if !path.exists() {
                    continue;
                }
                lines(&path).collect()
            };
            let details: HashMap<String, String> = if packed.exists() {
                let paths = files.get(&format!("detail/{name}.paths")).cloned().unwrap_or_default();
                let keys = paths.iter().map(|path| query_string::segments(path).pop().unwrap());
                keys.zip(files.get(&format!("detail/{name}.jsonl")).cloned().unwrap_or_default()).collect()
            } else {
                let path = folder.join(format!("tables/{name}.detail.jsonl.zst"));
                let found: Vec<String> = if path.exists() { lines(&path).collect() } else { Vec::new() };
                found
                    .into_iter()
                    .filter_map(|text| Some((key_of(endpoint, &record::parse(&text))?, text)))
                    .collect()
            };
            if let Some(state) = fill(&connection, endpoint, &records, &details, &mut filling) {
                states.insert(name, state);
            }
        }
        connection.execute_batch("ANALYZE").unwrap();
        let recorded = packed.exists() || folder.join("golden").exists();
        let recordings = if recorded { recordings(folder) } else { Vec::new() };
        told_nulls(&connection, &mut states, &recordings);
        let first = recordings
            .iter()
            .find(|one| one.body.contains("\"next\":\"http") || one.body.contains("\"url\":\"http"));
        let body = first.map(|one| one.body.as_str()).unwrap_or_default();
        let at = body.find("http").unwrap_or(0);
        let base = body[at..].split('/').take(3).collect::<Vec<_>>().join("/");
        let states = States::new(1, states).behind(Arc::new(described(folder)));
        let mut tables = Self { connection, states, base, today, filling };
        let shown = recordings.iter().enumerate().filter(|(at, _)| !is_held_back(*at));
        tables.learn(shown.map(|(_, recording)| recording));
        tables
    }

    /// Nothing is kept any more of what was found.
    pub fn forget(&mut self) {
        let tables = self.states.iter().map(|(name, state)| (name, state.clone())).collect();
        self.states = States::new(self.states.version(), tables).behind(self.states.spec().clone());
    }

    /// From now on the Alyx is one that nobody knows, taken for the release of this name.
    pub fn meet_stranger(&mut self, release: &str) {
        let spec = self.spec().clone().as_stranger(release);
        self.states = self.states.clone().behind(Arc::new(spec));
    }

    /// What an Alyx that nobody knows has shown of itself in what was recorded, as if a proxy had asked it.
    pub fn learn<'r>(&mut self, recordings: impl Iterator<Item = &'r Recording>) {
        if self.spec().findings().is_none() {
            return;
        }
        let asks_several = |recording: &&Recording| {
            let (_, query) = recording.path.split_once('?').unwrap_or_default();
            let pairs = query_string::parse(query);
            let names: HashSet<&String> = pairs.iter().map(|(name, _)| name).collect();
            names.iter().filter(|name| !matches!(name.as_str(), "limit" | "offset")).count() > 1
        };
        // What one parameter means is known when what several mean is looked at.
        let (several, one): (Vec<_>, Vec<_>) = recordings.partition(asks_several);
        for recordings in [one, several] {
            let mut findings = self.spec().findings().cloned().unwrap_or_default();
            for Recording { path, status, body, .. } in recordings {
                let told = self.put(path, |question| {
                    learn::learn(&self.connection, &self.states, &question, (*status, body)).unwrap()
                });
                findings.extend(told);
            }
            let spec = self.spec().clone().having_shown(findings);
            self.states = self.states.clone().behind(Arc::new(spec));
        }
    }

    /// What the Alyx is that was recorded.
    pub fn spec(&self) -> &AlyxSpec {
        self.states.spec()
    }

    /// How a list is counted and how a page of it is had: SQL, and the database's plan for it.
    pub fn plans(&self, path: &str) -> String {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let pairs = query_string::parse(query);
        let endpoint = endpoint(path).unwrap();
        let plan = match plan::list(&self.connection, &self.states, endpoint, &pairs, self.today) {
            Ok(plan) => plan,
            Err(failed) => return format!("{failed:?}"),
        };
        let (count, page) = plan.shown(Window::of(&pairs));
        let explained = |sql: &str| {
            let mut statement = self.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let rows = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
            rows.map(|row| format!("    {}", row.unwrap())).collect::<Vec<_>>().join("\n")
        };
        format!("  {count}\n{}\n  {page}\n{}", explained(&count), explained(&page))
    }

    /// The mirror's own answer.
    pub fn ask(&self, path: &str) -> Said {
        match self.put(path, |question| answer::answer(&self.connection, &self.states, &question).unwrap()) {
            MirrorOutcome::Answer(answer) => Said::Answer { status: answer.status, body: answer.body },
            MirrorOutcome::Undecided(reason) => {
                Said::Refused { decidable: reason.name() != "hidden", reason: reason.to_string() }
            }
            MirrorOutcome::Old(tables) => panic!("{tables:?} can't be old"),
        }
    }

    fn put<T>(&self, path: &str, ask: impl FnOnce(MirrorQuestion<'_>) -> T) -> T {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let pairs = query_string::parse(query);
        let segments = query_string::segments(path);
        let endpoint = endpoint(path).unwrap();
        let key = (segments.len() == 2 && endpoint.detail.is_some()).then(|| segments[1].clone());
        let url = format!("{}{}", self.base, query_string::canonical_path(&segments));
        let question = MirrorQuestion {
            endpoint,
            key: key.as_deref(),
            pairs: &pairs,
            url: &url,
            today: self.today,
            // What is recorded was so by a server whose zone is this.
            zone: Some(&jiff::tz::TimeZone::UTC),
            recency: None,
        };
        ask(question)
    }
}

/// Whether an unknown Alyx is told nothing of this recording: with `HELD_BACK=2` of every second one.
pub fn is_held_back(at: usize) -> bool {
    let every = std::env::var("HELD_BACK").ok().and_then(|every| every.parse::<usize>().ok());
    every.is_some_and(|every| at.is_multiple_of(every))
}

/// What JSON columns hold that records show as null, where a recording happens to answer what a proxy would ask.
fn told_nulls(
    connection: &Connection,
    states: &mut HashMap<&'static str, TableState>,
    recordings: &[Recording],
) {
    let mut counts = HashMap::new();
    for recording in recordings.iter().filter(|recording| recording.status == 200) {
        let Some((path, query)) = recording.path.split_once('?') else { continue };
        let mut pairs = query_string::parse(query);
        pairs.retain(|(name, _)| name != "limit" && name != "offset");
        if let [(name, asked)] = pairs.as_slice()
            && let (true, Some(column)) = (name == "django", asked.strip_suffix("__isnull,True"))
        {
            let count = record::parse(&recording.body)["count"].as_u64().unwrap();
            counts.insert((path.trim_start_matches('/').to_owned(), column.to_owned()), count);
        }
    }
    for (endpoint, state) in states {
        let table = Schema::get().table(endpoint).unwrap();
        for (column, shown) in json_nulls::shown(connection, table, state.details).unwrap() {
            let Some(empty) = counts.get(&((*endpoint).to_owned(), column.clone())) else { continue };
            // What was recorded did not change.
            let nulls = json_nulls::told(shown, state.rows, *empty, state.rows - *empty);
            state.ambiguous.extend(nulls.map(|nulls| json_nulls::note(nulls, &column)));
        }
    }
}

/// What the Alyx of a folder said of itself; one that was not asked is of the release that this program was made for.
fn described(folder: &Path) -> AlyxSpec {
    let read = |name: &str| {
        let file = File::open(folder.join(name)).ok()?;
        serde_json::from_reader(zstd::Decoder::new(file).unwrap()).ok()
    };
    let openapi = read("schema.json.zst").map(|document: Value| Description::of_openapi(&document).unwrap());
    let coreapi =
        || read("docs.coreapi.json.zst").map(|document: Value| Description::of_coreapi(&document).unwrap());
    let spec = openapi.or_else(coreapi).map_or_else(AlyxSpec::newest, AlyxSpec::of);
    match std::env::var("TAKEN_FOR") {
        Ok(release) => spec.as_stranger(&release),
        Err(_) => spec,
    }
}

fn fill(
    connection: &Connection,
    endpoint: &'static Endpoint,
    records: &[String],
    details: &HashMap<String, String>,
    filling: &mut Filling,
) -> Option<TableState> {
    let table = Schema::get().table(endpoint.name).unwrap();
    connection.execute_batch(&table.create("")).unwrap();
    let mut seen = HashSet::new();
    let (mut n, mut whole) = (0, true);
    let mut adder = RecordWriter::new(connection, table, "").unwrap();
    connection.execute_batch("BEGIN").unwrap();
    for text in records {
        // A stack is listed once for each of its slices. A list that lost records to paging repeats others.
        if !seen.insert(text) && endpoint.name != "water-restriction" {
            if endpoint.name != "imaging-stack" {
                println!(
                    "/{}: the recording of the table has a record twice, and so lacks another",
                    endpoint.name
                );
                connection.execute_batch("COMMIT").unwrap();
                return None;
            }
            continue;
        }
        let detail = (!details.is_empty())
            .then(|| key_of(endpoint, &record::parse(text)).and_then(|key| details.get(&key)))
            .flatten();
        whole = whole && detail.is_some();
        n += 1;
        let start = Instant::now();
        let record =
            IncomingRecord { list: text, detail: detail.filter(|_| table.has_details()).map(String::as_str) };
        // The proxy has no such table then, either.
        let rows = match EncodedRecord::of(table, record) {
            Ok(rows) => rows,
            Err(odd) => {
                println!("{odd}: the table is left out");
                connection.execute_batch("COMMIT").unwrap();
                return None;
            }
        };
        adder.add(n, record, &rows).unwrap();
        filling.putting += start.elapsed();
    }
    let start = Instant::now();
    connection.execute_batch("COMMIT").unwrap();
    filling.putting += start.elapsed();
    let start = Instant::now();
    connection.execute_batch(&table.index("", 1)).unwrap();
    filling.indexing += start.elapsed();
    let ambiguous = state::ambiguous(connection, table, "").unwrap();
    let rows = u64::try_from(n).unwrap();
    filling.records += rows;
    Some(TableState {
        synced_at: 0,
        counted_at: 0,
        rows,
        details: whole && table.has_details(),
        scope: Vec::new(),
        ambiguous,
        distrusted: <_>::default(),
        unreadable: <_>::default(),
    })
}
