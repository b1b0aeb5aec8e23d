//! What an Alyx that nobody knows has shown of itself by its answers, where it may differ from those that are known.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::reading::Way;
use crate::alyx::{
    pagination::{self, PageSizes, Window},
    query_string::Pairs,
};

/// Where no page is too great, a number beyond this goes to a database that has none so great.
const MOST: u64 = i64::MAX.unsigned_abs();

/// What an Alyx has shown; what is not in it is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Ways to understand a parameter of an endpoint that an answer has ruled out.
    excluded: BTreeSet<(String, String, String)>,
    /// Parameters of an endpoint that were seen to ask what they are known to, by the kind of value.
    shown: BTreeSet<(String, String, String)>,
    /// Endpoints of which single records were seen, and whether they are as they are known to be.
    details: BTreeMap<String, bool>,
    /// Endpoints whose order was seen, and whether it is the known one.
    orders: BTreeMap<String, bool>,
    pages: ShownPages,
    /// What it was asked in order to find this out, and how often.
    #[serde(default)]
    asked: BTreeMap<String, u64>,
}

/// What pages have shown of their sizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ShownPages {
    /// The records on a page where no limit is asked for,
    default: Option<u64>,
    /// or how many there were at least.
    default_from: u64,
    /// The most records on a page,
    greatest: Option<u64>,
    /// or how many there were.
    greatest_from: u64,
}

impl Findings {
    /// An answer has ruled out this way to understand a parameter.
    pub fn exclude(&mut self, endpoint: &str, parameter: &str, way: String) {
        self.excluded.insert((endpoint.to_owned(), parameter.to_owned(), way));
    }

    pub(crate) fn is_excluded(&self, endpoint: &str, parameter: &str, way: &str) -> bool {
        self.excluded.contains(&(endpoint.to_owned(), parameter.to_owned(), way.to_owned()))
    }

    /// Whether something speaks against what is known.
    pub fn contradicts(&self) -> bool {
        let own = Way::Own.name();
        self.excluded.iter().any(|(_, _, way)| *way == own)
            || self.details.values().chain(self.orders.values()).any(|as_known| !as_known)
    }

    /// A parameter has shown that it asks with such a value what it is known to ask.
    pub fn show(&mut self, endpoint: &str, parameter: &str, class: &str) {
        self.shown.insert((endpoint.to_owned(), parameter.to_owned(), class.to_owned()));
    }

    pub(crate) fn has_shown(&self, endpoint: &str, parameter: &str, class: &str) -> bool {
        self.shown.contains(&(endpoint.to_owned(), parameter.to_owned(), class.to_owned()))
    }

    /// A single record was seen, and was as it is known to be or not.
    pub fn note_detail(&mut self, endpoint: &str, as_known: bool) {
        *self.details.entry(endpoint.to_owned()).or_insert(true) &= as_known;
    }

    /// Whether single records of an endpoint are as they are known to be; none where none was seen.
    pub(crate) fn detail(&self, endpoint: &str) -> Option<bool> {
        self.details.get(endpoint).copied()
    }

    /// A list was seen whose records tell its order.
    pub fn note_order(&mut self, endpoint: &str, as_known: bool) {
        *self.orders.entry(endpoint.to_owned()).or_insert(true) &= as_known;
    }

    /// Whether a list stands in the order that is known; none where none was seen.
    pub(crate) fn order(&self, endpoint: &str) -> Option<bool> {
        self.orders.get(endpoint).copied()
    }

    /// A page was seen that was asked for so, with so many records and, in its links, this limit.
    pub fn note_page(&mut self, pairs: &Pairs, records: u64, linked: Option<u64>) {
        let pages = &mut self.pages;
        match (pagination::asked_limit(pairs), linked) {
            (None, Some(size)) => pages.default = Some(size),
            (None, None) => pages.default_from = pages.default_from.max(records),
            (Some(asked), Some(size)) if size < asked => pages.greatest = Some(size),
            (Some(asked), Some(_)) => pages.greatest_from = pages.greatest_from.max(asked),
            (Some(_), None) => pages.greatest_from = pages.greatest_from.max(records),
        }
    }

