//! The token that ONE has for a database.

use std::path::Path;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::{OneError, data_view, files, key};

/// The token that ONE keeps for the database at this URL, in its folder (`~/.one`): that of this user, or of the one who
/// logs in by default. None where nobody has logged in (ALYX.md 9.3).
pub fn token(folder: &Path, url: &str, user: Option<&str>) -> Result<Option<Zeroizing<String>>, OneError> {
    // Where it was set up for data files ONE asks at another place of the same proxy.
    for url in [url, &data_view(url)] {
        let Some(parameters) = parameters(folder, url)? else { continue };
        let user = user.or_else(|| parameters.get("ALYX_LOGIN").and_then(Value::as_str));
        let tokens = parameters.get("TOKEN").and_then(Value::as_object);
        if let Some(token) = user.and_then(|user| tokens?.get(user)?.get("token")?.as_str()) {
            return Ok(Some(Zeroizing::new(token.to_owned())));
        }
    }
    Ok(None)
}

/// Name and password for the data server that ONE keeps for data files of the proxy at this URL. None where there are none.
pub fn data_login(folder: &Path, url: &str) -> Result<Option<(String, Zeroizing<String>)>, OneError> {
    let Some(parameters) = parameters(folder, &data_view(url))? else { return Ok(None) };
    let text = |name: &str| parameters.get(name).and_then(Value::as_str).map(str::to_owned);
    Ok(text("HTTP_DATA_SERVER_LOGIN").zip(text("HTTP_DATA_SERVER_PWD").map(Zeroizing::new)))
}

fn parameters(folder: &Path, url: &str) -> Result<Option<Map<String, Value>>, OneError> {
    let path = folder.join(format!(".{}", key(url)));
    let Some(bytes) = files::read(&path)?.map(Zeroizing::new) else { return Ok(None) };
    files::parse(&path, Some(&bytes)).map(Some)
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
        let other = r#"{"TOKEN": {"eve": {"token": "e3"}}, "HTTP_DATA_SERVER_LOGIN": "ibl", "HTTP_DATA_SERVER_PWD": "x"}"#;
        std::fs::write(folder.path().join(".localhost_8040_-_one"), other).unwrap();
        assert_eq!(of(Some("eve")).unwrap().as_deref(), Some("e3"));
        let login = data_login(folder.path(), "http://localhost:8040").unwrap().unwrap();
        assert_eq!((login.0.as_str(), login.1.as_str()), ("ibl", "x"));
        std::fs::write(&file, "no JSON").unwrap();
        assert!(of(None).is_err());
    }
}
