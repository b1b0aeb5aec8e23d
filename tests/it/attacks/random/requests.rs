//! Requests that somebody makes at random who means ill.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use alyx_proxy::alyx::{
    ENDPOINTS,
    model::{MODELS, Model},
};
use rand::{Rng, RngExt, rngs::StdRng, seq::IndexedRandom};

use super::snapshots::Gift;
use crate::support::users;

const LOOKUPS: &[&str] = &[
    "exact",
    "iexact",
    "contains",
    "icontains",
    "startswith",
    "endswith",
    "regex",
    "iregex",
    "in",
    "gt",
    "lte",
    "isnull",
    "range",
    "nonsense",
    "has_key",
];
const VALUES: &[&str] = &[
    "a",
    "s",
    "1",
    "0",
    "-1",
    "true",
    "None",
    "%00",
    "%FF",
    "2020-01-01",
    "9999999999999999999999",
    "1e400",
    "[1,2,3]",
    "{'a': 1}",
    "(a%2B)%2B$",
    ".*.*.*.*x",
    "%27%22;--",
    "b06189d0-8b52-4a49-8d5a-a1e0a3e4a6a0",
    "%F0%9F%90%81",
];
const METHODS: &[&str] = &[
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW", "get", "M-SEARCH",
];
const PATHS: &[&str] = &[
    "/",
    "/labs",
    "/labs/",
    "//labs",
    "/labs/../subjects",
    "/%2e%2e/labs",
    "/admin",
    "/-/",
    "/-/status.json",
    "/-/api/purge",
    "/-/api/import",
    "/-/audit.json",
    "/-/explore/sessions",
    "/-/history",
    "/-/login",
    "/-/metrics",
    "/auth-token",
    "/cache.zip",
    "/cache/info/",
    "/api/schema",
    "/docs/",
    "/subjects/%FF",
    "/sessions/nothing",
    "/users",
    "/me",
    "/register-file",
    "/media/x.png",
    "*",
    "http://elsewhere.example/labs",
    "/labs;x",
    "/labs%3Fa=b",
    "/-/docs/threats",
];
const FIELDS: &[&str] = &[
    "Accept",
    "Accept-Encoding",
    "Cache-Control",
    "Connection",
    "Content-Encoding",
    "Content-Type",
    "Cookie",
    "Expect",
    "Host",
    "If-Modified-Since",
    "If-None-Match",
    "Max-Forwards",
    "Origin",
    "Range",
    "Sec-Fetch-Site",
    "TE",
    "Transfer-Encoding",
    "Upgrade",
    "Via",
    "X-Alyx-Proxy-Explain",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Request-Id",
];
const CONTENTS: &[&str] = &[
    "",
    "*/*",
    "application/json",
    "gzip, br;q=0",
    "no-cache",
    "max-age=0",
    "only-if-cached",
    "max-stale=99999999999",
    "close",
    "keep-alive, authorization",
    "chunked",
    "identity, chunked",
    "bytes=0-,5-1",
    "bytes=99-1",
    "100-continue",
    "W/\"x\"",
    "*",
    "0",
    "-1",
    "websocket",
    "1",
    "10.0.0.1, 10.0.0.2",
    "cross-site",
    "alyx_proxy_session=0000; sessionid=1",
    "multipart/form-data; boundary=",
    "text/html;q=\"",
    "Sat, 99 Zzz 9999 99:99:99 GMT",
];

/// Something that is tried.
pub(super) enum Attack {
    /// Bytes on a connection of their own, hung up after that long.
    Bytes { bytes: Vec<u8>, stays: Duration },
    /// The same, byte for byte with this pause between.
    Slow { bytes: Vec<u8>, pause: Duration },
    /// A snapshot that is imported, with what is said of whose it is.
    Snapshot { bytes: Vec<u8>, word: &'static str },
}

impl Attack {
    pub(super) fn at_random(random: &mut StdRng, gift: &Gift) -> Self {
        let millis = |random: &mut StdRng, most| Duration::from_millis(random.random_range(1..most));
        match random.random_range(0..100) {
            0..30 => {
                let target = costly(random);
                let bytes = request(random, "GET", &target, 0);
                Self::Bytes { bytes, stays: millis(random, 1_500) }
            }
            30..50 => {
                let target = filtered(random);
                Self::Bytes { bytes: request(random, "GET", &target, 0), stays: millis(random, 1_000) }
            }
            50..70 => {
                let (method, path) = (*pick(random, METHODS), *pick(random, PATHS));
                let body = if random.random_bool(0.5) { random.random_range(0..5_000) } else { 0 };
                let mut bytes = request(random, method, path, body);
                bytes.extend(junk(random, body));
                Self::Bytes { bytes, stays: millis(random, 500) }
            }
            70..82 => {
                // Less of it than it says: of the head, or of the body.
                let (method, path) = (*pick(random, METHODS), *pick(random, PATHS));
                let length = random.random_range(1..1_000_000_000);
                let mut bytes = request(random, method, path, length);
                bytes.extend(junk(random, 2_000));
                let end = random.random_range(1..bytes.len());
                bytes.truncate(end);
                Self::Bytes { bytes, stays: millis(random, 300) }
            }
            82..94 => {
                let path = *pick(random, PATHS);
                let mut bytes = request(random, "POST", path, 900_000);
                bytes.extend(junk(random, 300));
                bytes.drain(..bytes.len().saturating_sub(400));
                let mut head = request(random, "POST", path, 900_000);
                head.extend(bytes);
                Self::Slow { bytes: head, pause: millis(random, 8) }
            }
            _ => {
                let word = pick(random, &["unsigned", "once", "trust=friend", "unsigned&once", ""]);
                Self::Snapshot { bytes: gift.altered(random), word }
            }
        }
    }

