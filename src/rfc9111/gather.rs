//! Reading a body whole, so that it can be stored, in the room that there is for it.
//!
//! All bodies that are held whole share that room: stored ones, those that are being read, and those that clients have yet
//! to take. What finds none is passed on as it comes and not stored, so that memory does not grow with the requests that are
//! under way.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;

use super::stored::Shelf;
use crate::{http::body::Buffered, upstream::UpstreamError};

/// Bytes with the room that they take, which is free again when nobody has them any more.
struct ReservedBytes {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for ReservedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body that is said to be of this length whole, if it is no longer than `limit` bytes and the shelf has room.
pub(super) async fn gather(
    body: Body,
    said: Option<usize>,
    limit: usize,
    shelf: &Shelf,
) -> Result<Buffered, UpstreamError> {
    let said = said.unwrap_or(0);
    let Some(mut room) = (said <= limit).then(|| shelf.room(said)).flatten() else {
        return Ok(Buffered::Overflow(body));
    };
    let mut stream = body.into_data_stream();
    let mut read = BytesMut::with_capacity(said);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| UpstreamError::Truncated)?;
        let length = read.len() + chunk.len();
        let more = length.saturating_sub(room.num_permits());
        let Some(more) = (length <= limit).then(|| shelf.room(more)).flatten() else {
            let read = [Ok(held(read, room)), Ok(chunk)];
            return Ok(Buffered::Overflow(Body::from_stream(futures_util::stream::iter(read).chain(stream))));
        };
        room.merge(more);
        read.extend_from_slice(&chunk);
    }
    Ok(Buffered::Complete(held(read, room)))
}

fn held(read: BytesMut, room: OwnedSemaphorePermit) -> Bytes {
    // It may be kept for long: without the room that it was given to grow.
    let spare = read.capacity() - read.len();
    let bytes = if spare > read.len() / 8 { Bytes::copy_from_slice(&read) } else { read.freeze() };
    Bytes::from_owner(ReservedBytes { bytes, _room: room })
}
