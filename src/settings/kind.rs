//! What a value may be: one description that both checks it and says what is allowed.
//!
//! A value is checked when it is read, in the file, variable or flag it came from, so that the
//! error names that place. What concerns two values at once is `load`'s business.

use std::net::{IpAddr, SocketAddr};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::Value;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::{
    LogFormat, Profile,
    mirror::ALL,
    value::{Size, Span, is_host_name},
};
use crate::alyx::ENDPOINTS;

/// No span is longer, so that adding it to a point in time can't overflow.
const LONGEST: Span = Span::days(3650);

/// Nobody guesses a random text of this length.
const SHORTEST_SECRET: usize = 16;

pub(super) const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The kinds of values there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// An address and port to listen on.
    Address { empty: bool },
    /// Names of hosts.
    Hosts,
    /// IP addresses.
    Addresses,
    /// The URL that paths are put behind.
    BaseUrl { empty: bool },
    /// The URL of a PostgreSQL; there may be a password in it.
    EngineUrl,
    /// A directory.
    Directory,
    /// Paths of URLs.
    Paths,
    /// A number of bytes.
    Size { least: Size },
    /// A time.
    Span { zero: bool },
    /// A whole number.
    Count { least: u64, most: u64 },
    /// Which log lines are written.
    Level,
    /// How log lines are written.
    Format,
    /// By which rules answers are remembered.
    Profile,
    /// Names of endpoints, or `all`.
    Endpoints,
    /// Public keys, each with a name behind it.
    SnapshotKeys,
    /// A time zone of the IANA database.
    Zone,
    /// Any text.
    Text,
    /// A secret that is asked for: nothing, or too long to be guessed.
    Secret,
    /// The path of a file.
    File,
    /// Yes or no.
    Switch,
}

impl ValueKind {
    /// What is allowed, to end an error message with.
    pub(super) fn allowed(self) -> String {
        match self {
            Self::Address { empty } => format!(
                "an IP address and a port such as \"127.0.0.1:8040\"{}",
                if empty { ", or nothing" } else { "" }
            ),
            Self::Hosts => {
                "a list of names of hosts, without ports, such as [\"alyx\", \"*.lab.example.org\"]"
                    .to_owned()
            }
            Self::Addresses => "a list of IP addresses such as [\"127.0.0.1\", \"::1\"]".to_owned(),
            Self::BaseUrl { empty } => format!(
                "an http or https URL with a host, and without user, password, query and fragment{}",
                if empty { ", or nothing" } else { "" }
            ),
            Self::EngineUrl => {
                "the URL of a PostgreSQL such as \"postgres://USER@HOST/DATABASE\", or nothing".to_owned()
            }
            Self::Directory => "the path of a directory".to_owned(),
            Self::Paths => "a list of paths that start with `/` such as [\"/users\", \"/me\"]".to_owned(),
            Self::Size { least } if least.0 > 0 => {
                format!("a size of at least {least} such as \"500 kB\", \"64 MiB\" or \"2 GiB\"")
            }
            Self::Size { .. } => "a size such as \"500 kB\", \"64 MiB\" or \"2 GiB\"".to_owned(),
            Self::Span { zero } => format!(
                "a span of time such as \"30s\", \"5m\", \"2h\" or \"1d\", {}at most 3650d",
                if zero { "" } else { "more than 0s and " }
            ),
            Self::Count { least, most } => format!("a whole number from {least} to {most}"),
            Self::Level => format!(
                "one of {}, or a filter with levels for modules such as \"info,alyx_proxy::upstream=debug\"",
                LEVELS.join(", ")
            ),
            Self::Format => "one of auto, human, json".to_owned(),
            Self::Profile => "one of alyx, rfc9111".to_owned(),
            Self::Endpoints => {
                let names: Vec<_> = ENDPOINTS.iter().map(|endpoint| endpoint.name).collect();
                format!("a list of `{ALL}` and names of endpoints: {}", names.join(", "))
            }
            Self::SnapshotKeys => {
                "a list of keys as `alyx-proxy keys` shows them, each with a name behind it, such as \
                 [\"ed25519:… lab-server\"]"
                    .to_owned()
            }
            Self::Zone => "a time zone such as \"UTC\" or \"Europe/London\"".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Secret => {
                format!("a text of at least {SHORTEST_SECRET} visible ASCII characters, or nothing")
            }
            Self::File => "the path of a file".to_owned(),
            Self::Switch => "true or false".to_owned(),
        }
    }

