//! The ways in which Alyx can fail to answer, each with a name that log, metric and header share.

use std::{error::Error, io, time::Duration};

use super::certificate;

/// Alyx did not answer, or what came was not an answer of Alyx's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// It is known to be away, so it was not asked.
    #[error("it was not asked, being known to be away")]
    Offline,
    /// An administrator keeps the proxy apart from it.
    #[error("an administrator has taken this proxy offline")]
    HeldOffline,
    /// A snapshot is served alone.
    #[error("a snapshot is served, and nothing newer is asked for")]
    Frozen,
    /// Its host name can't be resolved.
    #[error("its host name can't be resolved")]
    Dns,
    /// Nothing listens there.
    #[error("it refuses connections")]
    Refused,
    /// No connection came about, for another reason.
    #[error("no connection could be made ({0})")]
    Connect(String),
    /// The TLS handshake failed.
    #[error("no secure connection could be made ({0})")]
    Tls(String),
    /// The client broke off before all of its request was here.
    #[error("the request broke off before all of it was here")]
    Unsent {
        /// Whether some of it had been sent on.
        begun: bool,
    },
    /// The request's body is not sound HTTP.
    #[error("the request's body is not framed as HTTP asks")]
    Malformed,
    /// The request is larger than it may be.
    #[error("the request's body is larger than `server.max_body`")]
    BodyTooLarge,
    /// The client was too slow to bring its request.
    #[error("the request came too slowly")]
    Slow {
        /// Whether some of it had been sent on.
        begun: bool,
    },
    /// Too much was asked of it: no place came free for this request in time.
    #[error("too much is asked of it at once, and this request's turn did not come in time")]
    Saturated,
    /// More was asked for one caller than this proxy asks of it in that time.
    #[error("this proxy asks no more often for one user than `upstream.requests_per_minute` allows")]
    Paced,
    /// It did not answer in time.
    #[error("it did not answer in time")]
    Timeout,
    /// The connection broke before the answer began.
    #[error("the connection broke")]
    Reset,
    /// The answer broke off.
    #[error("its answer broke off")]
    Truncated,
    /// 502, 503, 504, or a network's own 511.
    #[error("it answered with status {0}")]
    Unavailable(u16),
    /// 101, where nobody had asked for another protocol.
    #[error("it went over to another protocol, which nobody had asked for")]
    Switched,
    /// Something else than JSON came where Alyx sends JSON: an error page, a captive portal.
    #[error("something other than Alyx's JSON came back ({0})")]
    NotJson(String),
    /// Something else than a zip came where Alyx sends one.
    #[error("what came back is no zip file")]
    NotZip,
    /// It redirected to another host (a captive portal), or what writes to another place; where to, for people.
    #[error("it redirected to {0}")]
    Elsewhere(String),
    /// It asks for a pause (429).
    #[error("it asks for a pause of {} seconds", seconds(*.0))]
    Throttled(Duration),
    /// It asks others for a pause, and seems to count this proxy's users as one.
    #[error("it asks several users for a pause, and so all of them, of {} seconds", seconds(*.0))]
    ThrottledAll(Duration),
    /// The answer is larger than what is remembered; it must be passed through.
    #[error("its answer is larger than `cache.max_response`")]
    TooLarge,
    /// The path makes no URL.
    #[error("the path makes no URL")]
    BadAddress,
}

