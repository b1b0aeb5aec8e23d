//! Columns of JSON that records show as null hold nothing, or JSON's null (ALYX.md 2.2, "JSON"): no record tells which.

use serde_json::Value;

use super::{QueryResult, json_lookup::JsonPredicate};

/// What a column that shows null holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonNulls {
    /// Nothing: SQL's NULL.
    Nothing,
    /// JSON's null.
    Json,
}

impl JsonPredicate {
    /// Whether a column that shows null fulfils it.
    pub(crate) fn null_holds(&self, nulls: JsonNulls) -> QueryResult<bool> {
        match nulls {
            JsonNulls::Nothing => self.judged(None),
            JsonNulls::Json => self.judged(Some(&Value::Null)),
        }
    }

    /// Whether excluding what fulfils it leaves a record whose column shows null.
    pub(crate) fn null_is_left(&self, nulls: JsonNulls) -> QueryResult<bool> {
        match nulls {
            JsonNulls::Nothing if self.asks_for_null() => Ok(!self.judged(None)?),
            // To what is excluded Django adds `AND … IS NOT NULL`.
            JsonNulls::Nothing if !self.is_of_nothing() => Ok(!self.is_of_none()),
            JsonNulls::Nothing | JsonNulls::Json => self.leaves(Some(&Value::Null)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::python_literal::Python, *};

    #[test]
    fn what_a_shown_null_holds_decides() {
        let says = |field: &str, value: &str| {
            let keys: Vec<&str> = field.split("__").collect();
            let test = JsonPredicate::new(&keys, &Python::convert(value).unwrap()).unwrap();
            [JsonNulls::Nothing, JsonNulls::Json]
                .map(|nulls| (test.null_holds(nulls).unwrap(), test.null_is_left(nulls).unwrap()))
        };
        assert_eq!(says("isnull", "True"), [(true, false), (false, true)]);
        assert_eq!(says("isnull", "False"), [(false, true), (true, false)]);
        assert_eq!(says("qc", "CRITICAL"), [(false, true), (false, false)]);
        assert_eq!(says("qc__isnull", "True"), [(true, false), (true, false)]);
        assert_eq!(says("qc", "None"), [(false, false), (false, false)]);
        assert_eq!(says("exact", "None"), [(false, false), (true, false)]);
        assert_eq!(says("lt", "1"), [(false, true), (true, false)]);
        let nothing = JsonPredicate::new(&["in"], &Python::convert("[None]").unwrap()).unwrap();
        assert!(
            [JsonNulls::Nothing, JsonNulls::Json]
                .map(|nulls| nothing.null_is_left(nulls))
                .iter()
                .all(Result::is_err)
        );
    }
}
