//! Regular expressions as far as PostgreSQL's and ours mean the same by them: letters, digits and spaces,
//! `.`, anchors, groups, alternatives, simple classes and repetitions (REST.md 2.2). Others are not decided.

use super::Unanswered;

/// The longest expression that is looked at.
const LONGEST: usize = 500;

/// An expression of PostgreSQL's in our own spelling.
pub(crate) fn of(text: &str, any_case: bool) -> Result<String, Unanswered> {
    let beyond = || Unanswered::beyond(&format!("match the regular expression {text} as PostgreSQL does"));
    // PostgreSQL's `.` also takes the end of a line; case beyond ASCII is up to its collation.
    if text.len() > LONGEST || !text.is_ascii() || !is_common(text) {
        return Err(beyond());
    }
    let flags = if any_case { "(?si-u)" } else { "(?s-u)" };
    let ours = format!("{flags}{text}");
    regex::bytes::Regex::new(&ours).map_err(|_| beyond())?;
    Ok(ours)
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
            b']' if in_class => in_class = false,
            _ if in_class => {}
            // A group with a question mark, and what is lazy or possessive, means more than it says.
            b'(' if bytes.get(at + 1) == Some(&b'?') => return false,
            b'*' | b'+' | b'?' if repeated => return false,
            b'*' | b'+' | b'?' => repeats = true,
            b'{' | b'}' | b']' => return false,
            _ => {}
        }
        at += 1;
    }
    !in_class
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_both_read_alike_and_nothing_else() {
        for text in [r"^_iblrig.*(training|biased)", r"^KS0\d+$", "[a-z_0-9]+", r"a\.b", ""] {
            assert!(of(text, false).is_ok(), "{text}");
        }
        for text in ["a{2}", "(?i)a", "a*?", "[[:alpha:]]", r"\yword\y", "[]a]", "ü", "(a", r"\1", "a++"] {
            assert!(of(text, false).is_err(), "{text}");
        }
    }
}
