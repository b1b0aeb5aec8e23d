//! What an answer tells of an Alyx that nobody knows: which ways to understand the question it rules out, and how the Alyx
//! orders, pages and shows records.

use rusqlite::Connection;
use serde_json::Value;

use super::{
    answer::MirrorQuestion,
    plan::{self, ListQuestion, PlanError, Today},
    state::States,
};
use crate::alyx::{
    filterset::QueryError,
    json_path,
    pagination::{PageSizes, Window},
    query_string::{self, Pairs},
    record::{self, Record},
    spec::{
        Findings, Rules,
        reading::{Part, Reading, Readings, Way, parts},
    },
};

/// What Alyx said to a question.
struct Heard<'b> {
    status: u16,
    body: &'b Value,
}

/// What an answer of Alyx's tells of it, beside these tables; nothing where it is known.
pub fn learn(
    connection: &Connection,
    states: &States,
    question: &MirrorQuestion<'_>,
    (code, text): (u16, &str),
) -> rusqlite::Result<Findings> {
    let mut findings = Findings::default();
    let (Some(_), Ok(rules)) = (states.spec().findings(), states.spec().rules()) else { return Ok(findings) };
    let body = record::parse(text);
    let said = Heard { status: code, body: &body };
    if let Some(key) = question.key {
        detail(connection, states, question, key, &said, &mut findings)?;
        return Ok(findings);
    }
    if let (200, Some(records)) = (code, said.records()) {
        findings.note_page(question.pairs, records.len() as u64, said.linked());
    }
    if question.pairs.iter().any(|(name, _)| name == "format") {
        return Ok(findings);
    }
    let Ok(asked) = plan::asks(states, question.endpoint, question.pairs) else { return Ok(findings) };
    let today = Today { date: question.today, zone: question.zone.cloned() };
    let asking = ListQuestion { endpoint: question.endpoint, pairs: &asked, today };
    list(connection, states, &asking, rules, &said, &mut findings)?;
    Ok(findings)
}

impl Heard<'_> {
    fn records(&self) -> Option<&Vec<Value>> {
        self.body["results"].as_array()
    }

    fn count(&self) -> Option<u64> {
        self.body["count"].as_u64()
    }

    /// The limit in the links to other pages.
    fn linked(&self) -> Option<u64> {
        let of = |name: &str| {
            let (_, query) = self.body[name].as_str()?.split_once('?')?;
            query_string::parse(query).iter().find(|(name, _)| name == "limit")?.1.parse().ok()
        };
        of("next").or_else(|| of("previous"))
    }

    /// Whether the whole list is on its page.
    fn is_whole(&self) -> bool {
        self.body["next"].is_null() && self.body["previous"].is_null()
    }
}

fn detail(
    connection: &Connection,
    states: &States,
    question: &MirrorQuestion<'_>,
    key: &str,
    said: &Heard<'_>,
    findings: &mut Findings,
) -> rusqlite::Result<()> {
    let endpoint = question.endpoint;
    if said.status != 200 || endpoint.has_own_details() {
        return Ok(());
    }
    let ours = match plan::as_known(connection, states, endpoint, key) {
        Ok(ours) => record::parse(&ours),
        Err(PlanError::Sqlite(error)) => return Err(error),
        Err(PlanError::Unanswered(_)) => return Ok(()),
    };
    let plain = |value: &Value| {
        let record = Record::new(value.to_string()).without(endpoint.clock);
        record::in_one_order(record.value())
    };
    findings.note_detail(endpoint.name, plain(&ours) == plain(said.body));
    Ok(())
}