impl UpstreamError {
    /// A short name, the same in logs, metrics and `Cache-Status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Offline => "away",
            Self::HeldOffline => "forced-offline",
            Self::Frozen => "snapshot",
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Unsent { .. } => "unsent",
            Self::Malformed => "malformed",
            Self::BodyTooLarge => "body-too-large",
            Self::Slow { .. } => "slow-request",
            Self::Saturated => "saturated",
            Self::Paced => "own-pace",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Unavailable(_) => "unavailable",
            Self::Switched => "switched-protocols",
            Self::NotJson(_) => "not-json",
            Self::NotZip => "not-zip",
            Self::Elsewhere(_) => "redirected-elsewhere",
            Self::Throttled(_) | Self::ThrottledAll(_) => "throttled",
            Self::TooLarge => "too-large",
            Self::BadAddress => "bad-address",
        }
    }

    /// Whether nothing at all can be reached there: the state changes at once, without a second look.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Dns | Self::Refused | Self::Connect(_) | Self::Tls(_))
    }

    /// Whether it speaks of Alyx being away rather than of this one request.
    pub fn is_outage(&self) -> bool {
        !matches!(
            self,
            Self::Offline
                | Self::HeldOffline
                | Self::Frozen
                | Self::Throttled(_)
                | Self::ThrottledAll(_)
                | Self::Saturated
                | Self::Paced
                | Self::TooLarge
                | Self::NotZip
                | Self::Switched
                | Self::BadAddress
                | Self::Unsent { .. }
                | Self::Slow { .. }
                | Self::Malformed
                | Self::BodyTooLarge
        )
    }

    /// Whether the request surely never reached Alyx, so that a write did nothing. Of a write that Alyx itself answers with
    /// 429 this is not said: that answer is passed on.
    pub fn never_sent(&self) -> bool {
        self.is_unreachable()
            || matches!(
                self,
                Self::Offline
                    | Self::HeldOffline
                    | Self::Frozen
                    | Self::BadAddress
                    | Self::Throttled(_)
                    | Self::ThrottledAll(_)
                    | Self::Saturated
                    | Self::Paced
                    | Self::Unsent { begun: false }
                    | Self::Slow { begun: false }
            )
    }

    /// Whether it may be this one answer that is at fault, while Alyx gives others.
    pub fn may_be_of_one_answer(&self) -> bool {
        matches!(
            self,
            Self::Timeout
                | Self::Reset
                | Self::Truncated
                | Self::Unavailable(_)
                | Self::Switched
                | Self::NotJson(_)
                | Self::Elsewhere(_)
                | Self::TooLarge
        )
    }

    /// Whether another try soon may fare better (for reads only).
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Reset | Self::Truncated | Self::Unavailable(_))
    }

    /// What an error of the HTTP client means.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        if error.is_connect() {
            return Self::of_connect(error, error.is_timeout());
        }
        if error.is_timeout() {
            return Self::Timeout;
        }
        if error.is_body() || error.is_decode() { Self::Truncated } else { Self::Reset }
    }

    /// What an error of the client for any origin means, before the answer's head is here.
    pub(super) fn of_origin(error: &hyper_util::client::legacy::Error) -> Self {
        if error.is_connect() {
            return Self::of_connect(error, io_kind(error) == Some(io::ErrorKind::TimedOut));
        }
        Self::Reset
    }

    fn of_connect(error: &(dyn Error + 'static), timed_out: bool) -> Self {
        let causes = causes(error);
        let mentions =
            |words: &[&str]| causes.iter().any(|cause| words.iter().any(|word| cause.contains(word)));
        let innermost = || causes.last().cloned().unwrap_or_default();
        if timed_out {
            Self::Connect("in time".to_owned())
        } else if mentions(&["dns error", "failed to lookup"]) {
            Self::Dns
        } else if io_kind(error) == Some(io::ErrorKind::ConnectionRefused) {
            Self::Refused
        } else if mentions(&[
            "certificate",
            "TLS",
            "tls",
            "InvalidContentType",
            "corrupt message",
            "HandshakeFailure",
        ]) {
            Self::Tls(certificate::times(error).unwrap_or_else(innermost))
        } else {
            Self::Connect(innermost())
        }
    }
}

/// Whole seconds: none less than it lasts.
pub fn seconds(length: Duration) -> u64 {
    u64::try_from(length.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
}

fn causes(error: &dyn Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

fn io_kind(error: &dyn Error) -> Option<io::ErrorKind> {
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(cause) = next {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        next = cause.source();
    }
    None
}
