//! Snapshots with a right checksum whose members somebody has written: some altered, doubled, moved or blown up.

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock, Mutex},
};

use alyx_proxy::{
    alyx::invalidates::Scope,
    cache::ResponseCache,
    clock::{self, Clock, Millis, SystemClock},
    mirror::Mirror,
    settings::Settings,
    snapshot::{Archive, FileHead, FileSink, ImportBudget, Importing, SnapshotError, check, import},
    storage::seal::SecretSeal,
    store::Store,
};
use tokio::runtime::Runtime;

const UPSTREAM: &str = "http://127.0.0.1:9";
const MIB: u64 = 1 << 20;
const BUDGET: ImportBudget = ImportBudget { max_file: 4 * MIB, max_disk: 6 * MIB, free: Some(64 * MIB) };
/// More make the input slow, and say nothing more.
const MOST_EDITS: usize = 24;
/// No time that came with a snapshot is later than now by more: a minute, and what the work takes.
const AHEAD: Millis = 61_000;

const NUMBERS: [&str; 10] = [
    "9223372036854775807",
    "-9223372036854775808",
    "9000000000000000000",
    "4102444800000",
    "18446744073709551615",
    "-1",
    "0",
    "1e999",
    "\"1\"",
    "null",
];
const PIECES: [&str; 12] = [
    "\n",
    "\0",
    "\",\"",
    "\\",
    "[[\"set-cookie\",\"a=b\"]],",
    "text/html",
    "http://169.254.169.254/",
    "{\"location\":\"http://127.0.0.1:1/\"}",
    "é",
    "../",
    "PK\u{5}\u{6}",
    "[\"everything\",1]\n",
];

type Members = Vec<(String, Vec<u8>)>;

/// A table, answers and a file, as a proxy would write them.
static BASE: LazyLock<Members> = LazyLock::new(|| {
    let at = clock::now() - 10_000;
    let mut members: Members = crate::members_of(&crate::TAR);
    let contents = members.pop();
    for (_, bytes) in &mut members {
        // Times of just now, as the base grows old.
        let text = String::from_utf8_lossy(bytes).replace("17957", "16957");
        *bytes = text.into_bytes();
    }
    let head = format!(
        "{{\"synced_at\":{at},\"listed_at\":{at},\"low\":{0},\"seen\":{0},\"seen_at\":{at},\"scope\":[],\
         \"distrusted\":[],\"due\":[[1,true]]}}",
        (at - 60_000) * 1000
    );
    let tags: String = (1..4)
        .map(|n| {
            let id = format!("0781345{n}-f550-4862-ac5c-8eb5e0a962f3");
            let tag =
                format!(r#"{{\"id\":\"{id}\",\"name\":\"t{n}\",\"protected\":false,\"public\":false}}"#);
            format!("{{\"n\":{n},\"list\":\"{tag}\"}}\n")
        })
        .collect();
    let own = |name: &str, text: String| (name.to_owned(), text.into_bytes());
    let table = [own("mirror/tags/table.json", head), own("mirror/tags/000001.jsonl", tags)];
    members.splice(2..2, table);
    let zip = [&b"PK\x05\x06"[..], &[0; 18]].concat();
    let file = format!(
        "{{\"tag\":\"\",\"headers\":[[\"content-type\",\"application/zip\"]],\"length\":{},\"info\":null,\
         \"asked_at\":{at},\"received_at\":{at}}}",
        zip.len()
    );
    members.push(own("files/000001/file.json", file));
    members.push(("files/000001/000001.part".to_owned(), zip));
    members.extend(contents);
    members
});

/// Where sound ones go.
struct Here {
    runtime: Runtime,
    answers: ResponseCache,
    mirror: Arc<Mirror>,
    folder: tempfile::TempDir,
}

static HERE: LazyLock<Mutex<Here>> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(Store::open(folder.path()).expect("a store"));
    let mut settings = Settings::default();
    settings.storage.max_disk = "8 MiB".parse().expect("a size");
    let seal = Arc::new(SecretSeal::new(&[1; 32], [2; 32]));
    let opening = ResponseCache::open(store, UPSTREAM, &settings, Arc::new(SystemClock), seal);
    let answers = runtime.block_on(opening).expect("a cache");
    let mirror = Mirror::open(folder.path()).expect("a mirror");
    Mutex::new(Here { runtime, answers, mirror, folder })
});

struct Files(PathBuf);

impl FileSink for Files {
    fn place(&self) -> PathBuf {
        self.0.join("arriving")
    }

    fn keep(&self, head: FileHead, path: PathBuf) -> Result<bool, SnapshotError> {
        let length = std::fs::metadata(&path).expect("it is there").len();
        assert!(length == head.length && length <= BUDGET.max_file, "{length} of {}", head.length);
        let bytes = std::fs::read(&path).expect("it is there");
        assert!(bytes.starts_with(b"PK"), "it is a zip");
        std::fs::remove_file(&path).expect("it is there");
        Ok(false)
    }
}

