//! Regular expressions as far as PostgreSQL's and ours mean the same by them: letters, digits and spaces,
//! `.`, anchors, groups, alternatives, simple classes and repetitions (ALYX.md 2.2). Others are not decided.
//!
//! What is a letter, a digit or a space beyond ASCII, and which letters are the same but for their case, is up to
//! the locale of PostgreSQL: expressions that ask for it are decided for texts of ASCII alone.

use regex::bytes::Regex;

use super::QueryError;

/// The longest expression that is looked at.
const LONGEST: usize = 500;

/// An expression of PostgreSQL's in our own spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The expression.
    pub(crate) text: String,
    /// Whether only texts of ASCII can be decided.
    pub(crate) ascii: bool,
}

impl Pattern {
    pub(crate) fn new(text: &str, any_case: bool) -> Result<Self, QueryError> {
        let beyond =
            || QueryError::beyond(&format!("match the regular expression {text} as PostgreSQL does"));
        if text.len() > LONGEST || !text.is_ascii() || !is_common(text) {
            return Err(beyond());
        }
        let ascii = any_case || has_class(text);
        // PostgreSQL's `.` also takes the end of a line; like `[^…]` it takes a character, not a byte.
        let flags = match (any_case, ascii) {
            (true, _) => "(?si-u)",
            (false, true) => "(?s-u)",
            (false, false) => "(?s)",
        };
        let ours = Self { text: format!("{flags}{text}"), ascii };
        ours.compiled().map_err(|_| beyond())?;
        Ok(ours)
    }

    /// The expression made ready.
    pub(crate) fn compiled(&self) -> Result<Regex, regex::Error> {
        Regex::new(&self.text)
    }
}

/// Whether an expression is found in a text; `ascii` is that of its [`Pattern`].
pub(crate) fn is_in(expression: &Regex, ascii: bool, own: &str) -> Result<bool, QueryError> {
    if ascii && !own.is_ascii() {
        return Err(QueryError::beyond("know what the locale of Alyx's database takes for a letter"));
    }
    Ok(expression.is_match(own.as_bytes()))
}

/// Whether `\d`, `\w` or `\s` is in it.
fn has_class(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at + 1 < bytes.len() {
        match (bytes[at], bytes[at + 1]) {
            (b'\\', b'd' | b'w' | b's') => return true,
            (b'\\', _) => at += 2,
            _ => at += 1,
        }
    }
    false
}

/// Whether it is made of what both read alike.
fn is_common(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut at, mut in_class, mut repeats) = (0, false, false);
    while at < bytes.len() {
        let byte = bytes[at];
        let repeated = std::mem::replace(&mut repeats, false);
        match byte {
            b'\\' => {
                at += 1;
                let Some(next) = bytes.get(at) else { return false };
                if !matches!(
                    next,
                    b'd' | b'w' | b's' | b'.' | b'-' | b'/' | b'(' | b')' | b'[' | b']' | b'+' | b'*' | b'?'
                ) {
                    return false;
                }
            }
            b'[' if !in_class => {
                in_class = true;
                if bytes.get(at + 1) == Some(&b']') || bytes[at + 1..].starts_with(b"^]") {
                    return false;
                }
            }
            b'[' | b'&' | b'~' if in_class => return false,
            // For us the difference of two classes, for PostgreSQL a range.
            b'-' if in_class && bytes.get(at + 1) == Some(&b'-') => return false,
            b']' if in_class => in_class = false,
            _ if in_class => {}
            // A group with a question mark, and what is lazy or possessive, means more than it says.
            b'(' if bytes.get(at + 1) == Some(&b'?') => return false,
            b'*' | b'+' | b'?' if repeated => return false,
            b'*' | b'+' | b'?' => repeats = true,
            // PostgreSQL has nothing to repeat there.
            b'^' | b'$' if matches!(bytes.get(at + 1), Some(b'*' | b'+' | b'?')) => return false,
            b'{' | b'}' | b']' => return false,
            _ => {}
        }
        at += 1;
    }
    !in_class
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn takes_what_both_read_alike_and_nothing_else() {
        for text in [r"^_iblrig.*(training|biased)", r"^KS0\d+$", "[a-z_0-9]+", r"a\.b", "[-a]", ""] {
            assert!(Pattern::new(text, false).is_ok(), "{text}");
        }
        for text in [
            "a{2}",
            "(?i)a",
            "a*?",
            "[[:alpha:]]",
            r"\yword\y",
            "[]a]",
            "ü",
            "(a",
            r"\1",
            "a++",
            "^*",
            "a|^?",
            "$+",
            "*a",
            "[+--]",
        ] {
            assert!(Pattern::new(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn a_character_is_one_whatever_its_bytes() {
        let found = |text: &str, any_case: bool, own: &str| {
            let pattern = Pattern::new(text, any_case).unwrap();
            is_in(&pattern.compiled().unwrap(), pattern.ascii, own).ok()
        };
        assert_eq!(found("^ZFM-.n", false, "ZFM-ünï"), Some(true));
        assert_eq!(found("^ZFM-[^a]n", false, "ZFM-ünï"), Some(true));
        assert_eq!(found("^.$", false, "ü"), Some(true));
        assert_eq!(found("^..$", false, "ü"), Some(false));
        assert_eq!(found(r"^ZFM\.", false, "ZFM-ünï"), Some(false));
        // What the locale decides is not decided here.
        for text in [r"\w", r"[\d]", r"a\.\s"] {
            assert_eq!(found(text, false, "ZFM-ünï"), None, "{text}");
        }
        assert_eq!(found("zfm", true, "ZFM-ünï"), None);
        assert_eq!(found(r"zfm-\w", true, "ZFM-a"), Some(true));
    }
}
