//! Whether a request that may write has changed anything: that makes what is stored stale for everybody, so it goes by
//! who asks and by what Alyx said.
//!
//! Whoever Alyx has accepted may have changed something unless Alyx surely did nothing. Of others nothing is believed
//! but Alyx's own word that it was done, and that it got all of the request and said nothing.

use http::{HeaderMap, Response, StatusCode, Uri, header};

use super::{Exchange, core::Core, passthrough::may_have_written};
use crate::{
    alyx::{Route, Service},
    auth::{Credentials, TokenStatus, credentials},
    settings::AccessSettings,
    storage::types::TokenHash,
    upstream::UpstreamError,
};

/// Who asks, as far as is known before Alyx is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriterStanding {
    /// Somebody whose token Alyx has accepted.
    Accepted,
    /// Somebody with a token that Alyx has yet to judge: anybody can make up any number of them.
    Unverified,
    /// Somebody with a session of Django's, or what looks like one.
    Session,
    /// Nobody.
    Guest,
}

/// Marks Alyx's answer that a token is none of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenRefused;

/// The cookie that Django knows who has logged in to its pages by.
const SESSION: &str = "sessionid=";
/// Below this path people write with a session.
const ADMIN: &str = "/admin/";
/// What anybody may send there: it changes no record.
const FOR_ANYBODY: [&str; 3] = ["/admin/login/", "/auth/login/", "/admin/logout/"];

impl WriterStanding {
    pub(super) fn of(core: &Core, asked: &Exchange) -> Self {
        match credentials(&asked.headers, &core.key) {
            Credentials::Token { hash, .. } => match core.tokens.status(&hash, &asked.settings.access) {
                TokenStatus::Unknown | TokenStatus::Refused => Self::Unverified,
                _ => Self::Accepted,
            },
            Credentials::Foreign if has_session(&asked.headers) => Self::Session,
            // Of several fields Alyx may take one that is good.
            Credentials::Foreign if asked.headers.contains_key(header::AUTHORIZATION) => Self::Unverified,
            Credentials::Foreign
            | Credentials::None
            | Credentials::Malformed(_)
            | Credentials::OtherScheme => Self::Guest,
        }
    }

    /// The same when Alyx has answered, which looks at the token first.
    pub(super) fn judged(self, core: &Core, token: Option<TokenHash>, access: &AccessSettings) -> Self {
        let known = |token| core.tokens.status(&token, access).was_accepted();
        if self == Self::Unverified && token.is_some_and(known) { Self::Accepted } else { self }
    }

    /// Whether what it asks for can change anything at all, be it that Alyx says so.
    pub(super) fn can_write(self, route: &Route, uri: &Uri) -> bool {
        let for_anybody = FOR_ANYBODY.contains(&uri.path());
        !for_anybody && (*route != Route::Other || self != Self::Guest)
    }

    /// Whether a request of it that came to this may have changed something.
    pub(super) fn may_have_changed(
        self,
        route: &Route,
        uri: &Uri,
        result: &Result<Response<axum::body::Body>, UpstreamError>,
    ) -> bool {
        match result {
            Ok(response) if response.status().is_success() => self.can_write(route, uri),
            Ok(response) if adds_a_slash(uri, response) || sends_to_log_in(response) => false,
            // No server that does not know a method has done what it asks for.
            Ok(response) if response.status() == StatusCode::NOT_IMPLEMENTED => false,
            Ok(response) => match self {
                Self::Accepted if *route != Route::Other => {
                    may_have_written(response.status()) || partly_done(route, response)
                }
                // Django's forms are answered by redirects.
                Self::Accepted | Self::Session if uri.path().starts_with(ADMIN) => {
                    may_have_written(response.status())
                }
                Self::Session => *route != Route::Other && response.status().is_server_error(),
                // Whoever is forbidden something has a token that Alyx knows.
                Self::Unverified => {
                    partly_done(route, response) && response.extensions().get::<TokenRefused>().is_none()
                }
                Self::Accepted | Self::Guest => false,
            },
            Err(failure) => match self {
                Self::Accepted => !failure.never_sent(),
                Self::Session => said_nothing(failure) || matches!(failure, UpstreamError::Unavailable(_)),
                Self::Unverified => said_nothing(failure),
                Self::Guest => false,
            },
        }
    }
}

