//! Read, change, write back: for that the proxy is as safe as no proxy.
//!
//! Whoever writes may have made its change in a copy that was given from here and is older than Alyx's record. So before a
//! PUT or PATCH of such a record Alyx is asked for it once more: are the columns that the request names as they were in
//! the copy, it is sent; if not, others have changed them meanwhile, and it is refused (409). A column that nobody has
//! changed is never refused, and what Alyx itself gave to the writer is not asked for again. That two write at the same
//! moment is Alyx's own affair.
//!
//! Whoever has written lately gets details from Alyx, as long as it can be asked, so that it seldom comes to that.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde_json::Value;

use super::{
    Exchange, after_write,
    authorize::caller,
    core::Core,
    error::{self, ProxyError},
    hot_cache::Repeatable,
};
use crate::{
    alyx::{DetailKey, Endpoint, Route, invalidates::Scope, model, query_string, record},
    auth::{Credentials, credentials},
    cache::{Entry, GivenRecord, Holder, Question, columns, listed_record},
    clock::Millis,
    http::{
        body::{Buffered, read_limited},
        cache_status::{CacheStatus, RefusalReason},
    },
    storage::types::TokenHash,
    upstream::{UpstreamError, UpstreamRequest, UpstreamResponse, broken},
};

/// Whoever has written gets details from Alyx for so long.
const LATELY: Millis = 3_600_000;
/// Requests that are longer are not looked into: no record is.
const LONGEST: usize = 16 << 20;

/// The entry that a response was made of.
#[derive(Debug, Clone)]
pub(crate) struct MadeOf(pub(crate) std::sync::Arc<Entry>);

/// A write that may go on.
#[derive(Debug)]
pub(crate) struct Cleared {
    /// Its body.
    pub(crate) body: Body,
    /// Who writes which columns of which record, where that is to be remembered.
    wrote: Option<Wrote>,
}

impl Cleared {
    /// Its body, and what is to be remembered when it has been carried out.
    pub(crate) fn into_parts(self) -> (Body, Option<Wrote>) {
        (self.body, self.wrote)
    }
}

