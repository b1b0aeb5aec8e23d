//! Reading one JSON answer of Alyx whole.
//!
//! What comes back is either something that Alyx itself said, or a [`Failure`] with a name. An HTML
//! page, a redirect to elsewhere, a broken text or a 502 is never taken for an answer (ALYX.md 4.3:
//! "HTTP 200 with HTML is a server error").

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::Response;

use super::{Upstream, UpstreamError, measure::Measured, rate_limit::Caller};
use crate::{
    alyx::{json, route::LOOK},
    clock::Millis,
    http::{parse_date, response_fields},
    single_flight::SendState,
};

/// A read to be made of Alyx.
#[derive(Debug, Clone)]
pub struct UpstreamRequest {
    /// Path and query as the client spelled them.
    pub path_and_query: String,
    /// What the client accepts, if it said so.
    pub accept: Option<HeaderValue>,
    /// The client's credentials.
    pub authorization: Option<HeaderValue>,
    /// Whose turn this takes.
    pub who: Option<Caller>,
    /// Other fields that Alyx may read.
    pub extra: HeaderMap,
    /// How long its turn may be waited for, and how long Alyx may take then.
    pub timeout: Duration,
    /// How often to try again.
    pub retries: usize,
    /// The largest body that is read.
    pub max_body: usize,
}

/// Something that Alyx said.
#[derive(Debug, Clone)]
pub struct UpstreamResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its end-to-end header fields.
    pub headers: HeaderMap,
    /// Its body, content codings undone.
    pub body: Bytes,
    /// Whether the body is sound JSON.
    pub json: bool,
    /// When the question left.
    pub asked_at: Millis,
    /// When the answer was here.
    pub received_at: Millis,
}

/// A connection that breaks sooner was broken before.
const STALE_CONNECTION: Duration = Duration::from_millis(100);

impl Upstream {
    /// Asks Alyx, waits for its turn, tries again where that may help; reports to health and pace.
    pub async fn fetch(&self, ask: &UpstreamRequest) -> Result<UpstreamResponse, UpstreamError> {
        self.fetch_coalesced(ask, &SendState::default()).await
    }

    /// The same, saying when it is sent.
    pub(crate) async fn fetch_coalesced(
        &self,
        ask: &UpstreamRequest,
        send_state: &SendState,
    ) -> Result<UpstreamResponse, UpstreamError> {
        if self.health.is_down() {
            return Err(UpstreamError::Offline);
        }
        let deadline = self.clock.instant() + ask.timeout;
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_jitter()
            .with_max_times(ask.retries)
            .build();
        let mut pooled = true;
        loop {
            let start = self.clock.instant();
            let result = self.try_once(ask, deadline, send_state).await;
            // A pooled connection that Alyx has closed meanwhile breaks at once: that says nothing.
            if pooled
                && matches!(result, Err(UpstreamError::Reset))
                && self.clock.instant() - start < STALE_CONNECTION
            {
                pooled = false;
                continue;
            }
            match &result {
                Ok(_) => self.health.answered(),
                Err(failure) => self.health.failed(failure),
            }
            if let ControlFlow::Break(()) = self.rest_before_retry(&result, deadline, &mut pauses).await {
                return result;
            }
        }
    }

    /// The same, behind all requests of people: only while none of them waits, and few at once.
    pub async fn fetch_in_background(
        &self,
        ask: &UpstreamRequest,
    ) -> Result<UpstreamResponse, UpstreamError> {
        if self.health.is_down() {
            return Err(UpstreamError::Offline);
        }
        let _place = self.pace.background(ask.who.as_ref()).await;
        self.fetch(ask).await
    }

    /// Sleeps before another try, or says that there is none.
    async fn rest_before_retry(
        &self,
        result: &Result<UpstreamResponse, UpstreamError>,
        deadline: Instant,
        pauses: &mut impl Iterator<Item = Duration>,
    ) -> ControlFlow<()> {
        let pause = match result {
            Err(UpstreamError::Throttled(length) | UpstreamError::ThrottledAll(length)) => Some(*length),
            Err(failure) if failure.is_transient() && !self.health.is_down() => None,
            _ => return ControlFlow::Break(()),
        };
        let Some(next) = pauses.next() else { return ControlFlow::Break(()) };
        let until = self.clock.instant() + pause.unwrap_or(next);
        if until >= deadline {
            return ControlFlow::Break(());
        }
        tokio::time::sleep_until(until.into()).await;
        ControlFlow::Continue(())
    }

