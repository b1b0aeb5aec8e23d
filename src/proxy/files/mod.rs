//! ONE's cache tables: `cache.zip`, kept as a file and served whole or in ranges.
//!
//! A kept file is fresh for `freshness.tables`, and only as long as the description that is known
//! (`cache/info`) is the one that was known when it was fetched: ONE asks for the file because the
//! description says that there are newer tables.

mod download;
mod kept;
mod own;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::{
    Exchange,
    authorize::{Authorization, authorize, caller, refuse_caller},
    core::Core,
    error::{ProxyError, notice_away},
    passthrough::{self, failed_pass, give_unstored},
};
use crate::{
    alyx::{Class, cache_info, query_string, route},
    auth::{Credentials, credentials},
    cache::{Entry, JsonVariant, Question},
    clock::Millis,
    http::{
        Directives,
        cache_status::{BypassReason, CacheStatus, ForwardReason, ServedStale, Tier},
        reuse::Staleness,
    },
    upstream::{UpstreamError, UpstreamRequest, UpstreamResponse},
};
use kept::CachedFile;
pub(crate) use kept::{FileCache, FilesError};
pub(crate) use own::{describes_all, offers_none};

/// Only a description says where the tables of a tag lie.
const NO_PLACE: &str =
    "Where the tables of this database tag lie is not known here: ask for /cache/info/<tag>/ first.";

/// A read that costs Alyx next to nothing, to see what it says to a token.
const JUDGED_BY: &str = "/labs?limit=1";

/// Answers a GET or HEAD of `cache.zip`.
pub(crate) async fn answer(tables: &Arc<CacheTables>, asked: Exchange) -> Response<Body> {
    let core = &tables.core;
    let credentials = credentials(&asked.headers, &core.key);
    let Some(tag) = cache_info::tag_asked(&query_string::parse(asked.uri.query().unwrap_or_default())) else {
        return ProxyError::refused(StatusCode::NOT_FOUND, "There is no such database tag.").into();
    };
    if matches!(credentials, Credentials::Foreign) {
        return passthrough::answer(
            core,
            asked,
            Body::empty(),
            ForwardReason::Bypass(BypassReason::ForeignCredentials),
        )
        .await;
    }
    let may = match tables.may_have_tables(&asked, &credentials).await {
        Ok(may) => may,
        Err(response) => return *response,
    };
    let info = tables.known_info(&tag).await;
    let kept = tables.files.get(&tag).filter(|_| may.sees_stored());
    let stale = kept.as_ref().map(|kept| staleness(kept, info.as_deref(), &asked, tables.core.clock.now()));
    match (&kept, stale) {
        (Some(kept), Some(Ok(left))) => {
            return kept
                .give(&asked, tables.core.clock.now(), CacheStatus::Hit(Tier::Disk, left), None)
                .await;
        }
        (Some(kept), _) if core.upstream.health.is_down() => return give_offline(tables, &asked, kept).await,
        _ => {}
    }
    if kept.is_none() && asked.method == Method::HEAD && !core.upstream.health.is_down() {
        return passthrough::answer(core, asked, Body::empty(), ForwardReason::UriMiss).await;
    }
    let info = match tables.confirmed_info(&asked, &credentials, &tag, info).await {
        Ok(info) => info,
        Err(failure) => return tables.without(&asked, &tag, may, kept.as_deref(), &failure).await,
    };
    let why = stale.and_then(Result::err).map_or(ForwardReason::UriMiss, ForwardReason::Stale);
    let wanted = download::TablesRequest { tag: &tag, info: info.as_deref(), kept: kept.is_some() };
    match download::answer(tables, &asked, &credentials, wanted, why).await {
        Ok(response) => response,
        Err(failure) => tables.without(&asked, &tag, may, kept.as_deref(), &failure).await,
    }
}

/// The tables of all data as the proxy makes them itself; `None` where it can't, or those of a tag are asked for.
async fn own(
    tables: &Arc<CacheTables>,
    asked: &Exchange,
    tag: &str,
    reason: Option<ServedStale>,
) -> Option<Response<Body>> {
    if tag.is_empty() { tables.give_own_tables(asked, reason).await } else { None }
}

