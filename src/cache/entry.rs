//! A stored answer, and the representations of it that clients get.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Question;
use crate::{
    alyx::{
        Route, Service, cache_info,
        links::{self, Base, Link},
        pagination::{Envelope, Window, is_paging},
        query_string::{self, Pairs},
    },
    clock::Millis,
    http::{ResponseControl, stored_fields},
    storage::types::CacheKey,
    upstream::UpstreamResponse,
};

/// Numbers for the entries that were made here.
static MADE: AtomicU64 = AtomicU64::new(1);

/// An answer as it is stored: the body is Alyx's own text with Alyx's own links.
#[derive(Debug, Clone)]
pub struct Entry {
    /// 200 or 404.
    pub status: StatusCode,
    /// Those of Alyx's header fields that are stored ([`stored_fields`]).
    pub headers: HeaderMap,
    /// The body as Alyx sent it.
    pub body: Bytes,
    /// Where links stand in the body.
    links: Vec<Link>,
    /// The list's envelope, if it is a page.
    envelope: Option<Envelope>,
    /// The parameters with which it was asked: its links repeat them.
    pairs: Pairs,
    /// A number of its own where it was made here from tables: two of them may differ though question and
    /// time are the same. 0 for what Alyx said.
    made: u64,
    /// When the question left; what was written later is not in it.
    pub asked_at: Millis,
    /// When the answer was here.
    pub received_at: Millis,
}

/// The parts of an entry as they lie on disk.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) query: String,
    pub(super) asked_at: Millis,
    pub(super) received_at: Millis,
}

/// What the asker's own spelling changes in a body.
#[derive(Debug, Clone, Copy)]
pub struct ClientView<'a> {
    /// The base URL under which it knows this proxy.
    pub base: &'a str,
    /// Its question.
    pub question: &'a Question,
}

/// A body ready to be sent.
#[derive(Debug, Clone)]
pub struct Representation {
    /// The bytes, links moved.
    pub body: Bytes,
    /// A hash of them, for the entity tag.
    pub tag: [u8; 16],
}

impl Entry {
    /// The entry that an answer makes; `None` where an answer must not be stored.
    pub(super) fn of(question: &Question, answer: &UpstreamResponse, base: &Base) -> Option<Self> {
        let none = question.route.is_description() && answer.status == StatusCode::NOT_FOUND;
        let storable = (answer.json || none)
            && matches!(answer.status, StatusCode::OK | StatusCode::NOT_FOUND)
            && !is_personal(&answer.headers);
        if !storable {
            return None;
        }
        Self::from_parts(
            Parts {
                status: answer.status,
                headers: stored_fields::of_answer(&answer.headers),
                body: answer.body.clone(),
                query: question.query().to_owned(),
                asked_at: answer.asked_at,
                received_at: answer.received_at,
            },
            base,
        )
    }

    /// An answer that was made here, as Alyx would have given it at that time; `None` if it is no JSON.
    pub fn made(
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        question: &Question,
        at: Millis,
        base: &str,
    ) -> Option<Self> {
        let query = question.query().to_owned();
        let parts = Parts { status, headers, body, query, asked_at: at, received_at: at };
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        Some(Self { made, ..Self::from_parts(parts, &Base::new(base))? })
    }