/// Who writes which columns of which record.
pub(crate) type Wrote = (Holder, &'static Endpoint, String, Vec<String>);

/// Notes what Alyx said of a write.
pub(crate) fn wrote(core: &Core, wrote: Option<Wrote>, status: StatusCode) {
    if let Some((holder, endpoint, key, columns)) = wrote.filter(|_| status.is_success()) {
        core.given.wrote(holder, endpoint, &key, &columns);
    }
}

/// The scope of what a token reads before it writes.
pub(crate) fn writer(token: TokenHash) -> Scope {
    Scope::Writer(blake3::Hash::from_bytes(token.0).to_hex().to_string())
}

/// Whether this is asked by somebody who has written lately, and must be current therefore.
pub(crate) fn must_be_current(core: &Core, credentials: &Credentials, question: &Question) -> bool {
    let Route::Detail(endpoint, _) = &question.route else { return false };
    let Some(token) = credentials.token().filter(|_| can_be_changed(endpoint)) else { return false };
    let since = core.clock.now().saturating_sub(LATELY);
    core.responses.marked_at(&writer(token)) > since
}

/// Notes which copy of what is given here.
pub(crate) fn note(
    core: &Core,
    exchange: &Exchange,
    question: &Question,
    token: TokenHash,
    response: &mut Response<Body>,
) {
    let made_of = response.extensions_mut().remove::<MadeOf>();
    let (Route::List(endpoint) | Route::Detail(endpoint, _)) = &question.route else { return };
    let answered = response.status() == StatusCode::OK || response.status() == StatusCode::NOT_MODIFIED;
    if !can_be_changed(endpoint) || !answered || exchange.method != Method::GET {
        return;
    }
    let how = response.extensions().get::<CacheStatus>().copied();
    let current = matches!(how, Some(CacheStatus::Forwarded { collapsed: false, .. }));
    let holder = Holder { token, client: exchange.client };
    if made_of.is_none() && !(current && matches!(question.route, Route::Detail(..))) {
        return;
    }
    let copy = core.given.note(holder, question, made_of.map(|MadeOf(entry)| entry), current);
    if let Some(repeatable) = response.extensions_mut().get_mut::<Repeatable>() {
        repeatable.given = Some(copy);
    }
}

fn can_be_changed(endpoint: &Endpoint) -> bool {
    endpoint.detail.is_some_and(|detail| detail.writes.contains(&"PATCH"))
}

/// Looks whether a write comes of a copy that is no longer Alyx's record; refuses it then.
pub(crate) async fn clear(core: &Core, exchange: &Exchange, body: Body) -> Result<Cleared, ProxyError> {
    let plainly = |body| Ok(Cleared { body, wrote: None });
    let Route::Detail(endpoint, key) = &exchange.route else { return plainly(body) };
    let credentials = credentials(&exchange.headers, &core.key);
    let (Some(token), true) = (credentials.token(), matches!(exchange.method, Method::PUT | Method::PATCH))
    else {
        return plainly(body);
    };
    let holder = Holder { token, client: exchange.client };
    let copies = copies(core, holder, endpoint, key).await;
    if copies.is_empty() {
        return plainly(body);
    }
    let timeout = exchange.settings.upstream.timeout.0;
    let read = tokio::time::timeout(timeout, read_limited(body, LONGEST)).await;
    let body = match read {
        Ok(Ok(Buffered::Complete(body))) => body,
        Ok(Ok(Buffered::Overflow(body))) => return plainly(body),
        Ok(Err(error)) => return Err(unreadable(core, &broken(&error, false))),
        Err(_) => return Err(unreadable(core, &UpstreamError::Slow { begun: false })),
    };
    let named = named(&exchange.headers, &body).await;
    let own = core.given.written(holder, endpoint, key);
    let held = held(&named, &copies, &own);
    for listed in [false, true] {
        // Details and lists show some columns in different forms.
        let own_form = listed && endpoint.has_own_details();
        let held: BTreeMap<&str, &str> = held
            .iter()
            .filter(|(_, copy)| (copy.listed && endpoint.has_own_details()) == listed)
            .filter_map(|(column, copy)| Some((*column, copy.columns.get(*column)?.as_str())))
            .collect();
        if held.is_empty() {
            continue;
        }
        let present = present(core, exchange, &credentials, endpoint, key, own_form).await;
        let changed = match present {
            Ok(Some(present)) => changed(endpoint, &held, &present),
            // Alyx has no such record for this one any more: it will say so itself.
            Ok(None) => Vec::new(),
            Err(failure) => return Err(error::not_sent(core, &failure)),
        };
        if !changed.is_empty() {
            return Err(refuse(core, token, endpoint, key, &changed).await);
        }
    }
    let columns = named.into_iter().collect();
    Ok(Cleared { body: Body::from(body), wrote: Some((holder, endpoint, key.clone(), columns)) })
}

fn unreadable(core: &Core, failure: &UpstreamError) -> ProxyError {
    match failure {
        UpstreamError::BodyTooLarge => super::passthrough::too_large(),
        UpstreamError::Malformed => super::passthrough::malformed(),
        failure => error::not_sent(core, failure),
    }
}

async fn copies(core: &Core, holder: Holder, endpoint: &'static Endpoint, key: &str) -> Vec<GivenRecord> {
    let (given, key) = (core.given.clone(), key.to_owned());
    tokio::task::spawn_blocking(move || given.records(holder, endpoint, &key)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "what was given of a record is not known");
        Vec::new()
    })
}

/// For each column that is named the copy that the writer has of it, where that may be older than Alyx's record.
fn held<'c>(
    named: &'c BTreeSet<String>,
    copies: &'c [GivenRecord],
    own: &BTreeMap<String, Millis>,
) -> BTreeMap<&'c str, &'c GivenRecord> {
    let copy_of = |column: &'c String| {
        let copy = copies.iter().find(|copy| copy.unseen || copy.columns.contains_key(column))?;
        let newer = own.get(column).is_some_and(|written| *written > copy.at);
        (!copy.current && !newer).then_some((column.as_str(), copy))
    };
    named.iter().filter_map(copy_of).collect()
}

/// The columns that a request names: the members of its JSON, or the fields of its form.
async fn named(headers: &HeaderMap, body: &Bytes) -> BTreeSet<String> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // Of `json.key` and `users[0]` the column stands first.
    let column = |name: &str| name.split(['.', '[']).next().unwrap_or_default().to_owned();
    if kind.starts_with("application/x-www-form-urlencoded") {
        return form_urlencoded::parse(body).map(|(name, _)| column(&name)).collect();
    }
    if let Ok(boundary) = multer::parse_boundary(kind) {
        let body = futures_util::stream::iter([Ok::<_, std::io::Error>(body.clone())]);
        let mut form = multer::Multipart::new(body, boundary);
        let mut names = BTreeSet::new();
        while let Ok(Some(field)) = form.next_field().await {
            names.extend(field.name().map(column));
        }
        return names;
    }
    // What is nothing of the kind Alyx refuses itself.
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => members.into_iter().map(|(name, _)| name).collect(),
        _ => BTreeSet::new(),
    }
}