async fn give_offline(tables: &Arc<CacheTables>, asked: &Exchange, kept: &CachedFile) -> Response<Body> {
    let how = CacheStatus::Stale { reason: ServedStale::Offline, tier: Tier::Disk, ttl: 0 };
    kept.give(asked, tables.core.clock.now(), how, notice_away(&tables.core)).await
}

/// How long a kept file is fresh yet, or why it is not.
fn staleness(
    kept: &CachedFile,
    info: Option<&Entry>,
    asked: &Exchange,
    now: Millis,
) -> Result<Duration, Staleness> {
    let directives = Directives::of(&asked.headers);
    if kept.info != info.map(hash_of) {
        return Err(Staleness::Written);
    }
    let age = Duration::from_millis(u64::try_from(now - kept.received_at).map_err(|_| Staleness::Clock)?);
    directives.judge(age, asked.settings.freshness.tables.0)
}

fn hash_of(info: &Entry) -> [u8; 32] {
    *blake3::hash(&info.body).as_bytes()
}

/// The floor of ONE's cache tables.
#[derive(Debug)]
pub(crate) struct CacheTables {
    pub(crate) core: Arc<Core>,
    /// Those that were fetched.
    pub(crate) files: FileCache,
    /// Those of the proxy's own making; they are not found again after a restart.
    own: own::Making,
    /// The descriptions, by their hashes, that Alyx itself has given in this run; by tag.
    confirmed: Mutex<HashMap<String, [u8; 32]>>,
}

/// Descriptions of so many tags are remembered as Alyx's own.
const MOST_CONFIRMED: usize = 1000;

impl CacheTables {
    /// Finds the files that are kept.
    pub(crate) async fn open(core: Arc<Core>) -> Result<Self, FilesError> {
        let files = FileCache::open(&core.store).await?;
        Ok(Self { core, files, own: own::Making::default(), confirmed: Mutex::default() })
    }

    /// Whether this caller may have the tables. A token that Alyx has yet to judge is tried on the
    /// tables' description, which costs Alyx next to nothing.
    async fn may_have_tables(
        &self,
        asked: &Exchange,
        credentials: &Credentials,
    ) -> Result<Authorization, Box<Response<Body>>> {
        let may = authorize(&self.core, credentials, asked);
        if may == Authorization::Granted {
            return Ok(may);
        }
        let answer = match self.judge(asked, credentials, &cache_info::info_path("")).await {
            Ok(answer) => answer,
            Err(failure) => {
                let refusal = refuse_caller(&self.core, may, &failure, &asked.route);
                return refusal.map_or(Ok(may), |refusal| Err(Box::new(refusal.into())));
            }
        };
        // That Alyx offers no tables says nothing of the token.
        let has_own = offers_none(answer.status) && self.may_have_own(asked, credentials).await;
        let may = authorize(&self.core, credentials, asked);
        if has_own || may.sees_stored() {
            return Ok(may);
        }
        let (why, status) = (ForwardReason::Token, answer.status.as_u16());
        let how = CacheStatus::Forwarded { why, status, stored: false, collapsed: false };
        Err(Box::new(give_unstored(&self.core, asked, &answer, how)))
    }

    /// Whether this caller may have tables that are made here: a token that Alyx has not judged with what was asked so far
    /// is tried on a small list.
    pub(crate) async fn may_have_own(&self, asked: &Exchange, credentials: &Credentials) -> bool {
        let may = || authorize(&self.core, credentials, asked).sees_stored();
        may()
            || credentials.token().is_some()
                && self.judge(asked, credentials, JUDGED_BY).await.is_ok()
                && may()
    }

