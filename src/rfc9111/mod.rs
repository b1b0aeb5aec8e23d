//! A shared cache by the standard alone (`[cache] profile = "rfc9111"`): RFC 9111, RFC 5861, and RFC 9110's conditional
//! and range requests, before any HTTP server.
//!
//! It knows no Alyx: no tokens are vouched for, nothing is mirrored, and what is stored lies in memory and is gone
//! with the program. It exists so that the caching core can be judged by public test suites, and leaves out what
//! they or their users may do without: parts (206) are passed on and not stored, a `Range` of several parts is
//! answered with the whole, and requests for the same are not made one.

mod forwards;
mod gather;
mod give;
mod stored;

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::{
    clock::Millis,
    http::{
        Directives, Lifetime, ResponseControl,
        body::{self, Buffered},
        cache_status::{CacheStatus, ForwardReason, ServedStale, Tier},
        lifetime, may_store,
    },
    proxy::{Exchange, core::Core, error::ProxyError, passthrough},
    server::interim::Interim,
    settings::Profile,
    single_flight::Flights,
    upstream::{Origin, UpstreamConfigError, UpstreamError},
};
use gather::gather;
use give::give;
use stored::{Shelf, StoredResponse, Url, Worth};

/// The cache, where the settings ask for this profile.
#[derive(Debug)]
pub(crate) struct Standard {
    core: Arc<Core>,
    shelf: Shelf,
    origin: Origin,
    /// Refreshments under way.
    refreshing: Flights<Url, ()>,
}

impl Standard {
    pub(crate) fn of(core: &Arc<Core>) -> Result<Option<Arc<Self>>, UpstreamConfigError> {
        let settings = core.settings.load();
        if settings.cache.profile != Profile::Rfc9111 {
            return Ok(None);
        }
        let (shelf, origin) = (Shelf::new(settings.storage.max_memory), Origin::new(&settings.upstream)?);
        Ok(Some(Arc::new(Self { core: core.clone(), shelf, origin, refreshing: Flights::default() })))
    }
}

/// A request on its way.
#[derive(Debug, Clone)]
struct StandardExchange {
    standard: Arc<Standard>,
    method: Method,
    url: Url,
    headers: HeaderMap,
    wanted: Directives,
    /// The base URL under which the client knows this proxy.
    base: String,
    /// Where the client gets what comes before the answer.
    interim: Option<Interim>,
}

/// Answers a request that is not for the proxy itself.
pub(crate) async fn answer(
    standard: &Arc<Standard>,
    mut asked: Exchange,
    body: Body,
    interim: Option<Interim>,
) -> Response<Body> {
    if let Some(response) = forwards::ends_here(&asked.method, &asked.uri, &mut asked.headers) {
        return marked(response, CacheStatus::MaxForwards);
    }
    let Some(body) = body::limited(&asked.headers, body, asked.settings.server.max_body) else {
        return passthrough::too_large().into();
    };
    let asking = StandardExchange {
        standard: standard.clone(),
        url: asked.uri.path_and_query().map_or("/", |both| both.as_str()).into(),
        method: asked.method,
        wanted: Directives::of(&asked.headers),
        headers: asked.headers,
        base: asked.base,
        interim: interim.clone(),
    };
    let outcome = match asking.method {
        // Those conditions are the origin's to judge (RFC 9111 4.3.2), and bodies of reads have no meaning here.
        Method::GET | Method::HEAD if asking.may_be_answered() => Ok(asking.read(body).await),
        _ => asking.write(body).await,
    };
    if let Some(interim) = interim {
        interim.sent().await;
    }
    outcome.unwrap_or_else(|failure| refused(&failure))
}

