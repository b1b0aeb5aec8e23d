//! Comparing two answers to one question, where neither the order of ties nor the time of day counts.

use http::StatusCode;
use serde_json::Value;

use crate::alyx::{
    json_path,
    record::{self, Record},
};

/// What one of both said.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Side {
    status: StatusCode,
    count: Option<Value>,
    /// The records as text in a form of their own, sorted.
    records: Vec<String>,
    /// What the list is ordered by, of each record in its place: ties are the same.
    order: Vec<String>,
    /// The tables that the answer was made from.
    pub(super) tables: Vec<&'static str>,
}

impl Side {
    /// Reads an answer; fields that change with the `clock` are left out. A list stands in the order of the values at `keys`.
    pub(super) fn of(
        status: StatusCode,
        body: &[u8],
        clock: &[&str],
        keys: &[&str],
        tables: Vec<&'static str>,
    ) -> Self {
        let text = std::str::from_utf8(body).unwrap_or_default();
        let fields: Vec<(&str, &str)> = record::fields(text).collect();
        let field = |wanted: &str| fields.iter().find(|(name, _)| *name == wanted).map(|(_, text)| *text);
        let plain = |text: &str| record::in_one_order(Record::new(text).without(clock).value()).to_string();
        let key = |text: &str| {
            let record = record::parse(text);
            let values = keys.iter().map(|at| json_path::values(&record, at));
            values.map(|values| format!("{values:?}")).collect::<Vec<_>>().join(" ")
        };
        let mut order = Vec::new();
        let (count, mut records) = match (status, field("count"), field("results")) {
            (StatusCode::OK, Some(count), Some(results)) => {
                order = record::members(results).map(key).collect();
                (Some(record::parse(count)), record::members(results).map(plain).collect())
            }
            _ => (None, vec![plain(text)]),
        };
        records.sort_unstable();
        Self { status, count, records, order, tables }
    }

    /// Whether both say the same. Of a list that is longer than a page each may show another part.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        let part = |said: &Self| {
            said.count.as_ref().and_then(Value::as_u64).is_some_and(|count| count > said.records.len() as u64)
        };
        self.status == other.status
            && self.count == other.count
            && (self.records == other.records || part(self) && part(other))
            && self.order == other.order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(body: &str) -> Side {
        Side::of(StatusCode::OK, body.as_bytes(), &["age_weeks"], &["at"], Vec::new())
    }

    #[test]
    fn order_and_clock_do_not_count_and_all_else_does() {
        let one = r#"{"count":2,"next":null,"previous":null,"results":[{"a":1,"age_weeks":3},{"a":[1,2]}]}"#;
        let same = r#"{"count":2,"next":"x","previous":null,"results":[{"a":[2,1]},{"a":1,"age_weeks":4}]}"#;
        assert!(said(one).agrees(&said(same)));
        for other in [
            one.replace("\"count\":2", "\"count\":3"),
            one.replace("\"a\":1", "\"a\":2"),
            one.replace(",{\"a\":[1,2]}", ""),
        ] {
            assert!(!said(one).agrees(&said(&other)), "{other}");
        }
        assert!(said(r#"{"a":NaN}"#).agrees(&said(r#"{"a":NaN}"#)));
        assert!(!said(r#"{"a":NaN}"#).agrees(&said(r#"{"a":null}"#)));
    }

    #[test]
    fn ties_may_stand_in_any_order_and_nothing_else() {
        let page = |records: &str| {
            said(&format!(r#"{{"count":3,"next":null,"previous":null,"results":[{records}]}}"#))
        };
        let one = page(r#"{"at":2,"a":1},{"at":2,"a":2},{"at":1,"a":3}"#);
        assert!(one.agrees(&page(r#"{"at":2,"a":2},{"at":2,"a":1},{"at":1,"a":3}"#)));
        assert!(!one.agrees(&page(r#"{"at":1,"a":3},{"at":2,"a":2},{"at":2,"a":1}"#)));
    }

    #[test]
    fn of_long_lists_each_may_show_another_part() {
        let part = |a: u8| said(&format!(r#"{{"count":2,"next":"x","previous":null,"results":[{a}]}}"#));
        assert!(part(1).agrees(&part(2)));
    }
}
