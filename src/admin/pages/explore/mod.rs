//! `/-/explore`: Alyx's records, to look through.
//!
//! What is shown comes down the same staircase as any client's request, with the token of whoever looks: online and
//! offline, from the mirror, a memory or Alyx.

mod calls;
mod choices;
mod csv;
mod form;
mod record;
mod table;

use askama::Template;
use axum::body::{Body, to_bytes};
use http::{HeaderValue, Method, Response, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::{
    Visit,
    error::ProxyError,
    frame::{Frame, page},
    text_response, to,
};
use crate::{
    alyx::{ENDPOINTS, Endpoint, query_string, route::classify},
    clock,
    proxy::{Exchange, exchange::within_limits, floors::of_alyx},
    telemetry::{access_log, activity},
};

/// A page of records as large as anybody reads.
const MAX_ANSWER: usize = 64 << 20;
/// Records on a page where nothing else is asked for.
const PAGE: u64 = 50;

#[derive(Template)]
#[template(path = "explore.html")]
struct EndpointsPage {
    frame: Frame,
    endpoints: Vec<EndpointLine>,
}

struct EndpointLine {
    name: &'static str,
    filters: usize,
    rows: Option<u64>,
}

/// An answer of the proxy's own staircase.
struct FloorAnswer {
    status: u16,
    body: Value,
    /// Where it came from, in the words of `Cache-Status`.
    source: String,
    age: String,
    notice: String,
    /// Who would answer it, and why (`alyx-proxy explain`).
    explanation: Explained,
}

impl FloorAnswer {
    /// Where it came from, in a person's words.
    fn place(&self) -> String {
        let has = |word: &str| self.source.contains(word);
        let place = match () {
            () if has("fwd=") => "Alyx",
            // A refusal names what is missing; Alyx's own may come from here.
            () if self.status >= 500 && !has("hit") => "the proxy itself",
            () if has("mirror") => "the mirror",
            () if has("memory") || has("disk") => "what is stored",
            () => "the proxy itself",
        };
        let reason = match () {
            () if has("offline") => " while Alyx is out of reach",
            () if has("slow-upstream") => " while Alyx is slow",
            () => "",
        };
        format!("{place}{reason}")
    }
}

/// What is shown of an explanation.
#[derive(Debug, Default)]
struct Explained {
    decision: String,
    why: String,
    tables: String,
    sql: String,
}

impl Visit {
    pub(super) async fn explore(&self, rest: &str) -> Response<Body> {
        let Some(authorization) = self.session.as_ref().and_then(|session| session.authorization()) else {
            let here = self.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            let here: String = form_urlencoded::byte_serialize(here.as_bytes()).collect();
            return to(&format!("/-/login?next={here}"));
        };
        let (rest, as_json) = rest.strip_suffix(".json").map_or((rest, false), |rest| (rest, true));
        if let Some(endpoint) = rest.strip_suffix(".csv").and_then(Endpoint::named) {
            return self.csv(endpoint, authorization).await;
        }
        let segments = query_string::segments(&format!("/{rest}"));
        let names: Vec<&str> = segments.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        let known = |name: &str| Endpoint::named(name);
        match names.as_slice() {
            [] if as_json => {
                let names: Vec<_> = ENDPOINTS.iter().map(|endpoint| endpoint.name).collect();
                text_response(&json!({ "endpoints": names }).to_string(), "application/json")
            }
            [] => self.choice(),
            [name] => match known(name) {
                Some(endpoint) => self.list(endpoint, authorization, as_json).await,
                None => self.no_page(&format!("In Alyx {}", Endpoint::unknown(name))),
            },
            [name, key @ ..] => match known(name) {
                Some(endpoint) => self.record(endpoint, &key.join("/"), authorization, as_json).await,
                None => self.no_page(&format!("In Alyx {}", Endpoint::unknown(name))),
            },
        }
    }

    fn choice(&self) -> Response<Body> {
        let states = self.admin.core.mirror.as_ref().map(|mirror| mirror.states());
        let line = |endpoint: &'static Endpoint| EndpointLine {
            name: endpoint.name,
            filters: endpoint.filters.len(),
            rows: states.as_ref().and_then(|states| states.of(endpoint.name)).map(|state| state.rows),
        };
        let endpoints = ENDPOINTS.iter().map(line).collect();
        page(&EndpointsPage { frame: self.frame("explore", "Explore"), endpoints }, 200)
    }

    /// Asks as a client of the proxy would; with `explain` for the explanation.
    pub(super) async fn ask(
        &self,
        path_and_query: &str,
        authorization: Option<HeaderValue>,
        explain: bool,
    ) -> Response<Body> {
        let Ok(uri) = path_and_query.parse::<Uri>() else {
            return ProxyError::refused(StatusCode::BAD_REQUEST, "This makes no question.").into();
        };
        let mut headers = http::HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = authorization {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        if explain {
            headers.insert("x-alyx-proxy-explain", HeaderValue::from_static("1"));
        }
        if let Err(refusal) = within_limits(&uri, &self.settings.server) {
            return refusal.into();
        }
        let segments = query_string::segments(uri.path());
        let route = classify(&segments.iter().map(String::as_str).collect::<Vec<_>>());
        let (base, client, settings) = (self.base.clone(), self.client, self.settings.clone());
        let asked =
            Exchange { method: Method::GET, uri: uri.clone(), headers, route, base, client, settings };
        let start = self.admin.core.clock.instant();
        let response = of_alyx(&self.admin.floors, asked, Body::empty()).await;
        if let Some(how) = response.extensions().get().copied()
            && !explain
        {
            let (endpoint, status) = (access_log::endpoint(&uri), response.status().as_u16());
            let seen = activity::ResponseEvent { how, endpoint, uri: &uri, status, took: start.elapsed() };
            self.admin.core.counters.count(how);
            self.admin.core.activity.answered(&seen);
        }
        response
    }

    async fn told(&self, path_and_query: &str, authorization: &HeaderValue) -> FloorAnswer {
        // Before the answer is asked for: afterwards it would be remembered.
        let explained = self.ask(path_and_query, Some(authorization.clone()), true).await;
        let explained = to_bytes(explained.into_body(), MAX_ANSWER).await.unwrap_or_default();
        let (head, body) = self.ask(path_and_query, Some(authorization.clone()), false).await.into_parts();
        let text = |name: &str| {
            head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let age =
            text("age").parse::<i64>().map(|age| clock::span_for_people(age * 1000)).unwrap_or_default();
        let (source, notice) = (text("cache-status"), text("alyx-api-notice"));
        let source = source.trim_start_matches("alyx-proxy; ").to_owned();
        let notice = notice.trim_start_matches('!').to_owned();
        let status = head.status.as_u16();
        let body = to_bytes(body, MAX_ANSWER).await.unwrap_or_default();
        let body = serde_json::from_slice(&body).unwrap_or_else(
            |_| json!({ "detail": "This answer can't be shown here (it is too large, or no strict JSON)." }),
        );
        FloorAnswer { status, body, source, age, notice, explanation: explained_of(&explained) }
    }
}

fn explained_of(body: &[u8]) -> Explained {
    let told: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let table = |table: &Value| {
        let age = clock::span_for_people(table["age_seconds"].as_i64().unwrap_or(0) * 1000);
        format!("{} ({} rows, {age} old)", table["endpoint"].as_str().unwrap_or("?"), table["rows"])
    };
    let tables = told["plan"]["tables"].as_array();
    Explained {
        decision: text(&told["decision"]),
        why: text(&told["why"]),
        tables: tables
            .map(|tables| tables.iter().map(table).collect::<Vec<_>>().join(", "))
            .unwrap_or_default(),
        sql: text(&told["plan"]["page"]),
    }
}

/// Where a record is explored.
fn place(endpoint: &str, key: &str) -> String {
    format!("/-/explore/{endpoint}{}", query_string::canonical_path(&[key.to_owned()]))
}
