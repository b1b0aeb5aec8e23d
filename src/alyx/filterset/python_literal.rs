//! Values as `django=` converts them (ALYX.md 2.2, rule 4), and Python's literals in brackets.
//!
//! Alyx evaluates what stands in brackets as Python. Here only literals are read; whatever else stands
//! there is refused.

use super::{QueryError, digits, float_text};

/// A value of a pair.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Python {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Python>),
    Dict(Vec<(String, Python)>),
}

impl Python {
    /// Converts the text of a value.
    pub(crate) fn convert(text: &str) -> Result<Self, QueryError> {
        if text == "None" {
            return Ok(Self::None);
        }
        match text.to_lowercase().as_str() {
            "true" => return Ok(Self::Bool(true)),
            "false" => return Ok(Self::Bool(false)),
            _ => {}
        }
        let digits = text.replacen('.', "", 1);
        // Python's isdigit takes digits of every script, of which float() reads most.
        if !digits.is_empty() && digits.chars().all(is_digit) {
            return match digits::in_ascii(text).parse() {
                Ok(number) => Ok(Self::Float(number)),
                Err(_)
                    if digits.chars().all(|c| c.is_ascii_digit() || !c.is_numeric() || is_superscript(c)) =>
                {
                    Err(QueryError::failed(&format!("could not convert string to float: '{text}'")))
                }
                // What is numeric need not be a digit for Python, which then takes all of it for text.
                Err(_) => Err(QueryError::beyond("read digits of other scripts")),
            };
        }
        let bracketed = text.starts_with(['(', '[']) && text.ends_with([')', ']']);
        if bracketed { literal(text) } else { Ok(Self::Text(text.to_owned())) }
    }

    /// The value's name for its type, where iterating over it fails.
    pub(crate) fn scalar_type(&self) -> Option<&'static str> {
        match self {
            Self::None => Some("NoneType"),
            Self::Bool(_) => Some("bool"),
            Self::Int(_) => Some("int"),
            Self::Float(_) => Some("float"),
            Self::Text(_) | Self::List(_) | Self::Dict(_) => None,
        }
    }

    /// `str()` of it, where the miniature knows it.
    pub(crate) fn text(&self) -> Result<String, QueryError> {
        match self {
            Self::None => Ok("None".to_owned()),
            Self::Bool(true) => Ok("True".to_owned()),
            Self::Bool(false) => Ok("False".to_owned()),
            Self::Int(number) => Ok(number.to_string()),
            Self::Float(number) => Ok(float_text::python(*number)),
            Self::Text(text) => Ok(text.clone()),
            Self::List(_) | Self::Dict(_) => Err(QueryError::beyond("write such a value as Python does")),
        }
    }
}

impl From<bool> for Python {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<&str> for Python {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || is_superscript(c) || (c.is_numeric() && !c.is_ascii())
}

fn is_superscript(c: char) -> bool {
    matches!(c, '²' | '³' | '¹' | '⁰'..='⁹' | '₀'..='₉')
}

/// Brackets within brackets beyond this are not read: nobody asks so, but for who wants our stack to overflow.
const DEEPEST: usize = 50;

/// What may stand between the parts of Python's code.
const BLANKS: [char; 5] = [' ', '\t', '\n', '\r', '\u{c}'];

/// Reads a list or tuple of literals.
fn literal(text: &str) -> Result<Python, QueryError> {
    let mut reader = LiteralReader { rest: text, depth: 0 };
    match reader.value() {
        Some(value) if reader.rest.trim_start_matches(BLANKS).is_empty() => Ok(value),
        _ => {
            Err(match unbalanced(text).or_else(|| is_no_syntax(text).then(|| "invalid syntax".to_owned())) {
                Some(reason) => QueryError::failed(&format!("{reason} (<string>, line 1)")),
                None if text == "[a-f]" => QueryError::failed("name 'a' is not defined"),
                None => QueryError::beyond(&format!("evaluate {text} as Python does")),
            })
        }
    }
}

/// Whether it is a class of a regular expression that is no expression of Python's: `[^a]`, `[[:digit:]]`.
fn is_no_syntax(text: &str) -> bool {
    let inner = text.trim_start_matches('[');
    let depth = text.len() - inner.len();
    let words = inner.trim_end_matches(']');
    let is_closed = inner.len() - words.len() == depth;
    let plain = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | ':' | '^');
    depth > 0 && is_closed && words.starts_with(['^', ':']) && words.chars().all(plain)
}

/// Python's message for brackets that don't match; none where it may find something else wrong before.
fn unbalanced(text: &str) -> Option<String> {
    let number = |word: &str| {
        word.bytes().all(|byte| byte.is_ascii_digit()) && (word.len() < 2 || !word.starts_with('0'))
    };
    let name = |word: &str| {
        !word.starts_with(|c: char| c.is_ascii_digit())
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let words = || text.split([',', '(', '[', ')', ']']).map(|word| word.trim_matches(' '));
    let empty = [",,", "[,", "(,"].iter().any(|pair| text.contains(pair));
    if empty || !words().all(|word| number(word) || name(word)) {
        return None;
    }
    let mut open = Vec::new();
    for c in text.chars() {
        match c {
            // What is nested too deeply Python refuses with another message.
            '[' | '(' | '{' if open.len() > DEEPEST => return None,
            '[' | '(' | '{' => open.push(c),
            ']' | ')' | '}' => {
                let opening = match c {
                    ']' => '[',
                    ')' => '(',
                    _ => '{',
                };
                match open.pop() {
                    Some(last) if last == opening => {}
                    Some(last) => {
                        let reason = "does not match opening parenthesis";
                        return Some(format!("closing parenthesis '{c}' {reason} '{last}'"));
                    }
                    None => return Some(format!("unmatched '{c}'")),
                }
            }
            _ => {}
        }
    }
    let numbers = words().all(number);
    open.pop().filter(|_| numbers).map(|last| format!("'{last}' was never closed"))
}

struct LiteralReader<'t> {
    rest: &'t str,
    depth: usize,
}