impl StandardExchange {
    fn may_be_answered(&self) -> bool {
        let conditions = [header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
        !conditions.iter().any(|name| self.headers.contains_key(name))
            && !crate::http::body::has_body(&self.headers)
    }

    async fn read(self, body: Body) -> Response<Body> {
        let now = self.now();
        let stored = self.standard.shelf.find(&self.url, &self.headers).filter(|_| !self.wanted.no_store);
        if let Some(stored) = &stored {
            match stored.worth(&self.wanted, now) {
                Worth::Fresh(left) => return self.give(stored, CacheStatus::Hit(Tier::Memory, left)),
                Worth::WhileRefreshed { by } => {
                    self.clone().refresh(stored.clone());
                    return self.give(
                        stored,
                        CacheStatus::Stale {
                            reason: ServedStale::WhileRevalidating,
                            tier: Tier::Memory,
                            ttl: -i64::try_from(by.as_secs()).unwrap_or(i64::MAX),
                        },
                    );
                }
                Worth::Ask => {}
            }
        }
        if self.wanted.only_if_cached {
            return ProxyError::refused(
                StatusCode::GATEWAY_TIMEOUT,
                "The request allows only what is stored, and nothing fresh is stored for it.",
            )
            .into();
        }
        match self.ask(body, stored.as_ref()).await {
            Ok(response) => response,
            Err(failure) => match stored.filter(|stored| stored.may_stand_in(false, self.now())) {
                Some(stored) => self.give(
                    &stored,
                    CacheStatus::StaleIfError { fwd_status: None, failure: Some(failure.name()) },
                ),
                None => refused(&failure),
            },
        }
    }

    /// Refreshes what is stored behind a response that is given meanwhile.
    fn refresh(mut self, stored: Arc<StoredResponse>) {
        self.method = Method::GET;
        self.interim = None;
        for name in [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE] {
            self.headers.remove(name);
        }
        let (standard, url) = (self.standard.clone(), self.url.clone());
        drop(standard.refreshing.join(url, move || async move {
            match self.ask(Body::empty(), Some(&stored)).await {
                // Read to its end, which stores it.
                Ok(response) => drop(response),
                Err(failure) => tracing::debug!(%failure, "a stale response was not refreshed"),
            }
        }));
    }

    /// Asks the origin, if what is stored still holds, or for something newer.
    async fn ask(
        &self,
        body: Body,
        stored: Option<&Arc<StoredResponse>>,
    ) -> Result<Response<Body>, UpstreamError> {
        let mut headers = self.headers.clone();
        let held =
            stored.filter(|stored| self.method == Method::GET && stored.ask_whether_it_holds(&mut headers));
        let (asked_at, response) = self.exchange(headers, body).await?;
        match (response.status(), held, stored) {
            (StatusCode::NOT_MODIFIED, Some(held), _) => {
                let (parts, _) = response.into_parts();
                let times = (asked_at, self.now());
                let fresh = held.freshened(&parts.headers, times);
                if let Some(fresh) = fresh.filter(|_| held.is_meant_by(&parts.headers)) {
                    let fresh = Arc::new(fresh);
                    self.store_freshened(&fresh, &parts.headers);
                    return Ok(self.give(&fresh, CacheStatus::Revalidated));
                }
                // It speaks of another version: that one is asked for.
                let (asked_at, response) = self.exchange(self.headers.clone(), Body::empty()).await?;
                self.keep(response, asked_at).await
            }
            (status, _, Some(stored)) if is_failure(status) && stored.may_stand_in(true, self.now()) => {
                Ok(self.give(
                    stored,
                    CacheStatus::StaleIfError { fwd_status: Some(status.as_u16()), failure: None },
                ))
            }
            (status, _, Some(stored)) if self.method == Method::HEAD && status.is_success() => {
                self.learn_from_head(stored, response.headers(), asked_at);
                Ok(forwarded(response, ForwardReason::Revalidate, false))
            }
            _ => self.keep(response, asked_at).await,
        }
    }

    /// A response to HEAD either describes what is stored, or says that it is no longer so.
    fn learn_from_head(&self, stored: &Arc<StoredResponse>, head: &HeaderMap, asked_at: Millis) {
        match stored.freshened(head, (asked_at, self.now())).filter(|_| stored.is_described_by(head)) {
            Some(fresh) => self.store_freshened(&Arc::new(fresh), head),
            None => self.standard.shelf.invalidate(&self.url),
        }
    }

    /// Stores what a 304, or a response to HEAD, has made of a stored response, if a whole response with those fields might
    /// be stored (RFC 9111 3): they may be one user's alone. Where the origin forbids it, or it is worth nothing any more,
    /// what is stored goes, too; where only this request forbids it, being authorised, that stays as it was.
    fn store_freshened(&self, fresh: &Arc<StoredResponse>, newer: &HeaderMap) {
        let lifetime = lifetime(fresh.status, &fresh.headers, &fresh.control, fresh.received_at());
        let may = |request| may_store(request, fresh.status, &fresh.headers, &fresh.control, lifetime);
        let asked_by = self.asked_by(&Method::GET);
        // The directives that count for what is stored may be those of another field than the newer message has.
        if crate::http::forbids_storing(fresh.status, &ResponseControl::of(newer))
            || !may(crate::http::Request { authorised: false, ..asked_by })
        {
            self.standard.shelf.invalidate(&self.url);
        } else if may(asked_by) {
            self.standard.shelf.put(self.url.clone(), fresh.clone());
        }
    }

    /// Gives a response of the origin's, and stores it if that is allowed.
    async fn keep(
        &self,
        response: Response<Body>,
        asked_at: Millis,
    ) -> Result<Response<Body>, UpstreamError> {
        let (status, received_at) = (response.status(), self.now());
        let control = ResponseControl::of(response.headers());
        let lifetime = lifetime(status, response.headers(), &control, received_at);
        if !may_store(self.asked_by(&self.method), status, response.headers(), &control, lifetime) {
            return Ok(forwarded(response, ForwardReason::UriMiss, false));
        }
        self.store(response, (asked_at, received_at)).await
    }

    async fn store(
        &self,
        response: Response<Body>,
        times: (Millis, Millis),
    ) -> Result<Response<Body>, UpstreamError> {
        let settings = self.standard.core.settings.load_full();
        let (parts, body) = response.into_parts();
        let said = parts.headers.get(header::CONTENT_LENGTH);
        let said = said.and_then(|length| length.to_str().ok()?.parse().ok());
        let limit = settings.cache.max_response.bytes();
        let body = match gather(body, said, limit, &self.standard.shelf).await? {
            Buffered::Complete(body) => body,
            Buffered::Overflow(body) => {
                return Ok(forwarded(Response::from_parts(parts, body), ForwardReason::UriMiss, false));
            }
        };
        match StoredResponse::of(&self.headers, parts.status, parts.headers.clone(), body.clone(), times) {
            Some(stored) => {
                let stored = Arc::new(stored);
                self.standard.shelf.put(self.url.clone(), stored.clone());
                if self.method == Method::GET {
                    return Ok(
                        self.give(&stored, forwarded_status(stored.status, ForwardReason::UriMiss, true))
                    );
                }
                Ok(forwarded(Response::from_parts(parts, Body::from(body)), ForwardReason::Method, true))
            }
            None => {
                Ok(forwarded(Response::from_parts(parts, Body::from(body)), ForwardReason::UriMiss, false))
            }
        }
    }

    /// Passes on what is no read; what it may have changed is no longer given (RFC 9111 4.4).
    async fn write(&self, body: Body) -> Result<Response<Body>, UpstreamError> {
        let safe = matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
        let (asked_at, response) = self.exchange(self.headers.clone(), body).await?;
        let status = response.status();
        if safe || !(status.is_success() || status.is_redirection()) {
            return Ok(forwarded(response, ForwardReason::Method, false));
        }
        let places = self.places(response.headers());
        self.standard.shelf.invalidate(&self.url);
        for place in &places {
            self.standard.shelf.invalidate(place);
        }
        // What a POST says to be the page itself answers the GETs that follow (RFC 9110 9.3.3).
        let content = response.headers().get(header::CONTENT_LOCATION).and_then(|place| self.place(place));
        let own = self.method == Method::POST && content.as_deref() == Some(&*self.url);
        let control = ResponseControl::of(response.headers());
        let received_at = self.now();
        let lifetime = lifetime(status, response.headers(), &control, received_at);
        let said = matches!(lifetime, Lifetime::Said(time) if !time.is_zero());
        let as_get = self.asked_by(&Method::GET);
        if own && said && may_store(as_get, status, response.headers(), &control, lifetime) {
            return self.store(response, (asked_at, received_at)).await;
        }
        Ok(forwarded(response, ForwardReason::Method, false))
    }

    /// What is to be known of this request, were it of that method, before its response is stored.
    fn asked_by<'m>(&self, method: &'m Method) -> crate::http::Request<'m> {
        let authorised = self.headers.contains_key(header::AUTHORIZATION);
        crate::http::Request { method, authorised, no_store: self.wanted.no_store }
    }

    /// Other paths of this origin that a write says it has changed.
    fn places(&self, headers: &HeaderMap) -> Vec<String> {
        let named = [header::LOCATION, header::CONTENT_LOCATION];
        named.iter().filter_map(|name| self.place(headers.get(name)?)).collect()
    }

    /// The path and query of a place on this origin, by whichever of its names.
    fn place(&self, place: &HeaderValue) -> Option<String> {
        let place = place.to_str().ok()?;
        [self.standard.core.upstream.base(), &self.base].into_iter().find_map(|base| {
            let asked = url::Url::parse(&format!("{base}{}", self.url)).ok()?;
            let place = asked.join(place).ok().filter(|place| place.origin() == asked.origin())?;
            let path = place.as_str().strip_prefix(base)?;
            Some(path.split('#').next().unwrap_or_default().to_owned())
        })
    }

    async fn exchange(
        &self,
        headers: HeaderMap,
        body: Body,
    ) -> Result<(Millis, Response<Body>), UpstreamError> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.url.parse().map_err(|_| UpstreamError::BadAddress)?;
        *request.headers_mut() = headers;
        let timeout = self.standard.core.settings.load().upstream.timeout.0;
        let interim = self.interim.clone();
        let pass_on = move |status, headers: &HeaderMap| {
            if let Some(interim) = &interim {
                interim.send(status, headers);
            }
        };
        let asked_at = self.now();
        Ok((asked_at, self.standard.origin.exchange(request, &self.base, timeout, pass_on).await?))
    }

    fn now(&self) -> Millis {
        self.standard.core.clock.now()
    }

    fn give(&self, stored: &StoredResponse, status: CacheStatus) -> Response<Body> {
        give(stored, stored.age(self.now()), &self.method, &self.headers, status)
    }
}

/// What an origin says that can't do its work.
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

fn refused(failure: &UpstreamError) -> Response<Body> {
    let status = match failure {
        UpstreamError::BadAddress => StatusCode::BAD_REQUEST,
        UpstreamError::Timeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    ProxyError::refused(status, &format!("The origin could not be asked: {failure}.")).into()
}

/// A response of the origin's, as it came.
fn forwarded(response: Response<Body>, why: ForwardReason, stored: bool) -> Response<Body> {
    let status = forwarded_status(response.status(), why, stored);
    marked(response, status)
}

fn forwarded_status(status: StatusCode, why: ForwardReason, stored: bool) -> CacheStatus {
    CacheStatus::Forwarded { why, status: status.as_u16(), stored, collapsed: false }
}

fn marked(mut response: Response<Body>, status: CacheStatus) -> Response<Body> {
    status.mark(&mut response);
    response
}
