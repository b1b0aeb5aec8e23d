//! Logging in to the pages: with one's own Alyx account, or a token of it, through the same door as all clients.

use askama::Template;
use axum::body::{Body, to_bytes};
use http::{HeaderValue, Method, Response, StatusCode, header};
use zeroize::Zeroizing;

use super::{
    MAX_FORM, Visit,
    error::ProxyError,
    field,
    frame::{Frame, page},
    to,
};
use crate::{
    alyx::{Route, Service, route::LOG_IN},
    auth::TokenStatus,
    http::cache_status::CacheStatus,
    proxy::{Exchange, log_in_audit, login},
};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'p> {
    frame: Frame,
    message: &'p str,
    next: &'p str,
    is_snapshot: bool,
}

impl Visit {
    pub(super) fn login_page(&self, message: &str, status: u16) -> Response<Body> {
        let query = self.uri.query().unwrap_or_default();
        let next = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "next");
        let next = next.map(|(_, value)| value.into_owned()).unwrap_or_default();
        let (frame, next) = (self.frame("login", "Log in"), own_place(&next));
        let is_snapshot = self.admin.core.mode.snapshot().is_some();
        page(&LoginPage { frame, message, next, is_snapshot }, status)
    }

    pub(super) async fn log_in(&self, form: &[(String, String)]) -> Response<Body> {
        let (name, password, token) =
            (field(form, "username"), field(form, "password"), field(form, "token").trim());
        let (name, token) = if token.is_empty() {
            match self.token_of(name, password).await {
                Ok(token) => (name, token),
                Err((status, why)) => return self.login_page(&why, status),
            }
        } else {
            let pasted = self.pasted(token).await;
            let (core, refused) = (&self.admin.core, pasted.as_ref().err().map(|(status, _)| *status));
            log_in_audit::note_pasted(core, core.key.token(token), self.client, refused);
            match pasted {
                Ok(()) => ("token", Zeroizing::new(token.to_owned())),
                Err((status, why)) => return self.login_page(&why, status),
            }
        };
        self.admin.sessions.end(&self.headers, self.is_secure());
        let cookie = self.admin.sessions.begin(name, Some(&token), false, self.is_secure());
        let mut response = to(own_place(field(form, "next")));
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        response
    }

    /// Whether a token that somebody has pasted counts here: Alyx decides, or what it said lately; else what stands in the way.
    async fn pasted(&self, token: &str) -> Result<(), (u16, String)> {
        let Ok(mut value) = HeaderValue::from_str(&format!("Token {token}")) else {
            return Err((400, "This can't be a token.".to_owned()));
        };
        value.set_sensitive(true);
        let seen = self.ask("/labs?limit=1", Some(value), false).await;
        let (access, core) = (&self.settings.access, &self.admin.core);
        let status = core.tokens.status(&core.key.token(token), access);
        if access.anonymous || matches!(status, TokenStatus::Vouched | TokenStatus::NeedsRevalidation) {
            return Ok(());
        }
        let refused = matches!(seen.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if refused && matches!(seen.extensions().get(), Some(CacheStatus::Forwarded { .. })) {
            return Err((403, "Alyx does not accept this token.".to_owned()));
        }
        Err((
            504,
            "Alyx can't be asked about this token now, and has not accepted it here lately.".to_owned(),
        ))
    }

    /// The token that Alyx gives for a name and password, or what stands in the way.
    async fn token_of(&self, name: &str, password: &str) -> Result<Zeroizing<String>, (u16, String)> {
        let body = Zeroizing::new(
            form_urlencoded::Serializer::new(String::new())
                .append_pair("username", name)
                .append_pair("password", password)
                .finish(),
        );
        let mut headers = http::HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form);
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        let asked = Exchange {
            method: Method::POST,
            uri: http::Uri::from_static(LOG_IN),
            headers,
            route: Route::Service(Service::AuthToken),
            base: self.base.clone(),
            client: self.client,
            settings: self.settings.clone(),
        };
        let response = login::answer(&self.admin.floors, asked, Body::from(body.as_str().to_owned())).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), MAX_FORM).await.unwrap_or_default();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        match body["token"].as_str() {
            Some(token) if status == StatusCode::OK => Ok(Zeroizing::new(token.to_owned())),
            _ if status == StatusCode::BAD_REQUEST => {
                Err((400, "Alyx does not accept this user name and password.".to_owned()))
            }
            _ => {
                let why = body["detail"].as_str().unwrap_or("Alyx could not be asked.").to_owned();
                Err((status.as_u16(), why))
            }
        }
    }

    pub(super) fn log_out(&self, form: &[(String, String)]) -> Response<Body> {
        if !self.is_own_form(form) {
            return ProxyError::refused(
                StatusCode::FORBIDDEN,
                "The form is out of date: load the page again.",
            )
            .into();
        }
        let mut response = to("/-/status");
        let cookie = self.admin.sessions.end(&self.headers, self.is_secure());
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        response
    }

    /// Whether a form was made for this session.
    pub(super) fn is_own_form(&self, form: &[(String, String)]) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_own_form(field(form, "csrf")))
    }

    pub(super) fn is_secure(&self) -> bool {
        self.base.starts_with("https://")
    }
}

/// A place to go to: one of our own pages.
fn own_place(place: &str) -> &str {
    let clean = place.starts_with("/-/") && !place.contains(['\\', '\r', '\n']) && !place.contains("//");
    if clean { place } else { "/-/explore" }
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_is_led_to_own_pages_only() {
        for (place, led) in [
            ("/-/explore/sessions?lab=x", "/-/explore/sessions?lab=x"),
            ("https://elsewhere.org", "/-/explore"),
            ("//elsewhere.org", "/-/explore"),
            ("/-//elsewhere.org", "/-/explore"),
            ("/sessions", "/-/explore"),
            ("", "/-/explore"),
        ] {
            assert_eq!(super::own_place(place), led);
        }
    }
}