/// The record as Alyx has it now, by the writer's own token; none where Alyx has none for this one.
async fn present(
    core: &Core,
    exchange: &Exchange,
    credentials: &Credentials,
    endpoint: &'static Endpoint,
    key: &str,
    listed: bool,
) -> Result<Option<BTreeMap<String, String>>, UpstreamError> {
    let settings = &exchange.settings;
    let path_and_query = if listed {
        let name = match endpoint.detail.map(|detail| detail.key) {
            Some(DetailKey::Name(name)) => name,
            _ => "id",
        };
        format!("/{}?{}", endpoint.name, query_string::encode_sorted(&[(name.to_owned(), key.to_owned())]))
    } else {
        query_string::canonical_path(&[endpoint.name.to_owned(), key.to_owned()])
    };
    let ask = UpstreamRequest {
        path_and_query,
        accept: Some(HeaderValue::from_static("application/json")),
        authorization: exchange.headers.get(header::AUTHORIZATION).cloned(),
        who: caller(core, credentials, &exchange.route),
        extra: HeaderMap::new(),
        timeout: settings.upstream.timeout.0,
        retries: settings.upstream.retries,
        max_body: settings.cache.max_response.bytes(),
    };
    let answer: UpstreamResponse = core.upstream.fetch(&ask).await?;
    core.learn(credentials, &answer).await;
    let body = std::str::from_utf8(&answer.body).unwrap_or_default();
    match answer.status {
        StatusCode::OK if !answer.json => Err(UpstreamError::NotJson("no JSON".to_owned())),
        StatusCode::OK if listed => Ok(listed_record(endpoint, key, body).map(columns)),
        StatusCode::OK => Ok(Some(columns(body))),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE => {
            Ok(None)
        }
        status => Err(UpstreamError::Unavailable(status.as_u16())),
    }
}

/// The columns whose values are others now.
fn changed(
    endpoint: &Endpoint,
    held: &BTreeMap<&str, &str>,
    present: &BTreeMap<String, String>,
) -> Vec<String> {
    let same = |column: &str, old: &str| match present.get(column) {
        Some(new) => new == old || is_same(endpoint, column, &record::parse(old), &record::parse(new)),
        None => false,
    };
    let other = |(column, old): &(&&str, &&str)| !endpoint.clock.contains(*column) && !same(column, old);
    held.iter().filter(other).map(|(column, _)| (*column).to_owned()).collect()
}

/// Whether two values say the same. Several related records stand in no order.
fn is_same(endpoint: &Endpoint, column: &str, one: &Value, other: &Value) -> bool {
    let related = model::Model::of(endpoint.name).is_some_and(|model| model.relation(column).is_some());
    match (one, other) {
        (Value::Array(one), Value::Array(other)) if related => {
            let sorted = |values: &[Value]| {
                let mut texts: Vec<String> = values.iter().map(Value::to_string).collect();
                texts.sort_unstable();
                texts
            };
            sorted(one) == sorted(other)
        }
        _ => one == other,
    }
}

/// The refusal of a write that would undo what others have written. What is stored of the record is stale from now on.
async fn refuse(
    core: &Core,
    token: TokenHash,
    endpoint: &'static Endpoint,
    key: &str,
    changed: &[String],
) -> ProxyError {
    let scopes = [Scope::Record(endpoint.name, key.to_owned()), Scope::Lists(endpoint.name), writer(token)];
    let marked = match core.responses.begin_write(&scopes).await {
        Ok(pending) => core.responses.end_write(pending, true).await,
        Err(error) => Err(error),
    };
    if let Err(error) = marked {
        tracing::error!(%error, "that a record has changed was not marked on disk");
    }
    if let Some(synchroniser) = &core.synchroniser {
        after_write::refresh(synchroniser, endpoint, vec![key.to_owned()]);
        synchroniser.request([endpoint.name], core.clock.stamp());
    }
    let (columns, them) = (changed.join(", "), if changed.len() == 1 { "it" } else { "them" });
    let text = format!(
        "Of this record {columns} changed in Alyx after you were given a copy from here; to write {them} back would undo that. \
         The request was not sent to Alyx. Read again, and make your change in what you get then."
    );
    ProxyError::new(StatusCode::CONFLICT, RefusalReason::Changed, &text)
}
