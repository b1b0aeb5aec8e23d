//! Fetching a file that may lie elsewhere: redirects are followed, but the caller's token goes to
//! Alyx alone.

use std::{io, time::Duration};

use axum::body::Body;
use futures_util::TryStreamExt;
use http::{HeaderValue, header};
use reqwest::Response;
use url::Url;

use super::{Upstream, UpstreamError, fetch, measure::Measured, passthrough, rate_limit::Caller};
use crate::http::response_fields;

/// Redirects that are followed; a bucket behind Alyx takes one.
const REDIRECTS: usize = 5;

impl Upstream {
    /// Begins to fetch a file: `place` is a path of Alyx's or an http(s) URL. Returns when the head
    /// of the answer is here; its body can be read as it comes, and ends in an error where it stands
    /// still for `timeout`, or comes as good as not at all.
    pub async fn download(
        &self,
        place: &str,
        authorization: Option<&HeaderValue>,
        who: Option<&Caller>,
        timeout: Duration,
    ) -> Result<http::Response<Body>, UpstreamError> {
        if self.health.is_down() {
            return Err(UpstreamError::Offline);
        }
        let deadline = self.clock.instant() + timeout;
        let turn = self.pace.turn(who, deadline).await?;
        let following = self.follow(place, authorization);
        let result =
            tokio::time::timeout_at(deadline.into(), following).await.unwrap_or(Err(UpstreamError::Timeout));
        drop(turn);
        self.heed(who, &result);
        let response = result?;
        let (status, headers) = (response.status(), response_fields::of_alyx(response.headers()));
        let body = response.bytes_stream().map_err(|error| io::Error::other(error.without_url()));
        Ok(passthrough::passed(status, headers, body, timeout))
    }

    async fn follow(
        &self,
        place: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, UpstreamError> {
        let mut url = match Url::parse(place) {
            Ok(url) => url,
            Err(_) => self.url_of(place)?,
        };
        for _ in 0..REDIRECTS {
            let ours = self.owns(&url);
            if !ours && !self.inside.allows(&url).await {
                let host = url.host_str().unwrap_or_default();
                return Err(UpstreamError::Elsewhere(format!("{host}, an address of the inside")));
            }
            let mut request = self.relayer.get(url.clone());
            if let Some(authorization) = authorization.filter(|_| ours) {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let measured = ours.then(Measured::begin);
            let result = request.send().await.map_err(|error| UpstreamError::of(&error));
            if let Some(measured) = measured {
                measured.end(&self.judged(&result));
                self.report(&result);
            }
            let response = result?;
            let Some(next) = next(&response) else {
                if ours {
                    self.judge_head(&response)?;
                }
                return judge(response);
            };
            url = next;
        }
        Err(UpstreamError::Elsewhere("one place after the other".to_owned()))
    }

    fn report(&self, result: &Result<Response, UpstreamError>) {
        match result {
            Ok(response) if matches!(response.status().as_u16(), 502..=504) => {
                self.health.failed(&UpstreamError::Unavailable(response.status().as_u16()));
            }
            Ok(_) => {}
            Err(failure) => self.health.failed(failure),
        }
    }
}

/// Where a redirect leads.
fn next(response: &Response) -> Option<Url> {
    let location = response.headers().get(header::LOCATION).filter(|_| response.status().is_redirection())?;
    let url = response.url().join(location.to_str().ok()?).ok()?;
    matches!(url.scheme(), "http" | "https").then_some(url)
}

/// A page of HTML is no file, whatever its status says.
fn judge(response: Response) -> Result<Response, UpstreamError> {
    let status = response.status().as_u16();
    let kind = fetch::media_type(response.headers());
    match status {
        429 | 502..=504 | 511 => Err(UpstreamError::Unavailable(status)),
        200..=299 if kind == "text/html" => Err(UpstreamError::NotJson(kind)),
        _ => Ok(response),
    }
}
