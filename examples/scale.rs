//! Makes a lab of any size out of the sample lab, for measurements (see `bench/README.md`).
//!
//! ```sh
//! cargo run --release --example scale -- FACTOR FOLDER
//! ```
//!
//! Every record is there `FACTOR` times: the first copy is the sample's own; in the others every id is another
//! (always the same for the same copy), subjects have names of their own, and the years of all times are moved.
//! Relations hold within each copy, because an id is changed wherever it stands. Tables that others only refer
//! to (regions, types, repositories, labs, …) are there once. Of what is written only
//! subjects are kept in memory, which Alyx lists by their names.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::HashSet,
    fs::File,
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
};

/// Tables that grow with a lab.
const GROWING: &[&str] = &[
    "channels",
    "chronic-insertions",
    "datasets",
    "downloads",
    "fields-of-view",
    "files",
    "fov-location",
    "imaging-stack",
    "insertions",
    "notes",
    "sessions",
    "subjects",
    "surgeries",
    "tasks",
    "trajectories",
    "water-administrations",
    "water-restricted-subjects",
    "water-restriction",
    "weighings",
];

/// Tables that Alyx lists by text, and the field: all copies stand in one order, that of the sample's database (by bytes).
const BY_TEXT: &[(&str, &str)] = &[("subjects", "nickname"), ("water-restricted-subjects", "nickname")];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(factor), Some(folder)) = (arguments.next(), arguments.next().map(PathBuf::from)) else {
        eprintln!("usage: scale FACTOR FOLDER");
        std::process::exit(2);
    };
    let factor: u32 = factor.parse().expect("a factor such as 11");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("sample/tables-detail.tar.zst");
    let files = archive(&sample);
    let names = names(&files);
    std::fs::create_dir_all(folder.join("tables")).unwrap();
    for (name, text) in &files {
        let (target, endpoint) = match name.split_once('/') {
            Some(("tables", file)) => (file.to_owned(), file.strip_suffix(".jsonl")),
            Some(("detail", file)) => {
                let endpoint = file.strip_suffix(".jsonl");
                (file.replace(".jsonl", ".detail.jsonl"), endpoint)
            }
            _ => continue,
        };
        let Some(endpoint) = endpoint else { continue };
        let copies = if GROWING.contains(&endpoint) { factor } else { 1 };
        let file = File::create(folder.join("tables").join(format!("{target}.zst"))).unwrap();
        let mut writer = zstd::Encoder::new(BufWriter::new(file), 1).unwrap().auto_finish();
        let mut line = String::new();
        // Places in a line do not change from copy to copy: they are found once.
        let lines: Vec<Vec<Piece<'_>>> = text.lines().map(|text| pieces(text, &names)).collect();
        let by_text = BY_TEXT.iter().find(|(name, _)| target.strip_suffix(".jsonl") == Some(name));
        let mut listed = Vec::new();
        for copy in 0..copies {
            for pieces in &lines {
                line.clear();
                for piece in pieces {
                    piece.write(copy, &mut line);
                }
                line.push('\n');
                match by_text {
                    Some((_, field)) => listed.push((text_of(&line, field), line.clone())),
                    None => writer.write_all(line.as_bytes()).unwrap(),
                }
            }
        }
        listed.sort();
        for (_, line) in listed {
            writer.write_all(line.as_bytes()).unwrap();
        }
    }
}

fn archive(path: &Path) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(File::open(path).unwrap()).unwrap());
    let mut files = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.push((name.trim_start_matches("./").to_owned(), text));
    }
    files
}

fn text_of(record: &str, field: &str) -> String {
    let record: serde_json::Value = serde_json::from_str(record).unwrap();
    record[field].as_str().unwrap_or_default().to_owned()
}

