//! The credentials of a request, as Alyx reads them (ALYX.md 4.1).

use http::{HeaderMap, HeaderValue, header};

use super::SecretKey;
use crate::{alyx::error_body, storage::types::TokenHash};

/// Who a request says it comes from.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Nobody: no credentials.
    None,
    /// `Authorization: Token …`
    Token {
        /// The token's name here.
        hash: TokenHash,
        /// The field as it came, for Alyx. Marked sensitive: it never shows in a log.
        field: HeaderValue,
    },
    /// A `Token` field that Alyx refuses, with its words.
    Malformed(&'static str),
    /// A scheme that Alyx does not know: it takes the request for one without credentials.
    OtherScheme,
    /// A session cookie, or several fields: Alyx's business alone, nothing is remembered.
    Foreign,
}

/// Reads a request's credentials.
pub fn credentials(headers: &HeaderMap, key: &SecretKey) -> Credentials {
    if headers.contains_key(header::COOKIE) {
        return Credentials::Foreign;
    }
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        // Of several fields servers make different things.
        return if headers.contains_key(header::AUTHORIZATION) {
            Credentials::Foreign
        } else {
            Credentials::None
        };
    };
    let Ok(text) = std::str::from_utf8(field.as_bytes()) else {
        return if is_token(field.as_bytes()) {
            Credentials::Malformed(error_body::ODD_TOKEN)
        } else {
            Credentials::OtherScheme
        };
    };
    let mut words = text.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (None, ..) => Credentials::None,
        (Some(scheme), ..) if !scheme.eq_ignore_ascii_case("token") => Credentials::OtherScheme,
        (_, None, _) => Credentials::Malformed(error_body::EMPTY_TOKEN),
        (_, Some(_), Some(_)) => Credentials::Malformed(error_body::SPACED_TOKEN),
        (_, Some(token), None) => {
            let mut field = field.clone();
            field.set_sensitive(true);
            Credentials::Token { hash: key.token(token), field }
        }
    }
}

fn is_token(field: &[u8]) -> bool {
    field.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"token "))
}

impl Credentials {
    /// The token's name, if there is a token.
    pub fn token(&self) -> Option<TokenHash> {
        match self {
            Self::Token { hash, .. } => Some(*hash),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(http::HeaderName, &'static str)]) -> Credentials {
        let dir = tempfile::tempdir().unwrap();
        let key = SecretKey::of(dir.path()).unwrap();
        let headers =
            fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        credentials(&headers, &key)
    }

    #[test]
    fn as_alyx_reads_them() {
        use header::AUTHORIZATION as A;
        assert!(matches!(read(&[]), Credentials::None));
        assert!(matches!(read(&[(A, "")]), Credentials::None));
        assert!(matches!(read(&[(A, "Token abc")]), Credentials::Token { .. }));
        assert!(matches!(read(&[(A, "tOKEN   abc")]), Credentials::Token { .. }));
        assert!(matches!(read(&[(A, "Token")]), Credentials::Malformed(error_body::EMPTY_TOKEN)));
        assert!(matches!(read(&[(A, "Token a b")]), Credentials::Malformed(error_body::SPACED_TOKEN)));
        assert!(matches!(read(&[(A, "Bearer abc")]), Credentials::OtherScheme));
        assert!(matches!(read(&[(A, "Token a"), (A, "Token b")]), Credentials::Foreign));
        assert!(matches!(read(&[(A, "Token abc"), (header::COOKIE, "sessionid=1")]), Credentials::Foreign));
    }
}
