//! An upstream for `bench/run`: an Alyx in its shape only, which costs as little as an upstream can.
//!
//! ```sh
//! cargo run --release --example origin -- PORT          # answers of Alyx's shape, see `body`
//! cargo run --release --example origin -- PORT URL      # bare: fetches each path of URL once, and gives those bytes
//! ```
//!
//! With a `URL` it is the contender that no server can beat: hyper with the bytes in its hand, no key, no token, no link.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::Write,
    net::SocketAddr,
    sync::{Arc, RwLock},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().and_then(|port| port.parse().ok()).expect("usage: origin PORT [URL]");
    let bare = arguments.next().map(|url| Arc::new(Bare { url, known: RwLock::default() }));
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let bare = bare.clone();
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let bare = bare.clone();
                async move {
                    Ok::<_, Infallible>(match bare {
                        Some(bare) => bare.answer(&request).await,
                        None => answer(&request, port),
                    })
                }
            });
            let mut connection = hyper::server::conn::http1::Builder::new();
            // A load generator drops its connections at the end.
            let _ = connection.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Cookie"));
    headers.insert(header::ALLOW, HeaderValue::from_static("GET, POST, HEAD, OPTIONS"));
    headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("referrer-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}

fn answer(request: &Request<Incoming>, port: u16) -> Response<Full<Bytes>> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    match path {
        "/auth-token" => json(
            StatusCode::METHOD_NOT_ALLOWED,
            Bytes::from_static(br#"{"detail":"Method \"GET\" not allowed.","status_code":405}"#),
        ),
        _ => json(StatusCode::OK, body(path, query, &format!("http://localhost:{port}"))),
    }
}

/// A detail of 1 KB, or of as many as `x` in its key's first digit says: `/sessions/a…` is 10 KB. A list of `limit`
/// records, of 400 bytes each for sessions, 3 KB for datasets. Each record has its link, datasets have five more. With
/// `noise` in the query text that can't be compressed stands in for prose.
fn body(path: &str, query: &str, base: &str) -> Bytes {
    let limit = query.split('&').find_map(|pair| pair.strip_prefix("limit=")?.parse().ok()).unwrap_or(250);
    let noise = query.contains("noise");
    let mut text = String::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for byte in query.bytes() {
        seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut prose = |length: usize| prose(length, noise.then_some(&mut seed));
    let mut segments = path.trim_matches('/').split('/');
    match (segments.next().unwrap_or_default(), segments.next()) {
        (endpoint, Some(key)) => {
            let length = if key.starts_with('a') { 10_000 } else { 760 };
            write!(
                text,
                r#"{{"id":"{key}","url":"{base}/{endpoint}/{key}","lab":"cortexlab","number":1,"json":{{"note":"{}"}}}}"#,
                prose(length)
            )
        }
        (endpoint, None) => {
            let records = (0..limit).map(|n| {
                let id = format!("{n:08x}-0000-4000-8000-000000000000");
                let mut record = format!(r#"{{"id":"{id}","url":"{base}/{endpoint}/{id}","number":{n}"#);
                if endpoint == "datasets" {
                    for file in 0..5 {
                        let _ = write!(record, r#","f{file}":"{base}/files/{id}","path":"{}""#, prose(500));
                    }
                } else {
                    let _ = write!(record, r#","lab":"cortexlab","task_protocol":"{}""#, prose(240));
                }
                record.push('}');
                record
            });
            let records: Vec<String> = records.collect();
            write!(
                text,
                r#"{{"count":{limit},"next":null,"previous":null,"results":[{}]}}"#,
                records.join(",")
            )
        }
    }
    .unwrap();
    Bytes::from(text)
}

fn prose(length: usize, noise: Option<&mut u64>) -> String {
    const ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    const WORDS: &str = "the mouse turned the wheel to the left and was given a drop of water; ";
    match noise {
        None => WORDS.chars().cycle().take(length).collect(),
        Some(seed) => (0..length)
            .map(|_| {
                *seed ^= *seed << 13;
                *seed ^= *seed >> 7;
                *seed ^= *seed << 17;
                char::from(ALPHABET[usize::try_from(*seed & 63).unwrap_or(0)])
            })
            .collect(),
    }
}

/// Bytes in its hand.
struct Bare {
    url: String,
    known: RwLock<HashMap<String, Bytes>>,
}

impl Bare {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path_and_query().map_or("/", |both| both.as_str());
        let known = self.known.read().unwrap().get(path).cloned();
        let body = if let Some(body) = known {
            body
        } else {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let body = client.get(format!("{}{path}", self.url)).send().await.unwrap().bytes().await.unwrap();
            self.known.write().unwrap().insert(path.to_owned(), body.clone());
            body
        };
        json(StatusCode::OK, body)
    }
}
