//! Measures the mirror inside the process: how fast it fills, and how long typical questions take.
//!
//! ```sh
//! cargo run --release --example questions -- FOLDER [ROUNDS [JSON]]
//! ```
//!
//! `FOLDER` holds tables as `bench/README.md` says. They are put into a database on disk as the proxy keeps it
//! (WAL, indexes, statistics), then each question is put `ROUNDS` times (21), and each time once more: `again`. What the
//! mirror keeps of lists that it found is forgotten before each round, so that all but `again` are questions that nobody has
//! asked since the tables changed. Prints a table, and writes the same as JSON to the file `JSON`.

#![allow(clippy::disallowed_methods, reason = "it measures")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

#[path = "../tests/it/judge/mod.rs"]
mod judge;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use alyx_proxy::alyx::record;
use judge::{Said, tables};
use rusqlite::Connection;
use serde_json::{Value, json};

/// What is asked; `{…}` is replaced by a value of a record in the middle of its table.
const QUESTIONS: &[&str] = &[
    "sessions",
    "sessions?limit=1000",
    "sessions?offset={deep_sessions}&limit=100",
    "sessions?lab={lab}",
    "sessions?subject={subject}",
    "sessions?subject={subject}&number=1",
    "sessions?date_range=2019-01-01,2019-03-31",
    "sessions?task_protocol=ephys",
    "sessions?performance_gte=70",
    "sessions?performance_gte=70&task_protocol=ephys",
    "sessions?performance_lte=50&lab={lab}",
    "sessions?dataset_types=trials.goCue_times",
    "sessions?dataset_types=spikes.times,spikes.clusters",
    "sessions?datasets=_ibl_trials.goCue_times.npy",
    "sessions?datasets=spikes.times.npy&lab={lab}",
    "sessions?atlas_acronym=CA1",
    "sessions?projects=ibl",
    "sessions?tag={tag}",
    "sessions?django=start_time__gte,2019-06-01,lab__name,{lab}",
    "sessions?django=subject__nickname__icontains,ks",
    "sessions?django=~json__isnull,True",
    "sessions/{session}",
    "datasets",
    "datasets?limit=1000",
    "datasets?offset={deep_datasets}&limit=1000",
    "datasets?session={session}",
    "datasets?name=spikes.times.npy",
    "datasets?django=name__icontains,spikes.times",
    "datasets?django=name__icontains,nowhere",
    "datasets?django=id__in,[{ids}]",
    "datasets?exists=True",
    "datasets?subject={subject}",
    "datasets?tag={tag}",
    "datasets?collection=alf/probe00",
    "datasets?dataset_type=spikes.times",
    "datasets?created_date=2019-03-04",
    "datasets?django=created_datetime__gte,2020-01-01",
    "datasets?django=session__lab__name,{lab}",
    "datasets/{dataset}",
    "files?django=dataset__name,spikes.times.npy",
    "files?limit=1000&offset={deep_datasets}",
    "channels",
    "channels?probe_insertion={insertion}",
    "channels?acronym=CA1",
    "channels?django=brain_region__acronym,CA1",
    "trajectories",
    "trajectories?probe_insertion={insertion}",
    "trajectories?provenance=Planned",
    "trajectories?x=953.7&y=-1533.4",
    "insertions",
    "insertions?session={session}",
    "insertions?name=probe00",
    "insertions?atlas_acronym=CA1",
    "insertions/{insertion}",
    "subjects",
    "subjects?lab={lab}&sex=F&alive=True",
    "brain-regions?acronym=CA1",
];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: questions FOLDER [ROUNDS [JSON]]");
        std::process::exit(2);
    };
    let rounds: usize = arguments.next().map_or(21, |rounds| rounds.parse().expect("a number of rounds"));
    let place = tempfile::tempdir().unwrap();
    let connection = Connection::open(place.path().join("mirror.db")).unwrap();
    connection
        .execute_batch(
            "PRAGMA page_size = 16384; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY; PRAGMA analysis_limit = 400;",
        )
        .unwrap();
    let mut tables = tables::Tables::load_into(connection, &folder, jiff::civil::date(2026, 11, 23));
    let filling = tables.filling;
    let rate = |took: Duration| filling.records as f64 / took.as_secs_f64();
    println!(
        "{} records: {:.1} s to put them there ({:.0}/s), {:.1} s for indexes; together {:.0}/s",
        filling.records,
        filling.putting.as_secs_f64(),
        rate(filling.putting),
        filling.indexing.as_secs_f64(),
        rate(filling.putting + filling.indexing),
    );
    let values = values(&tables);
    let mut results = Vec::new();
    println!(
        "{:>9} {:>9} {:>9} {:>9} {:>7} {:>8}  question",
        "median ms", "first", "longest", "again", "count", "bytes"
    );
    let only = std::env::var("ONLY").unwrap_or_default();
    for question in QUESTIONS.iter().filter(|question| question.contains(&only)) {
        let path =
            values.iter().fold((*question).to_owned(), |path, (name, value)| path.replace(name, value));
        let (mut times, mut again) = (Vec::new(), Vec::new());
        let mut body = String::new();
        for _ in 0..rounds {
            tables.forget();
            let start = Instant::now();
            let said = tables.ask(&path);
            times.push(start.elapsed());
            let start = Instant::now();
            drop(tables.ask(&path));
            again.push(start.elapsed());
            body = match said {
                Said::Answer { status: 200, body } => body,
                Said::Answer { status, body } => format!("{status} {body}"),
                Said::Refused { reason, .. } => reason,
            };
            if times.iter().sum::<Duration>() > Duration::from_secs(10) {
                break;
            }
        }
        let first = millis(times[0]);
        times.sort();
        again.sort();
        let again = millis(again[again.len() / 2]);
        let (median, longest) = (millis(times[times.len() / 2]), millis(times[times.len() - 1]));
        if std::env::var_os("PLANS").is_some() && path.contains('?') {
            println!("{}", tables.plans(&path));
        }
        let count = record::parse(&body)["count"].as_u64();
        let shown = count.map_or("-".to_owned(), |count| count.to_string());
        println!(
            "{median:9.3} {first:9.3} {longest:9.3} {again:9.3} {shown:>7} {:>8}  {question}",
            body.len()
        );
        if !body.starts_with('{') {
            println!("{:>9} {}", "", body.chars().take(120).collect::<String>());
        }
        results.push(json!({
            "question": question, "median_ms": median, "first_ms": first, "longest_ms": longest,
            "again_ms": again,
            "count": count, "bytes": body.len(),
        }));
    }
    if let Some(file) = arguments.next() {
        let all = json!({
            "records": filling.records, "records_per_second": rate(filling.putting + filling.indexing),
            "questions": results,
        });
        std::fs::write(file, format!("{all:#}\n")).unwrap();
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Values to ask for: those of records in the middle of their tables.
fn values(tables: &tables::Tables) -> Vec<(&'static str, String)> {
    let page = |path: &str| match tables.ask(path) {
        Said::Answer { body, .. } => record::parse(&body),
        Said::Refused { reason, .. } => panic!("{path}: {reason}"),
    };
    let middle = |name: &str| -> (Value, u64) {
        let half = page(&format!("{name}?limit=1"))["count"].as_u64().unwrap() / 2;
        (page(&format!("{name}?limit=1&offset={half}"))["results"][0].clone(), half)
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().rsplit('/').next().unwrap().to_owned();
    let ((session, sessions), (dataset, datasets)) = (middle("sessions"), middle("datasets"));
    let hundred = page(&format!("datasets?limit=100&offset={datasets}"));
    let ids: Vec<String> =
        hundred["results"].as_array().unwrap().iter().map(|one| format!("'{}'", text(&one["url"]))).collect();
    let tag = page("tags?limit=1")["results"][0]["name"].as_str().unwrap_or("none").to_owned();
    vec![
        ("{deep_sessions}", (sessions * 9 / 5).to_string()),
        ("{deep_datasets}", (datasets * 9 / 5).to_string()),
        ("{session}", text(&dataset["session"])),
        ("{dataset}", text(&dataset["url"])),
        ("{insertion}", text(&middle("insertions").0["id"])),
        ("{subject}", text(&session["subject"])),
        ("{lab}", text(&session["lab"])),
        ("{tag}", tag.replace(' ', "%20")),
        ("{ids}", ids.join(",")),
    ]
}