impl LiteralReader<'_> {
    fn value(&mut self) -> Option<Python> {
        if self.depth > DEEPEST {
            return None;
        }
        self.depth += 1;
        let value = self.any();
        self.depth -= 1;
        value
    }

    fn any(&mut self) -> Option<Python> {
        self.rest = self.rest.trim_start_matches(BLANKS);
        match self.rest.chars().next()? {
            '[' => self.items(']').map(|(items, _)| Python::List(items)),
            '(' => {
                let (mut items, comma) = self.items(')')?;
                // `(x)` is x in brackets; `(x,)` and `()` are tuples.
                if items.len() == 1 && !comma { items.pop() } else { Some(Python::List(items)) }
            }
            '{' => self.dict(),
            '\'' | '"' => self.string().map(Python::Text),
            _ => self.word(),
        }
    }

    fn items(&mut self, close: char) -> Option<(Vec<Python>, bool)> {
        self.rest = &self.rest[1..];
        let (mut items, mut comma) = (Vec::new(), false);
        loop {
            if self.take(close) {
                return Some((items, comma));
            }
            if !items.is_empty() && !comma {
                return None;
            }
            items.push(self.value()?);
            comma = self.take(',');
        }
    }

    fn dict(&mut self) -> Option<Python> {
        self.rest = &self.rest[1..];
        let (mut items, mut comma) = (Vec::new(), true);
        loop {
            if self.take('}') {
                return Some(Python::Dict(items));
            }
            if !comma {
                return None;
            }
            let Python::Text(key) = self.value()? else { return None };
            if !self.take(':') {
                return None;
            }
            items.push((key, self.value()?));
            comma = self.take(',');
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        let rest = self.rest.trim_start_matches(BLANKS);
        match rest.strip_prefix(wanted) {
            Some(after) => {
                self.rest = after;
                true
            }
            None => false,
        }
    }

    /// A string without escapes.
    fn string(&mut self) -> Option<String> {
        let quote = self.rest.chars().next()?;
        let inner = &self.rest[1..];
        let end = inner.find(quote)?;
        let text = &inner[..end];
        self.rest = &inner[end + 1..];
        (!text.contains(['\\', '\n']) && !self.rest.starts_with(['\'', '"'])).then(|| text.to_owned())
    }

    fn word(&mut self) -> Option<Python> {
        let end = self.rest.find([',', ')', ']', '}', ':', ' ']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "None" => Some(Python::None),
            "True" => Some(Python::Bool(true)),
            "False" => Some(Python::Bool(false)),
            _ => {
                let digits = word.strip_prefix('-').unwrap_or(word);
                let plain = digits.bytes().all(|b| b.is_ascii_digit());
                let zeros = digits.len() > 1 && digits.starts_with('0');
                if plain && !zeros {
                    return word.parse().ok().map(Python::Int);
                }
                let float =
                    digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'-' | b'+'));
                if float && digits.contains(['.', 'e']) { word.parse().ok().map(Python::Float) } else { None }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn converts_as_alyx_does() {
        let convert = |text| Python::convert(text).unwrap();
        assert_eq!(convert("None"), Python::None);
        assert_eq!(convert("none"), Python::Text("none".to_owned()));
        assert_eq!(convert("TRUE"), Python::Bool(true));
        assert_eq!(convert("1."), Python::Float(1.0));
        assert_eq!(convert("-1"), Python::Text("-1".to_owned()));
        assert_eq!(convert("1e3"), Python::Text("1e3".to_owned()));
        assert_eq!(convert("[1, -2.5,'a b',None]"), {
            let text = Python::Text("a b".to_owned());
            Python::List(vec![Python::Int(1), Python::Float(-2.5), text, Python::None])
        });
        assert_eq!(convert("('x')"), Python::Text("x".to_owned()));
        assert_eq!(convert("('x',)"), Python::List(vec![Python::Text("x".to_owned())]));
        assert_eq!(convert("()"), Python::List(Vec::new()));
    }

    #[test]
    fn refuses_what_is_no_literal() {
        for text in [
            "[cortexlab]",
            "[1,2)",
            "[07]",
            "[__import__('os')]",
            "[1,,2]",
            "['a' 'b']",
            "(1 2)",
            "[\u{a0}'1']",
        ] {
            assert!(Python::convert(text).is_err(), "{text}");
        }
    }

    #[test]
    fn reads_no_deeper_than_the_stack_allows() {
        for (open, close) in [("[", "]"), ("(", ")"), ("[{'a':", "}]"), ("[", "")] {
            let text = format!("[{}1{}]", open.repeat(100_000), close.repeat(100_000));
            assert!(Python::convert(&text).is_err());
        }
        assert!(Python::convert(&format!("{}1{}", "[".repeat(40), "]".repeat(40))).is_ok());
    }

    #[test]
    fn writes_numbers_as_python_does() {
        assert_eq!(Python::Float(12.0).text().unwrap(), "12.0");
        assert_eq!(Python::Float(6.4).text().unwrap(), "6.4");
        assert_eq!(Python::Float(1e16).text().unwrap(), "1e+16");
    }
}
