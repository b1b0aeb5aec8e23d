//! Compares answers with what a real Alyx was recorded to say.
//!
//! Where Alyx leaves the order open, a page must have the same count, links and sort keys, and its records must
//! be among those that the whole list has (ALYX.md 3.10).

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used, clippy::expect_used)]

mod recordings;
pub mod tables;

use std::collections::{BTreeMap, HashMap, HashSet};

use alyx_proxy::alyx::{AlyxSpec, ENDPOINTS, Endpoint, Route, query_string, record, route::classify};
use serde_json::Value;

/// A recorded GET.
#[derive(Debug, Clone)]
pub struct Recording {
    pub path: String,
    pub status: u16,
    /// The body, as text if it was recorded so, otherwise as JSON written anew.
    pub body: String,
    /// Whether the body is Alyx's own text, to be compared byte for byte.
    pub exact: bool,
}

/// What was answered.
#[derive(Debug, Clone)]
pub enum Said {
    Answer {
        status: u16,
        body: String,
    },
    /// Refused for this reason; whether a table could have told.
    Refused {
        reason: String,
        decidable: bool,
    },
}

/// Counts for one endpoint.
#[derive(Debug, Default, Clone)]
pub struct Count {
    pub answered: usize,
    pub refused: usize,
    pub hidden: usize,
    pub wrong: usize,
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Verdict {
    pub counts: BTreeMap<&'static str, Count>,
    pub wrong: Vec<String>,
    pub refusals: BTreeMap<String, Vec<String>>,
}

/// The endpoint of a path that lists or shows records.
pub fn endpoint(path: &str) -> Option<&'static Endpoint> {
    let path = path.split('?').next().unwrap();
    match classify(&query_string::segments(path).iter().map(String::as_str).collect::<Vec<_>>()) {
        Route::List(endpoint) | Route::Detail(endpoint, _) => Some(endpoint),
        _ => None,
    }
}

/// Puts every recording's question to what stands for the newest Alyx, and judges the answers.
pub fn judge(recordings: &[Recording], ask: impl FnMut(&str) -> Said) -> Verdict {
    judge_of(&AlyxSpec::newest(), recordings, ask)
}

/// The same of another Alyx.
pub fn judge_of(spec: &AlyxSpec, recordings: &[Recording], mut ask: impl FnMut(&str) -> Said) -> Verdict {
    let mut verdict = Verdict::default();
    let mut whole = Whole::default();
    for recording in recordings {
        let Some(endpoint) = endpoint(&recording.path) else { continue };
        let count = verdict.counts.entry(endpoint.name).or_default();
        match ask(&recording.path) {
            Said::Refused { reason, decidable } => {
                *(if decidable { &mut count.refused } else { &mut count.hidden }) += 1;
                verdict.refusals.entry(reason).or_default().push(recording.path.clone());
            }
            Said::Answer { status, body } => {
                let ordered = spec.rules().map_or(0, |rules| rules.order(endpoint).len());
                let why = difference((endpoint, ordered), recording, status, &body, &mut ask, &mut whole);
                match why {
                    None => count.answered += 1,
                    Some(why) => {
                        count.wrong += 1;
                        verdict.wrong.push(format!("{}: {why}", recording.path));
                    }
                }
            }
        }
    }
    verdict
}

impl Verdict {
    pub fn total(&self) -> Count {
        let mut total = Count::default();
        for count in self.counts.values() {
            total.answered += count.answered;
            total.refused += count.refused;
            total.hidden += count.hidden;
            total.wrong += count.wrong;
        }
        total
    }

    /// Of the questions that can be decided: how many were answered, in percent.
    pub fn share(&self) -> f64 {
        let total = self.total();
        #[allow(clippy::cast_precision_loss)]
        let (answered, all) = (total.answered as f64, (total.answered + total.refused) as f64);
        100.0 * answered / all
    }

    pub fn print(&self) {
        println!("{:28} {:>9} {:>9} {:>9} {:>9}", "", "answered", "refused", "hidden", "wrong");
        let line = |name: &str, count: &Count| {
            let Count { answered, refused, hidden, wrong } = count;
            println!("{name:28} {answered:9} {refused:9} {hidden:9} {wrong:9}");
        };
        for (endpoint, count) in &self.counts {
            line(endpoint, count);
        }
        line("all", &self.total());
        println!("answered of the decidable: {:.2} %", self.share());
        if let Some(show) = std::env::var_os("SHOW_REFUSED") {
            // `all` names each question, anything else four for a reason.
            let most = if show == "all" { usize::MAX } else { 4 };
            for (reason, paths) in &self.refusals {
                println!("{:4} × {reason}", paths.len());
                for path in paths.iter().take(most) {
                    println!("        {path}");
                }
            }
        }
    }
}

