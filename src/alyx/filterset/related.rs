//! What may be asked of a relation itself, and how Django refuses the rest (ALYX.md 2.2).

use super::{QueryError, QueryResult, compare::OF_TEXT, path::RelationEnd};
use crate::alyx::model::Model;

/// The lookups that related fields have.
const LOOKUPS: [&str; 7] = ["in", "exact", "lt", "gt", "gte", "lte", "isnull"];
/// Lookups of other fields, which no field is called like, beside those of text.
const OF_OTHERS: [&str; 2] = ["range", "search"];

/// Refuses what Django refuses before it looks at the value. A name that may be one of the other record's, of which nothing
/// is known here, is no lookup.
pub(super) fn check(related: RelationEnd, rest: &[&str]) -> QueryResult<()> {
    let [first, others @ ..] = rest else { return Ok(()) };
    if others.is_empty() && LOOKUPS.contains(first) {
        return Ok(());
    }
    let is_name =
        first.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    let all_known = Model::of(related.to).is_some_and(|model| model.complete);
    let asked = rest.join("__");
    if is_name
        && !all_known
        && ![&LOOKUPS[..], &OF_OTHERS, &OF_TEXT].iter().any(|known| known.contains(first))
    {
        return Err(QueryError::hidden(&format!("{asked} of {}", related.to)));
    }
    let meant = close(first);
    let suggestion = if meant.is_empty() {
        ".".to_owned()
    } else {
        format!(", perhaps you meant {}?", meant.join(" or "))
    };
    let field = related.field.name();
    Err(QueryError::failed(&format!(
        "Unsupported lookup '{asked}' for {field} or join on the field not permitted{suggestion}"
    )))
}

/// The lookups that are most like this name: `difflib.get_close_matches` of Python.
fn close(name: &str) -> Vec<&'static str> {
    let mut found: Vec<(f64, &str)> = LOOKUPS
        .into_iter()
        .map(|lookup| (ratio(lookup.as_bytes(), name.as_bytes()), lookup))
        .filter(|(ratio, _)| *ratio >= 0.6)
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(a.1)));
    found.into_iter().take(3).map(|(_, lookup)| lookup).collect()
}

/// How much of two texts is the same: `difflib.SequenceMatcher.ratio`.
#[allow(clippy::cast_precision_loss, reason = "names are short")]
fn ratio(a: &[u8], b: &[u8]) -> f64 {
    2.0 * matching(a, b) as f64 / (a.len() + b.len()).max(1) as f64
}

/// The bytes in the longest block that both have, the first of those, and in the blocks left and right of it.
fn matching(a: &[u8], b: &[u8]) -> usize {
    let (mut from_a, mut from_b, mut longest) = (0, 0, 0);
    for i in 0..a.len() {
        for j in 0..b.len() {
            let length = a[i..].iter().zip(&b[j..]).take_while(|(a, b)| a == b).count();
            if length > longest {
                (from_a, from_b, longest) = (i, j, length);
            }
        }
    }
    if longest == 0 {
        return 0;
    }
    let left = matching(&a[..from_a], &b[..from_b]);
    longest + left + matching(&a[from_a + longest..], &b[from_b + longest..])
}

#[cfg(test)]
mod tests {
    use super::{super::path::Path, *};

    /// As recorded before a real Alyx.
    #[test]
    fn refuses_as_django_does() {
        let refused = |endpoint: &'static str, asked: &str| {
            let path = Path::resolve(endpoint, asked).unwrap();
            let rest: Vec<&str> = path.rest.iter().map(String::as_str).collect();
            path.related.map(|related| check(related, &rest))
        };
        let text = |lookup: &str, field: &str, more: &str| {
            let text =
                format!("Unsupported lookup '{lookup}' for {field} or join on the field not permitted{more}");
            Some(Err(QueryError::failed(&text)))
        };
        let meant = ", perhaps you meant exact?";
        assert_eq!(refused("weighings", "subject__range"), text("range", "ForeignKey", "."));
        assert_eq!(refused("sessions", "users__iexact"), text("iexact", "ForeignKey", meant));
        assert_eq!(
            refused("sessions", "data_dataset_session_related__iexact"),
            text("iexact", "ManyToOneRel", meant)
        );
        assert_eq!(refused("brain-regions", "parent__range"), text("range", "TreeForeignKey", "."));
        assert_eq!(
            refused("sessions", "probe_insertion__chronic_insertion__pk__range"),
            text("range", "OneToOneField", ".")
        );
        assert_eq!(refused("datasets", "file_records__contains"), text("contains", "ManyToOneRel", "."));
        assert_eq!(
            refused("insertions", "trajectory_estimate__isnull "),
            text("isnull ", "ManyToOneRel", ", perhaps you meant isnull?")
        );
        assert_eq!(
            refused("data-notices", "datasets__icontains__foo"),
            text("icontains__foo", "ForeignKey", ".")
        );
        for fine in ["session__in", "session__isnull", "session", "session__gt"] {
            assert_eq!(refused("insertions", fine), Some(Ok(())), "{fine}");
        }
        assert_eq!(refused("insertions", "session__id__range"), None, "a column of the other record");
        // A relation that is not known here is not a lookup.
        for (endpoint, asked) in [
            ("data-notices", "created_by__notification"),
            // All of water administrations is known, and not all of what these lead to.
            ("water-administrations", "water_type__unknown"),
        ] {
            let unknown = refused(endpoint, asked).unwrap();
            assert!(matches!(unknown, Err(QueryError::Undecided(_))), "{asked}: {unknown:?}");
        }
        assert_eq!(refused("insertions", "session__unknown"), text("unknown", "ForeignKey", "."));
    }

    #[test]
    fn finds_what_python_finds() {
        assert_eq!(close("iexact"), ["exact"]);
        assert_eq!(close("gt "), ["gt", "gte"]);
        assert_eq!(close("lte_"), ["lte", "lt"]);
        assert!(close("range").is_empty() && close("contains").is_empty());
    }
}
