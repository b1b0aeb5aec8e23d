//! The canonical key: one key for all spellings of a question, never one for two questions.
//!
//! Path and parameters are decoded as Alyx decodes them; parameters are sorted by name, repeated
//! ones keep their order. Then everything goes that Alyx surely disregards: parameters of details
//! (ALYX.md 1), `limit` and `offset` that say the default, and spaces around values that Alyx strips
//! (2.1, rules 6 and 7), and of what is said twice the first: MATLAB's client repeats its parameters behind `next`. The links `next` and `previous` repeat a question's own spelling; they are
//! made anew where a stored answer was asked with another one (see [`super::Entry`]).

use http::Uri;

use super::JsonVariant;
use crate::{
    alyx::{
        Class, Route,
        filterset::parse::is_space,
        invalidates::scopes_of,
        pagination::{DEFAULT_LIMIT, PageSizes, Window, is_paging, is_plain},
        query_string::{self, Pairs},
        strips,
    },
    storage::types::{CacheKey, TokenHash},
};

/// A read that may be remembered.
#[derive(Debug, Clone)]
pub struct Question {
    /// What it addresses.
    pub route: Route,
    /// How fast its answer goes out of date.
    pub class: Class,
    /// Its canonical key.
    pub key: CacheKey,
    /// The key of its list: the same for all pages of one query.
    pub family: CacheKey,
    /// The page, where it asks for one of a list.
    pub window: Option<Window>,
    /// Its path in the canonical spelling.
    pub path: String,
    /// Its path and query as they were asked, for Alyx.
    pub path_and_query: String,
    /// Its parameters as they were asked, decoded.
    pub pairs: Pairs,
    /// The form of JSON that it asks for.
    pub media: JsonVariant,
    /// Whose answer it is, where answers are kept apart for each user.
    pub owner: Option<TokenHash>,
    /// The names of the scopes that its answer belongs to.
    pub scopes: Vec<String>,
}

impl Question {
    /// The question that a read asks. `owner` is given where the answer may depend on the user.
    pub fn new(route: Route, class: Class, uri: &Uri, media: &JsonVariant, owner: Option<TokenHash>) -> Self {
        let segments = query_string::segments(uri.path());
        let path = query_string::canonical_path(&segments);
        let pairs = query_string::parse(uri.query().unwrap_or_default());
        let window = matches!(route, Route::List(_)).then(|| Window::of(&pairs));
        let canonical = canonical_pairs(&route, &pairs);
        let (of_page, of_list): (Vec<_>, Vec<_>) =
            canonical.iter().cloned().partition(|(name, _)| window.is_some() && is_paging(name));
        let scopes = scopes_of(&route, &pairs).iter().map(crate::alyx::invalidates::Scope::name).collect();
        let path_and_query = uri.path_and_query().map_or_else(|| path.clone(), ToString::to_string);
        let list = digest(&path, &of_list, media, owner, "list");
        let key = digest(&path, &[of_list, of_page].concat(), media, owner, "page");
        let media = media.clone();
        Self { route, class, key, family: list, window, path, path_and_query, pairs, media, owner, scopes }
    }

    /// Whether the answer is a page of a list.
    pub fn is_page(&self) -> bool {
        self.window.is_some()
    }

    /// The records before this page; 0 for whatever is no later page.
    pub fn offset(&self) -> u64 {
        self.window.map_or(0, |window| window.offset)
    }

    /// The query as it was asked, for people.
    pub fn query(&self) -> &str {
        self.path_and_query.split_once('?').map_or("", |(_, query)| query)
    }
}

/// Whether two queries ask the same of a route, spelt as they may be; in which form of JSON is left out.
pub(super) fn same_query(route: &Route, one: &str, other: &str) -> bool {
    let canonical = |text: &str| {
        let mut pairs = canonical_pairs(route, &query_string::parse(text));
        pairs.retain(|(name, _)| name != "format");
        pairs
    };
    canonical(one) == canonical(other)
}

/// The parameters that make a difference, in canonical order.
fn canonical_pairs(route: &Route, pairs: &Pairs) -> Pairs {
    let mut canonical: Pairs = match route {
        Route::List(endpoint) => pairs
            .iter()
            .filter_map(|(name, value)| {
                let value = match name.as_str() {
                    "limit" | "offset" => paging_value(name, value, pairs)?,
                    // What is nothing but spaces is not what is nothing at all.
                    _ if strips(endpoint, name) && !value.chars().all(is_space) => {
                        value.trim_matches(is_space).to_owned()
                    }
                    _ => value.clone(),
                };
                Some((name.clone(), value))
            })
            .collect(),
        Route::Detail(..) => pairs.iter().filter(|(name, _)| name == "format").cloned().collect(),
        Route::Service(_) | Route::Other => pairs.clone(),
    };
    if matches!(route, Route::List(_)) {
        // Where one value counts it is the last; where several do, each counts once, in whatever order.
        let mut later = std::collections::HashSet::new();
        canonical.reverse();
        canonical.retain(|pair| later.insert(pair.clone()));
        canonical.reverse();
    }
    canonical.sort_by(|a, b| a.0.cmp(&b.0));
    canonical.dedup_by(|later, earlier| is_paging(&later.0) && later.0 == earlier.0);
    canonical
}

