//! What is fuzzed: what reads texts of strangers and of Alyx. A target panics where a promise is broken.

#![allow(clippy::missing_panics_doc, reason = "to panic is how a target says that a promise is broken")]

use alyx_proxy::{
    alyx::{
        Class, ENDPOINTS, Route, ask,
        json::Scanner,
        links::{self, Base},
        query,
        route::classify,
    },
    responses::{Media, Question},
};
use bytes::Bytes;
use http::Uri;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[("pairs", pairs), ("key", key), ("links", links)];

/// `django=` over the models of every endpoint, and the filters of JSON columns: never panics. A path that
/// asks for a secret is seen as such, however it is written.
pub fn pairs(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for endpoint in ENDPOINTS {
        let read = ask::check_pairs(endpoint, &text);
        if endpoint.filter("django").is_none() {
            continue;
        }
        let pairs = vec![("django".to_owned(), text.clone().into_owned())];
        if read.is_ok() {
            let secret =
                text.split([',', '~']).any(|field| field.split("__").any(|name| name == "auth_token"));
            assert!(!secret || ask::secret(endpoint, &pairs).is_some(), "a secret was not seen: {text}");
        }
    }
}

/// The canonical key of a read: the same for the question and for its canonical spelling.
pub fn key(data: &[u8]) {
    let Ok(uri) = Uri::try_from(data) else { return };
    if uri.scheme().is_some() || !uri.path().starts_with('/') {
        return;
    }
    let question = question(&uri);
    let query = query::encode_sorted(&question.pairs);
    let spelled = if query.is_empty() { question.path.clone() } else { format!("{}?{query}", question.path) };
    // An encoded text may be longer than an address can be.
    let Ok(spelled) = spelled.parse() else { return };
    let again = self::question(&spelled);
    assert_eq!(question.key, again.key, "{uri} and {spelled}");
    assert_eq!(question.family, again.family, "{uri} and {spelled}");
    assert_eq!(question.window, again.window, "{uri} and {spelled}");
}

fn question(uri: &Uri) -> Question {
    let segments = query::segments(uri.path());
    let route: Route = classify(&segments.iter().map(String::as_str).collect::<Vec<_>>());
    Question::new(route, Class::Records, uri, &Media("json".to_owned()), None)
}

/// Links in bodies: they move there and back without a change, and what was JSON stays JSON.
pub fn links(data: &[u8]) {
    const FROM: &str = "http://alyx";
    const TO: &str = "https://lab:8040";
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(found) = links::find(text, &Base::new(FROM)) else { return };
    let bases: Vec<&str> = found.iter().map(|link| &text[link.at..link.at + link.len]).collect();
    let body = Bytes::copy_from_slice(data);
    let moved = links::move_to(&body, &found, TO);
    let moved_text = std::str::from_utf8(&moved).expect("bases are text");
    assert_eq!(tokens(text), tokens(moved_text), "{text}");
    let there = links::find(moved_text, &Base::new(TO)).expect("it was JSON before");
    assert!(there.len() >= found.len(), "{text}");
    // Without links to the new base before, all that is found was moved, and moves back.
    if there.len() == found.len() && bases.iter().all(|base| *base == FROM) {
        assert_eq!(links::move_to(&moved, &there, FROM), body);
    }
}

/// How many tokens a JSON text has; none where it is not JSON.
fn tokens(text: &str) -> Option<usize> {
    let mut scanner = Scanner::new(text);
    let mut count = 0;
    loop {
        match scanner.token() {
            Ok(Some(_)) => count += 1,
            Ok(None) => return Some(count),
            Err(_) => return None,
        }
    }
}
