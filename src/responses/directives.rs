//! What a request says about caching (RFC 9111 5.2.1). Unknown directives, and
//! values that are none, are disregarded.

use std::time::Duration;

use http::{HeaderMap, header};

/// A request's `Cache-Control` (and the older `Pragma`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Directives {
    /// Ask Alyx, whatever is stored.
    pub no_cache: bool,
    /// Do not remember the answer.
    pub no_store: bool,
    /// Only what is stored, or 504.
    pub only_if_cached: bool,
    /// Not older than this.
    pub max_age: Option<Duration>,
    /// Fresh for at least so long.
    pub min_fresh: Option<Duration>,
    /// Stale by so much is good enough; `Some(MAX)` is any age.
    pub max_stale: Option<Duration>,
}

impl Directives {
    /// Reads a request's directives.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        let lines = headers.get_all(header::CACHE_CONTROL);
        for directive in lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            let seconds = seconds(value);
            match name.trim().to_ascii_lowercase().as_str() {
                "no-cache" => directives.no_cache = true,
                "no-store" => directives.no_store = true,
                "only-if-cached" => directives.only_if_cached = true,
                "max-age" => directives.max_age = seconds,
                "min-fresh" => directives.min_fresh = seconds,
                "max-stale" => {
                    let any = value.trim().is_empty().then_some(Duration::MAX);
                    directives.max_stale = any.or(seconds);
                }
                _ => {}
            }
        }
        let pragma = headers.get(header::PRAGMA).and_then(|pragma| pragma.to_str().ok());
        if !headers.contains_key(header::CACHE_CONTROL)
            && pragma.is_some_and(|pragma| pragma.contains("no-cache"))
        {
            directives.no_cache = true;
        }
        directives
    }
}

fn seconds(value: &str) -> Option<Duration> {
    let digits = value.trim().trim_matches('"');
    let sound = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // Beyond what a number holds is as good as for ever (RFC 9111 1.2.2).
    sound.then(|| Duration::from_secs(digits.parse().unwrap_or(u32::MAX).into()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(value: &'static str) -> Directives {
        Directives::of(&[(header::CACHE_CONTROL, HeaderValue::from_static(value))].into_iter().collect())
    }

    #[test]
    fn reads_what_requests_say() {
        let none = Directives::default();
        assert_eq!(read("no-cache, x=y"), Directives { no_cache: true, ..none });
        assert_eq!(
            read("MAX-AGE=5,no-store"),
            Directives { max_age: Some(Duration::from_secs(5)), no_store: true, ..none }
        );
        assert_eq!(read("max-age=x"), none);
        assert_eq!(read("max-stale"), Directives { max_stale: Some(Duration::MAX), ..none });
        assert_eq!(read("max-stale=\"9\""), Directives { max_stale: Some(Duration::from_secs(9)), ..none });
        assert_eq!(
            read("only-if-cached, min-fresh=2"),
            Directives { only_if_cached: true, min_fresh: Some(Duration::from_secs(2)), ..none }
        );
    }
}
