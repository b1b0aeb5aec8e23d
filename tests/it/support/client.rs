//! A client that sends exactly what it is told to: no redirects, no decompression, no tidying of the path.
//!
//! Each request has a connection of its own, as ONE's requests have.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{CacheStatus, users};

/// Sends requests to one server on behalf of one user.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    authorization: Option<String>,
}

/// A request on its way.
#[derive(Debug, Clone)]
pub struct Ask {
    address: SocketAddr,
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

/// A response, come in whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// From the first byte of the request to the last of the response.
    pub elapsed: Duration,
}

impl Client {
    /// A client of `address` with the token of `oneuser`, as in the recordings.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, authorization: Some(users::ONEUSER.authorization()) }
    }

    /// Whom it asks.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn with(&self, user: users::User) -> Self {
        Self { authorization: Some(user.authorization()), ..*self }
    }

    #[must_use]
    pub fn with_authorization(&self, authorization: &str) -> Self {
        Self { authorization: Some(authorization.to_owned()), ..*self }
    }

    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { authorization: None, ..*self }
    }

    pub fn ask(&self, method: &str, target: &str) -> Ask {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, self.address.to_string().parse().unwrap());
        headers.insert(header::ACCEPT, "application/json".parse().unwrap());
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.parse().unwrap());
        }
        Ask {
            address: self.address,
            method: method.parse().unwrap(),
            target: target.to_owned(),
            headers,
            body: Bytes::new(),
        }
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.ask("GET", target).send().await
    }
}

impl Ask {
    /// Sets a header in place of the one that is there.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
        self
    }

    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let mut ask =
            self.header("content-type", content_type).header("content-length", &body.len().to_string());
        ask.body = body;
        ask
    }

    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    #[must_use]
    pub fn multipart(self, fields: &[(&str, &str)]) -> Self {
        let boundary = "a-boundary-that-does-not-occur";
        let part = |(name, value): &(&str, &str)| {
            format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let parts: Vec<String> = fields.iter().map(part).collect();
        let body = format!("{}--{boundary}--\r\n", parts.concat());
        self.body(&format!("multipart/form-data; boundary={boundary}"), body)
    }

    /// Sends it; panics if no whole response comes.
    pub async fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.target);
        self.try_send().await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends it; an error if no whole response comes within a minute.
    pub async fn try_send(self) -> Result<Answer, String> {
        tokio::time::timeout(Duration::from_mins(1), self.exchange())
            .await
            .unwrap_or_else(|_| Err("no answer within a minute".to_owned()))
    }

    async fn exchange(self) -> Result<Answer, String> {
        let start = Instant::now();
        let stream = TcpStream::connect(self.address).await.map_err(|e| format!("connect: {e}"))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        let driver = tokio::spawn(connection);
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target.parse().map_err(|e| format!("{}: {e}", self.target))?;
        *request.headers_mut() = self.headers;
        let response = sender.send_request(request).await.map_err(|e| format!("response: {e:?}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|e| format!("body: {e:?}"))?.to_bytes();
        driver.abort();
        Ok(Answer { status: head.status, headers: head.headers, body, elapsed: start.elapsed() })
    }
}

impl Answer {
    /// The header's value, if there is one.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header in ASCII"))
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("not JSON ({e}): {} {}", self.status, shorten(&self.body)))
    }

    /// What `Cache-Status` says; every response of the proxy has it.
    pub fn cache(&self) -> CacheStatus {
        let field = self.header("cache-status");
        CacheStatus::parse(field.unwrap_or_else(|| panic!("no Cache-Status: {}", self.describe())))
    }

    pub fn age(&self) -> Option<u64> {
        self.header("age").map(|age| age.parse().expect("Age is a whole number"))
    }

    /// For messages of failed assertions.
    pub fn describe(&self) -> String {
        format!("{} {:?} {}", self.status, self.headers, shorten(&self.body))
    }

    /// Asserts the status, with all there is to see if it is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.describe());
        self
    }
}

fn shorten(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned()
}
