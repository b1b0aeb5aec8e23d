//! Answering a request for a file.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::{
    DataFiles, ServedFile,
    block::BlockError,
    credentials::DataCredentials,
    index::IndexedFile,
    look::LookOutcome,
    path::DataPath,
    source::SourceRequest,
    stream::FileReader,
    version::{BLOCK, FileVersion},
};
use crate::{
    clock::{self, Millis},
    http::{
        RequestedRange,
        cache_status::{BypassReason, CACHE_STATUS, CacheStatus, ForwardReason, ServedStale, Tier},
        precondition, wanted,
    },
    settings::Settings,
    upstream::UpstreamError,
};

/// A request for a file, or a folder.
#[derive(Debug)]
pub(crate) struct DataRequest {
    /// GET or HEAD.
    pub(crate) method: Method,
    pub(crate) path: DataPath,
    pub(crate) query: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) credentials: DataCredentials,
    pub(crate) settings: Arc<Settings>,
}

/// Why a file can't be given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataError {
    /// The data server can't be asked, and what is here is not enough, or was never given to whoever asks.
    #[error("The data server could not be asked: {0}.")]
    Away(UpstreamError),
    /// The same, and whoever asks gave no name, while the data server gave files to others for theirs.
    #[error("The data server could not be asked: {0}.")]
    Nameless(UpstreamError),
    /// What it sends is not what it said.
    #[error("{0}.")]
    Source(BlockError),
}

/// Put into an answer that is given though the data server could not be asked: when it said last that this is the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GivenAsOf(pub(crate) Millis);

/// How it is known which file is to be given.
#[derive(Debug, Clone, Copy)]
enum KnownAs {
    /// The data server said so lately; for so long it counts.
    Fresh(Duration),
    /// It has said so now.
    Now,
    /// It can't be asked.
    Offline,
}

/// What is given of a file.
struct GivenSpan {
    status: StatusCode,
    start: u64,
    /// The first byte that is not given.
    end: u64,
}

