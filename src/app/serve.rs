//! Answers a request: the hot cache, the proxy's own site, or the floors.

use std::{
    net::{IpAddr, SocketAddr},
    panic::AssertUnwindSafe,
    sync::Arc,
};

use axum::body::Body;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use super::{
    App,
    alyx_pages::{self, ToAlyxPages},
    data_view::{self, AskedBelow},
};
use crate::{
    admin::{pages::Looker, router},
    alyx::{Service, error_body, invalidates},
    auth::{TokenStatus, credentials},
    http::{
        cache_status::{CacheStatus, RefusalReason},
        normalize,
    },
    proxy::{
        Exchange,
        authorize::standing,
        core::Core,
        data_files,
        error::{self, ProxyError},
        exchange::ask,
        floors::of_alyx,
        hot_cache::{Fingerprint, HotKey},
        in_flight::{self, Standing},
        log_in_audit, together,
    },
    rfc9111,
    server::{connection_limit::OfUser, request_id},
    telemetry::{
        access_log::{self, Named},
        activity,
    },
};

/// Answers a request; where the program fails on it, with an error in Alyx's shape instead of a broken connection.
pub(crate) async fn serve(app: Arc<App>, peer: SocketAddr, request: Request<Body>) -> Response<Body> {
    let core = app.core.clone();
    let answered = AssertUnwindSafe(answer(app, peer, request)).catch_unwind().await;
    answered.unwrap_or_else(|_| {
        let body = error_body::detail(500, "The proxy failed on this request; its log says more.");
        let how = CacheStatus::Refused(RefusalReason::Panic);
        core.counters.count(how);
        error::json(StatusCode::INTERNAL_SERVER_ERROR, body, how)
    })
}

async fn answer(app: Arc<App>, peer: SocketAddr, request: Request<Body>) -> Response<Body> {
    let start = app.core.clock.instant();
    let mut request = data_view::enter(&app, peer.ip(), request);
    let framed_plainly = normalize::is_framed_plainly(request.headers());
    normalize::normalize_request(&mut request);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let id = request.headers().get(request_id::REQUEST_ID).cloned();
    let named = |endpoint| Named { method: &method, uri: &uri, endpoint, id: id.as_ref(), start };
    if !framed_plainly {
        let response = framed_oddly();
        let how = response.extensions().get().copied();
        finish(&app.core, &named(access_log::endpoint(&uri)), &response, how);
        return response;
    }
    // Before anything is looked at: what was written elsewhere before this request came is here, or this says that it may not be.
    let is_in_doubt = app.core.is_in_doubt();
    let is_below = request.extensions().get::<AskedBelow>().is_some();
    let name = if is_below { None } else { app.floors.hot_cache.key(&request, peer.ip()) };
    if let Some((mut response, how, endpoint)) =
        name.as_ref().and_then(|name| app.floors.hot_cache.get(&request, name))
    {
        if is_in_doubt {
            together::say_doubt(&mut response, Some(how));
        }
        finish(&app.core, &named(endpoint), &response, Some(how));
        response.extensions_mut().insert(OfUser);
        return response;
    }
    // The way down the staircase takes much room, and whoever holds this future holds all of it: where it is not
    // gone, its room shall not be copied about either.
    let endpoint = access_log::endpoint(&uri);
    let mut response = Box::pin(decide(&app, peer, name, endpoint, request)).await;
    let how = response.extensions().get().copied();
    if is_in_doubt {
        together::say_doubt(&mut response, how);
    }
    finish(&app.core, &named(endpoint), &response, how);
    response
}

/// The refusal of a request whose body may end elsewhere for others; its connection ends with it.
fn framed_oddly() -> Response<Body> {
    let text = "The body of this request is framed in a way that servers read differently: `Transfer-Encoding` may only be \
                `chunked`, once.";
    ProxyError::refused(StatusCode::BAD_REQUEST, text)
        .header(header::CONNECTION, HeaderValue::from_static("close"))
        .into()
}

