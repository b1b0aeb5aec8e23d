//! What a request sends: JSON, a form, or multipart (ALYX.md 4.4).

use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::{StatusCode, header};
use serde_json::{Map, Value};

use super::{answer::ViewResponse, respond::ViewRequest};
use crate::alyx::{json, query_string, record};

/// The fields that the request sends; files only by their name.
pub(super) fn fields(ask: &ViewRequest) -> Result<Map<String, Value>, ViewResponse> {
    match value(ask)? {
        Value::Object(fields) => Ok(fields),
        other => Err(not_an_object(&other)),
    }
}

/// Alyx's refusal of what has no fields.
pub(super) fn not_an_object(sent: &Value) -> ViewResponse {
    let kind = match sent {
        Value::Array(_) => "list",
        Value::String(_) => "str",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        _ => "int",
    };
    let message = format!("Invalid data. Expected a dictionary, but got {kind}.");
    ViewResponse::invalid([("non_field_errors", vec![message])])
}

/// What the request sends; with JSON it may also be an array.
pub(super) fn value(ask: &ViewRequest) -> Result<Value, ViewResponse> {
    let content_type = ask.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        _ if ask.body.is_empty() => Ok(Value::Object(Map::new())),
        "application/json" => parse(&ask.body),
        "application/x-www-form-urlencoded" => {
            let text = String::from_utf8_lossy(&ask.body);
            let pairs = query_string::parse(&text).into_iter();
            Ok(Value::Object(pairs.map(|(name, value)| (name, Value::String(value))).collect()))
        }
        "multipart/form-data" => multipart(content_type, ask.body.clone()).map(Value::Object),
        _ => {
            let detail = format!("Unsupported media type \"{content_type}\" in request.");
            Err(ViewResponse::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, &detail))
        }
    }
}

fn parse(body: &Bytes) -> Result<Value, ViewResponse> {
    let refused = |reason: String| {
        Err(ViewResponse::refused(StatusCode::BAD_REQUEST, &format!("JSON parse error - {reason}")))
    };
    let Ok(text) = std::str::from_utf8(body) else { return refused("the text is not UTF-8".to_owned()) };
    match json::check(text) {
        Ok(()) => Ok(record::parse(text)),
        Err(error) => refused(in_words_of_python(text, error.at)),
    }
}

/// Python's message for JSON that goes wrong at this byte.
fn in_words_of_python(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let (line, column) = (before.matches('\n').count() + 1, before.chars().rev().take_while(|c| *c != '\n'));
    let (column, character) = (column.count() + 1, before.chars().count());
    let expected = match before.trim_end().chars().last() {
        Some('{') => "Expecting property name enclosed in double quotes",
        None | Some('[' | ':' | ',') => "Expecting value",
        Some(_) => "Expecting ',' delimiter",
    };
    format!("{expected}: line {line} column {column} (char {character})")
}

/// The fields of a multipart body; a file counts as its name.
fn multipart(content_type: &str, body: Bytes) -> Result<Map<String, Value>, ViewResponse> {
    let malformed = |reason: &str| {
        ViewResponse::refused(StatusCode::BAD_REQUEST, &format!("Multipart form parse error - {reason}"))
    };
    let boundary = multer::parse_boundary(content_type).map_err(|error| malformed(&error.to_string()))?;
    let body = stream::once(async { Ok::<_, std::io::Error>(body) });
    let read = async {
        let mut parts = multer::Multipart::new(body, boundary);
        let mut fields = Map::new();
        while let Some(part) = parts.next_field().await? {
            let name = part.name().unwrap_or_default().to_owned();
            let value = match part.file_name() {
                Some(file) => file.to_owned(),
                None => part.text().await?,
            };
            fields.insert(name, Value::String(value));
        }
        Ok::<_, multer::Error>(fields)
    };
    // The whole body is at hand, so reading it never waits.
    match read.now_or_never() {
        Some(Ok(fields)) => Ok(fields),
        Some(Err(error)) => Err(malformed(&error.to_string())),
        None => Err(malformed("the body ends too early")),
    }
}
