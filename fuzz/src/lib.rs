//! What is fuzzed: what reads texts of strangers and of Alyx. A target panics where a promise is broken.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a target says that a promise is broken")]

mod cost;
mod members;

pub use cost::cost;
pub use members::members;

use std::{io::Read, sync::LazyLock};

use alyx_proxy::{
    alyx::{
        Class, ENDPOINTS, Route, filterset,
        json::Scanner,
        links::{self, Base},
        pagination, query_string,
        route::classify,
    },
    auth::LoginForm,
    cache::{JsonVariant, Question},
    http::{Directives, RequestedRange, ResponseControl, Validators, names, parse_date, selecting, wanted},
    snapshot::{Archive, check},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("pairs", pairs),
    ("key", key),
    ("links", links),
    ("control", control),
    ("login", login),
    ("snapshot", snapshot),
    ("members", members),
    ("cost", cost),
];

/// `Cache-Control` of requests and responses, dates, ranges, conditions: never panics, and nothing that a text adds makes a
/// response fresher or freer than it is without.
pub fn control(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let targeted = HeaderMap::from_iter([(HeaderName::from_static("cdn-cache-control"), value.clone())]);
    let _ = ResponseControl::of(&targeted);
    let mut headers = HeaderMap::from_iter([(header::CACHE_CONTROL, value.clone())]);
    let _ = Directives::of(&headers);
    // A quote that is not closed takes what follows on its own line only: each line is read for itself.
    headers.append(header::CACHE_CONTROL, HeaderValue::from_static("no-store, max-age=1"));
    let more = ResponseControl::of(&headers);
    assert!(more.no_store && more.max_age.is_some_and(|age| age.as_secs() <= 1), "{value:?}");
    if let Ok(text) = value.to_str() {
        if let Some(at) = parse_date(text) {
            assert!(at >= 0, "{text}");
        }
        let request =
            HeaderMap::from_iter([(header::RANGE, value.clone()), (header::IF_NONE_MATCH, value.clone())]);
        let tag = HeaderValue::from_static("\"a\"");
        let version = Validators { tag: Some(&tag), modified: None };
        for length in [0, 1, 10, u64::MAX] {
            if let RequestedRange::Part { start, end } = wanted(&request, version, length) {
                assert!(start <= end && end < length, "{text} of {length}");
            }
        }
        let _ = names(&request, &tag);
        let _ = selecting(&HeaderMap::from_iter([(header::VARY, value.clone())]), &request);
    }
}

/// A log-in in each form that Alyx takes: never panics, and finds nothing that is not there.
pub fn login(data: &[u8]) {
    static RUNTIME: LazyLock<tokio::runtime::Runtime> =
        LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));
    // Lines of the corpus can't hold line breaks.
    let text = String::from_utf8_lossy(data).replace("\\r\\n", "\r\n");
    let body = Bytes::from(text.clone().into_bytes());
    for kind in
        ["multipart/form-data; boundary=b", "application/json", "application/x-www-form-urlencoded", ""]
    {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
        let given = RUNTIME.block_on(LoginForm::read(&headers, &body));
        if kind.starts_with("multipart") {
            for value in [given.user.as_deref(), given.password.as_ref().map(|password| password.as_str())] {
                assert!(value.is_none_or(|value| text.contains(value)), "{text}");
            }
        }
    }
}

/// A snapshot in which some bytes are others, under a right checksum: it is read or refused, never a panic, and never longer
/// than it says.
pub fn snapshot(data: &[u8]) {
    let mut tar = TAR.clone();
    for edit in data.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % tar.len();
        tar[at] = edit[2];
    }
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), closed(&tar)).expect("a file");
    if let Ok(archive) = Archive::open(file.path(), &|_| {}) {
        let _ = check(&archive, &|_| {});
    }
}

/// A snapshot to begin with.
static TAR: LazyLock<Vec<u8>> =
    LazyLock::new(|| zstd::decode_all(&include_bytes!("../base.tar.zst")[..]).expect("the snapshot beside"));