    /// Whether `value` is of this kind.
    pub(super) fn accepts(self, value: &Value) -> bool {
        let text = value.as_str();
        match self {
            Self::Address { empty } => {
                text.is_some_and(|text| (empty && text.is_empty()) || text.parse::<SocketAddr>().is_ok())
            }
            Self::Hosts => all(value, |text| is_host_name(text.strip_prefix("*.").unwrap_or(text))),
            Self::Addresses => all(value, |text| text.parse::<IpAddr>().is_ok()),
            Self::BaseUrl { empty } => {
                text.is_some_and(|text| (empty && text.is_empty()) || base_url(text).is_some())
            }
            Self::EngineUrl => text.is_some_and(|text| {
                text.is_empty() || text.starts_with("postgres://") || text.starts_with("postgresql://")
            }),
            Self::Secret => text.is_some_and(|text| {
                text.is_empty()
                    || text.len() >= SHORTEST_SECRET && text.bytes().all(|byte| byte.is_ascii_graphic())
            }),
            Self::Directory | Self::Text | Self::File => text.is_some(),
            Self::Endpoints => {
                all(value, |text| text == ALL || ENDPOINTS.iter().any(|endpoint| endpoint.name == text))
            }
            Self::SnapshotKeys => all(value, is_snapshot_key),
            Self::Zone => text.is_some_and(|text| jiff::tz::TimeZone::get(text).is_ok()),
            Self::Paths => all(value, |text| text.starts_with('/')),
            Self::Size { least } => {
                text.and_then(|text| text.parse::<Size>().ok()).is_some_and(|size| size >= least)
            }
            Self::Span { zero } => text
                .and_then(|text| text.parse::<Span>().ok())
                .is_some_and(|span| span <= LONGEST && (zero || !span.0.is_zero())),
            Self::Count { least, most } => {
                value.as_u64().is_some_and(|number| (least..=most).contains(&number))
            }
            Self::Level => text.is_some_and(level),
            Self::Format => serde_json::from_value::<LogFormat>(value.clone()).is_ok(),
            Self::Profile => serde_json::from_value::<Profile>(value.clone()).is_ok(),
            Self::Switch => value.is_boolean(),
        }
    }

    /// The value that `text` stands for in a variable or flag, where everything is text.
    /// What can't be read stays text, which `accepts` then refuses.
    pub(super) fn read(self, text: &str) -> Value {
        match self {
            Self::Count { .. } => text.trim().parse::<u64>().map_or_else(|_| text.into(), Value::from),
            Self::Addresses | Self::Hosts | Self::Paths | Self::Endpoints | Self::SnapshotKeys
                if text.trim_start().starts_with('[') =>
            {
                serde_json::from_str(text).unwrap_or_else(|_| text.into())
            }
            Self::Addresses | Self::Hosts | Self::Paths | Self::Endpoints | Self::SnapshotKeys => {
                text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()
            }
            Self::Switch => text.trim().parse::<bool>().map_or_else(|_| text.into(), Value::from),
            _ => text.into(),
        }
    }
}

/// A base URL in the form in which it is compared and put before paths: without a `/` at its end.
pub(crate) fn base_url(text: &str) -> Option<String> {
    let url = Url::parse(text.trim()).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then(|| url.as_str().trim_end_matches('/').to_owned())
}

/// `ed25519:`, 32 bytes in base64, and perhaps a name.
fn is_snapshot_key(text: &str) -> bool {
    let key = text.trim().split(char::is_whitespace).next().and_then(|key| key.strip_prefix("ed25519:"));
    key.is_some_and(|key| STANDARD_NO_PAD.decode(key).is_ok_and(|bytes| bytes.len() == 32))
}

/// `EnvFilter` takes a misspelt level for the name of a module and then logs next to nothing;
/// so a part without `=` must be a level.
fn level(filter: &str) -> bool {
    let parts = filter.split(',').map(str::trim);
    let known =
        |part: &str| part.contains(['=', '[']) || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part));
    parts.into_iter().all(known) && EnvFilter::try_new(filter).is_ok()
}

fn all(list: &Value, accepts: impl Fn(&str) -> bool) -> bool {
    list.as_array().is_some_and(|items| items.iter().all(|item| item.as_str().is_some_and(&accepts)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_has_one_form() {
        for (text, form) in [
            ("https://alyx.example.org", Some("https://alyx.example.org")),
            ("HTTPS://Alyx.Example.org:443/", Some("https://alyx.example.org")),
            ("http://127.0.0.1:8000//", Some("http://127.0.0.1:8000")),
            ("http://lab/alyx/", Some("http://lab/alyx")),
            ("http://[::1]:8041", Some("http://[::1]:8041")),
            ("alyx.example.org", None),
            ("localhost:8000", None),
            ("ftp://alyx.example.org", None),
            ("https://", None),
            ("https://user@alyx.example.org", None),
            ("https://user:word@alyx.example.org", None),
            ("https://alyx.example.org/?a=1", None),
            ("https://alyx.example.org/#top", None),
            ("", None),
        ] {
            assert_eq!(base_url(text).as_deref(), form, "{text}");
        }
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for filter in ["info", "WARN", "off", "info,alyx_proxy::upstream=debug", "alyx_proxy=trace"] {
            assert!(level(filter), "{filter}");
        }
        for filter in ["inof", "", "info,", "info,debgu", "alyx_proxy=loud", "7"] {
            assert!(!level(filter), "{filter}");
        }
    }
}
