//! Reads of a record only the fields that its table has columns for: most of a session's detail is the list of
//! its datasets, which nothing needs but the text.

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, value::RawValue};

use crate::alyx::record;

/// The names of the fields to read.
#[derive(Debug, Clone, Default)]
pub(super) struct Picks {
    /// Fields whose values are needed.
    pub(super) values: Vec<&'static str>,
    /// Fields whose text is.
    pub(super) json: Vec<&'static str>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Picked<'t> {
    /// The record; it may lack fields that were not wished.
    pub(super) value: Value,
    /// Fields of JSON, as their text.
    pub(super) json: Vec<(&'static str, &'t str)>,
}

impl<'t> Picked<'t> {
    /// None where the text is not a JSON object.
    pub(super) fn of(text: &'t str, picks: &Picks) -> Option<Self> {
        let mut reader = serde_json::Deserializer::from_str(text);
        if let Ok(picked) = reader.deserialize_map(PickReader(picks))
            && reader.end().is_ok()
        {
            return Some(picked);
        }
        // `NaN`, or an escape in a name: rare enough to be read the long way.
        let value = record::parse(text);
        let named = |name: &str| picks.json.iter().copied().find(|known| *known == name);
        let json = record::fields(text).filter_map(|(name, text)| Some((named(name)?, text))).collect();
        value.is_object().then_some(Self { value, json })
    }
}

struct PickReader<'p>(&'p Picks);

impl<'de> Visitor<'de> for PickReader<'_> {
    type Value = Picked<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Picked<'de>, A::Error> {
        let (mut value, mut json) = (Map::new(), Vec::new());
        while let Some(name) = map.next_key::<&str>()? {
            if let Some(known) = self.0.json.iter().find(|known| **known == name) {
                json.push((*known, map.next_value::<&RawValue>()?.get()));
            } else if self.0.values.contains(&name) {
                value.insert(name.to_owned(), map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Picked { value: Value::Object(value), json })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_wished_and_json_as_it_stands() {
        let picks = Picks { values: vec!["a"], json: vec!["json"] };
        for text in [
            r#"{"a":1,"b":[2,{"c":3}],"json":{"z":1.50, "y":[]}}"#,
            r#"{"a":1,"b":NaN,"json":{"z":1.50, "y":[]}}"#,
            r#"{"a":1,"\u0062":2,"json":{"z":1.50, "y":[]}}"#,
        ] {
            let picked = Picked::of(text, &picks).unwrap();
            assert_eq!(picked.value["a"], 1, "{text}");
            assert_eq!(picked.json, [("json", r#"{"z":1.50, "y":[]}"#)], "{text}");
        }
        for text in ["[1]", "{", "null", r#"{"a":1}}"#] {
            assert!(Picked::of(text, &picks).is_none(), "{text}");
        }
    }
}