/// An archive, packed, with a right checksum behind it.
fn closed(tar: &[u8]) -> Vec<u8> {
    let mut packed = zstd::bulk::compress(tar, 1).expect("it is packed");
    let checksum = blake3::hash(&packed);
    packed.extend([0x5D, 0x2A, 0x4D, 0x18, 40, 0, 0, 0]);
    packed.extend(b"ALYXSNAP");
    packed.extend(checksum.as_bytes());
    packed
}

/// The members of an archive.
fn members_of(tar: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("a member");
        let name = entry.path().expect("a name").to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("a member");
        (name, bytes)
    });
    entries.collect()
}

/// `django=` over the models of every endpoint, and the filters of JSON columns: never panics. A path that
/// asks for a secret is seen as such, however it is written.
pub fn pairs(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for endpoint in ENDPOINTS {
        let read = filterset::check_pairs(endpoint, &text);
        if endpoint.filter("django").is_none() {
            continue;
        }
        let pairs = vec![("django".to_owned(), text.clone().into_owned())];
        if read.is_ok() {
            let secret =
                text.split([',', '~']).any(|field| field.split("__").any(|name| name == "auth_token"));
            assert!(
                !secret || filterset::secret(endpoint, &pairs).is_some(),
                "a secret was not seen: {text}"
            );
        }
    }
}

/// The canonical key of a read: the same for the question and for its canonical spelling.
pub fn key(data: &[u8]) {
    let Ok(uri) = Uri::try_from(data) else { return };
    if uri.scheme().is_some() || !uri.path().starts_with('/') {
        return;
    }
    let question = question(&uri);
    // Of a `limit` or `offset` that Python may read in another way each spelling is a question of its own.
    if !pagination::is_plain(&question.pairs) {
        return;
    }
    let query = query_string::encode_sorted(&question.pairs);
    let spelled = if query.is_empty() { question.path.clone() } else { format!("{}?{query}", question.path) };
    // An encoded text may be longer than an address can be.
    let Ok(spelled) = spelled.parse() else { return };
    let again = self::question(&spelled);
    assert_eq!(question.key, again.key, "{uri} and {spelled}");
    assert_eq!(question.family, again.family, "{uri} and {spelled}");
    assert_eq!(question.window, again.window, "{uri} and {spelled}");
}

fn question(uri: &Uri) -> Question {
    let segments = query_string::segments(uri.path());
    let route: Route = classify(&segments.iter().map(String::as_str).collect::<Vec<_>>());
    Question::new(route, Class::Records, uri, &JsonVariant("json".to_owned()), None)
}

/// Links in bodies: they move there and back without a change, and what was JSON stays JSON.
pub fn links(data: &[u8]) {
    const FROM: &str = "http://alyx";
    const TO: &str = "https://lab:8040";
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(found) = links::find(text, &Base::new(FROM)) else { return };
    let bases: Vec<&str> = found.iter().map(|link| &text[link.at..link.at + link.len]).collect();
    let body = Bytes::copy_from_slice(data);
    let moved = links::move_to(&body, &found, TO);
    let moved_text = std::str::from_utf8(&moved).expect("bases are text");
    assert_eq!(tokens(text), tokens(moved_text), "{text}");
    let there = links::find(moved_text, &Base::new(TO)).expect("it was JSON before");
    assert!(there.len() >= found.len(), "{text}");
    // Without links to the new base before, all that is found was moved, and moves back.
    if there.len() == found.len() && bases.iter().all(|base| *base == FROM) {
        assert_eq!(links::move_to(&moved, &there, FROM), body);
    }
}

/// How many tokens a JSON text has; none where it is not JSON.
fn tokens(text: &str) -> Option<usize> {
    let mut scanner = Scanner::new(text);
    let mut count = 0;
    loop {
        match scanner.token() {
            Ok(Some(_)) => count += 1,
            Ok(None) => return Some(count),
            Err(_) => return None,
        }
    }
}
