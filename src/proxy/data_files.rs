//! The lab's data files under `/-/data/`: a request for one, and what is said where there is none.

use std::{net::SocketAddr, sync::Arc};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};

use super::{
    core::Core,
    error::{NOTICE, ProxyError},
    exchange::within_limits,
    in_flight::{self, InFlightLimit, Standing},
};
use crate::{
    clock,
    files::{DataCredentials, DataError, DataFiles, DataPath, DataRequest, GivenAsOf},
    http::{cache_status::RefusalReason, forwarded, response_fields},
};

/// Below this path lie the files.
pub(crate) const PREFIX: &str = "/-/data";

/// Whether a path is that of a data file, where the proxy gives any.
pub(crate) fn is_data(core: &Core, path: &str) -> bool {
    core.data_files.is_some() && path.strip_prefix(PREFIX).is_some_and(|rest| rest.starts_with('/'))
}

/// Answers a request for a file.
pub(crate) async fn answer(
    core: &Core,
    load: &Arc<InFlightLimit>,
    peer: SocketAddr,
    request: Request<Body>,
) -> Response<Body> {
    let Some(files) = &core.data_files else { return nothing_here().into() };
    match answer_or_refuse(core, files, load, peer, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into(),
    }
}

async fn answer_or_refuse(
    core: &Core,
    files: &Arc<DataFiles>,
    load: &Arc<InFlightLimit>,
    peer: SocketAddr,
    request: Request<Body>,
) -> Result<Response<Body>, ProxyError> {
    let settings = core.settings.load_full();
    let (parts, _) = request.into_parts();
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        let text = "Data files are read only here: GET and HEAD.";
        return Err(ProxyError::refused(StatusCode::METHOD_NOT_ALLOWED, text)
            .header(header::ALLOW, HeaderValue::from_static("GET, HEAD")));
    }
    within_limits(&parts.uri, &settings.server)?;
    let path = parts.uri.path().strip_prefix(PREFIX).and_then(DataPath::of).ok_or_else(odd_path)?;
    let credentials = DataCredentials::of(&parts.headers, &core.key).ok_or_else(odd_credentials)?;
    let base = forwarded::of(&parts, peer.ip(), &settings.server)
        .map_err(|error| ProxyError::refused(StatusCode::BAD_REQUEST, &error.to_string()))?;
    let client = forwarded::client(&parts.headers, peer.ip(), &settings.server);
    let standing = match (credentials.are_given(), files.knows(&credentials)) {
        (true, true) => Standing::User,
        // The data server will say what they are worth.
        (true, false) => Standing::LogIn,
        (false, _) => Standing::Stranger,
    };
    let place = in_flight::place(load, client, standing, &settings.server)?;
    let asked = DataRequest {
        method: parts.method,
        path,
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        credentials,
        settings,
    };
    let mut response = files.answer(&asked).await.map_err(|error| refusal(files, &error))?;
    move_location(response.headers_mut(), files.base(), &base);
    // Whatever it is, a browser shall not run it here.
    response_fields::disarm(response.headers_mut());
    if let Some(GivenAsOf(at)) = response.extensions().get().copied() {
        add_notice(&mut response, at);
    }
    Ok(in_flight::hold(response, place))
}

fn nothing_here() -> ProxyError {
    ProxyError::refused(StatusCode::NOT_FOUND, "This proxy gives no data files (`files.enabled`).")
}

fn odd_path() -> ProxyError {
    let text = "The path of this request has empty segments, `.` or `..`, or slashes or control characters that are encoded: \
                write out the path that is meant.";
    ProxyError::refused(StatusCode::BAD_REQUEST, text)
}

fn odd_credentials() -> ProxyError {
    let text = "This request has several `Authorization` fields; servers make different things of that.";
    ProxyError::refused(StatusCode::BAD_REQUEST, text)
}

fn refusal(files: &DataFiles, error: &DataError) -> ProxyError {
    let base = files.base();
    match error {
        DataError::Away(failure) => {
            let text = format!(
                "The data server ({base}) could not be asked: {failure}. This file is not here, not whole, or was not given to \
                 you before."
            );
            ProxyError::new(StatusCode::GATEWAY_TIMEOUT, RefusalReason::Upstream(failure.name()), &text)
        }
        DataError::Nameless(failure) => {
            let text = format!(
                "The data server ({base}) could not be asked: {failure}. Meanwhile its files are given to those whom it gave them \
                 before: send your name and password for it."
            );
            let scheme = HeaderValue::from_static("Basic realm=\"data server\"");
            ProxyError::new(StatusCode::UNAUTHORIZED, RefusalReason::Upstream(failure.name()), &text)
                .header(header::WWW_AUTHENTICATE, scheme)
        }
        DataError::Source(why) => {
            let text = format!("The data server ({base}) gives no whole file: {why}.");
            ProxyError::new(StatusCode::BAD_GATEWAY, RefusalReason::Upstream("data-server"), &text)
        }
    }
}

/// Says that a file may be an old one.
fn add_notice(response: &mut Response<Body>, at: clock::Millis) {
    let as_of = clock::for_people(at);
    let notice = format!("!!!The data server is out of reach; this file is as it was on {as_of}");
    let fields = [(NOTICE, notice), (header::WARNING, "111 alyx-proxy \"Revalidation Failed\"".to_owned())];
    for (name, text) in fields {
        if let Ok(value) = HeaderValue::try_from(text) {
            response.headers_mut().insert(name, value);
        }
    }
}

/// A redirect within the data server leads to the same place here.
fn move_location(headers: &mut HeaderMap, from: &str, base: &str) {
    let moved = headers.get(header::LOCATION).and_then(|location| {
        let location = location.to_str().ok()?;
        let origin = url::Url::parse(from).ok()?;
        let rest = match location.strip_prefix(from) {
            Some(rest) => rest,
            None => location
                .strip_prefix(origin.path().trim_end_matches('/'))
                .filter(|_| location.starts_with('/'))?,
        };
        (rest.starts_with('/') && !rest.starts_with("//")).then(|| format!("{base}{PREFIX}{rest}"))
    });
    if let Some(moved) = moved.and_then(|moved| HeaderValue::try_from(moved).ok()) {
        headers.insert(header::LOCATION, moved);
    }
}
