//! The Alyx behind the proxy: asked politely, watched, and never waited for while it is away.
//!
//! [`Upstream::fetch`] reads one JSON answer whole (what may be remembered); [`Upstream::relay`]
//! passes a request through as a stream (writes, files, pages). Both wait their turn ([`pace`]),
//! report what they saw to [`health`], and end within the total time-out.

mod caller;
mod certificate;
mod client;
mod download;
mod error;
mod fetch;
mod file_server;
pub mod health;
mod idle_timeout;
mod inside;
pub(crate) mod measure;
mod mistake;
mod passthrough;
pub mod rate_limit;
mod rates;
mod raw_client;
mod service_account;
mod shared_pace;

use std::sync::Arc;

use reqwest::Client;
use url::Url;

pub use error::{UpstreamError, seconds};
pub use fetch::{UpstreamRequest, UpstreamResponse};
pub(crate) use file_server::FileServer;
pub(crate) use idle_timeout::broken;
use inside::{GuardedResolver, InsideGuard};
pub use passthrough::Relayed;
pub use raw_client::Origin;
pub use service_account::{Account, AccountError, for_somebody};

use crate::{alyx::query_string, clock::SharedClock, settings::Settings};

/// The one Alyx that this proxy stands before.
#[derive(Debug)]
pub struct Upstream {
    /// Its base URL, without a trailing slash.
    base: String,
    url: Url,
    /// Undoes content codings: what is remembered is Alyx's own text.
    reader: Client,
    /// Passes bytes through as they come.
    relayer: Client,
    /// Whether it can be reached.
    pub health: health::Health,
    /// Whose turn it is.
    pub pace: rate_limit::RequestLimiter,
    /// Which addresses it may lead to.
    inside: Arc<InsideGuard>,
    clock: SharedClock,
}

/// Why there can be no upstream with these settings.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamConfigError {
    /// The base URL is none.
    #[error("upstream.url `{0}` is not an http or https URL")]
    Url(String),
    /// The HTTP client can't be set up (certificates, for instance).
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// Certificates of others can't be judged here.
    #[error("no HTTP client: {0}")]
    Tls(String),
}

impl Upstream {
    /// The time by which it is asked.
    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Prepares to ask the Alyx that the settings name; asks nothing yet.
    pub fn new(settings: &Settings, clock: SharedClock) -> Result<Arc<Self>, UpstreamConfigError> {
        let base = settings.upstream.url.trim_end_matches('/').to_owned();
        let url = Url::parse(&base).map_err(|_| UpstreamConfigError::Url(base.clone()))?;
        let inside = Arc::new(InsideGuard::of(&url));
        let (reader, relayer) = client::build(&settings.upstream, GuardedResolver(inside.clone()))?;
        Ok(Arc::new(Self {
            base,
            url,
            reader,
            relayer,
            health: health::Health::new(clock.clone()),
            pace: rate_limit::RequestLimiter::new(&settings.upstream, clock.clone()),
            inside,
            clock,
        }))
    }

    /// What is likely wrong with its address; none where it has answered since the start, or nothing points to that.
    pub fn likely_mistake(&self) -> Option<String> {
        match self.health.state() {
            health::HealthState::Down { reason, .. } if !self.health.has_answered() => {
                mistake::likely(&self.url, &reason)
            }
            _ => None,
        }
    }

    /// Its base URL, without a trailing slash.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The URL of a path and query on it. What does not begin with `/` (`*` in a request line) would change its host,
    /// what has dot segments its path.
    fn url_of(&self, path_and_query: &str) -> Result<Url, UpstreamError> {
        let path = path_and_query.split('?').next().unwrap_or_default();
        let sound = path.starts_with('/') && query_string::is_unambiguous(path);
        let url = sound.then(|| format!("{}{path_and_query}", self.base));
        let url = url.and_then(|url| Url::parse(&url).ok()).filter(|url| self.owns(url));
        url.ok_or(UpstreamError::BadAddress)
    }

    /// Whether a path or URL that a file is to be fetched from lies on this Alyx.
    pub fn is_on(&self, place: &str) -> bool {
        Url::parse(place).map_or(true, |url| self.owns(&url))
    }

    /// Whether a URL lies on this Alyx: same scheme, host and port.
    fn owns(&self, url: &Url) -> bool {
        url.origin() == self.url.origin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn no_path_names_another_host() {
        let mut settings = Settings::default();
        settings.upstream.url = "https://alyx.example.org/".to_owned();
        let upstream = Upstream::new(&settings, Arc::new(SystemClock)).unwrap();
        for path in [
            "*",
            "",
            "x",
            "@evil.example",
            ".evil.example/labs",
            ":81/labs",
            "\\@evil.example",
            "/a/../b",
            "/a\\b",
        ] {
            assert!(upstream.url_of(path).is_err(), "{path}");
        }
        for path in ["/", "/labs?a=%20", "//evil.example/labs", "/@evil.example", "/a%5c?b=/../c\\d"] {
            let url = upstream.url_of(path).unwrap();
            assert_eq!(url.host_str(), Some("alyx.example.org"), "{path}: {url}");
        }
    }
}
