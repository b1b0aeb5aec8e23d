//! Which representation a client asks for (ALYX.md 4.4, 5).
//!
//! Alyx's REST framework offers JSON and an HTML page, and disregards `q`. Only JSON is remembered,
//! under a name for its exact form; whoever asks for anything else is passed on to Alyx.

use http::HeaderValue;

use crate::alyx::{Route, Service};

/// A JSON form that can be remembered, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonVariant(pub String);

const PLAIN: &str = "json";

impl JsonVariant {
    /// What Alyx is asked for where several clients share its answer: this form and nothing else that they say.
    pub fn accept(&self) -> HeaderValue {
        let field = match self.0.split_once(' ') {
            None if self.0 == PLAIN => "application/json",
            None => "application/coreapi+json",
            Some((_, range)) => range,
        };
        HeaderValue::try_from(field).unwrap_or_else(|_| HeaderValue::from_static("application/json"))
    }

    /// The JSON form that Alyx will choose, or `None` where it may choose something else.
    pub fn negotiate(route: &Route, accept: Option<&HeaderValue>, format: Option<&str>) -> Option<Self> {
        let plain = || Some(Self(PLAIN.to_owned()));
        let accept = match accept.map(HeaderValue::to_str) {
            None => None,
            Some(Ok(text)) => Some(text.to_ascii_lowercase()),
            Some(Err(_)) => return None,
        };
        let ranges: Vec<&str> = accept.as_deref().unwrap_or("*/*").split(',').map(str::trim).collect();
        let named = |media_type: &str| ranges.iter().any(|range| essence(range) == media_type);
        let any = named("*/*") || named("application/*");
        match route {
            Route::Service(Service::Docs) => {
                named("application/coreapi+json").then(|| Self("coreapi+json".to_owned()))
            }
            Route::Service(Service::Schema) if named("application/vnd.oai.openapi+json") => {
                // Alyx repeats the type's parameters in its answer: another form.
                Some(Self(format!("openapi {}", accept.unwrap_or_default())))
            }
            // Without a wish the schema is YAML.
            Route::Service(Service::Schema) if named("application/json") || format == Some("json") => plain(),
            Route::Service(Service::Schema) => None,
            _ if named("text/html") && !named("application/json") => None,
            _ => match ranges.iter().find(|range| essence(range) == "application/json") {
                Some(range) if has_form(range) => Some(Self(format!("json {range}"))),
                Some(_) => plain(),
                None if any => plain(),
                None => None,
            },
        }
    }
}

impl JsonVariant {
    /// JSON without any form of its own.
    pub fn plain() -> Self {
        Self(PLAIN.to_owned())
    }

    /// Whether it is JSON without any form of its own.
    pub fn is_plain(&self) -> bool {
        self.0 == PLAIN
    }
}

fn essence(range: &str) -> &str {
    range.split(';').next().unwrap_or_default().trim()
}

/// Whether a range asks for a form of its own (`; indent=4`).
fn has_form(range: &str) -> bool {
    range.split(';').skip(1).any(|parameter| !parameter.trim().starts_with("q="))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alyx::route::classify;

    fn form(path: &[&str], accept: Option<&'static str>) -> Option<String> {
        let accept = accept.map(HeaderValue::from_static);
        JsonVariant::negotiate(&classify(path), accept.as_ref(), None).map(|media| media.0)
    }

    #[test]
    fn records() {
        let sessions = |accept| form(&["sessions"], accept);
        for same in [
            None,
            Some("*/*"),
            Some("application/json"),
            Some("text/plain, */*;q=0.1"),
            Some("application/json;q=0.5, text/html;q=0.1"),
        ] {
            assert_eq!(sessions(same).as_deref(), Some("json"), "{same:?}");
        }
        assert_eq!(
            sessions(Some("application/json; indent=4")).as_deref(),
            Some("json application/json; indent=4")
        );
        for other in ["", "text/html", "text/html,*/*;q=0.8", "application/xml"] {
            assert_eq!(sessions(Some(other)), None, "{other:?}");
        }
    }

    #[test]
    fn descriptions() {
        assert!(form(&["api", "schema"], Some("application/vnd.oai.openapi+json")).is_some());
        assert_eq!(form(&["api", "schema"], None), None);
        assert_eq!(form(&["docs", ""], Some("application/coreapi+json")).as_deref(), Some("coreapi+json"));
        assert_eq!(form(&["docs", ""], Some("text/html")), None);
    }
}