/// The canonical value of `limit` or `offset`: none where it says the default. Where it is not plainly written
/// the whole query is left as it is: Python may read it in another way than we do, so that no links can be made
/// for another spelling of it.
fn paging_value(name: &str, value: &str, pairs: &Pairs) -> Option<String> {
    if !is_plain(pairs) {
        return Some(format!("as written: {value} in {pairs:?}"));
    }
    // Not every Alyx has a greatest page: what is asked beyond that of the newest is a question of its own.
    let window = Window::within(pairs, PageSizes { greatest: None, ..PageSizes::default() });
    let (number, default) = if name == "limit" { (window.limit, DEFAULT_LIMIT) } else { (window.offset, 0) };
    (number != default).then(|| number.to_string())
}

/// Hashes the parts of a key, each with its length, so that no two questions run together.
fn digest(
    path: &str,
    pairs: &[(String, String)],
    media: &JsonVariant,
    owner: Option<TokenHash>,
    kind: &str,
) -> CacheKey {
    let mut hasher = blake3::Hasher::new();
    let mut part = |text: &[u8]| {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text);
    };
    part(kind.as_bytes());
    part(media.0.as_bytes());
    part(owner.as_ref().map_or(&[], |owner| &owner.0));
    part(path.as_bytes());
    for (name, value) in pairs {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::alyx::route::classify;

    fn question(uri: &str) -> Question {
        let uri: Uri = uri.parse().unwrap();
        let segments = query_string::segments(uri.path());
        let route = classify(&segments.iter().map(String::as_str).collect::<Vec<_>>());
        Question::new(route, Class::Records, &uri, &JsonVariant("json".to_owned()), None)
    }

    fn same(a: &str, b: &str) -> bool {
        question(a).key == question(b).key
    }

    #[test]
    fn one_key_for_all_spellings() {
        for (a, b) in [
            ("/sessions?lab=a&sex=F", "/sessions?sex=F&lab=a"),
            ("/sessions?lab=a&sex=F", "/sessions?lab=a&&sex=%46&"),
            ("/sessions?lab=a", "/%73essions?l%61b=a&limit=250&offset=0"),
            ("/sessions?limit=3", "/sessions?limit=%33&offset=-1"),
            ("/sessions?limit=abc&offset=x", "/sessions"),
            ("/sessions?limit=5&limit=3", "/sessions?limit=3"),
            ("/sessions?limit=2000", "/sessions?limit=02000"),
            ("/sessions?x=%ff", "/sessions?x=%FF"),
            ("/sessions?lab=x&limit=250&offset=250&lab=x", "/sessions?offset=250&lab=x"),
            ("/sessions?lab=b&lab=a&sex=F&lab=b&sex=%46", "/sessions?sex=F&lab=a&lab=b"),
            ("/labs/cortexlab?x=1", "/labs/cortexlab"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn never_one_key_for_two_questions() {
        for (a, b) in [
            ("/sessions?lab=a&lab=b", "/sessions?lab=b&lab=a"),
            ("/sessions?lab=a&lab=b&lab=a", "/sessions?lab=a&lab=b"),
            ("/sessions?lab=a", "/sessions?lab=A"),
            ("/sessions?lab=", "/sessions"),
            ("/sessions?lab=a&x=b", "/sessions?lab=a%26x=b"),
            ("/sessions?limit=3", "/sessions?offset=3"),
            ("/sessions?limit=1000", "/sessions?limit=2000"),
            ("/sessions?limit=%D9%A3", "/sessions"),
            ("/sessions?limit=%D9%A3&lab=a", "/sessions?lab=a&limit=%D9%A3"),
            ("/sessions?offset=100000000000000000000", "/sessions?offset=100000000000000000001"),
            ("/sessions?number=%20", "/sessions?number="),
            ("/sessions?start_time=%20", "/sessions?start_time="),
            ("/data-notices?datasets=%20", "/data-notices?datasets="),
            ("/sessions?task_protocol=a%20b", "/sessions?task_protocol=a+%20b"),
            ("/sessions?histology=True", "/sessions?histology=True+"),
            ("/labs/a?format=json", "/labs/a?format=api"),
            ("/labs/a", "/labs/A"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn pages_of_one_query_are_a_family() {
        assert_eq!(question("/sessions?lab=a&limit=5&offset=5").family, question("/sessions?lab=a").family);
        assert_ne!(question("/sessions?lab=b").family, question("/sessions?lab=a").family);
    }

    fn encode_all(text: &str) -> String {
        let pieces: Vec<String> = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        pieces.concat()
    }

    proptest! {
        #[test]
        fn order_and_encoding_do_not_matter(
            pairs in prop::collection::btree_map("[a-z_]{1,8}", "\\PC{0,8}", 0..6),
            shift in 0_usize..6,
        ) {
            let pairs: Vec<_> = pairs.into_iter().collect();
            let mut turned = pairs.clone();
            if !turned.is_empty() { let by = shift % turned.len(); turned.rotate_left(by); }
            let plain = format!("/sessions?{}", query_string::encode_sorted(&pairs));
            let odd: Vec<String> = turned.iter().map(|(n, v)| format!("{}={}", encode_all(n), encode_all(v))).collect();
            let odd = format!("/sessions?{}", odd.join("&"));
            prop_assert!(same(&plain, &odd));
        }

        #[test]
        fn other_values_have_other_keys(a in "[a-z&=%+ ]{0,6}", b in "[a-z&=%+ ]{0,6}") {
            let uri = |v: &str| format!("/sessions?task={}", encode_all(v));
            prop_assert_eq!(same(&uri(&a), &uri(&b)), a == b);
        }
    }
}
