//! Snapshots with one member altered, under a checksum that is right.

use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};

use crate::support::{
    Proxy, command,
    snapshots::{Members, members, packed},
};

/// What stands in a member in place of something else.
const TEXTS: &[&str] = &[
    "null",
    "-1",
    "0",
    "9223372036854775807",
    "1e999",
    "\"\"",
    "[]",
    "{}",
    "\"\\u0000\"",
    "true",
    "4102444800000",
    "\"../x\"",
];

/// A sound snapshot of some of what a proxy knows.
pub(super) struct Gift(Members);

impl Gift {
    pub(super) fn of(proxy: &Proxy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gift.tar.zst");
        let more = ["--endpoint", "labs", "--endpoint", "projects", "--endpoint", "subjects"];
        let path = [file.to_str().unwrap()];
        command::done(&command::run_for(proxy, &[&["export"][..], &path, &more].concat()));
        Self(members(&file))
    }

    /// It with one member altered.
    pub(super) fn altered(&self, random: &mut StdRng) -> Vec<u8> {
        let mut members = self.0.clone();
        let at = random.random_range(0..members.len());
        match random.random_range(0..10) {
            0 => drop(members.remove(at)),
            1 => members.push(members[at].clone()),
            2 => {
                members[at].0 =
                    ["manifest.json", "../x", "answers/000001.jsonl", "mirror/labs/000009.jsonl", "/x"]
                        .choose(random)
                        .map(|name| (*name).to_owned())
                        .unwrap();
            }
            3..6 => bytes(random, &mut members[at].1),
            _ => value(random, &mut members[at].1),
        }
        packed(&members, tar::EntryType::Regular)
    }
}

/// Some bytes are others, or the end is missing, or there is more of it.
fn bytes(random: &mut StdRng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        bytes.extend(b"[");
        return;
    }
    let at = random.random_range(0..bytes.len());
    match random.random_range(0..3) {
        0 => bytes[at] = random.random(),
        1 => bytes.truncate(at),
        _ => {
            let again = bytes[at..].to_vec();
            bytes.extend(again);
        }
    }
}

/// A value of its JSON is another one.
fn value(random: &mut StdRng, bytes: &mut Vec<u8>) {
    let starts: Vec<usize> = (0..bytes.len())
        .filter(|at| bytes[*at] == b':' || bytes[*at] == b',' || bytes[*at] == b'[')
        .collect();
    let Some(start) = starts.choose(random).map(|at| at + 1) else { return };
    let length = bytes[start..].iter().position(|byte| matches!(byte, b',' | b'}' | b']' | b'\n'));
    let end = start + length.unwrap_or(bytes.len() - start);
    let text = TEXTS.choose(random).unwrap();
    bytes.splice(start..end, text.bytes());
}
