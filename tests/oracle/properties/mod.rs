//! The mirror's SQL against a look at every record: for random labs and random questions both say the same.
//!
//! A lab is a part of the sample lab that is whole in itself, with fields changed at random ([`lab`]); questions
//! are made of what its records hold ([`queries`], [`paths`]). What only one of the two can decide is no
//! difference, but counted. `PROPERTY_CASES` sets how many labs are tried, `PROPERTY_SEED` other ones than
//! usual; `PROPERTY_REPORT` prints what was not compared.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dice;
mod lab;
mod measured;
mod needs;
mod paths;
mod queries;
mod tables;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
};

use super::ask::naive::{Naive, Texts, rank};
use crate::alyx::{
    ENDPOINTS, Endpoint,
    filterset::{AlyxError, QueryError, scalar::Scalar},
    pagination::Window,
    query_string::{Pairs, encode_sorted},
    record::Record,
};
use dice::Dice;
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use tables::{Said, Tables};

/// Questions to each lab.
const QUESTIONS: usize = 220;
/// Labs, where nothing else is said.
const LABS: u32 = 20;
/// Of all questions so many percent must have been decided by both.
const LEAST: usize = 55;

/// What came of the comparisons.
#[derive(Debug, Default)]
struct Counts {
    records: usize,
    nothing: usize,
    refusals: usize,
    only_sql: usize,
    only_naive: usize,
    neither: usize,
    reasons: BTreeMap<String, usize>,
}

#[test]
fn sql_says_what_a_look_at_every_record_says() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let cases = number("PROPERTY_CASES").unwrap_or(LABS);
    let config = Config { cases, max_shrink_iters: 20, failure_persistence: None, ..Config::default() };
    let seed = number("PROPERTY_SEED").unwrap_or_default().to_le_bytes().repeat(8);
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let counts = RefCell::new(Counts::default());
    let labs = vec(any::<u16>(), 2 * ENDPOINTS.len());
    let changes = vec(vec(any::<u16>(), 8), 0..80);
    let questions = vec(vec(any::<u16>(), 40), QUESTIONS);
    let result = runner.run(&(labs, changes, questions), |(lab, changes, questions)| {
        let differences = compare(&lab, &changes, &questions, &mut counts.borrow_mut());
        if differences.is_empty() {
            return Ok(());
        }
        if std::env::var_os("PROPERTY_REPORT").is_some() {
            println!("{}", differences.join("\n"));
        }
        Err(TestCaseError::fail(differences.join("\n")))
    });
    if let Err(TestError::Fail(reason, (_, changes, _))) = result {
        panic!("after {} changes:\n{reason}", changes.len());
    }
    let counts = counts.into_inner();
    let Counts { records, nothing, refusals, only_sql, only_naive, neither, reasons } = &counts;
    println!(
        "compared: {records} lists with records, {nothing} without, {refusals} refusals; \
         decided only by SQL: {only_sql}, only by the look at every record: {only_naive}, by neither: {neither}"
    );
    if std::env::var_os("PROPERTY_REPORT").is_some() {
        for (reason, count) in reasons {
            println!("{count:5} × {reason}");
        }
    }
    let compared = records + nothing + refusals;
    let all = compared + only_sql + only_naive + neither;
    assert!(compared * 100 >= all * LEAST, "only {compared} of {all} questions were compared");
    assert!(records * 100 >= all * LEAST / 4, "only {records} of {all} answers had records");
}

/// The differences between the two, in words.
fn compare(lab: &[u16], changes: &[Vec<u16>], questions: &[Vec<u16>], counts: &mut Counts) -> Vec<String> {
    let mut texts = lab::pick(&mut Dice::new(lab));
    for change in changes {
        lab::change(&mut texts, &mut Dice::new(change));
    }
    each_slice(&mut texts);
    let naive = Naive::new(&texts);
    let tables = Tables::of(&naive);
    let orders = HashMap::new();
    let mut asking = Asking { naive: &naive, tables: &tables, orders, counts };
    let asked: Vec<&'static Endpoint> =
        ENDPOINTS.iter().filter(|endpoint| !endpoint.filters.is_empty()).collect();
    let mut differences = Vec::new();
    for numbers in questions {
        let mut dice = Dice::new(numbers);
        let Some(endpoint) = dice.pick(&asked) else { continue };
        let pairs = queries::pairs(&naive, endpoint, &mut dice);
        if let Err(difference) = asking.ask(endpoint, &pairs) {
            let question = pairs.iter().map(|(name, value)| format!("{name}={value}"));
            let question = question.collect::<Vec<_>>().join("&");
            differences.push(format!("/{}?{question}\n    {difference}", endpoint.name));
        }
    }
    for endpoint in ENDPOINTS {
        if let Err(difference) = asking.ask(endpoint, &Pairs::new()) {
            differences.push(format!("/{}\n    {difference}", endpoint.name));
        }
    }
    differences
}

