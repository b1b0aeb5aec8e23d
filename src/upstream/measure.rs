//! Requests to Alyx, counted by outcome, and how long its answers take.

use std::time::{Duration, Instant};

use http::StatusCode;

use super::UpstreamError;

const REQUESTS: &str = "alyx_proxy_upstream_requests_total";
const DURATION: &str = "alyx_proxy_upstream_request_duration_seconds";

/// Outcomes that are no [`Failure`]: an answer, a status from 500 on, and a caller that had gone before either.
const ANSWERED: &str = "answered";
const SERVER_ERROR: &str = "server-error";
const CANCELLED: &str = "cancelled";

/// The failures of requests that were on their way to Alyx.
fn failures() -> [UpstreamError; 17] {
    [
        UpstreamError::Dns,
        UpstreamError::Refused,
        UpstreamError::Connect(String::new()),
        UpstreamError::Tls(String::new()),
        UpstreamError::Unsent { begun: true },
        UpstreamError::BodyTooLarge,
        UpstreamError::Malformed,
        UpstreamError::Slow { begun: true },
        UpstreamError::Timeout,
        UpstreamError::Reset,
        UpstreamError::Truncated,
        UpstreamError::Unavailable(0),
        UpstreamError::NotJson(String::new()),
        UpstreamError::NotZip,
        UpstreamError::Elsewhere(String::new()),
        UpstreamError::Throttled(Duration::ZERO),
        UpstreamError::TooLarge,
    ]
}

/// Makes every series, at zero: an alarm on a rise must not miss the first.
pub(crate) fn register() {
    let failed = failures().map(|failure| failure.name());
    let outcomes = failed.into_iter().chain([ANSWERED, SERVER_ERROR, CANCELLED]);
    for outcome in outcomes {
        metrics::counter!(REQUESTS, "outcome" => outcome).absolute(0);
    }
    drop(metrics::histogram!(DURATION));
}

/// A request that is sent to Alyx. It is counted once: by how it ended, or as cancelled.
#[derive(Debug)]
pub(super) struct Measured {
    start: Instant,
    outcome: &'static str,
}

impl Measured {
    /// It is about to be sent.
    #[allow(clippy::disallowed_methods, reason = "how long a request took is measured, and decides nothing")]
    pub(super) fn begin() -> Self {
        Self { start: Instant::now(), outcome: CANCELLED }
    }

    /// Alyx answered with this status, or failed to.
    pub(super) fn end(mut self, result: &Result<StatusCode, UpstreamError>) {
        self.outcome = match result {
            Ok(status) if status.is_server_error() => SERVER_ERROR,
            Ok(_) => ANSWERED,
            Err(failure) => failure.name(),
        };
        if result.is_ok() {
            metrics::histogram!(DURATION).record(self.start.elapsed());
        }
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        metrics::counter!(REQUESTS, "outcome" => self.outcome).increment(1);
    }
}
