//! `X-Request-Id`: what a request is called in the log and to its client.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use http::{HeaderMap, HeaderName, HeaderValue};

/// What a request is called in the log and to its client.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name that a client may give.
const LONGEST: usize = 64;

/// The name of a request: its client's, where that can stand in a log, else one of our own.
pub(crate) fn name(headers: &mut HeaderMap) -> HeaderValue {
    let sound = |name: &&HeaderValue| {
        (1..=LONGEST).contains(&name.len())
            && name.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
    };
    if let Some(name) = headers.get(REQUEST_ID).filter(sound) {
        return name.clone();
    }
    let name = new_name();
    headers.insert(REQUEST_ID, name.clone());
    name
}

/// A name for a request that has none: that of this run of the program, and a number.
fn new_name() -> HeaderValue {
    static RUN: LazyLock<String> = LazyLock::new(|| format!("{:08x}-", rand::random::<u32>()));
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let name = [RUN.as_str(), &NUMBER.fetch_add(1, Ordering::Relaxed).to_string()].concat();
    // Hexadecimal digits and a number are always fit for a field.
    HeaderValue::try_from(name).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_plain_names_are_taken() {
        let named = |text: &str| {
            let mut headers = HeaderMap::from_iter([(REQUEST_ID, HeaderValue::try_from(text).unwrap())]);
            let name = name(&mut headers);
            assert_eq!(headers[REQUEST_ID], name, "what is passed on is what is logged");
            name == text
        };
        assert!(named("mine") && named("0f3c-1.a_B") && named(&"x".repeat(LONGEST)));
        for other in ["", "a b", "a\"b", "a=b", &"x".repeat(LONGEST + 1)] {
            assert!(!named(other), "{other}");
        }
    }
}
