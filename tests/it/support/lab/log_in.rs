//! Logging in: a name and a password for a token.

use super::*;

pub(super) fn answer(asked: &Asked) -> Reply {
    let (name, password) = credentials(asked);
    let field = |value: &Option<String>| value.is_none().then(|| json!(["This field is required."]));
    if name.is_none() || password.is_none() {
        let mut body = serde_json::Map::new();
        body.extend(field(&name).map(|error| ("username".to_owned(), error)));
        body.extend(field(&password).map(|error| ("password".to_owned(), error)));
        body.insert("status_code".to_owned(), json!(400));
        return json_reply(400, &Value::Object(body));
    }
    let right =
        |user: &users::User| name.as_deref() == Some(user.name) && password.as_deref() == Some(user.password);
    let Some(user) = users::ALL.iter().find(|user| right(user)) else {
        let error = ["Unable to log in with provided credentials."];
        return json_reply(400, &json!({"non_field_errors": error, "status_code": 400}));
    };
    json_reply(200, &json!({"token": user.token}))
}

/// User name and password from a form, from JSON or from a multipart form.
fn credentials(asked: &Asked) -> (Option<String>, Option<String>) {
    let kind = asked.header("content-type").unwrap_or_default();
    let fields: Vec<(String, String)> = if kind.starts_with("application/json") {
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        body.as_object().map(|fields| fields.iter().filter_map(text).collect()).unwrap_or_default()
    } else if let Ok(boundary) = multer::parse_boundary(kind) {
        let body = asked.body.clone();
        let body = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
        let mut form = multer::Multipart::new(body, boundary);
        let read = async {
            let mut fields = Vec::new();
            while let Ok(Some(field)) = form.next_field().await {
                let name = field.name().unwrap_or_default().to_owned();
                fields.push((name, field.text().await.unwrap_or_default()));
            }
            fields
        };
        // The whole body is there, so that nothing is waited for.
        read.now_or_never().unwrap_or_default()
    } else {
        form_urlencoded::parse(&asked.body).into_owned().collect()
    };
    let get = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    (get("username"), get("password"))
}