fn list(
    connection: &Connection,
    states: &States,
    question: &ListQuestion<'_>,
    rules: &'static Rules,
    said: &Heard<'_>,
    findings: &mut Findings,
) -> rusqlite::Result<()> {
    let endpoint = question.endpoint;
    let mut asked = parts(endpoint, question.pairs);
    if asked.len() > 1 {
        asked.remove(0);
    } else if said.status != 200 || question.pairs.iter().any(|(name, _)| endpoint.filter(name).is_some()) {
        // What asks nothing tells nothing.
        return Ok(());
    }
    let filters = asked.iter().map(|part| part.filter.map(|filter| filter.name));
    let [first, rest @ ..] = asked.as_slice() else { return Ok(()) };
    if filters.clone().any(|filter| filter != first.filter.map(|filter| filter.name)) {
        return several(connection, states, question, &asked, said, findings);
    }
    let all = states.of(endpoint.name).map_or(0, |state| state.rows);
    let is_telling = said.status == 200 && said.count().is_some_and(|count| count > 0 && count < all);
    let mut matching = None;
    for way in first.ways(endpoint, rules) {
        let reading = Reading::by(rules).with(first.filter, way);
        let fits = fits(connection, states, question, &reading, said)?;
        if fits == Some(true) && matching.is_none() {
            matching = Some((way, reading));
        } else if fits == Some(false) || fits.is_none() && matching.is_some() && is_telling {
            // What can't be tried is not likely where another way is so exactly right.
            exclude(endpoint.name, first, rest, way, findings);
        }
    }
    let Some((_, reading)) = matching else { return Ok(()) };
    for part in &asked {
        if is_telling || part.is_of_two() || part.is_always_refused() {
            findings.show(endpoint.name, &part.key, part.class);
        } else if let Some(exactly) = part.exactly() {
            // None, or all: which records these are is certain.
            findings.show(endpoint.name, &part.key, &exactly);
        }
    }
    order(connection, states, question, &reading, said, findings)
}

/// What an answer to several parameters tells: as understood so far it is right or not.
fn several(
    connection: &Connection,
    states: &States,
    question: &ListQuestion<'_>,
    asked: &[Part],
    said: &Heard<'_>,
    findings: &mut Findings,
) -> rusqlite::Result<()> {
    let endpoint = question.endpoint;
    let (Ok(Some(Readings { likeliest, unshown, .. })), Ok(rules), Some(known)) =
        (states.spec().readings(endpoint, question.pairs), states.spec().rules(), states.spec().findings())
    else {
        return Ok(());
    };
    let Some(fits_all) = fits(connection, states, question, &likeliest, said)? else { return Ok(()) };
    if !fits_all && unshown.is_some() || said.status != 200 {
        return Ok(());
    }
    let mut ruled_out = Vec::new();
    let mut any_fits = false;
    for part in asked {
        for way in part.ways(endpoint, rules) {
            if known.is_excluded(endpoint.name, &part.key, &way.name()) {
                continue;
            }
            match fits(connection, states, question, &likeliest.with(part.filter, way), said)? {
                Some(true) => any_fits = true,
                Some(false) => ruled_out.push((part, way)),
                None => {}
            }
        }
        if fits_all && part.must_be_shown() && counts(connection, states, question, &likeliest, part, said)? {
            findings.show(endpoint.name, &part.key, part.class);
        }
    }
    // Where no way fits, or several parameters have one, any of them may be at fault.
    if fits_all || any_fits {
        for (part, way) in ruled_out {
            findings.exclude(endpoint.name, &part.key, way.name());
        }
    } else {
        for part in asked {
            part.ways(endpoint, rules)
                .into_iter()
                .for_each(|way| findings.exclude(endpoint.name, &part.key, way.name()));
        }
    }
    Ok(())
}

/// Whether the answer would be another without this parameter.
fn counts(
    connection: &Connection,
    states: &States,
    question: &ListQuestion<'_>,
    reading: &Reading,
    part: &Part,
    said: &Heard<'_>,
) -> rusqlite::Result<bool> {
    let Some(filter) = part.filter else { return Ok(false) };
    let others: Pairs = question.pairs.iter().filter(|(name, _)| name != filter.name).cloned().collect();
    let without = ListQuestion { endpoint: question.endpoint, pairs: &others, today: question.today.clone() };
    Ok(fits(connection, states, &without, reading, said)? == Some(false))
}

