//! Snapshots as common tools see them, and as somebody would make them who means ill: members of one's own choosing under a
//! checksum that is right.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    time::SystemTime,
};

use serde_json::{Value, json};

/// The members of a snapshot: names and bytes.
pub type Members = Vec<(String, Vec<u8>)>;

/// The members of a snapshot, as common tools see them.
pub fn members(file: &Path) -> Members {
    let mut archive = tar::Archive::new(zstd::Decoder::new(fs::File::open(file).unwrap()).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (name, bytes)
    });
    entries.collect()
}

/// A snapshot with these members and a checksum that is right; nobody has signed it.
pub fn packed(members: &[(String, Vec<u8>)], kind: tar::EntryType) -> Vec<u8> {
    let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), 3).unwrap());
    for (number, (name, bytes)) in members.iter().enumerate() {
        let kind = if number + 1 == members.len() { kind } else { tar::EntryType::Regular };
        tar.append(&header(name, bytes.len(), kind), bytes.as_slice()).unwrap();
    }
    closed(tar.into_inner().unwrap().finish().unwrap())
}

/// The head of a member, as somebody would write it who means ill: the crate itself refuses such names.
pub fn header(name: &str, size: usize, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(size as u64);
    header.set_entry_type(kind);
    header.set_cksum();
    header
}

/// An archive with the checksum behind it.
pub fn closed(mut archive: Vec<u8>) -> Vec<u8> {
    let checksum = blake3::hash(&archive);
    archive.write_all(&[0x5D, 0x2A, 0x4D, 0x18, 40, 0, 0, 0]).unwrap();
    archive.write_all(b"ALYXSNAP").unwrap();
    archive.write_all(checksum.as_bytes()).unwrap();
    archive
}

/// Milliseconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

/// A snapshot of an Alyx that somebody has made up.
pub struct Forged {
    pub manifest: Value,
    pub marks: String,
    /// Heads of tables without records, by endpoint.
    pub tables: Vec<(&'static str, Value)>,
    pub answers: Vec<Value>,
    /// Heads of kept files, and their pieces.
    pub files: Vec<(Value, Vec<Vec<u8>>)>,
}

impl Forged {
    pub fn of(upstream: &str) -> Self {
        let at = now() - 1_000;
        let manifest = json!({
            "format": "alyx-proxy snapshot", "form": 1, "name": "a gift", "created_at": at, "as_of": at,
            "upstream": upstream, "time_zone": "UTC", "program": "0.1.0", "choice": {},
        });
        Self { manifest, marks: String::new(), tables: vec![], answers: vec![], files: vec![] }
    }

    /// An answer that came a moment ago.
    #[must_use]
    pub fn answer(mut self, path: &str, query: &str, headers: &Value, body: &str) -> Self {
        let at = now() - 1_000;
        self.answers.push(json!({
            "path": path, "query": query, "media": "json", "status": 200, "headers": headers,
            "asked_at": at - 5, "received_at": at, "body": body,
        }));
        self
    }

    /// An empty table that was synchronised a moment ago.
    #[must_use]
    pub fn table(mut self, endpoint: &'static str) -> Self {
        let at = now() - 1_000;
        let head = json!({
            "synced_at": at, "listed_at": at, "low": (at - 60_000) * 1000, "seen": (at - 60_000) * 1000,
            "seen_at": at, "scope": [], "distrusted": [], "due": [],
        });
        self.tables.push((endpoint, head));
        self
    }

    /// A file that was fetched a moment ago.
    #[must_use]
    pub fn file(mut self, pieces: Vec<Vec<u8>>) -> Self {
        let at = now() - 1_000;
        let length: usize = pieces.iter().map(Vec::len).sum();
        let head = json!({
            "tag": "", "headers": [["content-type", "application/zip"]], "length": length, "info": null,
            "asked_at": at - 5, "received_at": at,
        });
        self.files.push((head, pieces));
        self
    }

    pub fn members(&self) -> Members {
        let json = |name: &str, value: &Value| (name.to_owned(), value.to_string().into_bytes());
        let mut members = vec![json("manifest.json", &self.manifest)];
        members.push(("marks.jsonl".to_owned(), self.marks.clone().into_bytes()));
        let mut contents = json!({
            "tables": {}, "answers": {}, "files": {}, "blanked": {}, "secrets_marked": true,
            "for_single_users": 0, "of_unknown_form": 0, "damaged": 0, "left_out": {},
        });
        for (endpoint, head) in &self.tables {
            members.push(json(&format!("mirror/{endpoint}/table.json"), head));
            contents["tables"][endpoint] =
                json!({ "records": 0, "synced_at": head["synced_at"], "scope": head["scope"] });
        }
        let mut lines = String::new();
        for answer in &self.answers {
            lines.push_str(&answer.to_string());
            lines.push('\n');
            let path = answer["path"].as_str().unwrap();
            let name = match path {
                "/api/schema" => "api/schema",
                path if path.starts_with("/cache/info") => "cache/info",
                path => path.split('/').nth(1).unwrap(),
            };
            let count = contents["answers"][name].as_u64().unwrap_or(0);
            contents["answers"][name] = json!(count + 1);
        }
        if !lines.is_empty() {
            members.push(("answers/000001.jsonl".to_owned(), lines.into_bytes()));
        }
        for (number, (head, pieces)) in (1..).zip(&self.files) {
            members.push(json(&format!("files/{number:06}/file.json"), head));
            for (part, piece) in (1..).zip(pieces) {
                members.push((format!("files/{number:06}/{part:06}.part"), piece.clone()));
            }
            contents["files"][head["tag"].as_str().unwrap()] = head["length"].clone();
        }
        members.push(json("contents.json", &contents));
        members
    }

    /// Writes it.
    pub fn write(&self, file: &Path) {
        fs::write(file, packed(&self.members(), tar::EntryType::Regular)).unwrap();
    }
}
