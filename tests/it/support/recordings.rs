//! What a real Alyx 3.6.1 said (`fixtures/recordings.jsonl.zst`), and an upstream that says it again.
//!
//! A request is recognised by its method, its decoded path, its decoded parameters in the order of their names
//! (repeated ones in their own order), what its `Accept` asks for and who asks. Bodies carry links to
//! [`BASE`]; they leave with the base under which this upstream was asked, as Django does it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    io::Read,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use serde::{Deserialize, Deserializer};

use super::{
    Asked, Reply,
    upstream::Handler,
    users::{self, UNKNOWN_TOKEN},
};

/// The base URL in all recorded bodies.
pub const BASE: &str = "http://127.0.0.1:8010";

/// One request and its answer.
#[derive(Debug, Clone, Deserialize)]
pub struct Recording {
    pub id: String,
    pub method: String,
    pub path: String,
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    /// None: only its length and hash are known.
    pub body_text: Option<String>,
    pub body_len: Option<usize>,
    pub accept: Option<String>,
    /// None: the token of `oneuser`; `Some(None)`: no such header.
    #[serde(default, deserialize_with = "present")]
    pub authorization: Option<Option<String>>,
    pub request_headers: Option<BTreeMap<String, String>>,
    pub request_body: Option<String>,
    pub tags: Vec<String>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Recording {
    pub fn tagged(&self, tag: &str) -> bool {
        self.tags.iter().any(|t| t == tag)
    }

    /// What to send as `Authorization`.
    pub fn authorization(&self) -> Option<String> {
        self.authorization.clone().unwrap_or_else(|| Some(users::ONEUSER.authorization()))
    }

    /// What to send as `Accept`.
    pub fn accept(&self) -> &str {
        self.accept.as_deref().unwrap_or("application/json")
    }

    pub fn request_header(&self, name: &str) -> Option<&str> {
        let headers = self.request_headers.as_ref()?;
        headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn content_type(&self) -> &str {
        self.headers.get("content-type").map_or("", String::as_str)
    }

    pub fn is_json(&self) -> bool {
        let essence = self.content_type().split(';').next().unwrap_or_default().trim();
        essence == "application/json" || essence.ends_with("+json")
    }

    /// The body with its links on `base`. A body known by its hash only is made up, of the same kind and length.
    pub fn body(&self, base: &str) -> Bytes {
        match &self.body_text {
            Some(text) => Bytes::from(text.replace(BASE, base)),
            None => made_up(self.content_type(), self.body_len.expect("a length beside the hash")),
        }
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: String = self.path.chars().take(160).collect();
        write!(f, "{} {} {path}", self.id, self.method)?;
        if let Some(accept) = &self.accept {
            write!(f, " (Accept: {accept})")?;
        }
        if let Some(authorization) = &self.authorization {
            write!(f, " (Authorization: {authorization:?})")?;
        }
        Ok(())
    }
}

fn made_up(content_type: &str, len: usize) -> Bytes {
    if content_type.contains("json") {
        let (open, close) = (r#"{"title":""#, r#""}"#);
        let filling = "made up ".chars().cycle().take(len - open.len() - close.len());
        return Bytes::from([open, &filling.collect::<String>(), close].concat());
    }
    if content_type == "application/zip" {
        return super::lab::zip_of(0, len);
    }
    // No two stretches of it are equal, so that a wrong range shows.
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16).wrapping_mul(31)).to_le_bytes()[0]).collect()
}

/// All recordings, findable.
pub struct Recordings {
    all: Vec<Recording>,
    index: HashMap<Key, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    accept: Accept,
    who: Who,
    body: Bytes,
}

/// What an `Accept` asks for, as Alyx understands it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Accept {
    Json,
    Indented(String),
    OpenApi,
    CoreApi,
    Unsatisfiable,
}

/// Who asks, as far as Alyx's answer depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Who {
    User,
    /// The public user, who may only read.
    ReadOnly,
    Nobody,
    Unknown,
    NoToken,
    Spaces,
}

impl Recordings {
    /// Reads them; once for each test program.
    pub fn load() -> Arc<Self> {
        static ALL: LazyLock<Arc<Recordings>> = LazyLock::new(|| Arc::new(Recordings::read()));
        ALL.clone()
    }

