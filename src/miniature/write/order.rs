//! The order of lists, restored after a write (ALYX.md 1, "ordering"). The database of the sample orders
//! text by its bytes; where an Alyx has another collation, its order is another.

use std::{cmp::Reverse, sync::Arc};

use crate::{
    alyx::{Endpoint, record::Record},
    miniature::data::Data,
};

/// Sorts the lists that a write to this endpoint may have put out of order; ties keep their order.
pub(super) fn restore(data: &mut Data, endpoint: &'static Endpoint) {
    let lists: &[&str] = match endpoint.name {
        "sessions" => &["sessions", "insertions", "tasks"],
        "insertions" => &["insertions"],
        "tasks" => &["tasks"],
        "subjects" => &["subjects"],
        _ => &[],
    };
    for name in lists {
        let Some(endpoint) = Endpoint::named(name) else { continue };
        let mut records: Vec<Arc<Record>> = data.table(endpoint).records().to_vec();
        match *name {
            "sessions" => records.sort_by_cached_key(|record| latest(text(record, "start_time"))),
            "insertions" => records.sort_by_cached_key(|record| {
                let start = record.value()["session_info"]["start_time"].as_str().map(str::to_owned);
                (latest(start), text(record, "name"))
            }),
            "subjects" => records
                .sort_by_cached_key(|record| (text(record, "nickname"), latest(text(record, "birth_date")))),
            _ => {
                let start = |record: &Record| {
                    let sessions = data.named("sessions");
                    let place = sessions.find(record.plain("session")?).first()?;
                    text(&sessions.records()[*place], "start_time")
                };
                records.sort_by_cached_key(|record| {
                    let number = |field: &str| record.value()[field].as_i64();
                    // Nulls come last going up, and first going down.
                    let level = (number("level").is_none(), number("level"));
                    (level, number("priority").is_some(), Reverse(number("priority")), latest(start(record)))
                });
            }
        }
        *data.change(endpoint).records_mut() = records;
    }
}

fn text(record: &Record, field: &str) -> Option<String> {
    record.value()[field].as_str().map(str::to_owned)
}

/// Later first, and null before all.
fn latest(time: Option<String>) -> (bool, Reverse<Option<String>>) {
    (time.is_some(), Reverse(time))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::miniature::sample;

    /// Restoring the order of lists that are in order changes nothing, so the keys are Alyx's.
    #[test]
    fn alyx_lists_are_in_order() {
        let recorded = sample::load(true, false).unwrap();
        let mut data = Data::clone(&recorded);
        for name in ["sessions", "subjects"] {
            restore(&mut data, Endpoint::named(name).unwrap());
        }
        for name in ["sessions", "insertions", "tasks", "subjects"] {
            let texts = |data: &Data| {
                data.named(name).records().iter().map(|record| record.text().to_owned()).collect::<Vec<_>>()
            };
            assert!(texts(&data) == texts(&recorded), "{name}");
        }
    }
}
