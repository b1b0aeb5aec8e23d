//! Alyx as it is shown to clients that were set up for the lab's data files (`one-setup --data`): below `/-/one`, where the
//! addresses of data files (`data_url`) lead to this proxy. All else is as at the root.
//!
//! What such a client sends back is put right before it goes on: no address of this proxy's gets into Alyx.

use std::{net::IpAddr, sync::Arc};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header, uri::PathAndQuery};

use super::{App, alyx_pages::ToAlyxPages};
use crate::{
    alyx::data_links::{self, AddressMove},
    http::{
        body::{Buffered, read_limited},
        forwarded, stored_fields,
    },
    proxy::{Exchange, data_files},
    settings::Settings,
};

/// The base path of these clients.
const PREFIX: &str = "/-/one";
/// Requests that are longer are not looked into: no record is.
const LONGEST: usize = 16 << 20;

/// Marks a request that came there; all base URLs without trailing slashes.
#[derive(Debug, Clone)]
pub(super) struct AskedBelow {
    /// Under which its client knows the proxy.
    root: String,
    /// And that place.
    here: String,
    /// Where data files are here.
    data: String,
    /// The data server.
    origin: String,
}

/// Takes a request to what it asks for, where it came below the base path and there are data files.
pub(super) fn enter(app: &App, peer: IpAddr, request: Request<Body>) -> Request<Body> {
    let Some(uri) = below(request.uri().path()).and_then(|rest| uri_of(request.uri(), rest)) else {
        return request;
    };
    // At the address of Alyx's own pages there is nothing of the proxy's.
    let is_here = app.knows_alyx() && request.extensions().get::<ToAlyxPages>().is_none();
    let Some(files) = app.core.data_files.as_ref().filter(|_| is_here) else { return request };
    let (mut parts, body) = request.into_parts();
    if let Ok(root) = forwarded::of(&parts, peer, &app.core.settings.load().server) {
        let (here, data) = (format!("{root}{PREFIX}"), format!("{root}{}", data_files::PREFIX));
        let origin = files.base().to_owned();
        parts.extensions.insert(AskedBelow { root, here, data, origin });
        parts.uri = uri;
        // A coded body could not have its addresses moved.
        parts.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    Request::from_parts(parts, body)
}

/// What is asked for below the base path; the proxy's own pages are not there.
fn below(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(PREFIX).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    (rest != "/-" && !rest.starts_with("/-/")).then_some(rest)
}

fn uri_of(uri: &Uri, rest: &str) -> Option<Uri> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = if rest.is_empty() { "/" } else { rest };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{path}{query}")).ok()?);
    Uri::from_parts(parts).ok()
}

impl AskedBelow {
    /// The settings under which such a request is answered: links in its answer lead to that place.
    pub(super) fn settings(&self, settings: &Settings) -> Arc<Settings> {
        let mut there = settings.clone();
        there.server.public_url.clone_from(&self.here);
        Arc::new(there)
    }

    /// A request's body as Alyx is to have it.
    pub(super) async fn put_right(&self, asked: &mut Exchange, body: Body) -> Body {
        if asked.method.is_safe() || !is_plain_json(&asked.headers) {
            return body;
        }
        let back =
            [AddressMove::of_data(&self.data, &self.origin), AddressMove::of_links(&self.here, &self.root)];
        match read_limited(body, LONGEST).await {
            Ok(Buffered::Complete(whole)) => changed(whole, &back, &mut asked.headers),
            Ok(Buffered::Overflow(body)) => body,
            Err(error) => broken(error),
        }
    }

    /// A response as such a client is to have it.
    pub(super) async fn shown(
        &self,
        method: &Method,
        response: Response<Body>,
        settings: &Settings,
    ) -> Response<Body> {
        if !is_plain_json(response.headers()) {
            return response;
        }
        let (mut parts, body) = response.into_parts();
        if *method == Method::HEAD {
            // How long it would be is not known before its addresses are moved.
            parts.headers.remove(header::CONTENT_LENGTH);
            return Response::from_parts(parts, body);
        }
        let there = [AddressMove::of_data(&self.origin, &self.data)];
        let body = match read_limited(body, settings.cache.max_response.bytes()).await {
            Ok(Buffered::Complete(whole)) => changed(whole, &there, &mut parts.headers),
            Ok(Buffered::Overflow(body)) => body,
            Err(error) => broken(error),
        };
        Response::from_parts(parts, body)
    }
}

/// A body with its addresses moved.
fn changed(whole: Bytes, ways: &[AddressMove<'_>], headers: &mut HeaderMap) -> Body {
    let changed =
        std::str::from_utf8(&whole).ok().and_then(|text| data_links::moved(text, ways).ok().flatten());
    let Some(changed) = changed else { return Body::from(whole) };
    headers.remove(header::TRANSFER_ENCODING);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(changed.len()));
    Body::from(changed)
}

/// A body that breaks off as this one did.
fn broken(error: axum::Error) -> Body {
    Body::from_stream(futures_util::stream::once(std::future::ready(Err::<Bytes, _>(error))))
}

/// Whether a body is JSON, and in no coding.
fn is_plain_json(headers: &HeaderMap) -> bool {
    let is_coded = headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    !is_coded && stored_fields::is_json(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxys_own_pages_are_not_below() {
        for (path, rest) in [
            ("/-/one", Some("")),
            ("/-/one/", Some("/")),
            ("/-/one/sessions/1", Some("/sessions/1")),
            ("/-/one/-/status", None),
            ("/-/one/-", None),
            ("/-/one-setup.py", None),
            ("/-/ones", None),
            ("/sessions", None),
        ] {
            assert_eq!(below(path), rest, "{path}");
        }
        let uri: Uri = "/-/one/sessions?lab=a%20b&django=x".parse().unwrap();
        assert_eq!(uri_of(&uri, "/sessions").unwrap(), "/sessions?lab=a%20b&django=x");
    }
}