/// What is otherwise than recorded, in a list that is ordered by so many columns.
fn difference(
    (endpoint, ordered): (&Endpoint, usize),
    recording: &Recording,
    status: u16,
    body: &str,
    ask: &mut impl FnMut(&str) -> Said,
    whole: &mut Whole,
) -> Option<String> {
    if status != recording.status {
        return Some(format!(
            "status {status} instead of {}: {} / {}",
            recording.status,
            cut(body),
            cut(&recording.body)
        ));
    }
    if body == recording.body {
        return None;
    }
    let (ours, theirs) = (record::parse(body), record::parse(&recording.body));
    if !recording.exact && ours == theirs {
        return None;
    }
    let Some(recorded) = theirs["results"].as_array().filter(|_| status == 200) else {
        if sorted(&ours) == sorted(&theirs) && !recording.exact {
            return None;
        }
        return Some(format!("body {} instead of {}", cut(body), cut(&recording.body)));
    };
    for field in ["count", "next", "previous"] {
        if ours[field] != theirs[field] {
            return Some(format!("{field} is {} instead of {}", ours[field], theirs[field]));
        }
    }
    let own = ours["results"].as_array().unwrap();
    let key = |one: &Value| {
        let mut key = order_key(endpoint.name, one);
        key.truncate(ordered);
        key
    };
    let keys = |records: &[Value]| records.iter().map(key).collect::<Vec<_>>();
    let (own_keys, recorded_keys) = (keys(own), keys(recorded));
    if own_keys != recorded_keys {
        let at = own_keys.iter().zip(&recorded_keys).position(|(a, b)| a != b);
        return Some(format!("{} instead of {} records; order differs at {at:?}", own.len(), recorded.len()));
    }
    if ours["next"].is_null() && ours["previous"].is_null() {
        let texts = |records: &[Value]| {
            let mut texts: Vec<String> = records.iter().map(sorted).collect();
            texts.sort_unstable();
            texts
        };
        let (own, recorded) = (texts(own), texts(recorded));
        let differs = own.iter().zip(&recorded).find(|(own, recorded)| own != recorded);
        return differs.map(|(own, recorded)| format!("{} instead of {}", cut(own), cut(recorded)));
    }
    let all = whole.list(&recording.path, ask);
    let missing = recorded.iter().map(sorted).find(|record| !all.contains(&hash(record)));
    missing.map(|record| format!("lacks {}", cut(&record)))
}

fn without_paging(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let kept = query.split('&').filter(|p| !p.starts_with("limit=") && !p.starts_with("offset="));
    format!("{path}?{}", kept.collect::<Vec<_>>().join("&"))
}

/// Whole lists, as hashes: those of large tables would not fit into memory as text.
#[derive(Debug, Default)]
struct Whole {
    lists: HashMap<String, HashSet<u64>>,
    /// For the text of a record that was seen: the hash of the record sorted.
    known: HashMap<u64, u64>,
}

impl Whole {
    /// All records of the question, over all pages.
    fn list(&mut self, path: &str, ask: &mut impl FnMut(&str) -> Said) -> &HashSet<u64> {
        let (path, known) = (without_paging(path), &mut self.known);
        self.lists.entry(path.clone()).or_insert_with(|| {
            let mut all = HashSet::new();
            for page in 0.. {
                let between = if path.ends_with('?') { "" } else { "&" };
                let Said::Answer { body, .. } =
                    ask(&format!("{path}{between}limit=1000&offset={}", page * 1000))
                else {
                    break;
                };
                let before = all.len();
                let results = record::fields(&body).find(|(name, _)| *name == "results");
                all.extend(results.into_iter().flat_map(|(_, results)| record::members(results)).map(
                    |text| *known.entry(hash(text)).or_insert_with(|| hash(&sorted(&record::parse(text)))),
                ));
                if all.len() == before {
                    break;
                }
            }
            all
        })
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(text, &mut hasher);
    std::hash::Hasher::finish(&hasher)
}

/// A record with its nested arrays sorted, whose order Alyx leaves open (ALYX.md 3.1).
fn sorted(record: &Value) -> String {
    fn sort(value: &mut Value) {
        match value {
            Value::Array(items) => {
                items.iter_mut().for_each(sort);
                items.sort_by_key(Value::to_string);
            }
            Value::Object(fields) => {
                fields.iter_mut().filter(|(name, _)| *name != "json").for_each(|(_, value)| sort(value));
            }
            _ => {}
        }
    }
    let mut record = record.clone();
    sort(&mut record);
    record.to_string()
}

/// The sort key of a record as far as the record shows it (ALYX.md 1, "ordering").
pub fn order_key(endpoint: &str, record: &Value) -> Vec<Value> {
    let fields: &[&str] = match endpoint {
        "sessions" | "surgeries" => &["/start_time"],
        "insertions" => &["/session_info/start_time", "/name"],
        "tasks" => &["/level", "/priority"],
        "subjects" => &["/nickname", "/birth_date"],
        "water-restricted-subjects" => &["/nickname"],
        "fov-location" => &["/default_provenance"],
        "water-restriction" => &["/end_time", "/start_time"],
        "data-notices" => &["/importance", "/created_datetime", "/name"],
        "users" => &["/username"],
        "brain-regions" => &["/id"],
        "data-formats"
        | "data-repository"
        | "data-repository-type"
        | "dataset-types"
        | "revisions"
        | "tags" => &["/name"],
        _ => &[],
    };
    fields.iter().map(|field| record.pointer(field).cloned().unwrap_or_default()).collect()
}

fn cut(text: &str) -> String {
    text.chars().take(300).collect()
}

/// Whether every endpoint is one that is known.
pub fn known(name: &str) -> Option<&'static Endpoint> {
    ENDPOINTS.iter().find(|endpoint| endpoint.name == name)
}
