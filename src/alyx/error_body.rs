//! Alyx's error bodies (ALYX.md 4.1, 4.3), for what the proxy answers in Alyx's place.

use http::StatusCode;
use serde_json::{Value, json};

/// `{"detail":"…","status_code":N}`: the shape of every refusal that ONE understands.
pub fn detail(status: u16, text: &str) -> String {
    json!({ "detail": text, "status_code": status }).to_string()
}

/// A request without credentials.
pub const NO_CREDENTIALS: &str = "Authentication credentials were not provided.";
/// A token that Alyx does not know. ONE looks for these words, and logs in anew (ALYX.md 9.2).
pub const INVALID_TOKEN: &str = "Invalid token.";
/// `Authorization: Token` and nothing more.
pub const EMPTY_TOKEN: &str = "Invalid token header. No credentials provided.";
/// `Authorization: Token a b`.
pub const SPACED_TOKEN: &str = "Invalid token header. Token string should not contain spaces.";
/// A token with characters that are not UTF-8.
pub const ODD_TOKEN: &str = "Invalid token header. Token string should not contain invalid characters.";

/// The body of a refused log-in.
pub fn login_refused() -> String {
    json!({ "non_field_errors": ["Unable to log in with provided credentials."], "status_code": 400 })
        .to_string()
}

/// The body of a log-in that lacks these fields.
pub fn fields_required(fields: &[&str]) -> String {
    let mut body = serde_json::Map::new();
    for field in fields {
        body.insert((*field).to_owned(), json!(["This field is required."]));
    }
    body.insert("status_code".to_owned(), json!(400));
    Value::Object(body).to_string()
}

/// Whether Alyx refuses the token itself rather than what was asked with it.
pub fn is_token_refused(status: StatusCode, body: &[u8]) -> bool {
    let refusals = [INVALID_TOKEN, "User inactive or deleted."];
    matches!(status.as_u16(), 401 | 403)
        && serde_json::from_slice::<Value>(body)
            .is_ok_and(|body| refusals.iter().any(|refusal| body["detail"] == *refusal))
}

/// What Alyx says to a user who may not have what was asked.
pub const NO_PERMISSION: &str = "You do not have permission to perform this action.";

/// Whether Alyx refuses to this user what was asked, while it accepts the token.
pub fn is_permission_denied(status: StatusCode, body: &[u8]) -> bool {
    status == StatusCode::FORBIDDEN
        && serde_json::from_slice::<Value>(body).is_ok_and(|body| body["detail"] == NO_PERMISSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_token_is_told_from_a_refused_question() {
        let refused = |status: u16, text: &str| {
            is_token_refused(StatusCode::from_u16(status).unwrap(), detail(status, text).as_bytes())
        };
        assert!(refused(403, INVALID_TOKEN) && refused(401, "User inactive or deleted."));
        assert!(!refused(403, "You do not have permission to perform this action."));
        assert!(!refused(403, "It says: Invalid token."));
        assert!(!refused(500, INVALID_TOKEN));
        assert!(!is_token_refused(StatusCode::FORBIDDEN, b"<html>Invalid token.</html>"));
    }
}
