//! Whether a stored response may answer a request (RFC 9111 4.2, 5.2.1).

use std::time::Duration;

use crate::settings::Settings;

/// Why an answer is not fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staleness {
    /// Its time is over, by so much.
    Expired {
        /// Time since it ceased to be fresh.
        by: Duration,
    },
    /// It says that there is no such thing, which is believed for `cache.negative_ttl` alone.
    Negative,
    /// Its endpoint is asked every time.
    NeverFresh,
    /// A write may have changed it.
    Written,
    /// Another page of the same query is newer.
    OlderPage,
    /// It comes from the future: the clock was set back.
    Clock,
    /// The client wants it fresher.
    Request,
}

impl Staleness {
    /// Its name in `Cache-Status`, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired { .. } => "expired",
            Self::Negative => "negative",
            Self::NeverFresh => "never-fresh",
            Self::Written => "written",
            Self::OlderPage => "older-page",
            Self::Clock => "clock",
            Self::Request => "request",
        }
    }

    /// Whether it may be given while Alyx is slow to say something newer: not to those who would
    /// miss their own write or a page of the generation they read, nor where what was missing may have been made
    /// meanwhile, nor where the request or the kind asks for what is current.
    pub fn may_stand_in(self) -> bool {
        matches!(self, Self::Expired { .. } | Self::Clock)
    }

    /// Whether it may be given at once, and refreshed behind the scenes.
    pub fn may_be_refreshed_behind(self, settings: &Settings) -> bool {
        matches!(self, Self::Expired { by } if by <= settings.cache.stale_while_revalidate.0)
    }
}
