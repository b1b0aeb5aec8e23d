//! The administrator's door: with the token of `/-/api/`, the buttons of the pages do something.

use askama::Template;
use axum::body::Body;
use http::{Response, header};

use super::{
    Visit, field,
    frame::{Frame, page},
    to,
};
use crate::{auth::Admission, upstream::seconds};

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
        match self.admin.token.admit(field(form, "token").trim(), self.client, &self.settings.access) {
            Admission::Granted => {}
            Admission::Refused => return self.admin_page("This is not the administrator's token.", 403),
            Admission::Wait(wait) => {
                let text = format!("Too many wrong tokens: try again in {} seconds.", seconds(wait));
                return self.admin_page(&text, 429);
            }
        }
        let (name, token) = match &self.session {
            Some(session) => (session.name(), session.alyx_token()),
            None => ("administrator", None),
        };
        let sessions = &self.admin.sessions;
        sessions.end(&self.headers, self.is_secure());
        let mut response = to("/-/mirror");
        let cookie = sessions.begin(name, token, true, self.is_secure());
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        response
    }
}