/// Fields of a request that its answer depends on, where the data server itself gives it.
const PASSED: [header::HeaderName; 7] = [
    header::ACCEPT,
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

impl DataFiles {
    /// Answers a request: from here, or with what the data server says.
    pub(crate) async fn answer(self: &Arc<Self>, asked: &DataRequest) -> Result<Response<Body>, DataError> {
        if asked.query.is_some() || asked.path.is_folder() {
            return self.pass(asked).await;
        }
        // A file that changes while its first bytes are fetched is asked about once more.
        match self.answer_once(asked, wants_news(&asked.headers)).await {
            Err(DataError::Source(BlockError::Changed | BlockError::Refused(_))) => {
                self.answer_once(asked, true).await
            }
            answered => answered,
        }
    }

    async fn answer_once(
        self: &Arc<Self>,
        asked: &DataRequest,
        news: bool,
    ) -> Result<Response<Body>, DataError> {
        let now = self.clock.now();
        let found = self.index.find(asked.path.as_str(), asked.credentials.hash(), now).await.unwrap_or_else(
            |error| {
                tracing::warn!(%error, "what is kept is not known");
                None
            },
        );
        let word = self.word_on(asked.path.as_str()).await;
        // Alyx says something else by now: the data server may have another file.
        let news = news || found.as_ref().is_some_and(|file| file.is_doubted_by(&word));
        let left = found.as_ref().and_then(|file| fresh_for(file, &asked.settings, now));
        if let (Some(file), Some(left), false) = (&found, left, news) {
            return self.give(asked, file, KnownAs::Fresh(left)).await;
        }
        match self.look(&asked.path, &asked.credentials, news).await {
            Ok(LookOutcome::File(file)) => self.give(asked, &file, KnownAs::Now).await,
            Ok(LookOutcome::Pass) => self.pass(asked).await,
            Err(failure) => {
                let counts = |file: &IndexedFile| {
                    counts_offline(file, &asked.settings, now) && file.is_vouched_by(&word)
                };
                match found.filter(counts) {
                    Some(file) if self.is_here(asked, &file).await => {
                        self.give(asked, &file, KnownAs::Offline).await
                    }
                    _ if self.gave_to_names(asked).await => Err(DataError::Nameless(failure)),
                    _ => Err(DataError::Away(failure)),
                }
            }
        }
    }

    /// Whether a name and a password may get more: clients such as ONE tell theirs after a 401 alone.
    async fn gave_to_names(&self, asked: &DataRequest) -> bool {
        !asked.credentials.are_given()
            && self.index.has_granted_others(asked.credentials.hash()).await.unwrap_or(false)
    }

    /// Passes the data server's own answer on.
    async fn pass(&self, asked: &DataRequest) -> Result<Response<Body>, DataError> {
        let mut fields = asked.credentials.fields();
        for name in PASSED {
            for value in asked.headers.get_all(&name) {
                fields.append(name.clone(), value.clone());
            }
        }
        let (method, query) = (asked.method.clone(), asked.query.as_deref());
        let request = SourceRequest { method, path: &asked.path, query, fields };
        let response = self.ask(request).await.map_err(DataError::Away)?;
        let how = CacheStatus::Forwarded {
            why: ForwardReason::Bypass(BypassReason::NotKept),
            status: response.status().as_u16(),
            stored: false,
            collapsed: false,
        };
        let mut response = response;
        response.headers_mut().remove(header::SET_COOKIE);
        mark(how, &mut response);
        Ok(response)
    }

    /// Gives a file, or tells its client that it has it already.
    async fn give(
        self: &Arc<Self>,
        asked: &DataRequest,
        file: &IndexedFile,
        known: KnownAs,
    ) -> Result<Response<Body>, DataError> {
        let mut headers = file.version.fields();
        let span = match precondition(&asked.headers, &headers, file.checked_at) {
            Some(status) => GivenSpan { status, start: 0, end: 0 },
            None => span(asked, &file.version, &mut headers),
        };
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::AGE, HeaderValue::from(clock::age_field(file.checked_at)));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        let is_file = span.status.is_success();
        if is_file {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(span.end - span.start));
        } else {
            headers.remove(header::CONTENT_TYPE);
            if span.status != StatusCode::NOT_MODIFIED {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(0));
            }
        }
        let bodiless = !is_file || asked.method == Method::HEAD || span.start == span.end;
        let here = bodiless || self.has_blocks(file.id, &span).await;
        let body = if bodiless { Body::empty() } else { self.body(asked, file, &span).await? };
        if !bodiless {
            self.counts.answered(here);
        }
        let mut response = Response::new(body);
        *response.status_mut() = span.status;
        *response.headers_mut() = headers;
        mark(how(known, here, span.status), &mut response);
        if matches!(known, KnownAs::Offline) {
            response.extensions_mut().insert(GivenAsOf(file.checked_at));
        }
        Ok(response)
    }

    async fn body(
        self: &Arc<Self>,
        asked: &DataRequest,
        file: &IndexedFile,
        span: &GivenSpan,
    ) -> Result<Body, DataError> {
        let served = Arc::new(ServedFile {
            id: file.id,
            path: asked.path.clone(),
            version: file.version.clone(),
            credentials: asked.credentials.clone(),
            _in_use: self.room.enter(file.id),
        });
        let begin = async {
            let mut reader = FileReader::open(self.clone(), served, span.start, span.end).await?;
            let first = reader.begun().await?;
            Ok(reader.body(first))
        };
        match begin.await {
            Ok(body) => Ok(body),
            Err(BlockError::Changed) => {
                self.outdate(file.id).await;
                Err(DataError::Source(BlockError::Changed))
            }
            Err(BlockError::Away(failure)) => Err(DataError::Away(failure)),
            Err(error) => Err(DataError::Source(error)),
        }
    }

    /// Forgets a version that the data server has no longer.
    pub(super) async fn outdate(&self, id: i64) {
        if let Err(error) = self.index.forget(id).await {
            tracing::warn!(%error, "an old version of a file stays noted");
        }
        self.remove(id).await;
    }

    /// Whether all that is asked of a file is here.
    async fn is_here(&self, asked: &DataRequest, file: &IndexedFile) -> bool {
        let span = span(asked, &file.version, &mut file.version.fields());
        asked.method == Method::HEAD || span.start == span.end || self.has_blocks(file.id, &span).await
    }

    async fn has_blocks(&self, id: i64, span: &GivenSpan) -> bool {
        let (first, last) = (span.start / BLOCK, (span.end - 1) / BLOCK);
        self.index.count(id, first, last).await.is_ok_and(|count| count == last - first + 1)
    }
}