    /// The page of a list of so many records that is asked for so; none where that is not known.
    pub(crate) fn window(&self, pairs: &Pairs, count: u64) -> Option<Window> {
        let pages = self.pages;
        let (size, at_least) = match pagination::asked_limit(pairs) {
            None => (pages.default, pages.default_from),
            Some(asked) => {
                let known = pages.greatest.map(|greatest| asked.min(greatest));
                (known.or((asked <= pages.greatest_from).then_some(asked)), pages.greatest_from.min(asked))
            }
        };
        if pages.greatest.is_none() && pagination::asked_limit(pairs).is_some_and(|asked| asked > MOST) {
            return None;
        }
        let of = |default| Window::within(pairs, PageSizes { default, greatest: pages.greatest });
        if let Some(size) = size {
            return Some(Window { limit: size, ..of(size) });
        }
        // All of it is on the page, however large that is.
        let window = of(at_least);
        (window.offset == 0 && count <= at_least).then_some(Window { limit: at_least.max(1), ..window })
    }

    /// So many questions were put to it about this; none where none would tell anything.
    pub fn note_asked(&mut self, about: String, times: u64) {
        *self.asked.entry(about).or_default() += times;
    }

    /// Whether it needs no question about this any more.
    pub fn has_asked(&self, about: &str) -> bool {
        self.asked.contains_key(about)
    }

    /// How many questions were put to it.
    pub fn asked(&self) -> u64 {
        self.asked.values().sum()
    }

    /// Adds what else was seen.
    pub fn extend(&mut self, other: Self) {
        self.excluded.extend(other.excluded);
        self.shown.extend(other.shown);
        other.details.iter().for_each(|(endpoint, as_known)| self.note_detail(endpoint, *as_known));
        other.orders.iter().for_each(|(endpoint, as_known)| self.note_order(endpoint, *as_known));
        other.asked.into_iter().for_each(|(about, times)| self.note_asked(about, times));
        let (pages, new) = (&mut self.pages, other.pages);
        pages.default = new.default.or(pages.default);
        pages.default_from = pages.default_from.max(new.default_from);
        pages.greatest = new.greatest.or(pages.greatest);
        pages.greatest_from = pages.greatest_from.max(new.greatest_from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alyx::query_string::parse;

    #[test]
    fn a_page_is_known_as_far_as_one_was_seen() {
        let mut findings = Findings::default();
        let window = |findings: &Findings, query: &str, count| {
            findings.window(&parse(query), count).map(|window| (window.limit, window.offset))
        };
        assert_eq!(window(&findings, "limit=5", 9), None);
        findings.note_page(&parse("limit=500"), 60, None);
        assert_eq!(window(&findings, "limit=60&offset=2", 70), Some((60, 2)));
        assert_eq!(window(&findings, "limit=900", 60), Some((60, 0)), "all of it is there");
        assert_eq!(window(&findings, "limit=900", 61), None);
        findings.note_page(&parse("limit=1000000&offset=1000000"), 0, Some(500));
        assert_eq!(window(&findings, "limit=900&offset=3", 800), Some((500, 3)));
        assert_eq!(window(&findings, "", 20), None, "of the page without a limit nothing is known");
        findings.note_page(&parse("offset=1000000"), 0, Some(100));
        assert_eq!(window(&findings, "limit=0", 2000), Some((100, 0)));
    }

    #[test]
    fn what_was_seen_to_be_otherwise_stays_so() {
        let (mut findings, mut other) = (Findings::default(), Findings::default());
        findings.note_detail("labs", true);
        assert!(!findings.contradicts());
        other.note_detail("labs", false);
        findings.extend(other);
        findings.note_detail("labs", true);
        assert!(findings.detail("labs") == Some(false) && findings.contradicts());
    }
}
