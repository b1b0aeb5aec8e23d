//! Reads `Cache-Status` (RFC 9211) as far as this project writes it: one cache, its parameters.

use std::collections::BTreeMap;

/// The parameters of the member `alyx-proxy`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheStatus {
    parameters: BTreeMap<String, String>,
    /// The field as it came, for messages.
    pub text: String,
}

impl CacheStatus {
    /// Reads the field; panics if it isn't a structured field that begins with `alyx-proxy`.
    pub fn parse(text: &str) -> Self {
        let mut parts = split(text);
        assert_eq!(parts.next().as_deref(), Some("alyx-proxy"), "Cache-Status of another cache: {text}");
        let parameters = parts
            .map(|part| match part.split_once('=') {
                None => (part, "?1".to_owned()),
                Some((name, value)) => {
                    let value = value.strip_prefix('"').map_or(value, |v| {
                        v.strip_suffix('"').unwrap_or_else(|| panic!("a string without its end: {text}"))
                    });
                    (name.to_owned(), value.to_owned())
                }
            })
            .collect();
        Self { parameters, text: text.to_owned() }
    }

    pub fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// Answered from what was stored.
    pub fn hit(&self) -> bool {
        self.has("hit")
    }

    /// Why it went upstream, if it did.
    pub fn fwd(&self) -> Option<&str> {
        self.get("fwd")
    }

    /// Seconds for which the stored answer is still fresh; negative: since when it isn't.
    pub fn ttl(&self) -> Option<i64> {
        self.get("ttl").map(|ttl| ttl.parse().expect("ttl is a whole number"))
    }
}

/// Splits at `;`, but not within quotes.
fn split(text: &str) -> impl Iterator<Item = String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            ';' if !quoted => parts.push(String::new()),
            _ => {
                quoted ^= c == '"';
                parts.last_mut().unwrap().push(c);
            }
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned())
}
