//! What was likely meant by a value that is none of its kind.

use serde_json::Value;

use super::kind::{LEVELS, ValueKind, base_url};
use crate::{alyx::ENDPOINTS, spelling};

impl ValueKind {
    /// The value that was likely meant, as one would write it.
    pub(super) fn meant(self, value: &Value) -> Option<String> {
        let text = value.as_str().unwrap_or_default().trim();
        let items = || value.as_array().into_iter().flatten().filter_map(Value::as_str);
        let meant = match self {
            Self::Address { .. } => address(text)?,
            Self::BaseUrl { .. } => url(text)?,
            Self::Span { .. } => format!("{}s", value.as_u64().or_else(|| text.parse().ok())?),
            Self::Level => spelling::nearest(text, LEVELS)?.to_owned(),
            Self::Format => spelling::nearest(text, ["auto", "human", "json"])?.to_owned(),
            Self::Profile => spelling::nearest(text, ["alyx", "rfc9111"])?.to_owned(),
            Self::Endpoints => {
                let is_none = |name: &&str| ENDPOINTS.iter().all(|endpoint| endpoint.name != *name);
                let wrong = items().find(is_none)?;
                spelling::nearest(wrong, ENDPOINTS.iter().map(|endpoint| endpoint.name))?.to_owned()
            }
            Self::Paths => format!("/{}", items().find(|path| !path.starts_with('/'))?),
            Self::Zone => {
                let zones: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
                spelling::nearest(text, zones.iter().map(String::as_str))?.to_owned()
            }
            Self::Switch => match text.to_lowercase().as_str() {
                "yes" | "on" | "1" => "true".to_owned(),
                "no" | "off" | "0" => "false".to_owned(),
                _ => return None,
            },
            _ => return None,
        };
        (self.accepts(&self.read(&meant)) && meant != text).then_some(meant)
    }
}

/// An address of which the host or the port was left out, or that names this machine.
fn address(text: &str) -> Option<String> {
    let port = |port: &str| port.parse::<u16>().is_ok();
    match text.rsplit_once(':') {
        None if port(text) => Some(format!("127.0.0.1:{text}")),
        None => Some(format!("{text}:8040")),
        Some(("" | "*", number)) if port(number) => Some(format!("0.0.0.0:{number}")),
        Some(("localhost", number)) if port(number) => Some(format!("127.0.0.1:{number}")),
        Some(_) => None,
    }
}

/// A URL without its scheme, or with more than a base URL has.
fn url(text: &str) -> Option<String> {
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let mut url = url::Url::parse(&text).ok()?;
    // Nothing that was secret is said again.
    url.set_username("").and_then(|()| url.set_password(None)).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    let has_name = url.host_str().is_some_and(|host| host.contains('.') || host == "localhost");
    base_url(url.as_str()).filter(|_| has_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_meant_is_of_the_kind() {
        let listen = ValueKind::Address { empty: false };
        let base = ValueKind::BaseUrl { empty: false };
        for (kind, value, meant) in [
            (listen, json!("8420"), Some("127.0.0.1:8420")),
            (listen, json!(":8420"), Some("0.0.0.0:8420")),
            (listen, json!("*:8420"), Some("0.0.0.0:8420")),
            (listen, json!("localhost:8420"), Some("127.0.0.1:8420")),
            (listen, json!("192.168.0.7"), Some("192.168.0.7:8040")),
            (listen, json!("lab-server:8420"), None),
            (listen, json!("84200"), None),
            (base, json!("alyx.example.org"), Some("https://alyx.example.org")),
            (base, json!("https://me:pw@alyx.example.org/?a=1"), Some("https://alyx.example.org")),
            (base, json!("alyx"), None),
            (base, json!(5), None),
            (ValueKind::Span { zero: false }, json!(30), Some("30s")),
            (ValueKind::Level, json!("inof"), Some("info")),
            (ValueKind::Endpoints, json!(["sessions", "subject"]), Some("subjects")),
            (ValueKind::Zone, json!("europe/berlin"), Some("Europe/Berlin")),
            (ValueKind::Switch, json!("yes"), Some("true")),
            (ValueKind::Text, json!(5), None),
        ] {
            assert_eq!(kind.meant(&value).as_deref(), meant, "{value}");
        }
    }
}
