//! `django=` and the filters of JSON columns: pairs of field and value (ALYX.md 2.2, 2.3).

use super::{QueryError, compare::Comparison, json_lookup, path::Path, python_literal::Python};

/// The pairs of a text, their values converted.
pub(crate) fn pairs(text: &str) -> Result<Vec<(String, Python)>, QueryError> {
    let tokens = split(text.trim());
    let mut pairs: Vec<(String, Python)> = Vec::new();
    for pair in tokens.chunks(2) {
        let [field, value] = pair else { return Err(QueryError::failed("list index out of range")) };
        let value = Python::convert(value)?;
        if pairs.iter().any(|(known, _)| known == field) {
            return Err(QueryError::failed(&format!("Duplicated fields in \"{}\"", text.trim())));
        }
        pairs.push((field.clone(), value));
    }
    Ok(pairs)
}

/// The fields of the pairs of a text, whatever their values.
pub(crate) fn fields(text: &str) -> Vec<String> {
    split(text.trim()).into_iter().step_by(2).collect()
}

/// Splits at commas outside brackets. An opening bracket within another replaces it, as in Alyx.
fn split(text: &str) -> Vec<String> {
    let (mut tokens, mut token, mut closer) = (Vec::new(), String::new(), None);
    for c in text.chars() {
        match (c, closer) {
            (',', None) => {
                tokens.push(std::mem::take(&mut token));
                continue;
            }
            ('[', _) => closer = Some(']'),
            ('(', _) => closer = Some(')'),
            (c, Some(wanted)) if c == wanted => closer = None,
            _ => {}
        }
        token.push(c);
    }
    tokens.push(token);
    tokens
}

/// The condition of one pair.
#[derive(Debug)]
pub(crate) struct LookupPair {
    pub(crate) path: Path,
    pub(crate) comparison: Comparison,
    pub(crate) excludes: bool,
}

impl LookupPair {
    pub(crate) fn new(endpoint: &'static str, field: &str, value: &Python) -> Result<Self, QueryError> {
        let (excludes, field) = match field.strip_prefix('~') {
            Some(field) => (true, field),
            None => (false, field),
        };
        if field.is_empty() {
            return Err(QueryError::failed("Cannot parse keyword query ''"));
        }
        let path = Path::resolve(endpoint, field)?;
        let comparison = Comparison::new(&path, value)?;
        Ok(Self { path, comparison, excludes })
    }

    /// Whether it joins a table with several rows for a record.
    pub(crate) fn multiplies(&self) -> bool {
        !self.excludes && self.path.many()
    }
}

/// The conditions of `json=` or `extended_qc=`, all on one column.
pub(crate) fn json_tests(
    text: &str,
) -> Result<impl Iterator<Item = Result<json_lookup::JsonPredicate, QueryError>>, QueryError> {
    let read = |(field, value): (String, Python)| {
        let keys: Vec<&str> = field.split("__").collect();
        json_lookup::JsonPredicate::new(&keys, &value)
    };
    Ok(pairs(text)?.into_iter().map(read))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn splits_as_alyx_does() {
        assert_eq!(split("a,b,c"), ["a", "b", "c"]);
        assert_eq!(split("a__in,[1,2],b,(3,4)"), ["a__in", "[1,2]", "b", "(3,4)"]);
        assert_eq!(split("n,[(1,2),3]"), ["n", "[(1,2)", "3]"]);
        assert_eq!(split("n,[1,2"), ["n", "[1,2"]);
        assert_eq!(split("n,1,"), ["n", "1", ""]);
    }

    #[test]
    fn refuses_half_pairs_and_doubles() {
        assert!(pairs("a").is_err());
        assert!(pairs("a,1,a,1").is_err());
        assert_eq!(pairs("a,1,~a,1").unwrap().len(), 2);
    }
}
