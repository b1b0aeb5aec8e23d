//! What someone logs in with, in any form that Alyx takes.

use bytes::Bytes;
use http::{HeaderMap, header};
use zeroize::Zeroizing;

/// A user's name and password, where they were given.
#[derive(Debug)]
pub struct LoginForm {
    /// The name.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Zeroizing<String>>,
}

impl LoginForm {
    /// Whether what is read here may not be what others read: multipart forms have several ways to name a part, and a
    /// charset makes other texts of the same bytes.
    pub fn is_ambiguous(headers: &HeaderMap) -> bool {
        let kinds: Vec<_> = headers.get_all(header::CONTENT_TYPE).iter().collect();
        let [kind] = kinds[..] else { return true };
        let Ok(kind) = kind.to_str() else { return true };
        let (essence, parameters) = kind.split_once(';').unwrap_or((kind, ""));
        let plain = ["application/json", "application/x-www-form-urlencoded"];
        !plain.iter().any(|known| essence.trim().eq_ignore_ascii_case(known))
            || !["", "charset=utf-8"].iter().any(|known| parameters.trim().eq_ignore_ascii_case(known))
    }

    /// The same as a form that cannot be read in two ways; none where something is missing.
    pub fn as_form(&self) -> Option<String> {
        let (user, password) = (self.user.as_ref()?, self.password.as_ref()?);
        let mut form = form_urlencoded::Serializer::new(String::new());
        Some(form.append_pair("username", user).append_pair("password", password).finish())
    }

    /// Reads a log-in in any form that Alyx takes: form, JSON, multipart.
    pub async fn read(headers: &HeaderMap, body: &Bytes) -> Self {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut fields = match essence.as_str() {
            "application/json" => from_json(body),
            "multipart/form-data" => from_multipart(kind, body.clone()).await,
            _ => form_urlencoded::parse(body).into_owned().collect(),
        };
        // Of repeated fields Django takes the last one; empty ones count as missing.
        let mut take = |wanted: &str| {
            let at = fields.iter().rposition(|(name, value)| name == wanted && !value.is_empty())?;
            Some(fields.swap_remove(at).1)
        };
        // Alyx strips spaces around the name (DRF's CharField), and none around the password.
        let user = take("username").map(|name| strip(&name).to_owned()).filter(|name| !name.is_empty());
        Self { user, password: take("password").map(Zeroizing::new) }
    }
}

/// The text without what Python's `str.strip` takes away.
fn strip(text: &str) -> &str {
    text.trim_matches(|character: char| character.is_whitespace() || ('\x1c'..='\x1f').contains(&character))
}

fn from_json(body: &[u8]) -> Vec<(String, String)> {
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).unwrap_or_default();
    fields.into_iter().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned()))).collect()
}

async fn from_multipart(content_type: &str, body: Bytes) -> Vec<(String, String)> {
    let Ok(boundary) = multer::parse_boundary(content_type) else { return Vec::new() };
    let stream = futures_util::stream::once(std::future::ready(Ok::<_, std::convert::Infallible>(body)));
    let mut parts = multer::Multipart::new(stream, boundary);
    let mut fields = Vec::new();
    while let Ok(Some(part)) = parts.next_field().await {
        let Some(name) = part.name().map(ToOwned::to_owned) else { continue };
        let Ok(value) = part.text().await else { break };
        fields.push((name, value));
    }
    fields
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    async fn given(kind: &'static str, body: &'static str) -> (Option<String>, Option<String>) {
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
        let given = LoginForm::read(&headers, &Bytes::from_static(body.as_bytes())).await;
        (given.user, given.password.map(|password| password.to_string()))
    }

    #[test]
    fn what_others_may_read_otherwise_is_known() {
        let of = |kinds: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for kind in kinds {
                headers.append(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            }
            LoginForm::is_ambiguous(&headers)
        };
        for kind in
            ["application/json", "Application/JSON; charset=UTF-8", "application/x-www-form-urlencoded"]
        {
            assert!(!of(&[kind]), "{kind}");
        }
        for kind in ["multipart/form-data; boundary=b", "application/json; charset=utf-7", "text/plain", ""] {
            assert!(of(&[kind]), "{kind}");
        }
        assert!(of(&[]) && of(&["application/json", "application/x-www-form-urlencoded"]));
    }

    #[tokio::test]
    async fn every_form_is_read() {
        let both = (Some("u".to_owned()), Some("p+ü".to_owned()));
        assert_eq!(given("application/x-www-form-urlencoded", "username=u&password=p%2B%C3%BC").await, both);
        assert_eq!(
            given("application/json; charset=utf-8", r#"{"username":"u","password":"p+ü"}"#).await,
            both
        );
        let parts = "--b\r\ncontent-disposition: form-data; name=\"username\"\r\n\r\nu\r\n\
                     --b\r\ncontent-disposition: form-data; name=\"password\"\r\n\r\np+ü\r\n--b--\r\n";
        assert_eq!(given("multipart/form-data; boundary=b", parts).await, both);
        assert_eq!(
            given("application/x-www-form-urlencoded", "username=%20u%09&password=p%2B%C3%BC").await,
            both
        );
        let spaces = r#"{"username":"\u001f \u00a0u\u3000","password":" p "}"#;
        assert_eq!(given("application/json", spaces).await, (Some("u".to_owned()), Some(" p ".to_owned())));
        assert_eq!(given("application/json", r#"{"username":"  ","password":"p"}"#).await.0, None);
        assert_eq!(given("application/json", "{bad").await, (None, None));
        assert_eq!(
            given("application/x-www-form-urlencoded", "username=u&password=").await,
            (Some("u".to_owned()), None)
        );
    }
}
