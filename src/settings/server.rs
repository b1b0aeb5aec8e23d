use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use super::value::{Size, Span};

/// `[server]`: where the proxy listens and what it accepts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerSettings {
    /// Address and port to listen on. `0.0.0.0:8040` serves the whole lab.
    pub listen: SocketAddr,
    /// The proxy's certificate and those that vouch for it, in PEM form; empty: plain HTTP.
    pub tls_certificate: PathBuf,
    /// The certificate's private key, in PEM form.
    pub tls_key: PathBuf,
    /// The base URL that clients use, if it can't be told from their requests; empty: from `Host`.
    pub public_url: String,
    /// Other names by which clients may call it where something is given without credentials; `*.` stands for any beginning.
    pub hosts: Vec<String>,
    /// Address and port at which Alyx's own pages are given; empty: they are not, browsers are shown the way to Alyx.
    pub alyx_pages_listen: String,
    /// The base URL of that for browsers, if it can't be told from their requests; empty: from `Host`.
    pub alyx_pages_url: String,
    /// Reverse proxies whose `X-Forwarded-Host`, `X-Forwarded-Proto` and `X-Forwarded-For` are believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// The largest request body that is passed on (writes, uploads).
    pub max_body: Size,
    /// The longest path and query of a request.
    pub max_url: Size,
    /// How many requests may be under way at once; further ones are refused at once, with when to come again.
    pub max_requests: usize,
    /// The same for one client's address.
    pub max_requests_per_client: usize,
    /// How long a client may take to send the head of a request, and how long nothing may move while it takes an answer.
    pub client_timeout: Span,
    /// How long open requests may go on after a request to shut down.
    pub shutdown_timeout: Span,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8040)),
            tls_certificate: PathBuf::new(),
            tls_key: PathBuf::new(),
            public_url: String::new(),
            hosts: Vec::new(),
            alyx_pages_listen: String::new(),
            alyx_pages_url: String::new(),
            trusted_proxies: Vec::new(),
            max_body: Size::gib(1),
            max_url: Size::kib(32),
            max_requests: 1024,
            max_requests_per_client: 128,
            client_timeout: Span::seconds(30),
            shutdown_timeout: Span::seconds(10),
        }
    }
}

impl ServerSettings {
    /// Where Alyx's own pages are given, if they are.
    pub fn alyx_pages(&self) -> Option<SocketAddr> {
        self.alyx_pages_listen.parse().ok()
    }

    /// Whether it speaks TLS. A certificate without a key, or the other way round, is never loaded.
    pub fn has_tls(&self) -> bool {
        !self.tls_certificate.as_os_str().is_empty()
    }
}
