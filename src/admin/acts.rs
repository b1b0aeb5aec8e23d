//! What is sent to the proxy's own site by POST, in the audit log: by whom, whence, and what came of it.
//!
//! All of it is noted where requests come in, so that no new action can be forgotten. An action that has more to say puts
//! [`ActDetails`] into its response.

use std::net::IpAddr;

use axum::body::Body;
use http::{Method, Request, Response, StatusCode};

use super::router::AdminSite;
use crate::{
    http::forwarded,
    telemetry::audit::{AuditEntry, AuditStream},
};

/// More of what was done.
#[derive(Debug, Clone, Default)]
pub(super) struct ActDetails {
    /// Words of the program's own, and numbers.
    pub(super) plain: Vec<(&'static str, serde_json::Value)>,
    /// What names a record or somebody.
    pub(super) names: Vec<(&'static str, String)>,
}

/// Something that is to be done.
#[derive(Debug)]
pub(super) struct Act {
    what: String,
    from: IpAddr,
    user: Option<String>,
    /// Whether whoever asks for it has entered the administrator's token before.
    is_admin: bool,
}

impl Act {
    /// What this request wants done; none where it is for looking, or logs in: log-ins are noted where they are decided.
    pub(super) fn of(admin: &AdminSite, peer: IpAddr, request: &Request<Body>) -> Option<Self> {
        let path = request.uri().path();
        if *request.method() != Method::POST || path == "/-/login" {
            return None;
        }
        let settings = admin.core.settings.load();
        let (user, is_admin) = admin.sessions.who(request.headers()).unzip();
        Some(Self {
            what: path.trim_start_matches("/-/").to_owned(),
            from: forwarded::client(request.headers(), peer, &settings.server),
            user,
            is_admin: is_admin.unwrap_or_default(),
        })
    }

    /// Notes what came of it.
    pub(super) fn note(self, admin: &AdminSite, response: &Response<Body>) {
        let status = response.status();
        let own = self.what == "logout" || self.what == "admin" && status == StatusCode::SEE_OTHER;
        let refused = matches!(status.as_u16(), 401 | 403 | 404 | 405 | 421 | 429);
        // Pages send whoever is no administrator to where the token is entered.
        let by_admin = !refused && (own || self.is_admin || self.what.starts_with("api/"));
        let (stream, outcome) = match by_admin {
            true if status.is_success() || status.is_redirection() => (AuditStream::Acts, "done"),
            true => (AuditStream::Acts, "failed"),
            false => (AuditStream::Refusals, "refused"),
        };
        let mut entry = AuditEntry::new(stream, "act", outcome).plain("act", self.what);
        if let Some(user) = &self.user {
            entry = entry.name("user", user);
        }
        entry = entry.from(self.from).plain("status", status.as_u16());
        if let Some(details) = response.extensions().get::<ActDetails>() {
            for (field, value) in &details.plain {
                entry = entry.plain(field, value.clone());
            }
            for (field, name) in &details.names {
                entry = entry.name(field, name);
            }
        }
        admin.core.audit.note(entry);
    }
}
