//! Which representation is asked for (ALYX.md 2.1 rule 8, 4.4). The miniature renders JSON; where
//! Alyx would render HTML it refuses.

use http::{StatusCode, header};

use super::{answer::ViewResponse, respond::ViewRequest};
use crate::alyx::coreapi;

/// What a view can render.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renders {
    /// JSON and browsable HTML: the views of records.
    JsonAndHtml,
    /// JSON alone: log-in.
    JsonOnly,
    /// OpenAPI, as YAML where nothing else is asked for.
    OpenApi,
    /// The CoreAPI document where it is asked for by name, HTML for everyone else.
    CoreApi,
}

impl Renders {
    /// Media types in Alyx's order of preference, and whether the miniature renders them.
    fn types(self) -> &'static [(&'static str, bool)] {
        match self {
            Self::JsonAndHtml => &[("application/json", true), ("text/html", false)],
            Self::JsonOnly => &[("application/json", true)],
            Self::OpenApi => &[
                ("application/vnd.oai.openapi", false),
                ("application/yaml", false),
                ("application/vnd.oai.openapi+json", true),
                ("application/json", true),
            ],
            Self::CoreApi => &[(coreapi::MEDIA_TYPE, true)],
        }
    }
}

/// Refuses what Alyx would refuse, and what the miniature does not render.
pub(super) fn check(renders: Renders, ask: &ViewRequest) -> Result<(), ViewResponse> {
    let format = ask.pairs.iter().rev().find(|(name, _)| name == "format").map(|(_, value)| value.as_str());
    match (renders, format) {
        (Renders::JsonAndHtml, Some("json")) => {
            return Err(ViewResponse::beyond("repeat format=json in its links: ask by the Accept header"));
        }
        (_, Some("json")) => return Ok(()),
        (Renders::JsonAndHtml, Some("api")) | (Renders::OpenApi, Some("yaml")) => {
            return Err(beyond(renders));
        }
        (_, Some(format)) if !format.is_empty() => {
            return Err(ViewResponse::refused(StatusCode::NOT_FOUND, "Not found.").early());
        }
        _ => {}
    }
    let accept = match ask.headers.get(header::ACCEPT) {
        Some(accept) => accept.to_str().unwrap_or_default(),
        None => "*/*",
    };
    let mut ranges: Vec<&str> = accept.split(',').map(str::trim).collect();
    // Alyx prefers the more specific; it does not look at q.
    ranges.sort_by_key(|range| specificity(range));
    // Everyone who doesn't ask for CoreAPI by name gets HTML, whatever they accept.
    if renders == Renders::CoreApi && !ranges.contains(&coreapi::MEDIA_TYPE) {
        return Err(beyond(renders));
    }
    for range in ranges {
        if let Some((_, rendered)) = renders.types().iter().find(|(media, _)| matches(range, media)) {
            let indented = range.split(';').skip(1).any(|part| part.trim().starts_with("indent="));
            return match (rendered, indented) {
                (true, false) => Ok(()),
                (true, true) => Err(ViewResponse::beyond("indent JSON")),
                (false, _) => Err(beyond(renders)),
            };
        }
    }
    Err(ViewResponse::refused(StatusCode::NOT_ACCEPTABLE, "Could not satisfy the request Accept header.")
        .early())
}

fn beyond(renders: Renders) -> ViewResponse {
    match renders {
        Renders::OpenApi => {
            ViewResponse::beyond("write the schema as YAML: ask for application/vnd.oai.openapi+json")
        }
        _ => ViewResponse::beyond("render HTML: ask for application/json"),
    }
}

/// Lower is more specific.
fn specificity(range: &str) -> u8 {
    let media = range.split(';').next().unwrap_or_default().trim();
    match media.split_once('/') {
        Some(("*", _)) => 3,
        Some((_, "*")) => 2,
        _ if range.contains(';') => 0,
        _ => 1,
    }
}

fn matches(range: &str, media: &str) -> bool {
    let range = range.split(';').next().unwrap_or_default().trim();
    let (kind, name) = range.split_once('/').unwrap_or((range, ""));
    let (media_kind, media_name) = media.split_once('/').unwrap_or((media, ""));
    (kind == "*" || kind == media_kind) && (name == "*" || name == media_name)
}
