//! The server of the lab's data files: another than Alyx, named by the operator. It gets the credentials that are meant for
//! it, and none of Alyx's; redirects are passed on, never followed.

use std::{io, time::Duration};

use axum::body::Body;
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use reqwest::Client;
use url::Url;

use super::{UpstreamConfigError, UpstreamError, client, passthrough};
use crate::{http::response_fields, settings::UpstreamSettings};

/// A server of files.
#[derive(Debug)]
pub(crate) struct FileServer {
    /// Its base URL, without a trailing slash.
    base: String,
    url: Url,
    client: Client,
}

impl FileServer {
    /// Prepares to ask the server at `base`; asks nothing yet.
    pub(crate) fn new(base: &str, settings: &UpstreamSettings) -> Result<Self, UpstreamConfigError> {
        let base = base.trim_end_matches('/').to_owned();
        let url = Url::parse(&base).map_err(|_| UpstreamConfigError::Url(base.clone()))?;
        Ok(Self { url, client: client::of_files(settings)?, base })
    }

    /// Its base URL, without a trailing slash.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Asks for a path with these fields and no others. Returns when the head of the answer is here, at the latest after
    /// `timeout`; its body streams, and ends in an error where it stands still for as long.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path_and_query: &str,
        fields: HeaderMap,
        timeout: Duration,
    ) -> Result<Response<Body>, UpstreamError> {
        let url = self.url_of(path_and_query)?;
        let asked = match self.ask_once(&method, &url, fields.clone(), timeout).await {
            // A kept connection that the server closed just then.
            Err(UpstreamError::Reset) => self.ask_once(&method, &url, fields, timeout).await,
            asked => asked,
        };
        let response = asked?;
        let (status, headers) = (response.status(), response_fields::of_any_upstream(response.headers()));
        let body = response.bytes_stream().map_err(|error| io::Error::other(error.without_url()));
        Ok(passthrough::passed(status, headers, body, timeout))
    }

    async fn ask_once(
        &self,
        method: &Method,
        url: &Url,
        mut fields: HeaderMap,
        timeout: Duration,
    ) -> Result<reqwest::Response, UpstreamError> {
        // What is kept are the bytes of the file, and ranges are ranges of these.
        fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        fields.append(header::VIA, HeaderValue::from_static("1.1 alyx-proxy"));
        let sent = self.client.request(method.clone(), url.clone()).headers(fields).send();
        let sent = tokio::time::timeout(timeout, sent).await.map_err(|_| UpstreamError::Timeout)?;
        sent.map_err(|error| UpstreamError::of(&error))
    }

    /// The URL of a path on it: what is asked must be what was judged.
    fn url_of(&self, path_and_query: &str) -> Result<Url, UpstreamError> {
        let path = path_and_query.split('?').next().unwrap_or_default();
        let url = Url::parse(&format!("{}{path_and_query}", self.base)).ok();
        let same = |url: &Url| {
            url.origin() == self.url.origin()
                && url.path() == format!("{}{path}", self.url.path().trim_end_matches('/'))
        };
        url.filter(|url| path.starts_with('/') && same(url)).ok_or(UpstreamError::BadAddress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn a_path_stays_on_its_server_as_it_is() {
        let server =
            FileServer::new("https://data.example.org/public/", &Settings::default().upstream).unwrap();
        for path in ["/lab/a.npy", "/a%20b/%23rev%23/x", "/a?C=N;O=D", "/"] {
            let url = server.url_of(path).unwrap();
            assert_eq!(url.as_str(), format!("https://data.example.org/public{path}"));
        }
        for path in ["", "a", "@evil.example", "/../secret", "/a/%2e%2e/b", "/a\\b", "/a#b"] {
            assert!(server.url_of(path).is_err(), "{path}");
        }
    }
}