/// Alyx lists a stack once for each of its slices.
fn each_slice(tables: &mut HashMap<&'static str, Vec<Texts>>) {
    if let Some(stacks) = tables.get_mut("imaging-stack") {
        let slices = |texts: &Texts| {
            Record::new(texts.list.as_str()).value()["slices"]
                .as_array()
                .map_or(1, |slices| slices.len().max(1))
        };
        *stacks = stacks.iter().flat_map(|one| std::iter::repeat_n(one.clone(), slices(one))).collect();
    }
}

struct Asking<'a> {
    naive: &'a Naive,
    tables: &'a Tables,
    orders: HashMap<&'static str, HashMap<String, Vec<Option<Scalar>>>>,
    counts: &'a mut Counts,
}

impl Asking<'_> {
    /// Puts a question to both.
    fn ask(&mut self, endpoint: &'static Endpoint, pairs: &Pairs) -> Result<(), String> {
        let (said, known) = (self.tables.ask(endpoint, pairs), self.naive.list(endpoint, pairs));
        let mut uncompared = |reason: String| *self.counts.reasons.entry(reason).or_default() += 1;
        match (said, known) {
            (Said::Undecided(reason), Err(QueryError::Undecided(_))) => {
                uncompared(format!("neither: {reason}"));
                self.counts.neither += 1;
            }
            (Said::Undecided(reason), _) => {
                uncompared(format!("only the look at every record: {reason}"));
                self.counts.only_naive += 1;
            }
            (_, Err(QueryError::Undecided(reason))) => {
                uncompared(format!("only SQL: {reason}"));
                self.counts.only_sql += 1;
            }
            (Said::Refused(status, body), Err(QueryError::Refused(refusal))) => {
                self.counts.refusals += 1;
                if refusal != (AlyxError { status, body: body.clone() }) {
                    return Err(format!("{status} {body} instead of {refusal:?}"));
                }
            }
            (Said::Page(count, page), Ok((known_count, known))) => {
                *(if known.is_empty() { &mut self.counts.nothing } else { &mut self.counts.records }) += 1;
                if count != known_count {
                    return Err(format!("count {count} instead of {known_count}"));
                }
                let joins = |(name, _): &(String, String)| name == "django" || name.starts_with("atlas_");
                if endpoint.name == "imaging-stack" && pairs.iter().any(joins) {
                    // Which slices order the list, and which of them are one row, is looked at nowhere else.
                    return Ok(());
                }
                return self.pages(endpoint, pairs, count, &page, known);
            }
            (said, known) => {
                return Err(format!("{said:?} instead of {known:?}").chars().take(600).collect());
            }
        }
        Ok(())
    }

    /// All pages together have every record once, in order; the page that was asked for is cut from them.
    fn pages(
        &mut self,
        endpoint: &'static Endpoint,
        pairs: &Pairs,
        count: u64,
        page: &[String],
        mut known: Vec<String>,
    ) -> Result<(), String> {
        // A stack stands in its list once for each of its slices and counts once: no page begins beyond the count.
        let stacks = endpoint.name == "imaging-stack";
        let size = if stacks { known.len().max(1) } else { known.len() / 3 + 1 };
        let mut walked = Vec::new();
        for offset in (0..=known.len()).step_by(size) {
            let mut of_page: Pairs =
                pairs.iter().filter(|(name, _)| name != "limit" && name != "offset").cloned().collect();
            of_page.push(("limit".to_owned(), size.to_string()));
            of_page.push(("offset".to_owned(), offset.to_string()));
            match self.tables.ask(endpoint, &of_page) {
                Said::Page(_, records) => walked.extend(records),
                said => return Err(format!("{} says {said:?}", encode_sorted(&of_page))),
            }
        }
        let window = Window::of(pairs);
        let place = |number: u64| usize::try_from(number).unwrap().min(walked.len());
        let start = if window.offset > count { u64::MAX } else { window.offset };
        let wanted = &walked[place(start)..place(start.saturating_add(window.limit))];
        if page != wanted {
            return Err(format!("a page of {} records is not cut from the whole list", page.len()));
        }
        let naive = self.naive;
        let keys = self.orders.entry(endpoint.name).or_insert_with(|| naive.order(endpoint));
        // A stack is ordered by each of its slices, which its text does not tell apart.
        let keys: Vec<_> = walked.iter().filter_map(|text| keys.get(text)).collect();
        let ordered = keys.windows(2).all(|two| rank(endpoint, two[0], two[1]).is_le());
        // These stand as they are served: their order is the test's own.
        let ranked =
            crate::mirror::schema::Schema::get().table(endpoint.name).is_some_and(|table| table.ranked);
        if !ordered && !ranked && endpoint.name != "imaging-stack" {
            return Err(format!("in another order: {keys:?}").chars().take(400).collect());
        }
        walked.sort_unstable();
        known.sort_unstable();
        match walked.iter().zip(&known).find(|(walked, known)| walked != known) {
            Some((walked, known)) => Err(format!("{walked}\n    instead of {known}")),
            None if walked.len() != known.len() => {
                Err(format!("{} records of {}", walked.len(), known.len()))
            }
            None => Ok(()),
        }
    }
}
