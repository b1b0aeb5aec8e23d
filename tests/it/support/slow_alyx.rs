//! The miniature behind a stub that takes its time for every answer: half of it before the request is carried out, half
//! after. It notes what each change of a record changed, and who asked for it; and it can show a version in each record of
//! a list, so that it is seen when an answer was made.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method},
    response::Response,
};
use serde_json::Value;

/// A PUT or PATCH that was carried out.
#[derive(Debug, Clone)]
pub struct Change {
    /// Seconds since 1970.
    pub at: f64,
    pub path: String,
    /// Whose: the value of `Authorization`.
    pub authorization: String,
    /// What was sent.
    pub sent: Value,
    /// The record before and after it.
    pub before: Value,
    pub after: Value,
}

pub struct SlowAlyx {
    url: String,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

struct Shared {
    upstream: String,
    /// Milliseconds for each answer.
    delay: AtomicU64,
    /// What is shown as `shown_version` in records of lists; 0: nothing.
    version: AtomicUsize,
    changes: Mutex<Vec<Change>>,
    /// Changes are made one at a time, so that each knows what was before it.
    turn: tokio::sync::Mutex<()>,
}

impl SlowAlyx {
    /// Before this upstream; at first it is as fast.
    pub async fn before(upstream: &str) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            delay: AtomicU64::new(0),
            version: AtomicUsize::new(0),
            changes: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        });
        let (url, serving) = super::serve(Router::new().fallback(pass).with_state(shared.clone())).await;
        Self { url, shared, serving }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// From now on each answer takes so long.
    pub fn take(&self, delay: Duration) {
        self.shared.delay.store(u64::try_from(delay.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// From now on records of lists are of another version: the first of these is 1.
    pub fn renew(&self) -> usize {
        self.shared.version.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Every PUT and PATCH that was carried out, in order.
    pub fn changes(&self) -> Vec<Change> {
        self.shared.changes.lock().unwrap().clone()
    }
}

impl Drop for SlowAlyx {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let half = Duration::from_millis(shared.delay.load(Ordering::SeqCst) / 2);
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 30).await.unwrap();
    let target = parts.uri.path_and_query().unwrap().to_string();
    tokio::time::sleep(half).await;
    let answer = if matches!(parts.method, Method::PUT | Method::PATCH) {
        shared.change(&parts.method, &target, &parts.headers, body).await
    } else {
        shared.ask(&parts.method, &target, &parts.headers, body).await
    };
    tokio::time::sleep(half).await;
    let mut response = Response::builder().status(answer.status());
    for name in ["content-type", "vary", "content-disposition", "location", "allow"] {
        if let Some(value) = answer.headers().get(name) {
            response = response.header(name, value);
        }
    }
    let version = shared.version.load(Ordering::SeqCst);
    let body = answer.bytes().await.unwrap();
    response.body(Body::from(if version == 0 { body } else { with_version(body, version) })).unwrap()
}

fn with_version(body: Bytes, version: usize) -> Bytes {
    let Ok(mut list) = serde_json::from_slice::<Value>(&body) else { return body };
    let Some(records) = list.get_mut("results").and_then(Value::as_array_mut) else { return body };
    for record in records.iter_mut().filter_map(Value::as_object_mut) {
        record.insert("shown_version".to_owned(), version.into());
    }
    list.to_string().into()
}

impl Shared {
    /// As it came, for the host that was asked: links lead there.
    async fn ask(
        &self,
        method: &Method,
        target: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> reqwest::Response {
        let url = format!("{}{target}", self.upstream);
        let mut ask = super::miniature::client().request(method.clone(), url).body(body);
        for name in ["host", "authorization", "accept", "content-type"] {
            if let Some(value) = headers.get(name) {
                ask = ask.header(name, value);
            }
        }
        ask.send().await.unwrap()
    }

    async fn change(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> reqwest::Response {
        let _turn = self.turn.lock().await;
        let record = async || -> Value {
            let read = self.ask(&Method::GET, path, headers, Bytes::new()).await;
            serde_json::from_slice(&read.bytes().await.unwrap()).unwrap_or_default()
        };
        let sent = serde_json::from_slice(&body).unwrap_or_default();
        let before = record().await;
        let answer = self.ask(method, path, headers, body).await;
        if answer.status().is_success() {
            let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
            let change = Change {
                at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64(),
                path: path.to_owned(),
                authorization: authorization.unwrap_or_default().to_owned(),
                sent,
                before,
                after: record().await,
            };
            self.changes.lock().unwrap().push(change);
        }
        answer
    }
}
