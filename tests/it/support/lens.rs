//! What stands between a mirror and the miniature, and shows it otherwise on command: as an Alyx that is changed by scripts,
//! that fails for a moment, or that answers late.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use tokio::sync::Semaphore;

/// What is made of an answer: of the path and query that were asked, the status and the body.
pub type Rule = Box<dyn Fn(&str, u16, String) -> (u16, String) + Send>;

/// What Alyx answers to who asks for what has changed, where nothing notes it.
pub fn unnoted(endpoint: &'static str) -> impl Fn(&str, u16, String) -> (u16, String) + Send + 'static {
    move |asked, status, body| {
        if asked.starts_with(&format!("/{endpoint}?")) && asked.contains("datetime__gt") {
            return (200, r#"{"count":0,"next":null,"previous":null,"results":[]}"#.to_owned());
        }
        (status, body)
    }
}

/// How one path fails while all others are well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// With this status, as Alyx or what stands before it says it.
    Status(u16),
    /// 404 as of a path that Alyx does not route: a page of HTML.
    NotRouted,
    /// Half of the JSON.
    CutJson,
    /// A record that is none: its fields are of another kind.
    Nonsense,
    /// A page of HTML with status 200.
    Html,
    /// A redirect to elsewhere.
    Redirect,
    /// Never.
    Silence,
}

pub struct Lens {
    url: String,
    shared: Arc<Shared>,
    serving: tokio::task::JoinHandle<()>,
}

struct Shared {
    upstream: String,
    rule: Mutex<Rule>,
    /// Answers to what contains this text are held back.
    held: Mutex<Option<String>>,
    /// Paths that fail, whatever is asked there, and how.
    broken: Mutex<HashMap<String, Broken>>,
    waiting: Semaphore,
    released: Semaphore,
}

impl Lens {
    /// Before this upstream; at first it changes nothing.
    pub async fn before(upstream: &str) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            rule: Mutex::new(Box::new(|_, status, body| (status, body))),
            held: Mutex::default(),
            broken: Mutex::default(),
            waiting: Semaphore::new(0),
            released: Semaphore::new(0),
        });
        let (url, serving) = super::serve(Router::new().fallback(pass).with_state(shared.clone())).await;
        Self { url, shared, serving }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// From now on answers are made so.
    pub fn show(&self, rule: impl Fn(&str, u16, String) -> (u16, String) + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// From now on answers are Alyx's.
    pub fn clear(&self) {
        self.show(|_, status, body| (status, body));
    }

    /// From now on what is asked at this path fails so.
    pub fn break_at(&self, path: &str, broken: Broken) {
        self.shared.broken.lock().unwrap().insert(path.to_owned(), broken);
    }

    /// From now on no path fails.
    pub fn mend(&self) {
        self.shared.broken.lock().unwrap().clear();
    }

    /// Holds back the next answer to what contains this text.
    pub fn hold(&self, text: &str) {
        *self.shared.held.lock().unwrap() = Some(text.to_owned());
    }

    /// Waits until an answer is held back.
    pub async fn holds(&self) {
        let limit = std::time::Duration::from_mins(2);
        let waiting = tokio::time::timeout(limit, self.shared.waiting.acquire());
        waiting.await.expect("nothing was asked that is to be held back").unwrap().forget();
    }

    /// Lets it go.
    pub fn release(&self) {
        self.shared.released.add_permits(1);
    }
}

impl Drop for Lens {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().unwrap().to_string();
    let body = to_bytes(body, 1 << 30).await.unwrap();
    let mut asked =
        super::miniature::client().request(parts.method, format!("{}{target}", shared.upstream)).body(body);
    for name in ["authorization", "accept", "content-type"] {
        if let Some(value) = parts.headers.get(name) {
            asked = asked.header(name, value);
        }
    }
    let answer = asked.send().await.unwrap();
    let (status, content_type) = (answer.status().as_u16(), answer.headers().get("content-type").cloned());
    let text = answer.text().await.unwrap();
    let plain = percent_encoding::percent_decode_str(&target).decode_utf8_lossy().into_owned();
    let is_held = {
        let mut held = shared.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.take_if(|text| plain.contains(text.as_str())).is_some()
    };
    if is_held {
        shared.waiting.add_permits(1);
        shared.released.acquire().await.unwrap().forget();
    }
    let path = plain.split('?').next().unwrap_or_default();
    let broken = shared.broken.lock().unwrap().get(path).copied();
    if let Some(broken) = broken {
        return fail(broken, &text).await;
    }
    let (status, text) = (shared.rule.lock().unwrap())(&plain, status, text);
    let mut response = Response::builder().status(status);
    if let Some(content_type) = content_type {
        response = response.header("content-type", content_type);
    }
    response.body(Body::from(text)).unwrap()
}

async fn fail(broken: Broken, right: &str) -> Response {
    let json = "application/json";
    let html = "<!doctype html><html><body>It went wrong</body></html>";
    let (status, kind, body) = match broken {
        Broken::Status(status @ 502..) => (status, "text/html", html.to_owned()),
        Broken::Status(status) => (status, json, format!(r#"{{"status_code":{status},"detail":"No."}}"#)),
        Broken::NotRouted => (404, "text/html", html.to_owned()),
        Broken::CutJson => (200, json, right[..right.len() / 2].to_owned()),
        Broken::Nonsense => (200, json, right.replacen("\"n_trials\":", "\"n_trials\":\"many\",\"x\":", 1)),
        Broken::Html => (200, "text/html", html.to_owned()),
        Broken::Redirect => (302, "text/html", String::new()),
        Broken::Silence => std::future::pending().await,
    };
    let response = Response::builder().status(status).header("content-type", kind);
    let response = match broken {
        Broken::Redirect => response.header("location", "https://login.example.org/"),
        _ => response,
    };
    response.body(Body::from(body)).unwrap()
}