/// Whatever its members say under a right checksum, a snapshot is refused or taken within its budget, and nothing that came
/// with it is of the future.
pub fn members(data: &[u8]) {
    let mut members = BASE.clone();
    let mut own_contents = false;
    for edit in data.chunks_exact(6).take(MOST_EDITS) {
        own_contents |= altered(&mut members, edit);
    }
    if !own_contents {
        retell(&mut members);
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), crate::closed(&tar_of(&members))).expect("a file");
    let Ok(archive) = Archive::open(file.path(), &|_| {}) else { return };
    let Ok(contents) = check(&archive, &|_| {}) else { return };
    if BUDGET.check(&archive, &contents).is_err() {
        return;
    }
    let here = HERE.lock().expect("no other has panicked");
    let files = Files(here.folder.path().to_owned());
    let into = Importing {
        answers: &here.answers,
        mirror: Some(here.mirror.clone()),
        files: &files,
        upstream: UPSTREAM,
        runtime: here.runtime.handle().clone(),
    };
    let _ = import(&archive, &contents, &into, &|_| {});
    let latest = clock::now() + AHEAD;
    assert!(SystemClock.stamp() <= latest, "stamps are of now");
    assert!(here.answers.marked_at(&Scope::Everything) <= latest, "so are marks");
    for (endpoint, table) in here.mirror.states().iter() {
        assert!(table.synced_at <= latest, "/{endpoint}");
    }
    assert!(here.answers.usage().bytes <= 8 * MIB, "the disk keeps its limit");
    assert!(archive.signature.is_none(), "nobody has signed it");
}

/// Alters one member, or their order; whether it was the last, which says what there is.
fn altered(members: &mut Members, edit: &[u8]) -> bool {
    let count = members.len();
    let which = usize::from(edit[0]) % count;
    let bytes = &mut members[which].1;
    let at = usize::from(u16::from_be_bytes([edit[2], edit[3]])) % (bytes.len() + 1);
    let (length, what) = (usize::from(edit[4]), usize::from(edit[5]));
    match edit[1] % 8 {
        0 if at < bytes.len() => bytes[at] = edit[5],
        1 => drop(bytes.splice(at..at, PIECES[what % PIECES.len()].bytes())),
        2 => drop(bytes.drain(at..(at + length).min(bytes.len()))),
        3 => {
            let line = bytes.split_inclusive(|byte| *byte == b'\n').nth(length % 4).map(<[u8]>::to_vec);
            bytes.extend(line.unwrap_or_default());
        }
        4 => {
            let digit = |byte: &u8| byte.is_ascii_digit();
            let Some(start) = bytes[at..].iter().position(digit).map(|start| at + start) else {
                return false;
            };
            let end =
                bytes[start..].iter().position(|byte| !digit(byte)).map_or(bytes.len(), |end| start + end);
            bytes.splice(start..end, NUMBERS[what % NUMBERS.len()].bytes());
        }
        5 => members.swap(which, what % count),
        6 => {
            let again = members[which].clone();
            members.insert(what % count, again);
        }
        _ => {
            let piece = PIECES[what % PIECES.len()].repeat(length << 6);
            bytes.splice(at..at, piece.into_bytes());
        }
    }
    which + 1 == count
}

/// Has the last member say what there is, as far as that can be read: what is wrong elsewhere is reached then.
fn retell(members: &mut Members) {
    let text = |bytes: &[u8], field: &str| -> Option<String> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let rest = text.split_once(&format!("\"{field}\":"))?.1;
        let end = rest.find([',', '}']).unwrap_or(rest.len());
        Some(rest[..end].to_owned())
    };
    let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    let (mut synced_at, mut records, mut answers, mut files) = (None, 0, [0; 3], Vec::new());
    for (name, bytes) in members.iter() {
        match name.as_str() {
            "mirror/tags/table.json" => synced_at = text(bytes, "synced_at"),
            "mirror/tags/000001.jsonl" => records = lines(bytes),
            "files/000001/file.json" => files.extend(text(bytes, "length")),
            name if name.starts_with("answers/") => {
                let all = String::from_utf8_lossy(bytes);
                for (path, count) in ["/labs", "/sessions", "/subjects"].iter().zip(&mut answers) {
                    *count = all.matches(&format!("{{\"path\":\"{path}")).count();
                }
            }
            _ => {}
        }
    }
    let tables = synced_at.map_or_else(String::new, |at| {
        format!("\"tags\":{{\"records\":{records},\"synced_at\":{at},\"scope\":[]}}")
    });
    let answers: Vec<String> = ["labs", "sessions", "subjects"]
        .iter()
        .zip(answers)
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("\"{name}\":{count}"))
        .collect();
    let files: Vec<String> = files.iter().map(|length| format!("\"\":{length}")).collect();
    let contents = format!(
        "{{\"tables\":{{{tables}}},\"answers\":{{{}}},\"files\":{{{}}},\"blanked\":{{}},\"secrets_marked\":true,\
         \"for_single_users\":0,\"of_unknown_form\":0,\"damaged\":0,\"left_out\":{{}}}}",
        answers.join(","),
        files.join(",")
    );
    if let Some((_, bytes)) = members.iter_mut().find(|(name, _)| name == "contents.json") {
        *bytes = contents.into_bytes();
    }
}

fn tar_of(members: &Members) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).expect("names are short");
        header.set_size(bytes.len() as u64);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        tar.append(&header, bytes.as_slice()).expect("it is written");
    }
    tar.into_inner().expect("it is written")
}
