//! The order of texts in Alyx's database, which is that of a collation nobody shows (ALYX.md 1, "Collation").

/// Whether each collation that an Alyx may have (C, those of glibc, ICU's) puts these two in the order of their bytes, in which
/// the first comes before the second.
///
/// After what both begin with, letters and digits stand in one order in all of them, but for the case of letters; other
/// characters are skipped by some, and lie elsewhere in others.
pub(crate) fn is_certain(first: &str, second: &str) -> bool {
    let same = first.bytes().zip(second.bytes()).take_while(|(a, b)| a == b).count();
    let next = |text: &str| text.as_bytes().get(same).copied();
    match (next(first), next(second)) {
        (None, None) => true,
        (None, Some(next)) => next.is_ascii_alphanumeric(),
        (Some(a), Some(b)) => {
            let plain = a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric();
            plain && a.to_ascii_lowercase() < b.to_ascii_lowercase()
        }
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_all_collations_agree_on_is_certain() {
        let certain = [
            ("probe00", "probe01"),
            ("a", "b"),
            ("A", "b"),
            ("9", "a"),
            ("probe", "probe0"),
            ("a-b", "a-c"),
            ("x", "x"),
        ];
        for (first, second) in certain {
            assert!(is_certain(first, second), "{first} {second}");
        }
        // Case, punctuation, other scripts.
        let uncertain = [
            ("B", "a"),
            ("A", "a"),
            ("a b", "ab"),
            ("a_b", "ab"),
            ("a", "a_"),
            ("a", "é"),
            ("a-b", "a.b"),
            ("Z", "_"),
        ];
        for (first, second) in uncertain {
            assert!(!is_certain(first, second), "{first} {second}");
        }
    }
}
