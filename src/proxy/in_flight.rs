//! How much is under way at once, and where it ends: whoever comes when too much is gets 503 and when to come again, at
//! once, so that those who are being answered are not slowed down.
//!
//! A request counts until its last byte has been taken. What is answered from memory in the time that counting takes
//! ([`super::hot_cache`]) does not count, nor do the proxy's own pages: whoever watches it must see an overload.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use http::{HeaderValue, Response, StatusCode, header};

use super::error::ProxyError;
use crate::{http::cache_status::RefusalReason, settings, telemetry::metrics};

/// Requests under way.
#[derive(Debug, Default)]
pub(crate) struct InFlightLimit {
    counts: Mutex<InFlightCounts>,
}

#[derive(Debug, Default)]
struct InFlightCounts {
    all: usize,
    by_client: HashMap<IpAddr, usize>,
}

/// A request's place; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    load: Arc<InFlightLimit>,
    client: IpAddr,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Too much is under way.
    All,
    /// Too much is under way for this client.
    Client,
}

impl Full {
    /// Its word in `Cache-Status` and metrics.
    fn reason(self) -> RefusalReason {
        match self {
            Self::All => RefusalReason::Overload,
            Self::Client => RefusalReason::TooManyOfOneClient,
        }
    }
}

/// Makes the series of requests that were refused for want of a place, at zero.
pub(crate) fn register() {
    let reasons = [Full::All.reason().name(), Full::Client.reason().name(), metrics::CONNECTIONS];
    metrics::register(metrics::REJECTED, "reason", reasons);
}

impl InFlightLimit {
    /// A place for a request of this client.
    pub(crate) fn enter(
        self: &Arc<Self>,
        client: IpAddr,
        settings: &settings::ServerSettings,
    ) -> Result<Permit, Full> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= settings.max_requests {
            return Err(Full::All);
        }
        let own = counts.by_client.entry(client).or_default();
        if *own >= settings.max_requests_per_client {
            return Err(Full::Client);
        }
        *own += 1;
        counts.all += 1;
        Ok(Permit { load: self.clone(), client })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self.load.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(own) = counts.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                counts.by_client.remove(&self.client);
            }
        }
    }
}

/// A place for a request of this client, or the refusal where there is none.
pub(crate) fn place(
    load: &Arc<InFlightLimit>,
    client: IpAddr,
    settings: &settings::ServerSettings,
) -> Result<Permit, ProxyError> {
    load.enter(client, settings).map_err(overloaded)
}

/// The refusal of a request for which there is no place. ONE tries again by itself.
fn overloaded(full: Full) -> ProxyError {
    let text = match full {
        Full::All => {
            "This proxy has as many requests under way as `server.max_requests` allows. Try again in a second."
        }
        Full::Client => {
            "Your address has as many requests under way as `server.max_requests_per_client` allows. Try again in a \
             second."
        }
    };
    metrics::count_rejected(full.reason().name());
    ProxyError::new(StatusCode::SERVICE_UNAVAILABLE, full.reason(), text)
        .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
}

/// Keeps a request's place until its response has been taken.
pub(crate) fn hold(response: Response<Body>, place: Permit) -> Response<Body> {
    response.map(|body| {
        if body.is_end_stream() {
            return body;
        }
        Body::new(PermitBody { body, _place: place })
    })
}

/// Reads a body that is meant for the proxy itself whole, or refuses it: it may have `limit` bytes, and take `timeout`
/// (`server.client_timeout`).
pub(crate) async fn whole(
    body: Body,
    what: &str,
    limit: usize,
    timeout: Duration,
) -> Result<Bytes, ProxyError> {
    match tokio::time::timeout(timeout, to_bytes(body, limit)).await {
        Ok(Ok(body)) => Ok(body),
        // What breaks off has nobody who reads this.
        Ok(Err(_)) => {
            let text = format!("{what} of more than {} KiB is not taken.", limit >> 10);
            Err(ProxyError::refused(StatusCode::PAYLOAD_TOO_LARGE, &text))
        }
        Err(_) => {
            let text = format!("{what} must be here within `server.client_timeout`.");
            Err(ProxyError::refused(StatusCode::REQUEST_TIMEOUT, &text))
        }
    }
}

/// A body with a place.
struct PermitBody {
    body: Body,
    _place: Permit,
}

impl HttpBody for PermitBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let load = Arc::new(InFlightLimit::default());
        let settings =
            settings::ServerSettings { max_requests: 3, max_requests_per_client: 2, ..Default::default() };
        let [one, other]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        let places: Vec<Permit> = (0..2).map(|_| load.enter(one, &settings).unwrap()).collect();
        assert_eq!(load.enter(one, &settings).unwrap_err(), Full::Client);
        let third = load.enter(other, &settings).unwrap();
        assert_eq!(load.enter(other, &settings).unwrap_err(), Full::All);
        drop(places);
        assert_eq!(load.count(), 1);
        drop(third);
        assert!(load.counts.lock().unwrap().by_client.is_empty());
    }
}
