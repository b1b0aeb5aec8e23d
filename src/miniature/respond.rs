//! From request to response, in the order of Django REST framework's views: the host, the path, the
//! representation, who asks, what they may, how often, the method, and then the work itself.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{
    LoggedRequest, Options, answer::ViewResponse, data::Data, engine::Engine, negotiate, sample, services,
    who, write,
};
use crate::alyx::{
    Endpoint, Route, Service, links,
    query_string::{self, Pairs},
    route,
};

/// The most that a request may send.
const BODY_LIMIT: usize = 32 << 20;

/// What the miniature is, whether its network is up or not.
#[derive(Debug)]
pub(super) struct Alyx {
    pub(super) data: RwLock<Arc<Data>>,
    engine: Engine,
    pub(super) asked: Mutex<Vec<LoggedRequest>>,
    pub(super) users: who::Users,
    serves_me: bool,
    pub(super) cache_tables: bool,
}

/// A request as the views see it.
#[derive(Debug)]
pub(super) struct ViewRequest {
    pub(super) method: Method,
    /// The path as Django writes it in links to further pages.
    pub(super) path: String,
    pub(super) pairs: Pairs,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Scheme and host under which the request came, for absolute links.
    pub(super) base: String,
    /// The name of the user who asks.
    pub(super) user: Option<String>,
}

/// What a view of Alyx says about itself in every answer.
#[derive(Debug)]
struct View {
    methods: Vec<&'static str>,
    open: bool,
    renders: negotiate::Renders,
}

impl Alyx {
    pub(super) fn new(options: &Options) -> io::Result<Self> {
        let with_demo = options.users.iter().any(|user| user.name == sample::DEMO_NAME);
        let mut data = sample::load(options.complete, with_demo)?;
        if let Some(clock) = &options.clock {
            Arc::make_mut(&mut data).clock = Some(clock.clone());
        }
        Ok(Self {
            data: RwLock::new(data),
            engine: Engine::new(),
            asked: Mutex::default(),
            users: who::Users::new(&options.users, options.throttle),
            serves_me: options.serves_me,
            cache_tables: options.cache_tables,
        })
    }