/// For how long yet it counts that this is the file and that whoever asks may have it; none where that is over.
pub(super) fn fresh_for(file: &IndexedFile, settings: &Settings, now: Millis) -> Option<Duration> {
    let left = |since: Millis, span: i64| (since <= now).then(|| since.saturating_add(span) - now);
    let files = &settings.files;
    let left = left(file.checked_at, files.max_age.millis())?
        .min(left(file.granted_at?, files.credentials_ttl.millis())?);
    u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_millis)
}

/// Whether the data server has given it to whoever asks lately enough while it is away.
fn counts_offline(file: &IndexedFile, settings: &Settings, now: Millis) -> bool {
    file.granted_at.is_some_and(|at| now - at <= settings.access.grace.millis())
}

/// Whether a request wants to hear from the data server itself (RFC 9111 5.2.1.4).
fn wants_news(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CACHE_CONTROL).iter().chain(headers.get_all(header::PRAGMA));
    lines.filter_map(|line| line.to_str().ok()).any(|line| line.to_ascii_lowercase().contains("no-cache"))
}

/// What of a file is to be given, with its `Content-Range` where that is a part. Only GET has ranges (RFC 9110 14.2).
fn span(asked: &DataRequest, version: &FileVersion, headers: &mut HeaderMap) -> GivenSpan {
    let length = version.length;
    let range = if asked.method == Method::GET {
        wanted(&asked.headers, FileVersion::validators(headers), length)
    } else {
        RequestedRange::Whole
    };
    if let Some(field) = range.content_range(length) {
        headers.insert(header::CONTENT_RANGE, field);
    }
    match range {
        RequestedRange::Whole => GivenSpan { status: StatusCode::OK, start: 0, end: length },
        RequestedRange::Part { start, end } => {
            GivenSpan { status: StatusCode::PARTIAL_CONTENT, start, end: end + 1 }
        }
        RequestedRange::Unsatisfiable => {
            GivenSpan { status: StatusCode::RANGE_NOT_SATISFIABLE, start: 0, end: 0 }
        }
    }
}

/// How an answer came about.
fn how(known: KnownAs, here: bool, status: StatusCode) -> CacheStatus {
    match (known, here) {
        (KnownAs::Fresh(left), true) => CacheStatus::Hit(Tier::Disk, left),
        (KnownAs::Offline, _) => {
            CacheStatus::Stale { reason: ServedStale::Offline, tier: Tier::Disk, ttl: 0 }
        }
        (KnownAs::Now, true) => CacheStatus::Revalidated,
        (_, false) => CacheStatus::Forwarded {
            why: ForwardReason::UriMiss,
            status: status.as_u16(),
            stored: true,
            collapsed: false,
        },
    }
}

/// Says how an answer came about. To the proxy's own counters it is one of its own: they count what Alyx was spared.
fn mark(how: CacheStatus, response: &mut Response<Body>) {
    response.extensions_mut().insert(CacheStatus::Internal);
    response.headers_mut().insert(CACHE_STATUS, how.header());
}
