//! Fills the mirror of a data directory from a folder that `scale` made, as a snapshot does, for measurements.
//!
//! ```sh
//! cargo run --release --example fill -- FOLDER DATA_DIR URL
//! ```
//!
//! `URL` is the Alyx that the tables shall be taken for. A proxy that is started on `DATA_DIR` afterwards answers from
//! them until they are older than `mirror.max_age`. It prints `{"records": …, "seconds": …}`: putting them in and making
//! the indexes, in transactions of one table each.

#![allow(clippy::disallowed_methods, reason = "it measures")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

#[path = "../tests/it/judge/mod.rs"]
mod judge;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Instant,
};

use alyx_proxy::{
    alyx::record,
    clock,
    data_dir::upstream_folder,
    mirror::{
        Mirror,
        export::{ExportedRecord, Head},
        schema::Schema,
    },
};
use judge::tables::{key_of, lines};
use serde_json::json;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, data_dir, url] = arguments.as_slice() else {
        eprintln!("usage: fill FOLDER DATA_DIR URL");
        std::process::exit(2);
    };
    let (folder, place) = (PathBuf::from(folder), upstream_folder(Path::new(data_dir), url));
    let mirror = Mirror::open(&place).unwrap();
    let (mut records, mut seconds) = (0_usize, 0.0);
    for table in Schema::get().tables() {
        let name = table.endpoint.name;
        let file = folder.join(format!("tables/{name}.jsonl.zst"));
        if !file.exists() {
            continue;
        }
        let key = |text: &str| key_of(table.endpoint, &record::parse(text));
        let detailed = folder.join(format!("tables/{name}.detail.jsonl.zst"));
        let mut details: HashMap<String, String> = if table.has_details() && detailed.exists() {
            lines(&detailed).filter_map(|text| Some((key(&text)?, text))).collect()
        } else {
            HashMap::new()
        };
        let (send, received) = std::sync::mpsc::sync_channel(4);
        let chunks: Vec<Vec<ExportedRecord>> = {
            let mut all: Vec<ExportedRecord> = lines(&file)
                .zip(1..)
                .map(|(list, n)| {
                    let detail = if details.is_empty() {
                        None
                    } else {
                        key(&list).and_then(|key| details.remove(&key))
                    };
                    ExportedRecord { n, list, detail }
                })
                .collect();
            let mut seen = std::collections::HashSet::new();
            // A stack is listed once for each of its slices.
            all.retain(|record| name != "imaging-stack" || seen.insert(record.list.clone()));
            records += all.len();
            let mut chunks = Vec::new();
            while !all.is_empty() {
                chunks.push(all.drain(..all.len().min(1000)).collect());
            }
            chunks
        };
        let now = clock::now();
        let head = Head {
            synced_at: now,
            listed_at: now,
            low: 0,
            seen: 0,
            seen_at: now,
            scope: Vec::new(),
            distrusted: Vec::new(),
            due: Vec::new(),
        };
        let began = Instant::now();
        let feeding =
            std::thread::spawn(move || chunks.into_iter().for_each(|chunk| send.send(Ok(chunk)).unwrap()));
        mirror.import(table, head, received).await.unwrap();
        feeding.join().unwrap();
        seconds += began.elapsed().as_secs_f64();
    }
    mirror.close();
    println!("{}", json!({ "records": records, "seconds": seconds }));
}
