//! What is asked most, and what takes longest.

use std::{hash::BuildHasher, sync::Mutex, time::Duration};

use foldhash::{HashMap, fast::RandomState};

use super::ResponseEvent;
use crate::clock::{self, Millis};

/// Questions that are told apart; those that were not asked for longest make room.
const KEPT: usize = 2_000;
/// Questions that are shown.
const SHOWN: usize = 10;
/// Characters of a question that are kept.
const LONGEST: usize = 400;

/// A question, and how often and how fast it was answered.
#[derive(Debug, Clone)]
pub(crate) struct TopQuery {
    pub(crate) endpoint: &'static str,
    /// Its path and query, which is for those to see who have logged in.
    pub(crate) question: String,
    /// The names of its parameters.
    pub(crate) parameters: String,
    pub(crate) count: u64,
    pub(crate) slowest: Duration,
    pub(crate) total: Duration,
    last: Millis,
}

impl TopQuery {
    /// Mean time until an answer was ready.
    pub(crate) fn mean(&self) -> Duration {
        self.total / u32::try_from(self.count.max(1)).unwrap_or(u32::MAX)
    }
}

#[derive(Debug, Default)]
pub(super) struct Questions {
    known: Mutex<HashMap<u64, TopQuery>>,
    hasher: RandomState,
}

impl Questions {
    pub(super) fn note(&self, seen: &ResponseEvent<'_>) {
        let key = self.hasher.hash_one((seen.uri.path(), seen.uri.query()));
        let Ok(mut known) = self.known.try_lock() else { return };
        if known.len() >= KEPT && !known.contains_key(&key) {
            make_room(&mut known);
        }
        let asked = known.entry(key).or_insert_with(|| TopQuery {
            endpoint: seen.endpoint,
            question: shortened(seen.uri),
            parameters: parameters(seen.uri),
            count: 0,
            slowest: Duration::ZERO,
            total: Duration::ZERO,
            last: 0,
        });
        asked.count += 1;
        asked.slowest = asked.slowest.max(seen.took);
        asked.total += seen.took;
        asked.last = clock::now();
    }

    pub(super) fn top(&self) -> (Vec<TopQuery>, Vec<TopQuery>) {
        let mut all: Vec<TopQuery> =
            self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner).values().cloned().collect();
        all.sort_unstable_by_key(|asked| std::cmp::Reverse(asked.slowest));
        let slowest = all.iter().take(SHOWN).cloned().collect();
        all.sort_unstable_by_key(|asked| std::cmp::Reverse(asked.count));
        all.truncate(SHOWN);
        (all, slowest)
    }
}

/// Drops the half that was not asked for longest.
fn make_room(known: &mut HashMap<u64, TopQuery>) {
    let mut times: Vec<Millis> = known.values().map(|asked| asked.last).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    known.retain(|_, asked| asked.last > median);
}

fn shortened(uri: &http::Uri) -> String {
    let text = uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn parameters(uri: &http::Uri) -> String {
    let pairs = crate::alyx::query_string::parse(uri.query().unwrap_or_default());
    let mut names: Vec<String> =
        pairs.into_iter().map(|(name, _)| name).filter(|name| is_name(name)).collect();
    names.sort_unstable();
    names.dedup();
    let mut names = names.join(", ");
    names.truncate(LONGEST);
    names
}

/// What looks like a parameter's name; anything else may be anybody's text.
fn is_name(name: &str) -> bool {
    name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}