    /// Asks Alyx something with these credentials, and learns what they are worth.
    async fn judge(
        &self,
        asked: &Exchange,
        credentials: &Credentials,
        path: &str,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let field = match credentials {
            Credentials::Token { field, .. } => Some(field.clone()),
            _ => asked.headers.get(header::AUTHORIZATION).cloned(),
        };
        let ask = UpstreamRequest {
            path_and_query: path.to_owned(),
            accept: Some(HeaderValue::from_static("application/json")),
            authorization: field,
            who: caller(&self.core, credentials, &asked.route),
            extra: HeaderMap::new(),
            timeout: asked.settings.upstream.timeout.0,
            retries: asked.settings.upstream.retries,
            max_body: asked.settings.cache.max_response.bytes(),
        };
        // Nobody waits longer, be it for a turn or for Alyx.
        let asking = tokio::time::timeout(ask.timeout, self.core.upstream.fetch(&ask));
        let answer = asking.await.unwrap_or(Err(UpstreamError::Timeout))?;
        self.core.learn(credentials, &answer).await;
        Ok(answer)
    }

    /// The description of these tables that is known here, however old.
    async fn known_info(&self, tag: &str) -> Option<Arc<Entry>> {
        let question = Self::question_of(tag)?;
        self.core.responses.find(&question).await.map(|(entry, _)| entry)
    }

    /// The question for the description of a tag's tables.
    fn question_of(tag: &str) -> Option<Question> {
        let path = cache_info::info_path(tag);
        let uri = path.parse().ok()?;
        let segments = query_string::segments(&path);
        let route = route::classify(&segments.iter().map(String::as_str).collect::<Vec<_>>());
        let media = JsonVariant::negotiate(&route, None, None)?;
        Some(Question::new(route, Class::Tables, &uri, &media, None))
    }

    /// The description by which tables are fetched. What is known here may have come with a snapshot: where it leads
    /// elsewhere than to Alyx, Alyx itself is asked whether they lie there, once for each description.
    async fn confirmed_info(
        &self,
        asked: &Exchange,
        credentials: &Credentials,
        tag: &str,
        info: Option<Arc<Entry>>,
    ) -> Result<Option<Arc<Entry>>, UpstreamError> {
        let Some(known) = info else { return Ok(None) };
        let place = Self::place_of(tag, Some(&known))?;
        let confirmed = || self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.core.upstream.is_on(&place) || confirmed().get(tag) == Some(&hash_of(&known)) {
            return Ok(Some(known));
        }
        let answer = self.judge(asked, credentials, &cache_info::info_path(tag)).await?;
        let said = match Self::question_of(tag) {
            Some(question) => self.core.responses.remember(&question, &answer).await,
            None => None,
        };
        let said = said.filter(|said| said.status == StatusCode::OK);
        if let Some(said) = &said {
            let mut confirmed = confirmed();
            if confirmed.len() >= MOST_CONFIRMED {
                confirmed.clear();
            }
            confirmed.insert(tag.to_owned(), hash_of(said));
        }
        Ok(said)
    }

    /// What is given where the tables can't be fetched because of this.
    async fn without(
        self: &Arc<Self>,
        asked: &Exchange,
        tag: &str,
        may: Authorization,
        kept: Option<&CachedFile>,
        failure: &UpstreamError,
    ) -> Response<Body> {
        if *failure == UpstreamError::BadAddress {
            return ProxyError::refused(StatusCode::NOT_FOUND, NO_PLACE).into();
        }
        match (refuse_caller(&self.core, may, failure, &asked.route), kept) {
            (Some(refusal), _) => refusal.into(),
            (None, Some(kept)) => give_offline(self, asked, kept).await,
            (None, None) => match own(self, asked, tag, Some(ServedStale::Offline)).await {
                Some(response) => response,
                None => failed_pass(&self.core, failure).into(),
            },
        }
    }

    /// Where the tables of a tag lie: where their description says, or Alyx's own `/cache.zip`.
    fn place_of(tag: &str, info: Option<&Entry>) -> Result<String, UpstreamError> {
        let said = info.and_then(|info| {
            let text = std::str::from_utf8(&info.body).ok()?;
            cache_info::location(text).map(|range| text[range].to_owned())
        });
        match said {
            Some(place) => Ok(place),
            None if tag.is_empty() => Ok(cache_info::PATH.to_owned()),
            // Only a description with a location leads here with a tag.
            None => Err(UpstreamError::BadAddress),
        }
    }
}
