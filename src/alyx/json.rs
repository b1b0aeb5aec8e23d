//! Alyx's JSON, read without changing it.
//!
//! Alyx serves JSON that is not strict: `NaN`, `Infinity` and `-Infinity` stand as numbers, and
//! integers go beyond 64 bits (ALYX.md 3.1). The scanner walks such a text token by token, checks
//! it whole, and gives positions instead of values, so that a body can be judged, cut and have its
//! links moved while every byte of a record stays Alyx's. Escapes inside strings are checked for
//! form only; lone surrogates pass, as Python lets them.

use std::ops::Range;

/// Nesting beyond this is refused: no record of Alyx comes near it, and a hostile one might.
pub const MAX_DEPTH: usize = 256;

/// Why a text is not JSON as Alyx writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON at byte {at}: {what}")]
pub struct JsonError {
    /// Offset of the offending byte.
    pub at: usize,
    /// What was wrong there.
    pub what: &'static str,
}

/// A token and where it stands. Ranges of strings and keys exclude the quotation marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// `{`
    ObjectStart,
    /// `}`
    ObjectEnd,
    /// `[`
    ArrayStart,
    /// `]`
    ArrayEnd,
    /// The name of an object's member, still escaped.
    Key(Range<usize>),
    /// A string value, still escaped.
    String(Range<usize>),
    /// A number, `NaN`, `Infinity`, `-Infinity`, `true`, `false` or `null`.
    Scalar(Range<usize>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Nothing,
}

/// Walks a JSON text; ends after its one value or at the first error.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    expect: Expect,
    /// One entry for each open bracket: whether it is an object's.
    open: Vec<bool>,
}

impl<'a> Scanner<'a> {
    /// A scanner at the beginning of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text: text.as_bytes(), at: 0, expect: Expect::Value, open: Vec::new() }
    }

    /// How many brackets are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// The next token, or `None` after a whole and sound text.
    pub fn token(&mut self) -> Result<Option<Token>, JsonError> {
        loop {
            self.skip_space();
            let Some(&byte) = self.text.get(self.at) else {
                return if self.expect == Expect::Nothing {
                    Ok(None)
                } else {
                    Err(self.error("it ends too early"))
                };
            };
            match (self.expect, byte) {
                (Expect::Nothing, _) => return Err(self.error("something follows its end")),
                (Expect::Colon, b':') => self.advance(Expect::Value),
                (Expect::CommaOrEnd, b',') => {
                    let in_object = self.open.last() == Some(&true);
                    self.advance(if in_object { Expect::Key } else { Expect::Value });
                }
                (Expect::CommaOrEnd | Expect::KeyOrEnd, b'}') if self.open.last() == Some(&true) => {
                    self.close();
                    return Ok(Some(Token::ObjectEnd));
                }
                (Expect::CommaOrEnd | Expect::ValueOrEnd, b']') if self.open.last() == Some(&false) => {
                    self.close();
                    return Ok(Some(Token::ArrayEnd));
                }
                (Expect::Key | Expect::KeyOrEnd, b'"') => {
                    let range = self.string()?;
                    self.expect = Expect::Colon;
                    return Ok(Some(Token::Key(range)));
                }
                (Expect::Value | Expect::ValueOrEnd, _) => return self.value(byte).map(Some),
                _ => return Err(self.error("it is not what may stand here")),
            }
        }
    }

    fn value(&mut self, byte: u8) -> Result<Token, JsonError> {
        match byte {
            b'{' | b'[' => {
                if self.open.len() == MAX_DEPTH {
                    return Err(self.error("it is nested too deeply"));
                }
                let object = byte == b'{';
                self.open.push(object);
                self.advance(if object { Expect::KeyOrEnd } else { Expect::ValueOrEnd });
                Ok(if object { Token::ObjectStart } else { Token::ArrayStart })
            }
            b'"' => {
                let range = self.string()?;
                self.ended();
                Ok(Token::String(range))
            }
            _ => {
                let range = self.scalar(byte)?;
                self.ended();
                Ok(Token::Scalar(range))
            }
        }
    }

    fn scalar(&mut self, byte: u8) -> Result<Range<usize>, JsonError> {
        const WORDS: [&[u8]; 6] = [b"null", b"true", b"false", b"NaN", b"Infinity", b"-Infinity"];
        let start = self.at;
        let rest = &self.text[start..];
        if let Some(word) = WORDS.iter().find(|word| rest.starts_with(word)) {
            self.at += word.len();
        } else if byte == b'-' || byte.is_ascii_digit() {
            self.number()?;
        } else {
            return Err(self.error("no value begins so"));
        }
        Ok(start..self.at)
    }

    fn number(&mut self) -> Result<(), JsonError> {
        self.accept(b"-");
        if !self.accept(b"0") && self.digits() == 0 {
            return Err(self.error("a number needs a digit"));
        }
        if self.accept(b".") && self.digits() == 0 {
            return Err(self.error("a fraction needs a digit"));
        }
        if self.accept(b"eE") {
            self.accept(b"+-");
            if self.digits() == 0 {
                return Err(self.error("an exponent needs a digit"));
            }
        }
        Ok(())
    }

    fn accept(&mut self, any_of: &[u8]) -> bool {
        let found = self.text.get(self.at).is_some_and(|byte| any_of.contains(byte));
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self) -> usize {
        let count = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        count
    }

    /// Reads a string whose opening quotation mark stands at `self.at`.
    fn string(&mut self) -> Result<Range<usize>, JsonError> {
        let start = self.at + 1;
        self.at = start;
        loop {
            let Some(found) = memchr::memchr2(b'"', b'\\', &self.text[self.at..]) else {
                self.at = self.text.len();
                return Err(self.error("a string is not closed"));
            };
            if let Some(control) = self.text[self.at..self.at + found].iter().position(|byte| *byte < 0x20) {
                self.at += control;
                return Err(self.error("a string holds a control character"));
            }
            self.at += found;
            if self.text[self.at] == b'"' {
                self.at += 1;
                return Ok(start..self.at - 1);
            }
            self.escape()?;
        }
    }

    /// Passes over an escape whose backslash stands at `self.at`.
    fn escape(&mut self) -> Result<(), JsonError> {
        let rest = &self.text[self.at + 1..];
        let length = match rest.first() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if rest.len() > 4 && rest[1..5].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return Err(self.error("an escape is not known")),
        };
        self.at += length;
        Ok(())
    }

    fn skip_space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn advance(&mut self, expect: Expect) {
        self.at += 1;
        self.expect = expect;
    }

    fn close(&mut self) {
        self.at += 1;
        self.open.pop();
        self.ended();
    }

    fn ended(&mut self) {
        self.expect = if self.open.is_empty() { Expect::Nothing } else { Expect::CommaOrEnd };
    }

    fn error(&self, what: &'static str) -> JsonError {
        JsonError { at: self.at, what }
    }
}