/// Lets a request down the staircase.
async fn decide(
    app: &Arc<App>,
    peer: SocketAddr,
    name: Option<HotKey>,
    endpoint: &'static str,
    mut request: Request<Body>,
) -> Response<Body> {
    let own = is_own(request.uri().path());
    let on_alyx_pages = request.extensions_mut().remove::<ToAlyxPages>().is_some();
    let settings = match alyx_pages::settings_for(app, peer.ip(), &request, own, on_alyx_pages) {
        Ok(settings) => settings,
        Err(refusal) => return refusal.into(),
    };
    let below = request.extensions_mut().remove::<AskedBelow>();
    if own {
        return answer_own(app, peer, request).await;
    }
    let (looker, uri) = (looker_of(&request, on_alyx_pages || below.is_some()), request.uri().clone());
    if app.knows_alyx() && looker.as_ref().is_some_and(Looker::is_at_the_door) {
        return Looker::shown_in();
    }
    let (stamp, same) = (app.floors.hot_cache.epochs(), name.map(|name| Fingerprint::of(name, &request)));
    let interim = request.extensions_mut().remove();
    let (asked, body) = match ask(&app.core, app.knows_alyx(), peer, request, settings) {
        Ok(asked) => asked,
        Err(refusal) => return refusal.into(),
    };
    // A cache for any HTTP server knows no users.
    let standing = if app.knows_alyx() { standing(&app.core, &asked) } else { Standing::User };
    let place = match in_flight::place(&app.load, asked.client, standing, &asked.settings.server) {
        Ok(place) => place,
        Err(refusal) => return refusal.into(),
    };
    let page = looker.as_ref().and_then(|_| alyx_pages::place(app, &asked.base, &asked.settings, &uri));
    let may_write = invalidates::is_write(&asked.method, &asked.route);
    let shown = (asked.client, asked.headers.get(header::AUTHORIZATION).cloned());
    let answering = {
        let app = app.clone();
        async move {
            let response = match &app.standard {
                Some(standard) => rfc9111::answer(standard, asked, body, interim).await,
                None => as_alyx(&app, below, asked, body).await,
            };
            (response, place)
        }
    };
    let (mut response, place) = if may_write { to_its_end(answering).await } else { answering.await };
    if app.knows_alyx() {
        note_refused_token(&app.core, shown, response.status());
        alyx_pages::guard(response.headers_mut(), uri.path(), on_alyx_pages);
    }
    if let Some(same) = same {
        app.floors.hot_cache.keep(same, stamp, endpoint, &mut response);
    }
    let mut response = shown_to(app, looker, response, page).await;
    if standing == Standing::User {
        response.extensions_mut().insert(OfUser);
    }
    in_flight::hold(response, place)
}

/// The browser that a request is of, where it may be shown pages of the proxy's.
fn looker_of(request: &Request<Body>, elsewhere: bool) -> Option<Looker> {
    Looker::of(request).filter(|_| !elsewhere)
}

/// Answers as Alyx; below the base path of data files with their addresses moved.
async fn as_alyx(app: &App, below: Option<AskedBelow>, mut asked: Exchange, body: Body) -> Response<Body> {
    let Some(below) = below else { return of_alyx(&app.floors, asked, body).await };
    let body = below.put_right(&mut asked, body).await;
    let (method, settings) = (asked.method.clone(), asked.settings.clone());
    below.shown(&method, of_alyx(&app.floors, asked, body).await, &settings).await
}

/// Answers a request for a data file, or for the proxy's own site.
async fn answer_own(app: &Arc<App>, peer: SocketAddr, request: Request<Body>) -> Response<Body> {
    if data_files::is_data(&app.core, request.uri().path()) {
        return data_files::answer(&app.core, &app.load, peer, request).await;
    }
    router::answer(&app.admin, peer.ip(), request).await
}

/// What a browser is shown in place of a response.
async fn shown_to(
    app: &App,
    looker: Option<Looker>,
    response: Response<Body>,
    place: Option<String>,
) -> Response<Body> {
    match looker {
        Some(looker) if app.knows_alyx() => looker.shown(&app.admin, response, place).await,
        _ => response,
    }
}

/// Whether a path is one of the proxy's own.
fn is_own(path: &str) -> bool {
    path == "/-" || path.starts_with("/-/")
}

/// Notes a refused request whose token Alyx does not accept.
fn note_refused_token(core: &Core, (client, field): (IpAddr, Option<HeaderValue>), status: StatusCode) {
    let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let Some(field) = field.filter(|_| refused) else { return };
    let headers = [(header::AUTHORIZATION, field)].into_iter().collect();
    if let Some(token) = credentials(&headers, &core.key).token()
        && core.tokens.status(&token, &core.settings.load().access) == TokenStatus::Refused
    {
        log_in_audit::note_refused_token(core, token, client);
    }
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

/// Tells the log, the metrics and the status page of a response. All are counted here, but for that to a request on which
/// the program failed.
fn finish(core: &Core, asked: &Named<'_>, response: &Response<Body>, how: Option<CacheStatus>) {
    let took = asked.start.elapsed();
    access_log::log(asked, response, took);
    if let Some(how) = how {
        core.counters.count(how);
        if how.saves_a_request()
            && asked.method.is_safe()
            && let Some(synchroniser) = &core.synchroniser
        {
            synchroniser.budget.note_saved();
        }
        let (endpoint, uri, status) = (asked.endpoint, asked.uri, response.status().as_u16());
        if is_refused_write(asked.method, endpoint, how, status) {
            metrics::counter!("alyx_proxy_writes_rejected_total").increment(1);
        }
        core.activity.answered(&activity::ResponseEvent { how, endpoint, uri, status, took });
    }
}

/// Whether something was to be changed in Alyx and did not get there, through no fault of the request.
fn is_refused_write(method: &Method, endpoint: &str, how: CacheStatus, status: u16) -> bool {
    let is_write = !method.is_safe() && endpoint != "own" && endpoint != Service::AuthToken.name();
    is_write && matches!(how, CacheStatus::Refused(_)) && (status == 429 || status >= 500)
}