fn exclude(endpoint: &str, first: &Part, rest: &[Part], way: Way, findings: &mut Findings) {
    for part in std::iter::once(first).chain(rest) {
        findings.exclude(endpoint, &part.key, way.name());
    }
}

/// Whether this is what Alyx would have said if it understood the question so; none where that is not known.
fn fits(
    connection: &Connection,
    states: &States,
    question: &ListQuestion<'_>,
    reading: &Reading,
    said: &Heard<'_>,
) -> rusqlite::Result<Option<bool>> {
    let counted = plan::list_as(connection, states, question, reading).and_then(|plan| {
        let count = plan.count(connection)?;
        if !said.is_whole() {
            return Ok((count, None));
        }
        if !plan.repeats_in_order() {
            return Ok((count, usize::try_from(count).ok()));
        }
        let all = PageSizes { default: u64::from(u32::MAX), greatest: Some(u64::from(u32::MAX)) };
        let (_, texts) = plan.answer(connection, Window::within(question.pairs, all))?;
        Ok((count, Some(record::members(&format!("[{texts}]")).count())))
    });
    match counted {
        Ok((count, rows)) => {
            let shown = said.records().map(Vec::len);
            let same_rows = rows.is_none_or(|rows| shown == Some(rows));
            Ok(Some(said.status == 200 && said.count() == Some(count) && same_rows))
        }
        Err(PlanError::Sqlite(error)) => Err(error),
        Err(PlanError::Unanswered(QueryError::Refused(refusal))) => {
            Ok(Some(said.status == refusal.status && *said.body == record::parse(&refusal.body)))
        }
        Err(PlanError::Unanswered(QueryError::Undecided(_))) => Ok(None),
    }
}

/// Whether more than two records stand in the same places.
fn are_listed_so(ours: &[Value], theirs: &[Value]) -> bool {
    let ids = |records: &[Value]| -> Vec<Value> {
        records.iter().map(|one| one.get("id").or(one.get("url")).unwrap_or(one).clone()).collect()
    };
    theirs.len() > 2 && ids(ours) == ids(theirs)
}

/// Whether a list stands in the order that is known, as far as its records show it.
fn order(
    connection: &Connection,
    states: &States,
    question: &ListQuestion<'_>,
    reading: &Reading,
    said: &Heard<'_>,
    findings: &mut Findings,
) -> rusqlite::Result<()> {
    let endpoint = question.endpoint;
    let Some(records) = said.records().filter(|records| records.len() > 1) else { return Ok(()) };
    if reading.rules.order(endpoint).is_empty() {
        return Ok(());
    }
    let sizes = PageSizes { default: records.len() as u64, greatest: Some(records.len() as u64) };
    let window = Window::within(question.pairs, sizes);
    let texts = plan::list_as(connection, states, question, reading)
        .and_then(|plan| Ok(plan.answer(connection, window)?.1));
    let texts = match texts {
        Ok(texts) => format!("[{texts}]"),
        Err(PlanError::Sqlite(error)) => return Err(error),
        Err(PlanError::Unanswered(_)) => return Ok(()),
    };
    let ours: Vec<Value> = record::members(&texts).map(record::parse).collect();
    let at = states.ordered_by(endpoint);
    if at.is_empty() {
        // No record shows what orders it.
        if are_listed_so(&ours, records) {
            findings.note_order(endpoint.name, true);
        }
        return Ok(());
    }
    let keys = |records: &[Value]| -> Vec<String> {
        let of = |record: &Value| {
            let values = at.iter().map(|at| format!("{:?}", json_path::values(record, at)));
            values.collect::<Vec<_>>().join(" ")
        };
        records.iter().map(of).collect()
    };
    let theirs = keys(records);
    if keys(&ours) != theirs {
        findings.note_order(endpoint.name, false);
    } else if theirs.windows(2).any(|two| two[0] != two[1]) || are_listed_so(&ours, records) {
        findings.note_order(endpoint.name, true);
    }
    Ok(())
}