/// Checks that `text` is one whole JSON value as Alyx writes them.
pub fn check(text: &str) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(text);
    while scanner.token()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn accepts_what_alyx_serves() {
        for text in [
            "{}",
            "[]",
            " [1, -0.5e+10 ,\"a\\u00e9\\\"\"]\n",
            "{\"roll\":NaN,\"z\":-Infinity,\"y\":Infinity,\"n\":123456789012345678901234567890}",
            "{\"a\":{\"b\":[{\"c\":null}]}}",
            "\"\\ud800\"",
            "1e-05",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "[1 2]",
            "01",
            "1.",
            "-",
            "nan",
            "<!doctype html>",
            "{}x",
            "\"a",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "[}",
            "{]",
            "{\"a\":]}",
        ] {
            assert!(check(text).is_err(), "{text}");
        }
    }

    #[test]
    fn refuses_nesting_without_end() {
        let deep = "[".repeat(MAX_DEPTH) + &"]".repeat(MAX_DEPTH);
        assert_eq!(check(&deep), Ok(()));
        assert!(check(&"[".repeat(100_000)).is_err());
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..8)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_on_strict_json(value in any_json()) {
            prop_assert_eq!(check(&value.to_string()), Ok(()));
        }

        #[test]
        fn a_cut_text_is_never_whole(value in any_json(), cut in 0.0..1.0_f64) {
            let text = serde_json::json!([value]).to_string();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let mut end = (text.len() as f64 * cut) as usize;
            while !text.is_char_boundary(end) { end -= 1; }
            prop_assert!(check(&text[..end]).is_err());
        }

        #[test]
        fn agrees_with_serde_on_any_text(text in "[\\[\\]{}:,\"\\\\0-9a-z.eE+\\- ]{0,24}") {
            let strict = serde_json::from_str::<serde_json::Value>(&text);
            if strict.is_ok() { prop_assert_eq!(check(&text), Ok(())); }
            else if !text.contains("1e") && !text.contains('E') && !text.contains('e') {
                prop_assert!(check(&text).is_err(), "{}", text);
            }
        }
    }
}
