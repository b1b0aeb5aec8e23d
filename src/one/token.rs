//! The token that ONE has for a database.

use std::path::Path;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{OneError, files, key};

/// The token that ONE keeps for the database at this URL, in its folder (`~/.one`): that of this user, or of the one who
/// logs in by default. None where nobody has logged in (ALYX.md 9.3).
pub fn token(folder: &Path, url: &str, user: Option<&str>) -> Result<Option<Zeroizing<String>>, OneError> {
    let path = folder.join(format!(".{}", key(url)));
    let Some(bytes) = files::read(&path)?.map(Zeroizing::new) else { return Ok(None) };
    let parameters: Map<String, Value> = files::parse(&path, Some(&bytes))?;
    let user = user.or_else(|| parameters.get("ALYX_LOGIN").and_then(Value::as_str));
    let tokens = parameters.get("TOKEN").and_then(Value::as_object);
    let token = user.and_then(|user| tokens?.get(user)?.get("token")?.as_str());
    Ok(token.map(|token| Zeroizing::new(token.to_owned())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_is_that_of_the_user_who_logs_in_or_who_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let of = |user| {
            token(folder.path(), "http://localhost:8040", user).map(|token| token.map(|t| t.to_string()))
        };
        assert_eq!(of(None).unwrap(), None);
        let file = folder.path().join(".localhost_8040");
        let text = r#"{"ALYX_LOGIN": "ann", "TOKEN": {"ann": {"token": "a1"}, "bob": {"token": "b2"}}}"#;
        std::fs::write(&file, text).unwrap();
        assert_eq!(of(None).unwrap().as_deref(), Some("a1"));
        assert_eq!(of(Some("bob")).unwrap().as_deref(), Some("b2"));
        assert_eq!(of(Some("eve")).unwrap(), None);
        std::fs::write(&file, "no JSON").unwrap();
        assert!(of(None).is_err());
    }
}