    async fn try_once(
        &self,
        ask: &UpstreamRequest,
        deadline: Instant,
        send_state: &SendState,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let start = self.clock.instant();
        let turn = self.pace.turn(ask.who.as_ref(), deadline).await;
        let _turn =
            turn.map_err(
                |failure| if failure == UpstreamError::Saturated { self.saturated(start) } else { failure },
            )?;
        send_state.mark_sent();
        let (asked_at, measured) = (self.clock.stamp(), Measured::begin());
        let exchange = async {
            let response = self.send(ask).await?;
            self.judge_head(&response)?;
            let (status, headers) = (response.status(), response_fields::of_alyx(response.headers()));
            let body = read_body(response, ask.max_body).await?;
            let (body, json) = check_body(status, &headers, body).await?;
            Ok(UpstreamResponse { status, headers, body, json, asked_at, received_at: self.clock.now() })
        };
        // All of the time again: Alyx works for what it is asked to the end, and its answer is remembered. Cut off, its
        // work would be lost, and as much again be sent to it on top.
        let result = tokio::time::timeout(ask.timeout, exchange).await.unwrap_or(Err(UpstreamError::Timeout));
        measured.end(&result.as_ref().map(|answer| answer.status).map_err(Clone::clone));
        self.heed(ask.who.as_ref(), &result);
        result
    }

    /// What it means that a request got no turn since then: that Alyx answers nobody, or that too much is asked of it.
    pub fn saturated(&self, since: Instant) -> UpstreamError {
        if self.health.seen_since(since) { UpstreamError::Saturated } else { UpstreamError::Timeout }
    }

