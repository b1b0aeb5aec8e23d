//! The way of a request: which floor answers it.
//!
//! ```text
//! read    ▸ who asks ▸ mirrored lately? ▸ stored and fresh? ▸ Alyx, once for all who ask
//!         ▸ stored or mirrored, however old ▸ refusal
//! write   ▸ marked stale what it may change ▸ Alyx
//! others  ▸ Alyx, as a stream
//! ```

mod again;
mod answer;
mod asked;
mod control;
mod exchange;
mod explain;
mod files;
mod frozen;
mod gauges;
mod interim;
mod load;
mod login;
mod mirror_status;
mod mirrored;
mod own;
mod pages;
mod pass;
mod proxy;
mod read;
mod refusal;
mod request_id;
mod run;
mod snapshot;
mod standard;
mod taking;
mod tls;
mod verdict;
mod verify;
mod write;
mod written;

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::body::Body;
use http::{Method, Request, Response};

pub use frozen::Frozen;
pub use proxy::{OpenError, Proxy};
pub use run::{ListenError, Listening, listen, listen_on};
pub use snapshot::Teller;
pub use tls::{TlsError, only as only_this_certificate};

use exchange::{Asked, ask};

use crate::{
    alyx::{Route, Service, writes},
    http::{
        cache_status::{CacheStatus, ForwardReason},
        normalize,
    },
    telemetry::{
        access_log::{self, Named},
        activity,
    },
};

/// Answers a request.
async fn answer(proxy: Arc<Proxy>, peer: SocketAddr, mut request: Request<Body>) -> Response<Body> {
    let start = Instant::now();
    normalize::settle(&mut request);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let id = request.headers().get(request_id::REQUEST_ID).cloned();
    let named = |endpoint| Named { method: &method, uri: &uri, endpoint, id: id.as_ref(), start };
    let name = proxy.name(&request, peer.ip());
    if let Some((response, how, endpoint)) = name.as_ref().and_then(|name| proxy.again(&request, name)) {
        finish(&proxy, &named(endpoint), &response, Some(how));
        return response;
    }
    // The way down the staircase takes much room, and whoever holds this future holds all of it: where it is not
    // gone, its room shall not be copied about either.
    let endpoint = access_log::endpoint(&uri);
    let response = Box::pin(decide(&proxy, peer, name, endpoint, request)).await;
    let how = response.extensions().get().copied();
    finish(&proxy, &named(endpoint), &response, how);
    response
}

/// Lets a request down the staircase.
async fn decide(
    proxy: &Arc<Proxy>,
    peer: SocketAddr,
    name: Option<again::Name>,
    endpoint: &'static str,
    mut request: Request<Body>,
) -> Response<Body> {
    let path = request.uri().path();
    let own = path == "/-" || path.starts_with("/-/");
    if own {
        return own::answer(proxy, peer.ip(), request).await;
    }
    let (stamp, same) = (proxy.stamp(), name.map(|name| again::Same::of(name, &request)));
    let interim = request.extensions_mut().remove();
    let (asked, body) = match ask(proxy, peer, request) {
        Ok(asked) => asked,
        Err(refusal) => return *refusal,
    };
    let place = match proxy.place(asked.client, &asked.settings.server) {
        Ok(place) => place,
        Err(refusal) => return *refusal,
    };
    let may_write = writes::is_write(&asked.method, &asked.route);
    let answering = {
        let proxy = proxy.clone();
        async move {
            let response = match &proxy.standard {
                Some(standard) => standard::answer(&proxy, standard, asked, body, interim).await,
                None => of_alyx(&proxy, asked, body).await,
            };
            (response, place)
        }
    };
    let (mut response, place) = if may_write { to_its_end(answering).await } else { answering.await };
    if let Some(same) = same {
        proxy.decided(same, stamp, endpoint, &mut response);
    }
    load::hold(response, place)
}

/// Whatever may write goes on to its end also where its client has gone (a connection that ends takes with it what it
/// waits for): Alyx may carry it out, and then answers from before must not be given as fresh.
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The program ends.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Tells the log, the metrics and the status page of an answer.
fn finish(proxy: &Proxy, asked: &Named<'_>, response: &Response<Body>, how: Option<CacheStatus>) {
    let took = asked.start.elapsed();
    access_log::log(asked, response, took);
    if let Some(how) = how {
        let (endpoint, uri, status) = (asked.endpoint, asked.uri, response.status().as_u16());
        if is_refused_write(asked.method, endpoint, how, status) {
            metrics::counter!("alyx_proxy_writes_refused_total").increment(1);
        }
        proxy.activity.answered(&activity::Seen { how, endpoint, uri, status, took });
    }
}

/// Whether something was to be changed in Alyx and did not get there, through no fault of the request.
fn is_refused_write(method: &Method, endpoint: &str, how: CacheStatus, status: u16) -> bool {
    let is_write = !method.is_safe() && endpoint != "own" && endpoint != Service::AuthToken.name();
    is_write && matches!(how, CacheStatus::Refused(_)) && (status == 429 || status >= 500)
}

async fn of_alyx(proxy: &Arc<Proxy>, asked: Asked, body: Body) -> Response<Body> {
    match (&asked.method, &asked.route) {
        (&Method::POST, Route::Service(Service::AuthToken)) => login::answer(proxy, asked, body).await,
        (method, route) if writes::is_write(method, route) => write::answer(proxy, asked, body).await,
        (&Method::GET | &Method::HEAD, Route::Service(Service::CacheZip)) => {
            files::answer(proxy, asked).await
        }
        (&Method::GET | &Method::HEAD, _) => read::answer(proxy, asked, body).await,
        _ => pass::answer(proxy, asked, body, ForwardReason::Method).await,
    }
}
