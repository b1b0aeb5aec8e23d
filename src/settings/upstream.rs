use serde::{Deserialize, Serialize};

use super::value::Span;

/// `[upstream]`: the Alyx behind the proxy, and how politely it is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamSettings {
    /// Base URL of Alyx, `http` or `https`.
    pub url: String,
    /// How long a connection may take to be made.
    pub connect_timeout: Span,
    /// How long any request may take in all, waiting for its turn included. Nobody waits longer.
    pub timeout: Span,
    /// How long someone waits for a slow Alyx when an older answer is stored here.
    pub serve_stale_after: Span,
    /// Requests a minute for each user (Alyx throttles at 550 by default); 0: not paced.
    pub requests_per_minute: u32,
    /// Requests that may be under way at once, for all users together.
    pub concurrency: usize,
    /// How often a read that failed on the way is tried again.
    pub retries: usize,
}

impl Default for UpstreamSettings {
    fn default() -> Self {
        Self {
            url: "https://openalyx.internationalbrainlab.org".to_owned(),
            connect_timeout: Span::seconds(5),
            timeout: Span::seconds(60),
            serve_stale_after: Span::seconds(2),
            requests_per_minute: 500,
            concurrency: 8,
            retries: 2,
        }
    }
}
