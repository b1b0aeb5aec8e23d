//! Any HTTP origin, for the profile `rfc9111`: requests go on as they came, and all that comes back is passed on, also
//! the answers before the answer (1xx).
//!
//! It has a client of its own, as the one for Alyx does not tell of those.

use std::time::Duration;

use axum::body::Body;
use futures_util::TryStreamExt;
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use hyper::ext::on_informational;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio_rustls::rustls::crypto::aws_lc_rs;

use super::{
    UpstreamConfigError, UpstreamError, client, idle_timeout::LastMoved, measure::Measured, passthrough,
};
use crate::{
    http::{body::has_body, hop_by_hop::end_to_end, response_fields},
    settings,
};

/// An HTTP server, whatever it serves.
#[derive(Debug)]
pub struct Origin {
    base: String,
    client: Client<HttpsConnector<HttpConnector>, Body>,
}

impl Origin {
    /// Prepares to ask the origin that the settings name; asks nothing yet.
    pub fn new(settings: &settings::UpstreamSettings) -> Result<Self, UpstreamConfigError> {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(settings.connect_timeout.0));
        connector.set_nodelay(true);
        connector.set_keepalive(Some(client::KEEPALIVE));
        let tls =
            HttpsConnectorBuilder::new().with_provider_and_platform_verifier(aws_lc_rs::default_provider());
        let tls = tls.map_err(|error| UpstreamConfigError::Tls(error.to_string()))?;
        let connector = tls.https_or_http().enable_all_versions().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(client::IDLE)
            .build(connector);
        Ok(Self { base: settings.url.trim_end_matches('/').to_owned(), client })
    }

    /// Passes a request on and whatever comes back, without a turn and without judging it. `interim` gets what comes
    /// before the answer, but for what is between two ends of one connection (100, 101).
    pub async fn exchange(
        &self,
        request: Request<Body>,
        client_base: &str,
        timeout: Duration,
        interim: impl Fn(StatusCode, &HeaderMap) + Clone + Send + Sync + 'static,
    ) -> Result<Response<Body>, UpstreamError> {
        let again = passthrough::clone_for_retry(&request);
        match (self.exchange_once(request, client_base, timeout, interim.clone()).await, again) {
            (Err(UpstreamError::Reset), Some(again)) => {
                self.exchange_once(again, client_base, timeout, interim).await
            }
            (outcome, _) => outcome,
        }
    }

    async fn exchange_once(
        &self,
        request: Request<Body>,
        client_base: &str,
        timeout: Duration,
        interim: impl Fn(StatusCode, &HeaderMap) + Send + Sync + 'static,
    ) -> Result<Response<Body>, UpstreamError> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |both| both.as_str());
        // Anything else (`OPTIONS *`) would make the URL's host or port another.
        if !path.starts_with('/') {
            return Err(UpstreamError::BadAddress);
        }
        let uri: Uri = format!("{}{path}", self.base).parse().map_err(|_| UpstreamError::BadAddress)?;
        let progress = LastMoved::of(&parts.headers, &body);
        let body = if has_body(&parts.headers) {
            Body::from_stream(progress.watch(body).into_stream())
        } else {
            Body::empty()
        };
        let mut outgoing = Request::new(body);
        *outgoing.method_mut() = parts.method;
        *outgoing.uri_mut() = uri;
        *outgoing.headers_mut() = end_to_end(&parts.headers);
        passthrough::prepare(outgoing.headers_mut(), client_base, &self.base);
        on_informational(&mut outgoing, move |answer| {
            if answer.status().as_u16() > 101 {
                interim(answer.status(), &response_fields::of_any_upstream(answer.headers()));
            }
        });
        let measured = Measured::begin();
        let response =
            progress.unless_stalled(self.client.request(outgoing), timeout).await.and_then(|response| {
                response.map_err(|error| progress.cause().unwrap_or_else(|| UpstreamError::of_origin(&error)))
            });
        measured.end(&response.as_ref().map(Response::status).map_err(Clone::clone));
        let response = response?;
        // Nobody has asked for another protocol: that wish is for one connection and not passed on (RFC 9110 7.8).
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(UpstreamError::Switched);
        }
        let (parts, body) = response.into_parts();
        let body = Body::new(body).into_data_stream().map_err(std::io::Error::other);
        Ok(passthrough::passed(parts.status, response_fields::of_any_upstream(&parts.headers), body, timeout))
    }
}
