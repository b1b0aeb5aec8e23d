//! Having things fetched: page after page, and a look at what of it would be answered without Alyx.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;
use url::Url;
use uuid::Uuid;

use super::wishes::PackRequest;
use alyx_proxy::alyx::descriptions;

use crate::cli::{CliError, client::ProxyClient};

/// A question that was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackedQuestion {
    pub(super) question: String,
    pub(super) outcome: PackOutcome,
}

/// What a question will meet without Alyx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PackOutcome {
    /// An answer from the mirror's tables.
    Mirror,
    /// The stored answer.
    Stored,
    /// None, for this reason.
    No(String),
    /// Alyx refuses it, with this status, whoever is asked.
    Refused(u16, String),
}

impl PackedQuestion {
    /// Whether there will be an answer without Alyx.
    pub(super) fn works(&self) -> bool {
        matches!(self.outcome, PackOutcome::Mirror | PackOutcome::Stored)
    }
}

/// A wish, and all that was asked for it.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) asked: Vec<PackedQuestion>,
    /// Whether somebody named it: what was only asked once need not be right.
    pub(super) named: bool,
}

impl Item {
    pub(super) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), asked: Vec::new(), named: true }
    }
}

/// Who has things fetched.
pub(super) struct Packer<'a> {
    pub(super) asker: &'a ProxyClient,
    /// The most pages of one question.
    pages: u64,
    /// Whether the sessions that are found are wanted, too.
    sessions: bool,
    found: Mutex<BTreeSet<Uuid>>,
    requests: AtomicU64,
    put_to_alyx: AtomicU64,
    is_away: AtomicBool,
}

impl<'a> Packer<'a> {
    pub(super) fn new(asker: &'a ProxyClient, pages: u64, sessions: bool) -> Self {
        Self {
            asker,
            pages,
            sessions,
            found: Mutex::default(),
            requests: AtomicU64::default(),
            put_to_alyx: AtomicU64::default(),
            is_away: AtomicBool::default(),
        }
    }

    /// Requests that were made.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Those of them for which Alyx was asked.
    pub(super) fn put_to_alyx(&self) -> u64 {
        self.put_to_alyx.load(Ordering::Relaxed)
    }

    /// Whether Alyx was out of reach meanwhile.
    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// The sessions that were found, where they are wanted.
    pub(super) fn found(&self) -> BTreeSet<Uuid> {
        std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Fills a wish.
    pub(super) async fn fill(&self, wish: PackRequest) -> Result<Item, CliError> {
        match wish {
            PackRequest::Beginning => self.beginning().await,
            PackRequest::Question(question) => {
                let mut item = Item::new(&question);
                let records = self.list(&mut item, &question).await?;
                if records.is_empty() && item.asked.iter().all(PackedQuestion::works) {
                    let why = self.nothing_found(&question).await?;
                    item.asked.extend(why.map(|why| PackedQuestion {
                        question: question.clone(),
                        outcome: PackOutcome::No(why),
                    }));
                }
                self.find(&question, &records);
                Ok(item)
            }
            PackRequest::Past(question) => {
                let mut item = Item { named: false, ..Item::new(&question) };
                let records = self.list(&mut item, &question).await?;
                self.find(&question, &records);
                Ok(item)
            }
            PackRequest::Session(id) => self.session(id).await,
        }
    }

    /// Notes the sessions among these records.
    fn find(&self, question: &str, records: &[Value]) {
        if !self.sessions {
            return;
        }
        let endpoint = question.split(['/', '?']).nth(1).unwrap_or_default();
        let field = match endpoint {
            "sessions" => "id",
            "insertions" => "session",
            _ => return,
        };
        let ids = records.iter().filter_map(|record| Uuid::try_parse(record[field].as_str()?).ok());
        self.found.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
    }

    /// Asks for a list, page after page; what is no list has one page. The records.
    pub(super) async fn list(&self, item: &mut Item, question: &str) -> Result<Vec<Value>, CliError> {
        let (mut records, mut next) = (Vec::new(), Some(question.to_owned()));
        let mut pages = 0;
        while let Some(question) = next.take() {
            if pages == self.pages {
                let why = format!("more than {pages} pages: --pages takes more, a narrower query less time");
                item.asked.push(PackedQuestion { question, outcome: PackOutcome::No(why) });
                break;
            }
            pages += 1;
            match self.one(item, &question).await? {
                Some(Value::Object(mut page)) if page.contains_key("results") => {
                    next = page.get("next").and_then(Value::as_str).and_then(path_of);
                    if let Some(Value::Array(results)) = page.remove("results") {
                        records.extend(results);
                    }
                }
                Some(Value::Array(list)) => records.extend(list),
                Some(record) => records.push(record),
                None => {}
            }
        }
        Ok(records)
    }

    /// Asks for one thing, and what it would meet without Alyx. Its body, if there is an answer.
    pub(super) async fn one(&self, item: &mut Item, question: &str) -> Result<Option<Value>, CliError> {
        // As ONE asks for it, who knows another form than others do; that Alyx has none is an answer, too.
        let description = descriptions::at(question);
        let accept = description.map(|description| HeaderValue::from_static(description.accept));
        let fields: HeaderMap = accept.into_iter().map(|accept| (header::ACCEPT, accept)).collect();
        let reply = self.asker.get_patiently(question, &fields).await?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let status = reply.headers.get("cache-status").and_then(|status| status.to_str().ok());
        if status.is_some_and(|status| status.contains("; fwd=")) {
            self.put_to_alyx.fetch_add(1, Ordering::Relaxed);
        }
        let none = description.is_some() && reply.status == StatusCode::NOT_FOUND;
        let outcome = if reply.status.is_success() || none {
            self.look(question, fields).await?
        } else {
            let (body, status) = (reply.body.as_ref(), reply.status.as_u16());
            let detail = body.and_then(|body| body["detail"].as_str()).unwrap_or_default();
            let why = format!("answered with status {status}. {detail}").trim().to_owned();
            if matches!(status, 400 | 404 | 500) {
                PackOutcome::Refused(status, why)
            } else {
                PackOutcome::No(why)
            }
        };
        item.asked.push(PackedQuestion { question: question.to_owned(), outcome });
        Ok(reply.body.filter(|_| reply.status.is_success()))
    }

    /// What this question would meet without Alyx, in the proxy's own words.
    async fn look(&self, question: &str, mut fields: HeaderMap) -> Result<PackOutcome, CliError> {
        fields.insert("x-alyx-proxy-explain", HeaderValue::from_static("1"));
        // What others ask until the journey does not push it out.
        fields.insert("x-alyx-proxy-packed", HeaderValue::from_static("1"));
        let explained = self.asker.get(question, fields).await?.body.unwrap_or_default();
        if explained["upstream"] == "down" {
            self.is_away.store(true, Ordering::Relaxed);
        }
        Ok(match explained["offline"].as_str() {
            Some("mirror") => PackOutcome::Mirror,
            Some("stored") => PackOutcome::Stored,
            Some(_) => {
                let why = explained["why"].as_str().unwrap_or_default();
                PackOutcome::No(
                    format!("{why} {}", explained["remedy"].as_str().unwrap_or_default()).trim().to_owned(),
                )
            }
            None => PackOutcome::No("only Alyx itself can answer it; nothing is kept of it".to_owned()),
        })
    }
}

/// Path and query of a link.
pub(super) fn path_of(link: &str) -> Option<String> {
    let url = Url::parse(link).ok()?;
    Some(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}