    async fn send(&self, ask: &UpstreamRequest) -> Result<Response, UpstreamError> {
        let url = self.url_of(&ask.path_and_query)?;
        let mut request = self.reader.get(url).headers(ask.extra.clone());
        if let Some(accept) = &ask.accept {
            request = request.header(header::ACCEPT, accept);
        }
        if let Some(authorization) = &ask.authorization {
            let mut authorization = authorization.clone();
            authorization.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.send().await.map_err(|error| UpstreamError::of(&error))
    }

    /// What status and header fields alone show not to be Alyx's.
    pub(super) fn judge_head(&self, response: &Response) -> Result<(), UpstreamError> {
        match response.status().as_u16() {
            status @ (502..=504 | 511) => Err(UpstreamError::Unavailable(status)),
            101 => Err(UpstreamError::Switched),
            429 => Err(UpstreamError::Throttled(retry_after(response.headers(), self.clock.now()))),
            300..=399 => match self.elsewhere(response.headers()) {
                Some(to) => Err(UpstreamError::Elsewhere(to)),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// The status of an answer, or why its head shows that there is none.
    pub(super) fn judged(
        &self,
        response: &Result<Response, UpstreamError>,
    ) -> Result<StatusCode, UpstreamError> {
        let response = response.as_ref().map_err(Clone::clone)?;
        self.judge_head(response).map(|()| response.status())
    }

    /// Keeps to the pause that Alyx has asked this caller for, if it has.
    pub(super) fn heed<T>(&self, who: Option<&Caller>, result: &Result<T, UpstreamError>) {
        if let Err(UpstreamError::Throttled(length)) = result {
            self.pace.pause(who, *length);
        }
    }

    /// Where a redirect leads that leaves this Alyx, for people: no path, it may hold what is secret.
    pub(super) fn elsewhere(&self, headers: &HeaderMap) -> Option<String> {
        let location = headers.get(header::LOCATION).and_then(|location| location.to_str().ok())?;
        let target = self.url.join(location).ok().filter(|target| !self.owns(target))?;
        let origin = target.origin().ascii_serialization();
        let same =
            target.scheme() == "https" && self.url.scheme() == "http" && target.host() == self.url.host();
        Some(if same { format!("{origin}; set `upstream.url` to that") } else { origin })
    }

    /// Looks whether Alyx is there (see [`super::health`]).
    pub(super) async fn probe(&self, timeout: Duration) -> Result<(), UpstreamError> {
        let ask = UpstreamRequest {
            path_and_query: LOOK.to_owned(),
            accept: Some(HeaderValue::from_static("application/json")),
            authorization: None,
            who: None,
            extra: HeaderMap::new(),
            timeout,
            retries: 0,
            max_body: 64 << 10,
        };
        let looked = async {
            let measured = Measured::begin();
            let response = self.send(&ask).await;
            measured.end(&self.judged(&response));
            let response = response?;
            match self.judge_head(&response) {
                // Being throttled is an answer of Alyx's.
                Ok(()) | Err(UpstreamError::Throttled(_)) => {}
                // So is any other word of a server that speaks HTTP, be it out of place.
                Err(UpstreamError::Switched) => return Ok(()),
                Err(failure) => return Err(failure),
            }
            let kind = media_type(response.headers());
            if is_json(&kind) { Ok(()) } else { Err(UpstreamError::NotJson(kind)) }
        };
        tokio::time::timeout(timeout, looked).await.unwrap_or(Err(UpstreamError::Timeout))
    }
}

/// Reads a body of no more than `limit` bytes.
pub(super) async fn read_body(mut response: Response, limit: usize) -> Result<Bytes, UpstreamError> {
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(UpstreamError::TooLarge);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| UpstreamError::of(&error))? {
        if body.len() + chunk.len() > limit {
            return Err(UpstreamError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    // It may be kept for long: without the room that it was given to grow.
    let spare = body.capacity() - body.len();
    Ok(if spare > body.len() / 8 { Bytes::copy_from_slice(&body) } else { body.freeze() })
}

/// Bodies from this size on are checked off the runtime's threads.
const LARGE: usize = 128 << 10;

/// Checks that a success is JSON. What is no success passes as it is: Alyx's 404 for a path that it
/// does not route is HTML (ALYX.md 4.3).
async fn check_body(
    status: StatusCode,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<(Bytes, bool), UpstreamError> {
    let kind = media_type(headers);
    if !is_json(&kind) {
        // Nothing at all is what gateways say: Alyx has something to say to every read.
        return if status.is_success() { Err(UpstreamError::NotJson(kind)) } else { Ok((body, false)) };
    }
    let (body, sound) = if body.len() < LARGE {
        let sound = is_sound(&body);
        (body, sound)
    } else {
        let checked = tokio::task::spawn_blocking(move || {
            let sound = is_sound(&body);
            (body, sound)
        });
        checked.await.map_err(|_| UpstreamError::Truncated)?
    };
    if sound { Ok((body, true)) } else { Err(UpstreamError::NotJson("broken JSON".to_owned())) }
}

fn is_sound(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| json::check(text).is_ok())
}

/// The media type of a message, without parameters, in lower case.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `application/json`, or a type that is built on it.
pub(super) fn is_json(media_type: &str) -> bool {
    media_type == "application/json"
        || media_type.starts_with("application/") && media_type.ends_with("+json")
}

/// The pause that a 429 asks for; without a readable `Retry-After` a short one. Alyx counts by the
/// minute, so nothing sensible is longer than an hour.
fn retry_after(headers: &HeaderMap, now: Millis) -> Duration {
    let value = headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let seconds = value.trim().parse().ok().or_else(|| {
        let left = parse_date(value)?.saturating_sub(now).max(0);
        Some(left.unsigned_abs() / 1000 + 1)
    });
    Duration::from_secs(seconds.unwrap_or(5).min(3_600))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock, ManualClock},
        settings::Settings,
    };

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_pause_is_read_from_seconds_or_a_date() {
        let pause = |value: &'static str, now: Millis| {
            let headers = [(header::RETRY_AFTER, HeaderValue::from_static(value))].into_iter().collect();
            retry_after(&headers, now)
        };
        let at = 2_544_400_878_000;
        let date = "Thu, 18 Aug 2050 02:01:18 GMT";
        assert_eq!(pause("7", at), 7 * SECOND);
        assert_eq!(pause(date, at - 3_000), 4 * SECOND, "a date says whole seconds");
        assert_eq!(pause(date, at - 2_001), 3 * SECOND);
        assert_eq!(pause(date, at + 60_000), SECOND, "it is over");
        assert_eq!(pause(date, 0), 3_600 * SECOND, "no longer than an hour");
        assert_eq!(pause("soon", at), 5 * SECOND);
        assert_eq!(retry_after(&HeaderMap::new(), at), 5 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_comes_after_its_pause_to_the_millisecond_or_not_at_all() {
        let clock = ManualClock::with_tokio(0);
        let upstream = Upstream::new(&Settings::default(), clock.clone()).unwrap();
        let rest = async |failure: UpstreamError, pause: Duration| {
            let (before, deadline) = (clock.now(), clock.instant() + 10 * SECOND);
            let mut pauses = std::iter::once(pause);
            let flow = upstream.rest_before_retry(&Err(failure), deadline, &mut pauses).await;
            flow.is_continue().then_some(clock.now() - before)
        };
        assert_eq!(rest(UpstreamError::Reset, Duration::from_millis(150)).await, Some(150));
        assert_eq!(
            rest(UpstreamError::Throttled(3 * SECOND), SECOND).await,
            Some(3_000),
            "what Alyx asks for"
        );
        assert_eq!(rest(UpstreamError::Throttled(9_999 * SECOND / 1_000), SECOND).await, Some(9_999));
        assert_eq!(rest(UpstreamError::Throttled(10 * SECOND), SECOND).await, None, "no time is left then");
        assert_eq!(rest(UpstreamError::Timeout, SECOND).await, None, "Alyx works for it yet");
        assert_eq!(rest(UpstreamError::TooLarge, SECOND).await, None, "it does not pass");
        upstream.health.failed(&UpstreamError::Refused);
        assert_eq!(rest(UpstreamError::Reset, SECOND).await, None, "Alyx is away");
    }
}
