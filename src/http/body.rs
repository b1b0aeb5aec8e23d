//! Bodies: read whole up to a limit, or cut off there.

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, header};
use http_body_util::Limited;

use crate::settings::value::Size;

/// A request's body, cut off where it grows beyond `limit`; `None` if it says at once that it will.
pub(crate) fn limited(headers: &HeaderMap, body: Body, limit: Size) -> Option<Body> {
    let length = headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let fits = length.is_none_or(|length| length <= limit.0);
    fits.then(|| Body::new(Limited::new(body, limit.bytes())))
}

/// A body, read as far as a limit allows.
pub(crate) enum Buffered {
    /// All of it.
    Complete(Bytes),
    /// Too much: what was read, and the rest.
    Overflow(Body),
}

/// Reads a body whole, if it is no longer than `limit` bytes.
pub(crate) async fn read_limited(body: Body, limit: usize) -> Result<Buffered, axum::Error> {
    let mut stream = body.into_data_stream();
    let mut whole = bytes::BytesMut::new();
    while let Some(chunk) = stream.next().await {
        whole.extend_from_slice(&chunk?);
        if whole.len() > limit {
            let read = futures_util::stream::once(std::future::ready(Ok(whole.freeze())));
            return Ok(Buffered::Overflow(Body::from_stream(read.chain(stream))));
        }
    }
    Ok(Buffered::Complete(whole.freeze()))
}

/// Whether a request carries a body, be it empty (RFC 9112 6.3).
pub(crate) fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}