fn has_session(headers: &HeaderMap) -> bool {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    cookies.flat_map(|field| field.split(';')).any(|cookie| cookie.trim_start().starts_with(SESSION))
}

/// Whether Alyx got all of a request and what came of it is not known.
fn said_nothing(failure: &UpstreamError) -> bool {
    matches!(failure, UpstreamError::Timeout | UpstreamError::Reset | UpstreamError::Truncated)
}

/// `/register-file` registers one file after the other and may fail, or be forbidden one, in between (ALYX.md 7).
fn partly_done<B>(route: &Route, response: &Response<B>) -> bool {
    let in_between = matches!(response.status(), StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN);
    *route == Route::Service(Service::RegisterFile) && in_between
}

fn location<B>(response: &Response<B>) -> &str {
    let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
    to.split(['?', '#']).next().unwrap_or_default()
}

/// Django's answer to a path that lacks its last slash: nothing was done.
fn adds_a_slash<B>(uri: &Uri, response: &Response<B>) -> bool {
    let moved = matches!(response.status(), StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT);
    moved && location(response).strip_suffix('/').is_some_and(|to| to.ends_with(uri.path()))
}

/// Django's answer to whoever has not logged in to its pages: anybody gets it, and nothing was done.
fn sends_to_log_in<B>(response: &Response<B>) -> bool {
    let to = location(response);
    response.status().is_redirection() && FOR_ANYBODY.iter().any(|log_in| to.ends_with(log_in))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::{
        WriterStanding::{Accepted, Guest, Session, Unverified},
        *,
    };

    fn answered(status: u16, to: &str) -> Response<Body> {
        let response = Response::builder().status(status).header(header::LOCATION, to);
        response.body(Body::empty()).unwrap()
    }

    #[test]
    fn what_strangers_send_changes_nothing_unless_alyx_says_so() {
        let other = Route::Other;
        let rest = Route::Service(Service::RegisterFile);
        let changed = |writer: WriterStanding, route: &Route, path: &'static str, result| {
            writer.may_have_changed(route, &Uri::from_static(path), &result)
        };
        // (who, Alyx's answer, whether something may have changed): of a page, and of REST.
        for (writer, status, page, record) in [
            (Guest, 200, false, true),
            (Guest, 302, false, false),
            (Guest, 501, false, false),
            (Unverified, 201, true, true),
            (Unverified, 302, false, false),
            (Unverified, 500, false, false),
            (Session, 302, true, true),
            (Session, 403, false, false),
            (Accepted, 500, true, true),
            (Accepted, 501, false, false),
            (Accepted, 400, false, true),
        ] {
            let of = |route, path| changed(writer, route, path, Ok(answered(status, "/elsewhere/")));
            assert_eq!(of(&other, "/admin/misc/lab/add/"), page, "{writer:?} {status}");
            if writer != Session {
                assert_eq!(of(&rest, "/register-file"), record, "{writer:?} {status}");
            }
        }
        for writer in [Guest, Unverified, Session, Accepted] {
            assert!(!changed(writer, &other, "/admin", Ok(answered(301, "/admin/"))), "{writer:?}");
            assert!(!changed(writer, &other, "/admin/x/", Ok(answered(302, "/admin/login/?next=/admin/x/"))));
            assert!(!changed(writer, &other, "/admin/logout/", Ok(answered(200, ""))), "{writer:?}");
            let half = changed(writer, &rest, "/register-file", Err(UpstreamError::Unsent { begun: true }));
            assert_eq!(half, writer == Accepted, "{writer:?}");
        }
        for writer in [Session, Accepted] {
            assert!(!changed(writer, &other, "/", Ok(answered(302, "/admin/"))), "what looks like a session");
        }
        let half_way = || answered(403, "");
        assert!(changed(Unverified, &rest, "/register-file", Ok(half_way())), "its token is good");
        let mut refused = half_way();
        refused.extensions_mut().insert(TokenRefused);
        assert!(!changed(Unverified, &rest, "/register-file", Ok(refused)));
        assert!(changed(Unverified, &rest, "/register-file", Err(UpstreamError::Timeout)));
        assert!(!changed(Guest, &rest, "/register-file", Err(UpstreamError::Timeout)));
    }
}
