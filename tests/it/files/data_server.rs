//! A server of data files that does on command what servers should not.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::{sync::watch, task::JoinHandle};

use super::BLOCK;
use crate::support;

/// How bodies of GETs are given from now on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Manner {
    #[default]
    Plain,
    /// What begins where a block begins breaks off after so many bytes.
    CutBlocks(usize),
    /// So many bytes, and then no end before [`DataServer::release`].
    Held(usize),
    /// In chunks without a length, the last byte missing.
    Shorter,
    /// The same with a byte more.
    Longer,
    /// As if it knew no ranges.
    WithoutRanges,
    /// It gives nothing to anybody any more.
    Refusing,
}

/// A file: its bytes, and what names their version.
#[derive(Debug, Clone)]
pub(super) struct DataFile {
    pub(super) bytes: Bytes,
    pub(super) fields: Vec<(&'static str, String)>,
}

/// A request as it came: method, path, `Range`, `Authorization`.
#[derive(Debug, Clone)]
pub(super) struct DataAsked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) range: Option<String>,
    pub(super) authorization: Option<String>,
}

#[derive(Debug)]
struct Shared {
    files: Mutex<HashMap<String, DataFile>>,
    asked: Mutex<Vec<DataAsked>>,
    manner: Mutex<Manner>,
    released: watch::Sender<bool>,
}

/// A running server; gone when it is dropped.
pub(super) struct DataServer {
    url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl DataServer {
    pub(super) async fn start() -> Self {
        let shared = Arc::new(Shared {
            files: Mutex::default(),
            asked: Mutex::default(),
            manner: Mutex::default(),
            released: watch::Sender::new(false),
        });
        let (url, serving) = support::serve(Router::new().fallback(give).with_state(shared.clone())).await;
        Self { url, shared, serving }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Puts a file there, in place of the one that is there; its tag is strong.
    pub(super) fn put(&self, path: &str, bytes: &Bytes) {
        let tag = format!("\"{}\"", blake3::hash(bytes).to_hex());
        self.put_as(path, bytes, vec![("etag", tag)]);
    }

    /// The same with these fields.
    pub(super) fn put_as(&self, path: &str, bytes: &Bytes, fields: Vec<(&'static str, String)>) {
        let file = DataFile { bytes: bytes.clone(), fields };
        self.shared.files.lock().unwrap().insert(path.to_owned(), file);
    }

    pub(super) fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    /// What was held goes on.
    pub(super) fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// What was asked so far.
    pub(super) fn asked(&self) -> Vec<DataAsked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How often bytes were asked for.
    pub(super) fn downloads(&self) -> usize {
        self.asked().iter().filter(|asked| asked.method == "GET").count()
    }

    /// Ends it: connections are refused from then on.
    pub(super) async fn stop(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }
}

impl Drop for DataServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn give(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let field = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let asked = DataAsked {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        range: field("range"),
        authorization: field("authorization"),
    };
    shared.asked.lock().unwrap().push(asked.clone());
    let Some(file) = shared.files.lock().unwrap().get(&asked.path).cloned() else {
        return Response::builder().status(404).body(Body::from("no such file")).unwrap();
    };
    let manner = *shared.manner.lock().unwrap();
    if manner == Manner::Refusing {
        return Response::builder().status(403).body(Body::from("no longer")).unwrap();
    }
    let mut response = Response::builder().header("date", "Fri, 02 Jan 2026 00:00:00 GMT");
    for (name, value) in &file.fields {
        response = response.header(*name, value);
    }
    if manner != Manner::WithoutRanges {
        response = response.header("accept-ranges", "bytes");
    }
    let length = file.bytes.len();
    if asked.method == "HEAD" {
        return response.header("content-length", length).body(Body::empty()).unwrap();
    }
    let named: Vec<&str> = file.fields.iter().map(|(_, value)| value.as_str()).collect();
    let same = field("if-range").is_none_or(|named_by| named.contains(&named_by.as_str()));
    let range = asked.range.as_deref().filter(|_| same && manner != Manner::WithoutRanges);
    let (start, end) = range.map_or((0, length), |range| {
        let (start, end) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        (start.parse().unwrap(), end.parse::<usize>().unwrap() + 1)
    });
    if range.is_some() {
        let part = format!("bytes {start}-{}/{length}", end - 1);
        response = response.status(206).header("content-range", part);
    }
    let bytes = file.bytes.slice(start..end);
    let is_whole_length = !matches!(manner, Manner::Shorter | Manner::Longer);
    if is_whole_length {
        response = response.header("content-length", bytes.len());
    }
    response.body(body(&shared, manner, start, bytes)).unwrap()
}

fn body(shared: &Shared, manner: Manner, start: usize, bytes: Bytes) -> Body {
    let chunks = |bytes: Bytes| {
        let pieces = (0..bytes.len())
            .step_by(40_000)
            .map(move |at| io::Result::Ok(bytes.slice(at..bytes.len().min(at + 40_000))));
        stream::iter(pieces)
    };
    match manner {
        Manner::Plain | Manner::WithoutRanges | Manner::Refusing => Body::from(bytes),
        Manner::CutBlocks(after) if start.is_multiple_of(BLOCK) && after < bytes.len() => {
            let cut = stream::once(async { Err(io::Error::other("cut")) });
            Body::from_stream(chunks(bytes.slice(..after)).chain(cut))
        }
        Manner::CutBlocks(_) => Body::from_stream(chunks(bytes)),
        Manner::Held(after) => {
            let after = after.min(bytes.len());
            let mut released = shared.released.subscribe();
            let wait = stream::once(async move {
                let _ = released.wait_for(|released| *released).await;
                io::Result::Ok(Bytes::new())
            });
            Body::from_stream(chunks(bytes.slice(..after)).chain(wait).chain(chunks(bytes.slice(after..))))
        }
        Manner::Shorter => Body::from_stream(chunks(bytes.slice(..bytes.len() - 1))),
        Manner::Longer => {
            let more = stream::once(async { Ok(Bytes::from_static(b"x")) });
            Body::from_stream(chunks(bytes).chain(more))
        }
    }
}