    fn read() -> Self {
        let file = include_bytes!("../../fixtures/recordings.jsonl.zst");
        let mut text = String::new();
        zstd::Decoder::new(&file[..]).unwrap().read_to_string(&mut text).unwrap();
        let all: Vec<Recording> =
            text.lines().map(|line| serde_json::from_str(line).expect("a recording a line")).collect();
        let mut index = HashMap::new();
        for (i, recording) in all.iter().enumerate() {
            // Alyx answered these under other names of its host; their keys are those of plain requests.
            if recording.tagged("host") {
                continue;
            }
            let earlier: usize = *index.entry(Key::recorded(recording)).or_insert(i);
            let same = |r: &Recording| (r.status, r.body_text.clone(), r.body_len);
            assert_eq!(same(&all[earlier]), same(recording), "{} and {recording}: one key", all[earlier]);
        }
        Self { all, index }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Recording> {
        self.all.iter()
    }

    /// All GETs.
    pub fn gets(&self) -> Vec<&Recording> {
        self.iter().filter(|recording| recording.method == "GET").collect()
    }

    /// Groups of spellings of one question (`pair-equal`) or of two that look alike (`pair-differs`).
    pub fn pairs(&self, kind: &str) -> Vec<Vec<&Recording>> {
        let mut pairs: BTreeMap<&str, Vec<&Recording>> = BTreeMap::new();
        for recording in self.iter().filter(|recording| recording.tagged(kind)) {
            let tag = recording.tags.iter().find(|tag| tag.starts_with("encoding-pair:"));
            pairs.entry(tag.expect("a pair has a number")).or_default().push(recording);
        }
        pairs.into_values().collect()
    }

    /// What answers as it was recorded. What was not recorded is an unrouted URL to it.
    pub fn handler(self: &Arc<Self>) -> Handler {
        let recordings = self.clone();
        Arc::new(move |asked| match recordings.find(asked) {
            Some(recording) => {
                let body = recording.body(&asked.base());
                let mut reply = Reply { status: recording.status, headers: vec![], body };
                for (name, value) in recording.headers.iter().filter(|(name, _)| *name != "content-length") {
                    reply = reply.header(name, value);
                }
                reply
            }
            None => Reply::new(404, "text/html; charset=utf-8", "<!doctype html><title>Not recorded</title>"),
        })
    }

    /// The recording that answers this request.
    pub fn find(&self, asked: &Asked) -> Option<&Recording> {
        let key = Key::asked(asked);
        let found = self.index.get(&key).or_else(|| {
            // Nobody's permissions matter on the open paths, and HEAD is GET without its body.
            let open = ["/api/schema", "/docs/"].contains(&key.path.as_str()) && key.who == Who::Nobody;
            let who = if open { Who::User } else { key.who };
            let method = if key.method == "HEAD" { "GET".to_owned() } else { key.method.clone() };
            self.index.get(&Key { method, who, ..key.clone() })
        });
        found.map(|&i| &self.all[i])
    }
}

impl Key {
    fn recorded(recording: &Recording) -> Self {
        let target = recording.path.split('#').next().unwrap_or_default();
        Self::new(
            &recording.method,
            target,
            Accept::read(Some(recording.accept())),
            Who::read(&recording.method, recording.authorization().as_deref()),
            recording.request_body.clone().unwrap_or_default().into(),
        )
    }

    fn asked(asked: &Asked) -> Self {
        Self::new(
            &asked.method,
            &asked.target,
            Accept::read(asked.header("accept")),
            Who::read(&asked.method, asked.header("authorization")),
            asked.body.clone(),
        )
    }

    fn new(method: &str, target: &str, accept: Accept, who: Who, body: Bytes) -> Self {
        let asked = Asked {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: http::HeaderMap::new(),
            body: Bytes::new(),
        };
        let mut query = asked.query();
        query.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self { method: asked.method.clone(), path: asked.path(), query, accept, who, body }
    }
}

impl Accept {
    fn read(accept: Option<&str>) -> Self {
        let Some(accept) = accept else { return Self::Json };
        let named = |name: &str| accept.split(',').any(|range| range.trim().starts_with(name));
        match accept.split_once("indent=") {
            Some((_, indent)) => Self::Indented(indent.trim().to_owned()),
            None if named("application/json") || named("*/*") => Self::Json,
            None if named("application/vnd.oai.openapi+json") => Self::OpenApi,
            None if named("application/coreapi+json") => Self::CoreApi,
            None => Self::Unsatisfiable,
        }
    }
}

impl Who {
    fn read(method: &str, authorization: Option<&str>) -> Self {
        let Some(authorization) = authorization else { return Self::Nobody };
        let mut words = authorization.split_whitespace();
        match (words.next().map(str::to_ascii_lowercase).as_deref(), words.next(), words.next()) {
            (Some("token"), None, _) => Self::NoToken,
            (Some("token"), Some(_), Some(_)) => Self::Spaces,
            (Some("token"), Some(token), None) if token == users::PUBLIC.token && method != "GET" => {
                Self::ReadOnly
            }
            (Some("token"), Some(token), None) if users::ALL.iter().any(|user| user.token == token) => {
                Self::User
            }
            (Some("token"), Some(token), None) => {
                debug_assert!(token == UNKNOWN_TOKEN || !token.is_empty());
                Self::Unknown
            }
            _ => Self::Nobody,
        }
    }
}
