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
use crate::{
    http::{cache_status::RefusalReason, forwarded},
    settings,
    telemetry::metrics,
};

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    /// Somebody whom Alyx has accepted.
    User,
    /// Somebody who logs in.
    LogIn,
    /// Anybody else: they have a few places of their own, and none of those that users need.
    Stranger,
}

/// Requests of strangers under way, of all together and of one network;
const STRANGERS: Bound = Bound { all: 64, network: 32 };
/// and log-ins: a course may sit behind one address.
const LOG_INS: Bound = Bound { all: 128, network: 64 };

#[derive(Debug, Clone, Copy)]
struct Bound {
    all: usize,
    network: usize,
}

/// Requests under way.
#[derive(Debug, Default)]
pub(crate) struct InFlightLimit {
    counts: Mutex<InFlightCounts>,
}

#[derive(Debug, Default)]
struct InFlightCounts {
    all: usize,
    strangers: usize,
    log_ins: usize,
    by_client: HashMap<(IpAddr, Standing), usize>,
}

impl InFlightCounts {
    fn of(&mut self, standing: Standing) -> Option<&mut usize> {
        match standing {
            Standing::User => None,
            Standing::LogIn => Some(&mut self.log_ins),
            Standing::Stranger => Some(&mut self.strangers),
        }
    }
}

/// A request's place; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    load: Arc<InFlightLimit>,
    /// Its network.
    client: IpAddr,
    standing: Standing,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// Too much is under way.
    All,
    /// Too much is under way for this client.
    Client,
    /// Too much is under way for those whom Alyx has not accepted.
    Strangers,
}

impl Full {
    /// Its word in `Cache-Status` and metrics.
    fn reason(self) -> RefusalReason {
        match self {
            Self::All => RefusalReason::Overload,
            Self::Client => RefusalReason::TooManyOfOneClient,
            Self::Strangers => RefusalReason::TooManyStrangers,
        }
    }
}

/// Makes the series of requests that were refused for want of a place, at zero.
pub(crate) fn register() {
    let reasons = [Full::All, Full::Client, Full::Strangers].map(|full| full.reason().name());
    metrics::register(metrics::REJECTED, "reason", reasons.into_iter().chain([metrics::CONNECTIONS]));
}

impl InFlightLimit {
    /// A place for a request of this client.
    pub(crate) fn enter(
        self: &Arc<Self>,
        client: IpAddr,
        standing: Standing,
        settings: &settings::ServerSettings,
    ) -> Result<Permit, Full> {
        let client = forwarded::network(client);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= settings.max_requests {
            return Err(Full::All);
        }
        let Bound { all, network } = match standing {
            Standing::User => Bound { all: usize::MAX, network: usize::MAX },
            Standing::LogIn => LOG_INS,
            Standing::Stranger => STRANGERS,
        };
        // However few there are, some are for users alone.
        let all = all.min(settings.max_requests.div_ceil(4));
        if counts.of(standing).is_some_and(|count| *count >= all) {
            return Err(Full::Strangers);
        }
        let bound = network.min(settings.max_requests_per_client);
        let own = counts.by_client.entry((client, standing)).or_default();
        if *own >= bound {
            return Err(Full::Client);
        }
        *own += 1;
        counts.all += 1;
        if let Some(count) = counts.of(standing) {
            *count += 1;
        }
        drop(counts);
        Ok(Permit { load: self.clone(), client, standing })
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
        if let Some(count) = counts.of(self.standing) {
            *count -= 1;
        }
        let name = (self.client, self.standing);
        if let Some(own) = counts.by_client.get_mut(&name) {
            *own -= 1;
            if *own == 0 {
                counts.by_client.remove(&name);
            }
        }
    }
}

/// A place for a request of this client, or the refusal where there is none.
pub(crate) fn place(
    load: &Arc<InFlightLimit>,
    client: IpAddr,
    standing: Standing,
    settings: &settings::ServerSettings,
) -> Result<Permit, ProxyError> {
    load.enter(client, standing, settings).map_err(overloaded)
}

/// The refusal of a request for which there is no place. ONE tries again by itself.
fn overloaded(full: Full) -> ProxyError {
    let text = match full {
        Full::All => {
            "This proxy has as many requests under way as `server.max_requests` allows. Try again in a second."
        }
        Full::Strangers => {
            "This proxy has as many requests under way as it takes of those whom Alyx has not accepted. Try again in a second."
        }
        Full::Client => {
            "Your address has as many requests under way as `server.max_requests_per_client` allows (far fewer without a token \
             that Alyx has accepted). Try again in a second."
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
        let enter = |client| load.enter(client, Standing::User, &settings);
        let places: Vec<Permit> = (0..2).map(|_| enter(one).unwrap()).collect();
        assert_eq!(enter(one).unwrap_err(), Full::Client);
        let third = enter(other).unwrap();
        assert_eq!(enter(other).unwrap_err(), Full::All);
        drop(places);
        assert_eq!(load.count(), 1);
        drop(third);
        assert!(load.counts.lock().unwrap().by_client.is_empty());
    }

    #[test]
    fn strangers_never_have_the_places_of_users() {
        let load = Arc::new(InFlightLimit::default());
        let settings = settings::ServerSettings::default();
        let address = |network: usize, n: usize| format!("2001:db8:0:{network:x}::{n:x}").parse().unwrap();
        let mut held = Vec::new();
        for (standing, bound) in [(Standing::Stranger, STRANGERS), (Standing::LogIn, LOG_INS)] {
            let mut enter =
                |network, n| load.enter(address(network, n), standing, &settings).map(|it| held.push(it));
            // Any number of addresses of one network count as one.
            for n in 0..bound.network {
                enter(1, n).unwrap();
            }
            assert_eq!(enter(1, 999), Err(Full::Client));
            for n in 0..bound.all - bound.network {
                enter(10 + n, 0).unwrap();
            }
            assert_eq!(enter(999, 0), Err(Full::Strangers));
        }
        for n in 0..settings.max_requests_per_client {
            held.push(load.enter(address(1, n), Standing::User, &settings).unwrap());
        }
        assert_eq!(load.enter(address(1, 0), Standing::User, &settings).unwrap_err(), Full::Client);
        drop(held);
        assert_eq!(load.count(), 0);
    }
}
