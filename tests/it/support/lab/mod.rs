//! A very small Alyx whose data change on command, so that a test sees of which time an answer is.
//!
//! Its statuses, bodies and headers are those of the recordings; what it knows is only what the tests about the
//! proxy need: a few lists and records, users whose tokens can be revoked, and what isn't REST. Every record
//! carries the `version` of the data at the time of the answer.

mod log_in;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures_util::FutureExt;
use serde_json::{Value, json};

use super::{Asked, Reply, Upstream, users};

/// How many sessions there are.
pub const SESSIONS: usize = 7;
/// What `/cache.zip` is.
pub const ZIP_LEN: usize = 100_000;
/// Text in a record's own `json` that looks like a link and isn't one: `{base}` is this upstream's base.
pub const LOOKALIKE: &str = "see {base}/sessions?limit=1 \"next\":\"{base}/x\"";

/// Endpoints other than `sessions` and `users`, each with two records; and the key of the first one.
pub const TABLES: &[(&str, &str)] = &[
    ("brain-regions", "1"),
    ("channels", UUID),
    ("chronic-insertions", UUID),
    ("data-formats", "one"),
    ("data-notices", UUID),
    ("data-repository", "one"),
    ("data-repository-type", "one"),
    ("dataset-types", "one"),
    ("datasets", UUID),
    ("downloads", UUID),
    ("fields-of-view", UUID),
    ("files", UUID),
    ("fov-location", UUID),
    ("imaging-stack", UUID),
    ("insertions", UUID),
    ("labs", "one"),
    ("locations", "one"),
    ("notes", UUID),
    ("projects", "one"),
    ("revisions", "one"),
    ("subjects", "one"),
    ("surgeries", UUID),
    ("tags", "one"),
    ("tasks", UUID),
    ("trajectories", UUID),
    ("water-administrations", UUID),
    ("water-type", "one"),
    ("weighings", UUID),
];
/// Lists without details.
pub const LISTS: &[&str] = &["procedures", "water-restricted-subjects", "water-restriction"];
const UUID: &str = "00000000-0000-4000-8000-00000000000a";

const VARY: &str = "Accept, Cookie";

/// The data, and the upstream that serves them.
pub struct Lab {
    pub upstream: Upstream,
    data: Arc<Data>,
}

struct Data {
    version: AtomicUsize,
    revoked: Mutex<Vec<String>>,
    /// What it says to everybody, in seconds, instead of answering.
    throttle: Mutex<Option<u64>>,
    /// Sent as `Vary` instead of Alyx's own.
    vary: Mutex<Option<String>>,
}

impl Lab {
    pub async fn open() -> Self {
        let data = Arc::new(Data {
            version: AtomicUsize::new(1),
            revoked: Mutex::default(),
            throttle: Mutex::default(),
            vary: Mutex::default(),
        });
        let answering = data.clone();
        let upstream = Upstream::start(Arc::new(move |asked| answering.answer(asked))).await;
        Self { upstream, data }
    }

    pub fn url(&self) -> String {
        self.upstream.url()
    }

    /// Changes all records: their `version` is another from now on.
    pub fn renew(&self) -> usize {
        self.handle().renew()
    }

    /// The data alone, for a task that changes them.
    pub fn handle(&self) -> Handle {
        Handle(self.data.clone())
    }

    /// Deletes a user's token.
    pub fn revoke(&self, user: users::User) {
        self.data.revoked.lock().unwrap().push(user.token.to_owned());
    }

    /// Answers everybody with 429 from now on, or no longer.
    pub fn throttle(&self, seconds: Option<u64>) {
        *self.data.throttle.lock().unwrap() = seconds;
    }

    /// Sends this as `Vary` from now on, instead of Alyx's own.
    pub fn vary(&self, vary: &str) {
        *self.data.vary.lock().unwrap() = Some(vary.to_owned());
    }

    pub fn count(&self, path: &str) -> usize {
        self.upstream.count(path)
    }

    /// How often anything was asked whose path begins so.
    pub fn count_below(&self, path: &str) -> usize {
        self.upstream.asked().iter().filter(|asked| asked.path().starts_with(path)).count()
    }
}

/// A lab's data.
pub struct Handle(Arc<Data>);