    /// The tables as they are now.
    pub(super) fn data(&self) -> Arc<Data> {
        Arc::clone(&self.data.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, ask: &mut ViewRequest) -> ViewResponse {
        if !known_host(&ask.base) {
            return ViewResponse::html(
                StatusCode::BAD_REQUEST,
                "<!doctype html><title>Bad Request (400)</title>\n",
            );
        }
        let segments = query_string::segments(&ask.path);
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let route = route::classify(&segments);
        let missing_slash = segments.last().is_some_and(|last| !last.is_empty());
        match route {
            Route::Other => ViewResponse::not_routed(),
            Route::Service(Service::Me) if !self.serves_me => ViewResponse::not_routed(),
            Route::Service(Service::Docs | Service::CacheInfo) if missing_slash => moved(&ask.path),
            _ => {
                let view = View::of(&route);
                let mut answer = match self.admit(&view, ask) {
                    Ok(()) => self.work(&route, ask),
                    Err(refusal) => refusal,
                };
                view.describe(&mut answer);
                answer
            }
        }
    }

    fn read(&self, endpoint: &'static Endpoint, key: Option<&str>, ask: &ViewRequest) -> ViewResponse {
        let url = format!("{}{}", sample::BASE, ask.path);
        self.engine.answer(&self.data(), endpoint, key, &ask.pairs, &url)
    }

    /// Everything that a view checks before it works.
    fn admit(&self, view: &View, ask: &mut ViewRequest) -> Result<(), ViewResponse> {
        negotiate::check(view.renders, ask)?;
        let user = self.users.identify(&ask.headers)?;
        if !view.open {
            who::permit(user, &ask.method)?;
        }
        if !matches!(view.renders, negotiate::Renders::JsonOnly) {
            self.users.throttle(user)?;
        }
        ask.user = user.map(|user| user.name.clone());
        if !view.methods.contains(&ask.method.as_str()) {
            let detail = format!("Method \"{}\" not allowed.", ask.method);
            return Err(ViewResponse::refused(StatusCode::METHOD_NOT_ALLOWED, &detail));
        }
        if ask.method == Method::OPTIONS {
            return Err(ViewResponse::beyond("answer OPTIONS"));
        }
        Ok(())
    }

    fn work(&self, route: &Route, ask: &ViewRequest) -> ViewResponse {
        let reads = ask.method == Method::GET || ask.method == Method::HEAD;
        match route {
            Route::List(endpoint) if ask.method == Method::HEAD && head_fails(endpoint) => {
                ViewResponse::failed("'NoneType' object is not callable")
            }
            Route::List(endpoint) if reads => self.read(endpoint, None, ask),
            Route::Detail(endpoint, key) if reads => self.read(endpoint, Some(key), ask),
            Route::List(endpoint) => self.write(|data| write::answer(data, endpoint, None, ask)),
            Route::Detail(endpoint, key) => self.write(|data| write::answer(data, endpoint, Some(key), ask)),
            Route::Service(Service::RegisterFile) => self.write(|data| write::register(data, ask)),
            Route::Service(service) => services::answer(self, *service, ask),
            Route::Other => ViewResponse::not_routed(),
        }
    }

    /// Changes a copy of the tables, and puts it in place if all went well.
    fn write(&self, change: impl FnOnce(&mut Data) -> Result<ViewResponse, ViewResponse>) -> ViewResponse {
        let mut current = self.data.write().unwrap_or_else(PoisonError::into_inner);
        let mut data = Data::clone(&current);
        match change(&mut data) {
            Ok(answer) => {
                *current = Arc::new(data);
                answer
            }
            Err(refusal) => refusal,
        }
    }

    fn record(&self, asked: LoggedRequest) {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    }
}

impl View {
    fn of(route: &Route) -> Self {
        let (writes, open, renders) = match route {
            Route::List(endpoint) => {
                (if endpoint.create { &["POST"][..] } else { &[] }, false, negotiate::Renders::JsonAndHtml)
            }
            Route::Detail(endpoint, _) => {
                let writes = endpoint.detail.map(|detail| detail.writes).unwrap_or_default();
                (writes, false, negotiate::Renders::JsonAndHtml)
            }
            Route::Service(service) => services::view(*service),
            Route::Other => (&[][..], true, negotiate::Renders::JsonAndHtml),
        };
        let post_only = matches!(
            route,
            Route::Service(Service::AuthToken | Service::NewDownload | Service::RegisterFile)
        );
        let mut methods = Vec::new();
        if !post_only {
            methods.push("GET");
        }
        methods.extend(writes);
        if !post_only {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        Self { methods, open, renders }
    }

    fn describe(&self, answer: &mut ViewResponse) {
        let vary = match self.renders {
            // Alyx looks at cookies only after it has chosen a representation.
            _ if answer.early => "Accept",
            negotiate::Renders::JsonOnly | negotiate::Renders::CoreApi => "Cookie",
            _ => "Accept, Cookie",
        };
        answer.headers.push((header::VARY, HeaderValue::from_static(vary)));
        if let Ok(allow) = HeaderValue::from_str(&self.methods.join(", ")) {
            answer.headers.push((header::ALLOW, allow));
        }
    }
}

/// The lists whose serializer Alyx chooses by GET or POST alone (ALYX.md 4.4).
fn head_fails(endpoint: &Endpoint) -> bool {
    matches!(endpoint.name, "sessions" | "fov-location" | "imaging-stack")
}

/// Alyx answers under its own names only; here these are names and addresses of this machine's kind.
fn known_host(base: &str) -> bool {
    let host = base.split_once("://").map_or(base, |(_, host)| host);
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok() || !name.contains('.')
}

fn moved(path: &str) -> ViewResponse {
    let answer = ViewResponse::html(StatusCode::MOVED_PERMANENTLY, "");
    match HeaderValue::from_str(&format!("{path}/")) {
        Ok(location) => answer.with_header(header::LOCATION, location),
        Err(_) => ViewResponse::not_routed(),
    }
}

/// The application: every request goes one way.
pub(super) fn app(alyx: Arc<Alyx>) -> Router {
    Router::new().fallback(respond).with_state(alyx)
}

async fn respond(State(alyx): State<Arc<Alyx>>, request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let method = parts.method.clone();
    let authorization_present = parts.headers.contains_key(header::AUTHORIZATION);
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        return ViewResponse::refused(StatusCode::PAYLOAD_TOO_LARGE, "The request is too large.")
            .into_response();
    };
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    // Alyx 3.6.1 takes the scheme from the load balancer in front of it, but never the host.
    let https = parts.headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
    let mut ask = ViewRequest {
        method: method.clone(),
        path: rewritten(parts.uri.path()),
        pairs: query_string::parse(parts.uri.query().unwrap_or_default()),
        base: format!("{}://{host}", if https { "https" } else { "http" }),
        headers: parts.headers,
        body,
        user: None,
    };
    let mut answer = alyx.answer(&mut ask);
    if answer.links {
        answer.body = with_links(&answer.body, &ask.base);
    }
    alyx.record(LoggedRequest {
        method,
        path_and_query: target.to_owned(),
        authorization_present,
        status: answer.status,
    });
    answer.into_response()
}

/// A path decoded and encoded again by Django's rule.
fn rewritten(path: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b':')
        .remove(b'@')
        .remove(b'&')
        .remove(b'+')
        .remove(b'$')
        .remove(b',')
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'!')
        .remove(b'~')
        .remove(b'*')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')');
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    utf8_percent_encode(&decoded, KEPT).to_string()
}

/// The body with the sample's base in its links replaced.
fn with_links(body: &Bytes, base: &str) -> Bytes {
    let found = std::str::from_utf8(body).ok().and_then(|text| {
        let from = links::Base::new(sample::BASE);
        links::find(text, &from).ok()
    });
    found.map_or_else(|| body.clone(), |found| links::move_to(body, &found, base))
}