    /// Makes it. Whatever is answered is right, as long as something is, or the connection ends.
    pub(super) async fn make(self, proxy: SocketAddr, admin_token: &str) {
        let admin = format!("Bearer {admin_token}");
        match self {
            Self::Bytes { bytes, stays } => {
                off_the_runtime(move || {
                    let Ok(mut stream) = TcpStream::connect(proxy) else { return };
                    let _ = stream.set_write_timeout(Some(Duration::from_secs(2)));
                    if stream.write_all(&bytes).is_ok() {
                        read_for(&mut stream, stays);
                    }
                })
                .await;
            }
            Self::Slow { bytes, pause } => {
                off_the_runtime(move || {
                    let Ok(mut stream) = TcpStream::connect(proxy) else { return };
                    let (head, rest) = bytes.split_at(bytes.len().saturating_sub(300));
                    let begun = stream.write_all(head).is_ok();
                    for byte in rest.iter().filter(|_| begun) {
                        if stream.write_all(&[*byte]).is_err() {
                            return;
                        }
                        std::thread::sleep(pause);
                    }
                    read_for(&mut stream, pause);
                })
                .await;
            }
            Self::Snapshot { bytes, word } => {
                let client = crate::support::Client::new(proxy).with_authorization(&admin);
                let ask = client.ask("POST", &format!("/-/api/import?{word}"));
                let answer = ask.body("application/zstd", bytes).send().await;
                // It is taken or refused by name; it never fails.
                assert!(answer.status != 500, "{}", answer.describe());
            }
        }
    }
}

async fn off_the_runtime(work: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(work).await.unwrap();
}

/// Reads what comes for that long, or until the end.
fn read_for(stream: &mut TcpStream, time: Duration) {
    let _ = stream.set_read_timeout(Some(time));
    let mut buffer = [0; 8 << 10];
    for _ in 0..1_000 {
        match stream.read(&mut buffer) {
            Ok(1..) => {}
            _ => return,
        }
    }
}

fn pick<'a, T>(random: &mut StdRng, from: &'a [T]) -> &'a T {
    from.choose(random).unwrap()
}

fn junk(random: &mut StdRng, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    match random.random_range(0..3) {
        0 => random.fill_bytes(&mut bytes),
        1 => bytes.fill(b'['),
        _ => bytes.fill(b' '),
    }
    bytes
}

/// A path of relations from an endpoint, as long as Alyx takes one or longer, and what it is asked for at its end.
fn costly(random: &mut StdRng) -> String {
    let starts: Vec<&Model> = MODELS.iter().copied().filter(|model| !model.relations.is_empty()).collect();
    let start = *pick(random, &starts);
    let mut pairs = String::new();
    for _ in 0..random.random_range(1..6) {
        let (mut model, mut path) = (start, String::new());
        for _ in 0..random.random_range(0..18) {
            let Some(relation) = model.relations.choose(random) else { break };
            path += relation.name;
            path += "__";
            let Some(next) = MODELS.iter().copied().find(|model| model.endpoint == relation.to) else {
                break;
            };
            model = next;
        }
        path += model.columns.choose(random).map_or("pk", |column| column.name);
        let (lookup, value) = (pick(random, LOOKUPS), pick(random, VALUES));
        let not = if random.random_bool(0.2) { "~" } else { "" };
        write!(pairs, "{not}{path}__{lookup},{value},").unwrap();
    }
    format!(
        "/{}?limit={}&django={}",
        start.endpoint,
        random.random_range(0..100),
        pairs.trim_end_matches(',')
    )
}

/// Parameters that an endpoint has, and some that it has not.
fn filtered(random: &mut StdRng) -> String {
    let endpoint = pick(random, ENDPOINTS);
    let mut target = format!("/{}?", endpoint.name);
    let names: Vec<&str> = endpoint
        .filters
        .iter()
        .map(|filter| filter.name)
        .chain(["limit", "offset", "format", "zz"])
        .collect();
    for _ in 0..random.random_range(1..12) {
        let times = if random.random_bool(0.05) { 2_000 } else { 1 };
        write!(target, "{}={}&", pick(random, &names), pick(random, VALUES).repeat(times)).unwrap();
    }
    target.truncate(20_000);
    // Not within an escaped byte.
    target.truncate(target.rfind('&').unwrap_or(target.len()));
    target
}

/// The head of a request, of a user or of nobody.
fn request(random: &mut StdRng, method: &str, target: &str, length: usize) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    if random.random_bool(0.95) {
        head.extend(b"Host: lab\r\n");
    }
    let who = match random.random_range(0..10) {
        0..6 => users::PUBLIC.authorization(),
        6 => format!("Token {:040x}", random.random::<u64>()),
        7 => "Bearer a-guess-at-the-token".to_owned(),
        _ => String::new(),
    };
    if !who.is_empty() {
        head.extend(format!("Authorization: {who}\r\n").bytes());
    }
    if length > 0 {
        head.extend(format!("Content-Length: {length}\r\n").bytes());
    }
    for _ in 0..random.random_range(0..6) {
        let times = if random.random_bool(0.05) { 3_000 } else { 1 };
        let (name, content) = (pick(random, FIELDS), pick(random, CONTENTS).repeat(times));
        head.extend(format!("{name}: {content}\r\n").bytes());
    }
    head.extend(b"\r\n");
    head
}
