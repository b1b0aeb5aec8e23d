//! `/water-requirement/<subject>`: from the tables, by the rules of [`water`].

use http::StatusCode;
use jiff::{civil::DateTime, tz::TimeZone};

use super::{
    answer::ViewResponse,
    data::Data,
    respond::{Alyx, ViewRequest},
    sample, write,
};
use crate::alyx::{
    query_string,
    record::Record,
    water::{self, Administration, Percentages, Restriction, Subject},
};

/// The zone that Alyx takes for a name that it does not know.
const FALLBACK: &str = "Europe/London";

pub(super) fn requirement(alyx: &Alyx, ask: &ViewRequest) -> ViewResponse {
    let data = alyx.data();
    let segments = query_string::segments(&ask.path);
    let nickname = segments.get(1).map(String::as_str).unwrap_or_default();
    let subjects = data.named("subjects");
    let record = match subjects.find(nickname) {
        [] => return ViewResponse::failed("Subject matching query does not exist."),
        [place] => &subjects.records()[*place],
        several => {
            let count = several.len();
            return ViewResponse::failed(&format!(
                "get() returned more than one Subject -- it returned {count}!"
            ));
        }
    };
    let Some((subject, now)) = history(&data, record) else {
        return ViewResponse::beyond("have the whole history of this subject");
    };
    let asked = |name: &str| ask.pairs.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.as_str());
    match water::requirement(nickname, &subject, (asked("start_date"), asked("end_date")), now) {
        Ok(requirement) => match serde_json::to_string(&requirement) {
            Ok(body) => ViewResponse::new(StatusCode::OK, "application/json", body),
            Err(_) => ViewResponse::beyond("write this requirement"),
        },
        Err(exception) => ViewResponse::failed(&exception),
    }
}

/// What the tables hold of a subject, and the time in its lab; none where a record of it can't be read.
fn history(data: &Data, record: &Record) -> Option<(Subject, DateTime)> {
    let labs = data.named("labs");
    let lab = record.plain("lab").and_then(|lab| labs.find(lab).first()).map(|place| &labs.records()[*place]);
    let server = TimeZone::UTC;
    let zone = match lab.and_then(|lab| lab.plain("timezone")).filter(|zone| !zone.is_empty()) {
        Some(zone) => TimeZone::get(zone).or_else(|_| TimeZone::get(FALLBACK)).ok()?,
        None => server.clone(),
    };
    let local = |time: DateTime| water::moved(time, &server, &zone);
    let own = |table: &str| {
        let records = data.named(table).records().iter();
        records.filter(|one| one.field("subject") == record.field("nickname")).collect::<Vec<_>>()
    };
    let mut subject = Subject {
        birth: record.plain("birth_date").map(str::parse).transpose().ok()?,
        male: record.plain("sex") == Some("M"),
        percentages: match lab {
            Some(lab) => Some(Percentages {
                reference: number(lab, "reference_weight_pct")?,
                zscore: number(lab, "zscore_weight_pct")?,
            }),
            None => None,
        },
        ..Subject::default()
    };
    let mut newest = sample::now();
    for surgery in own("surgeries") {
        if let Some(weight) = number(surgery, "implant_weight").filter(|weight| *weight != 0.0) {
            subject.implants.push((local(time(surgery, "start_time")?)?, weight));
        }
    }
    for restriction in own("water-restriction") {
        subject.restrictions.push(Restriction {
            start: time(restriction, "start_time")?,
            end: match restriction.plain("end_time") {
                Some(end) => Some(end.parse().ok()?),
                None => None,
            },
            reference_weight: number(restriction, "reference_weight")?,
        });
    }
    for given in own("water-administrations") {
        let time = time(given, "date_time")?;
        newest = newest.max(time);
        subject.administrations.push(Administration {
            time: local(time)?,
            volume: number(given, "water_administered"),
            in_session: given.plain("session").is_some(),
        });
    }
    for weighing in own("weighings") {
        let time = time(weighing, "date_time")?;
        newest = newest.max(time);
        subject.weighings.push((local(time)?, number(weighing, "weight")?));
    }
    subject.sort();
    Some((subject, local(newest.min(write::now(data)))?))
}

fn number(record: &Record, field: &str) -> Option<f64> {
    record.field(field)?.parse().ok()
}

fn time(record: &Record, field: &str) -> Option<DateTime> {
    record.plain(field)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alyx::ENDPOINTS;

    /// Alyx shows three columns of the day also in every subject: as many recordings as there are subjects.
    #[test]
    fn computes_what_the_subjects_of_the_sample_show() {
        let data = sample::load(true, false).unwrap();
        let subjects = data.table(ENDPOINTS.iter().find(|one| one.name == "subjects").unwrap());
        let (mut checked, mut wrong) = (0, Vec::new());
        for record in subjects.records() {
            if subjects.find(record.plain("nickname").unwrap()).len() > 1 {
                continue;
            }
            let (subject, now) = history(&data, record).unwrap();
            let day = subject.day(now);
            for (field, ours) in [
                ("reference_weight", day.reference_weight),
                ("expected_water", day.expected_water),
                ("remaining_water", -day.excess_water),
            ] {
                let theirs = number(record, field).unwrap();
                checked += 1;
                if ours.to_bits() != theirs.to_bits() {
                    wrong.push(format!("{:?} {field} {ours} {theirs}", record.field("nickname")));
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {checked}: {wrong:#?}", wrong.len());
        assert!(checked > 100, "{checked}");
    }
}
