//! `/-/audit`: who did what, for the administrator alone.

use askama::Template;
use axum::body::Body;
use http::Response;
use serde_json::{Value, json};

use super::{
    Visit,
    error::ProxyError,
    frame::{Frame, page},
    text_response,
};
use crate::{admin::api, alyx::query_string};

/// Lines that are shown where nothing is said, and at most.
const LINES: usize = 200;
const MOST: usize = 2_000;

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    rows: Vec<AuditRow>,
    lost: u64,
    is_off: bool,
}

struct AuditRow {
    at: String,
    event: String,
    outcome: String,
    who: String,
    from: String,
    more: String,
}

impl Visit {
    /// The page, or the door to it.
    pub(super) async fn audit_page(&self) -> Response<Body> {
        if !self.is_admin() {
            return self.admin_page("Only an administrator sees the audit log.", 403);
        }
        match self.audit_lines().await {
            Ok(lines) => {
                let content = AuditPage {
                    frame: self.frame("audit", "Audit log"),
                    rows: lines.iter().map(row).collect(),
                    lost: self.admin.core.audit.lost(),
                    is_off: self.settings.audit.max_size.0 == 0,
                };
                page(&content, 200)
            }
            Err(error) => unreadable(&error),
        }
    }

    /// The same as JSON, for an administrator's browser or token.
    pub(super) async fn audit_json(&self) -> Response<Body> {
        if !self.is_admin()
            && let Err(refusal) = api::admit(&self.admin, &self.headers, self.client)
        {
            return refusal.into();
        }
        match self.audit_lines().await {
            Ok(lines) => {
                let body = json!({ "lost": self.admin.core.audit.lost(), "lines": lines });
                text_response(&format!("{body:#}\n"), "application/json")
            }
            Err(error) => unreadable(&error),
        }
    }

    async fn audit_lines(&self) -> std::io::Result<Vec<Value>> {
        let pairs = query_string::parse(self.uri.query().unwrap_or_default());
        let limit = pairs.iter().find(|(name, _)| name == "limit").and_then(|(_, text)| text.parse().ok());
        self.admin.core.audit.newest(limit.unwrap_or(LINES).min(MOST)).await
    }
}

fn unreadable(error: &std::io::Error) -> Response<Body> {
    tracing::error!(%error, "the audit log can't be read");
    let text = "The audit log can't be read; the proxy's log says more.";
    ProxyError::refused(http::StatusCode::INTERNAL_SERVER_ERROR, text).into()
}

fn row(line: &Value) -> AuditRow {
    let shown = |field: &str| line.get(field).map(text).unwrap_or_default();
    let (event, act) = (shown("event"), shown("act"));
    let event = if act.is_empty() { event } else { format!("{event} {act}") };
    let known = ["at", "event", "act", "outcome", "user", "from"];
    let more = line.as_object().into_iter().flatten().filter(|(field, _)| !known.contains(&field.as_str()));
    let more: Vec<String> = more.map(|(field, value)| format!("{field} {}", text(value))).collect();
    AuditRow {
        at: shown("at"),
        event,
        outcome: shown("outcome"),
        who: shown("user"),
        from: shown("from"),
        more: more.join(", "),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
