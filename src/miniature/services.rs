//! What is not records: log-in, `/me`, the schema, ONE's cache tables (ALYX.md 4.1, 5).

use http::{HeaderValue, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::{
    answer::ViewResponse,
    negotiate::Renders,
    respond::{Alyx, ViewRequest},
    sample, water,
};
use crate::alyx::{Service, coreapi, error_body, schema};

/// Methods besides GET, whether it answers without a token, and what it renders.
pub(super) fn view(service: Service) -> (&'static [&'static str], bool, Renders) {
    let writes: &[&str] = match service {
        Service::AuthToken | Service::NewDownload | Service::RegisterFile | Service::SyncFileStatus => {
            &["POST"]
        }
        _ => &[],
    };
    let renders = match service {
        Service::AuthToken => Renders::JsonOnly,
        Service::Schema => Renders::OpenApi,
        Service::Docs => Renders::CoreApi,
        _ => Renders::JsonAndHtml,
    };
    (writes, service.open(), renders)
}

pub(super) fn answer(alyx: &Alyx, service: Service, ask: &ViewRequest) -> ViewResponse {
    match service {
        Service::AuthToken => log_in(alyx, ask),
        Service::Me => ViewResponse::json(StatusCode::OK, &json!({ "username": ask.user })),
        Service::CacheZip | Service::CacheInfo if !alyx.cache_tables => {
            ViewResponse::failed("[Errno 2] No such file or directory: '/cache_info.json'")
        }
        Service::CacheZip => {
            let zip = ViewResponse::new(StatusCode::OK, "application/zip", sample::CACHE_ZIP);
            zip.with_header(
                header::CONTENT_DISPOSITION,
                HeaderValue::from_static("inline; filename=\"cache.zip\""),
            )
        }
        Service::CacheInfo => cache_info(alyx, ask),
        Service::Schema => describe(ask),
        Service::Docs => ViewResponse::json(StatusCode::OK, &coreapi::document()),
        Service::CheckProtected => ViewResponse::beyond("check whether datasets are protected"),
        Service::NewDownload | Service::RegisterFile => ViewResponse::beyond("count downloads"),
        Service::SyncFileStatus => ViewResponse::beyond("ask Globus about files"),
        Service::WaterRequirement => water::requirement(alyx, ask),
    }
}

/// A key as it stands in a path.
pub(super) fn encoded(key: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(key, KEPT).to_string()
}

/// The description of the interface, under the media type that was asked for.
fn describe(ask: &ViewRequest) -> ViewResponse {
    const OPENAPI: &str = "application/vnd.oai.openapi+json";
    let accept = ask.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let media = if accept.contains("application/json") { "application/json" } else { OPENAPI };
    let document = schema::document().to_string();
    ViewResponse::new(StatusCode::OK, media, document).with_header(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("inline; filename=\"schema.json\""),
    )
}

/// The description of the cache tables, of the whole database or of a tag.
fn cache_info(alyx: &Alyx, ask: &ViewRequest) -> ViewResponse {
    let tag = ask.path.trim_start_matches("/cache/info").trim_matches('/');
    if tag.is_empty() {
        return ViewResponse::new(StatusCode::OK, "application/json", sample::CACHE_INFO);
    }
    let data = alyx.data();
    if data.named("tags").find(tag).is_empty() {
        return ViewResponse::html(StatusCode::NOT_FOUND, "Tag matching query does not exist.");
    }
    match sample::TAGGED_CACHE_INFO.iter().find(|(name, _)| *name == tag) {
        Some((_, info)) => ViewResponse::new(StatusCode::OK, "application/json", *info),
        None => ViewResponse::beyond(&format!("have cache tables of the tag {tag}")),
    }
}

/// `POST /auth-token`, as a form, as JSON or as multipart.
fn log_in(alyx: &Alyx, ask: &ViewRequest) -> ViewResponse {
    let fields = match super::form::fields(ask) {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (name, password) = (text("username"), text("password"));
    let missing: Vec<&str> = [("username", name), ("password", password)]
        .into_iter()
        .filter_map(|(field, value)| value.is_none().then_some(field))
        .collect();
    let bad_request = |body: String| ViewResponse::new(StatusCode::BAD_REQUEST, "application/json", body);
    match (name, password) {
        (Some(name), Some(password)) => match alyx.users.log_in(name, password) {
            Some(user) => ViewResponse::json(StatusCode::OK, &json!({ "token": user.token })),
            None => bad_request(error_body::login_refused()),
        },
        _ => bad_request(error_body::fields_required(&missing)),
    }
}