/// The names of all subjects: relations name subjects by them.
fn names(files: &[(String, String)]) -> HashSet<String> {
    let (_, subjects) = files.iter().find(|(name, _)| name == "tables/subjects.jsonl").unwrap();
    let name = |text: &str| {
        let record: serde_json::Value = serde_json::from_str(text).ok()?;
        record["nickname"].as_str().map(str::to_owned)
    };
    subjects.lines().filter_map(name).collect()
}

/// A part of a line.
enum Piece<'t> {
    /// The same in every copy.
    Same(&'t str),
    /// An id.
    Id(u128),
    /// Another subject's name: what follows the name in each copy but the first.
    Name,
    /// The year of a time.
    Year(u32),
}

impl Piece<'_> {
    fn write(&self, copy: u32, line: &mut String) {
        use std::fmt::Write;
        match self {
            Self::Same(text) => line.push_str(text),
            Self::Id(id) if copy == 0 => {
                let _ = write!(line, "{}", uuid::Uuid::from_u128(*id));
            }
            Self::Id(id) => {
                let _ = write!(line, "{}", uuid::Uuid::from_u128(mixed(*id, copy)));
            }
            Self::Name if copy == 0 => {}
            Self::Name => {
                let _ = write!(line, "_c{copy}");
            }
            Self::Year(year) => {
                // Whole cycles of leap years keep every day a day.
                let _ = write!(line, "{:04}", year - 4 * (copy % 3));
            }
        }
    }
}

/// Another id for each copy: one to one, for odd factors can be undone, and so can the shift and XOR.
fn mixed(id: u128, copy: u32) -> u128 {
    let salt = u128::from(copy).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let mut mixed = (id ^ salt).wrapping_mul(0xda94_2042_e4dd_58b5_a3ec_647c_6eb1_2ef1);
    mixed ^= mixed >> 64;
    mixed.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645)
}

fn pieces<'t>(text: &'t str, names: &HashSet<String>) -> Vec<Piece<'t>> {
    let bytes = text.as_bytes();
    let (mut pieces, mut from, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
        let found = if bytes[at].is_ascii_hexdigit() && !before.is_ascii_alphanumeric() {
            if let Some(id) = id(text, at) {
                Some((at, at + 36, Piece::Id(id)))
            } else {
                year(text, at, before).map(|year| (at, at + 4, Piece::Year(year)))
            }
        } else {
            None
        };
        let found = found.or_else(|| {
            // A name stands between quotation marks, or at the end of the link to the subject.
            let ends = bytes[at] == b'"' && names.contains(word(text, at)?);
            ends.then_some((at, at, Piece::Name))
        });
        match found {
            Some((start, end, piece)) => {
                pieces.push(Piece::Same(&text[from..start]));
                pieces.push(piece);
                from = end;
                at = end.max(at + 1);
            }
            None => at += 1,
        }
    }
    pieces.push(Piece::Same(&text[from..]));
    pieces
}

/// What stands before the quotation mark that ends a text.
fn word(text: &str, end: usize) -> Option<&str> {
    let before = &text[..end];
    before.get(before.rfind(['"', '/'])? + 1..)
}

fn id(text: &str, at: usize) -> Option<u128> {
    let id = text.get(at..at + 36)?;
    let dashes = [8, 13, 18, 23].iter().all(|dash| id.as_bytes()[*dash] == b'-');
    (dashes && !text.as_bytes().get(at + 36).is_some_and(u8::is_ascii_hexdigit))
        .then(|| uuid::Uuid::parse_str(id).ok())
        .flatten()
        .map(|id| id.as_u128())
}

/// The year of a text that begins with a day.
fn year(text: &str, at: usize, before: u8) -> Option<u32> {
    let day = text.get(at..at + 10)?.as_bytes();
    let digits = |range: std::ops::Range<usize>| day[range].iter().all(u8::is_ascii_digit);
    let is =
        before == b'"' && digits(0..4) && day[4] == b'-' && digits(5..7) && day[7] == b'-' && digits(8..10);
    is.then(|| text[at..at + 4].parse().ok()).flatten()
}
