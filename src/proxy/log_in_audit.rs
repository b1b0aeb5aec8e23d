//! Log-ins in the audit log: who, whence, and what came of it.

use std::net::IpAddr;

use axum::body::Body;
use http::{Response, StatusCode};

use super::core::Core;
use crate::{
    http::cache_status::CacheStatus,
    storage::types::TokenHash,
    telemetry::audit::{AuditEntry, AuditStream, fingerprint},
};

/// Marks a refusal of a log-in whose name is one that Alyx has accepted here before. Of others it is not known that they are
/// names: people type passwords there.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownName;

/// Marks an answer to a log-in with the token in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct GivenToken(pub(super) TokenHash);

/// Notes what came of a log-in with this name.
pub(super) fn note(core: &Core, user: Option<&str>, from: IpAddr, response: &Response<Body>) {
    let by = match response.extensions().get::<CacheStatus>() {
        Some(CacheStatus::Forwarded { .. }) => "alyx",
        _ => "proxy",
    };
    let (stream, outcome) = match response.status() {
        StatusCode::OK => (AuditStream::LogIns, "accepted"),
        StatusCode::TOO_MANY_REQUESTS => (AuditStream::Refusals, "too-many"),
        status if status.is_client_error() => (AuditStream::Refusals, "refused"),
        _ => (AuditStream::Refusals, "undecided"),
    };
    let mut entry = AuditEntry::new(stream, "log-in", outcome);
    entry = match user {
        Some(user) if stream == AuditStream::LogIns => entry.name("user", user),
        Some(user) if response.extensions().get::<KnownName>().is_some() => entry.name("user", user),
        Some(typed) => entry.guess("user", typed),
        None => entry,
    };
    if let Some(GivenToken(token)) = response.extensions().get() {
        entry = entry.plain("token", fingerprint(*token));
    }
    core.audit.note(entry.from(from).plain("by", by).plain("status", response.status().as_u16()));
}

/// Notes that somebody has pasted a token into the log-in page, and with which status it was refused, if so.
pub(crate) fn note_pasted(core: &Core, token: TokenHash, from: IpAddr, refused: Option<u16>) {
    let (stream, said) = match refused {
        None => (AuditStream::LogIns, "accepted"),
        Some(403 | 400) => (AuditStream::Refusals, "refused"),
        Some(_) => (AuditStream::Refusals, "undecided"),
    };
    let entry = AuditEntry::new(stream, "log-in", said).plain("token", fingerprint(token));
    core.audit.note(entry.from(from).plain("by", "token"));
}

/// Notes that Alyx refuses a token, now or since before.
pub(crate) fn note_refused_token(core: &Core, token: TokenHash, from: IpAddr) {
    let entry = AuditEntry::new(AuditStream::Refusals, "token", "refused");
    core.audit.note(entry.plain("token", fingerprint(token)).from(from));
}