    /// The entry that was stored in these parts; `None` if its body is no JSON, though it says so.
    pub(super) fn from_parts(parts: Parts, base: &Base) -> Option<Self> {
        let Parts { status, mut headers, body, query, asked_at, received_at } = parts;
        let text = std::str::from_utf8(&body).ok()?;
        let says_json = stored_fields::is_json(&headers);
        let links = if status == StatusCode::NOT_FOUND && !says_json {
            // The page by which Django says that there is no such view: what it says is read, and no page is made of it.
            let plain = HeaderValue::from_static("text/plain; charset=utf-8");
            headers.insert(header::CONTENT_TYPE, plain);
            Vec::new()
        } else {
            links::find(text, base).ok()?
        };
        if status != StatusCode::NOT_FOUND && !says_json {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let envelope = Envelope::of(text);
        Some(Self {
            status,
            headers,
            body,
            links,
            envelope,
            pairs: query_string::parse(&query),
            made: 0,
            asked_at,
            received_at,
        })
    }

    /// The number of records that a page says its list has.
    pub fn count(&self) -> Option<u64> {
        self.envelope.as_ref().map(|envelope| envelope.count)
    }

    /// Whether it was made here from tables.
    pub fn is_made(&self) -> bool {
        self.made != 0
    }

    /// Whether it is no page of several.
    pub fn is_alone(&self) -> bool {
        self.envelope.as_ref().is_none_or(|envelope| envelope.alone(&self.body))
    }

    /// Whether another body of this page lists the same, in however its links are spelt.
    pub fn lists_the_same(&self, body: &[u8]) -> bool {
        let other = std::str::from_utf8(body).ok().and_then(Envelope::of);
        let (Some(own), Some(other)) = (&self.envelope, other) else { return self.body == body };
        own.count == other.count && self.body[own.previous.end..] == body[other.previous.end..]
    }

    /// The bytes that it holds in memory.
    pub fn weight(&self) -> usize {
        self.body.len() + self.links.len() * size_of::<Link>() + 1024
    }

    /// Makes the body for an asker.
    pub(super) fn render(&self, asker: &ClientView<'_>) -> Representation {
        let body = if self.speaks_for(asker.question) {
            links::move_to(&self.body, &self.links, asker.base)
        } else {
            self.with_links_of(asker)
        };
        let body = match asker.question.route {
            Route::Service(Service::CacheInfo) => {
                cache_info::move_location(&body, asker.base, &asker.question.path)
            }
            _ => body,
        };
        let mut tag = [0; 16];
        tag.copy_from_slice(&blake3::hash(&body).as_bytes()[..16]);
        Representation { body, tag }
    }

    /// Whether the page's links are those that this question would get from Alyx.
    fn speaks_for(&self, question: &Question) -> bool {
        match &self.envelope {
            Some(envelope) if !envelope.alone(&self.body) => {
                spelling(&self.pairs) == spelling(&question.pairs)
            }
            _ => true,
        }
    }

    /// The body with `next` and `previous` as Alyx would make them for this question.
    fn with_links_of(&self, asker: &ClientView<'_>) -> Bytes {
        let Some(envelope) = &self.envelope else { return self.body.clone() };
        let url = format!("{}{}", asker.base, asker.question.path);
        // How many records there are on a page is up to this Alyx: its own links say it.
        let limit = envelope.limit(&self.body);
        let window = Window::of(&asker.question.pairs);
        let window = Window { limit: limit.unwrap_or(window.limit), ..window };
        let (next, previous) = window.links(&url, &asker.question.pairs, envelope.count);
        let rest_at = envelope.previous.end;
        let rest_links: Vec<Link> = self
            .links
            .iter()
            .filter(|link| link.at >= rest_at)
            .map(|link| Link { at: link.at - rest_at, ..*link })
            .collect();
        let rest = links::move_to(&self.body.slice(rest_at..), &rest_links, asker.base);
        let mut body = BytesMut::with_capacity(rest.len() + 256);
        body.extend_from_slice(&self.body[..envelope.next.start]);
        push_link(&mut body, next);
        body.extend_from_slice(&self.body[envelope.next.end..envelope.previous.start]);
        push_link(&mut body, previous);
        body.extend_from_slice(&rest);
        body.freeze()
    }
}

fn push_link(body: &mut BytesMut, link: Option<String>) {
    match link {
        // Links are percent-encoded: nothing in them needs an escape.
        Some(link) => body.extend_from_slice(format!("\"{link}\"").as_bytes()),
        None => body.extend_from_slice(b"null"),
    }
}

/// How the links of a page repeat its parameters.
fn spelling(pairs: &Pairs) -> String {
    let repeated: Pairs = pairs.iter().filter(|(name, _)| !is_paging(name)).cloned().collect();
    query_string::encode_sorted(&repeated)
}

/// Whether the answer itself says that it is not for everybody (RFC 9111 5.2.2, 4.1). Alyx says nothing of the kind; a
/// server in front of it may.
pub fn is_personal(headers: &HeaderMap) -> bool {
    let control = ResponseControl::of(headers);
    control.no_store
        || control.private
        || headers.contains_key(header::SET_COOKIE)
        || !varies_as_known(headers)
}

/// Whether the answer depends on nothing but what the key or the check of tokens covers: Alyx says
/// `Accept, Cookie` (ALYX.md 4.1), and requests with cookies are not remembered.
fn varies_as_known(headers: &HeaderMap) -> bool {
    const KNOWN: [&str; 4] = ["accept", "cookie", "accept-encoding", "origin"];
    let lines = headers.get_all(header::VARY);
    let mut fields = lines.iter().map(|line| line.to_str().unwrap_or("*")).flat_map(|line| line.split(','));
    fields.all(|field| KNOWN.iter().any(|known| field.trim().eq_ignore_ascii_case(known)))
}

/// What a representation depends on, as one hash: another spelling or base is another body.
pub(super) fn representation_key(key: &CacheKey, entry: &Entry, asker: &ClientView<'_>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(key)
        .update(&entry.made.to_le_bytes())
        .update(&entry.asked_at.to_le_bytes())
        .update(&entry.received_at.to_le_bytes());
    hasher.update(&(asker.base.len() as u64).to_le_bytes()).update(asker.base.as_bytes());
    if !entry.speaks_for(asker.question) {
        hasher.update(spelling(&asker.question.pairs).as_bytes());
    }
    *hasher.finalize().as_bytes()
}