impl Handle {
    /// As [`Lab::renew`].
    pub fn renew(&self) -> usize {
        self.0.version.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// The primary key of the nth session.
pub fn session_id(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// What `/cache.zip` holds in a version.
pub fn zip(version: usize) -> Bytes {
    zip_of(version, ZIP_LEN)
}

/// What a zip begins and ends with; no two stretches of what is between are equal, so that a wrong range shows.
pub fn zip_of(version: usize, len: usize) -> Bytes {
    let (begin, end) = (b"PK\x03\x04", [&b"PK\x05\x06"[..], &[0; 18]].concat());
    let middle = begin.len()..len - end.len();
    let middle = middle.map(|i| ((i ^ (i >> 8) ^ (i >> 16).wrapping_mul(31)) + version).to_le_bytes()[0]);
    begin.iter().copied().chain(middle).chain(end).collect()
}

/// The `version` in a record, or in the first one of a list.
pub fn version(body: &Value) -> usize {
    let record = body.pointer("/results/0").unwrap_or(body);
    usize::try_from(record["version"].as_u64().unwrap_or_else(|| panic!("no version in {body}"))).unwrap()
}

impl Data {
    fn answer(&self, asked: &Asked) -> Reply {
        let path = asked.path();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let open = matches!(
            segments[..],
            ["auth-token" | "check-protected" | "docs" | "admin" | "static" | "", ..] | ["api", "schema"]
        );
        let user = match self.authenticate(asked) {
            Ok(user) => user,
            // Paths that Django itself answers don't look at tokens.
            Err(_) if matches!(segments[..], ["admin" | "static" | "", ..]) => None,
            Err(detail) => return refuse(403, detail),
        };
        if user.is_none() && !open {
            return refuse(403, "Authentication credentials were not provided.");
        }
        if user.is_some_and(|user| user == users::PUBLIC) && asked.method != "GET" {
            return refuse(403, "You do not have permission to perform this action.");
        }
        let throttle = *self.throttle.lock().unwrap();
        if let Some(seconds) = throttle.filter(|_| segments != ["auth-token"]) {
            let detail = format!("Request was throttled. Expected available in {seconds} seconds.");
            return refuse(429, &detail).header("retry-after", &seconds.to_string());
        }
        match (asked.method.as_str(), &segments[..]) {
            ("POST", ["auth-token"]) => log_in::answer(asked),
            (_, ["auth-token"]) => refuse(405, &format!("Method \"{}\" not allowed.", asked.method)),
            ("GET" | "HEAD", _) => self.read(asked, &segments, user),
            ("POST", ["admin", ..]) if asked.parameter("as").is_some() => {
                Reply::new(302, "text/html", "").header("location", &format!("/admin/login/?next={path}"))
            }
            _ => echo(asked),
        }
    }

    fn authenticate(&self, asked: &Asked) -> Result<Option<users::User>, &'static str> {
        let mut words = asked.header("authorization").unwrap_or_default().split_whitespace();
        if !words.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("token")) {
            return Ok(None);
        }
        let Some(token) = words.next() else { return Err("Invalid token header. No credentials provided.") };
        if words.next().is_some() {
            return Err("Invalid token header. Token string should not contain spaces.");
        }
        let revoked = self.revoked.lock().unwrap().iter().any(|t| t == token);
        let user = users::ALL.into_iter().find(|user| user.token == token).filter(|_| !revoked);
        user.map(Some).ok_or("Invalid token.")
    }

    fn read(&self, asked: &Asked, segments: &[&str], user: Option<users::User>) -> Reply {
        let version = self.version.load(Ordering::SeqCst);
        let base = asked.base();
        let record = |name: &str| json!({"name": name, "version": version});
        let reply = match segments {
            ["sessions"] if asked.parameter("number").is_some_and(|n| n.parse::<f64>().is_err()) => {
                json_reply(400, &json!({"number": ["Enter a number."], "status_code": 400}))
            }
            [_] if asked.parameter("name").as_deref() == Some("nobody") => list(asked, Vec::new()),
            ["sessions"] => list(asked, (0..SESSIONS).map(|n| session(&base, n, version)).collect()),
            ["sessions", id] if id.len() != 36 => return not_found(),
            ["sessions", id] => match (0..SESSIONS).find(|n| session_id(*n) == *id) {
                Some(n) => json_reply(200, &session(&base, n, version)),
                None => refuse(404, "No Session matches the given query."),
            },
            ["subjects", "dup_mouse"] => {
                let detail = "get() returned more than one Subject -- it returned 2!";
                json_reply(500, &json!({"status_code": 500, "detail": detail}))
            }
            [name] if LISTS.contains(name) || TABLES.iter().any(|(table, _)| table == name) => {
                list(asked, vec![record("one"), record("two")])
            }
            [name, key] if *name == "water-requirement" || TABLES.iter().any(|(table, _)| table == name) => {
                json_reply(200, &record(key))
            }
            ["users"] => list(asked, vec![json!({"username": user.unwrap().name, "version": version})]),
            ["users", name] => json_reply(
                200,
                &json!({"username": name, "asked_by": user.unwrap().name, "version": version}),
            ),
            ["me"] => json_reply(200, &json!({"username": user.unwrap().name, "version": version})),
            ["check-protected"] => {
                let body = String::from_utf8_lossy(&asked.body).into_owned();
                json_reply(
                    200,
                    &json!({"status_code": 200, "details": "None of the datasets are protected", "asked": body}),
                )
            }
            ["api", "schema"] => json_reply(200, &json!({"openapi": "3.0.3", "version": version})),
            ["cache", "info"] => {
                return Reply::new(301, "text/html; charset=utf-8", "").header("location", "/cache/info/");
            }
            ["cache", "info", ""] => json_reply(
                200,
                &json!({"date_created": "2026-11-23 06:00", "origin": "lab", "min_api_version": "2.10", "location": format!("{base}/cache.zip"), "version": version}),
            ),
            ["cache.zip"] => Reply::new(200, "application/zip", zip(version))
                .header("content-disposition", "inline; filename=\"cache.zip\""),
            ["admin", ""] => Reply::new(302, "text/html; charset=utf-8", "")
                .header("location", &format!("{base}/admin/login/?next=/admin/"))
                .header("set-cookie", "csrftoken=c1; Path=/; SameSite=Lax")
                .header("set-cookie", "sessionid=s1; HttpOnly; Path=/"),
            ["admin", ..] => {
                let cookie = asked.header("cookie").unwrap_or("none");
                Reply::new(
                    200,
                    "text/html; charset=utf-8",
                    format!("<html>cookies: {cookie}; version {version}</html>"),
                )
            }
            ["static", name] => Reply::new(200, "text/css", format!("/* {name} version {version} */")),
            _ => return not_found(),
        };
        let vary = self.vary.lock().unwrap().clone().unwrap_or_else(|| VARY.to_owned());
        reply.header("allow", "GET, POST, HEAD, OPTIONS").header("vary", &vary)
    }
}

fn session(base: &str, n: usize, version: usize) -> Value {
    let id = session_id(n);
    json!({
        "id": id,
        "subject": "KS004",
        "url": format!("{base}/sessions/{id}"),
        "version": version,
        "json": {"note": LOOKALIKE.replace("{base}", base), "url": format!("{base}/sessions/{id}")},
    })
}

/// A page of a list, with links as Django REST framework builds them (ALYX.md 2.1).
fn list(asked: &Asked, records: Vec<Value>) -> Reply {
    let number = |name: &str| asked.parameter(name).and_then(|v| v.parse::<usize>().ok());
    let limit = number("limit").filter(|limit| *limit > 0).unwrap_or(250);
    let offset = number("offset").unwrap_or(0);
    let link = |offset: usize| {
        let mut query: Vec<_> =
            asked.query().into_iter().filter(|(name, _)| name != "limit" && name != "offset").collect();
        query.push(("limit".to_owned(), limit.to_string()));
        if offset > 0 {
            query.push(("offset".to_owned(), offset.to_string()));
        }
        query.sort();
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        json!(format!("{}{}?{query}", asked.base(), asked.path()))
    };
    let count = records.len();
    let next = if offset + limit < count { link(offset + limit) } else { Value::Null };
    let previous = if offset > 0 { link(offset.saturating_sub(limit)) } else { Value::Null };
    let results: Vec<Value> = records.into_iter().skip(offset).take(limit).collect();
    json_reply(200, &json!({"count": count, "next": next, "previous": previous, "results": results}))
}

fn json_reply(status: u16, body: &Value) -> Reply {
    Reply::new(status, "application/json", body.to_string())
}

/// An error in the shape of Alyx's exceptions (ALYX.md 4.3).
fn refuse(status: u16, detail: &str) -> Reply {
    json_reply(status, &json!({"detail": detail, "status_code": status})).header("vary", VARY)
}

fn not_found() -> Reply {
    Reply::new(
        404,
        "text/html; charset=utf-8",
        "<!doctype html><html><head><title>Not Found</title></head></html>",
    )
}

/// A write is accepted, and answered with what came.
fn echo(asked: &Asked) -> Reply {
    if asked.method == "DELETE" {
        return Reply {
            status: 204,
            headers: vec![("vary".to_owned(), VARY.to_owned())],
            body: Bytes::new(),
        };
    }
    if asked.body.starts_with(b"{\"reject") {
        return json_reply(400, &json!({"subject": ["This field is required."], "status_code": 400}));
    }
    if asked.body.starts_with(b"{\"half") {
        return json_reply(
            500,
            &json!({"status_code": 500, "detail": "Dataset type could not be determined"}),
        );
    }
    let status = if asked.method == "POST" { 201 } else { 200 };
    let kind = asked.header("content-type").unwrap_or_default();
    let body = blake3::hash(&asked.body).to_hex().to_string();
    json_reply(
        status,
        &json!({"length": asked.body.len(), "hash": body, "content_type": kind, "id": session_id(0)}),
    )
}
