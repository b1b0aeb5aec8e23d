//! The administrator's door: with the token of `/-/api/`, the buttons of the pages do something.

use askama::Template;
use axum::body::Body;
use http::{Response, header};

use crate::{admin::api::TOO_MANY_GUESSES, auth::AdminGuess};

use super::{
    Visit, field,
    frame::{Frame, page},
    to,
};

#[derive(Template)]
#[template(path = "admin.html")]
struct AdminPage<'p> {
    frame: Frame,
    message: &'p str,
    is_admin: bool,
}

impl Visit {
    pub(super) fn admin_page(&self, message: &str, status: u16) -> Response<Body> {
        page(
            &AdminPage { frame: self.frame("admin", "Administrator"), message, is_admin: self.is_admin() },
            status,
        )
    }

    pub(super) fn is_admin(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_admin())
    }

    pub(super) fn become_admin(&self, form: &[(String, String)]) -> Response<Body> {
        match self.admin.token.judge(field(form, "token").trim(), self.client, &self.settings.access) {
            AdminGuess::Right => {}
            AdminGuess::Wrong => return self.admin_page("This is not the administrator's token.", 403),
            AdminGuess::Wait(_) => return self.admin_page(TOO_MANY_GUESSES, 429),
        }
        let mut response = to("/-/mirror");
        if let Some(session) = &self.session {
            session.make_admin();
        } else {
            let cookie = self.admin.sessions.begin("administrator", None, true, self.is_secure());
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }
}
