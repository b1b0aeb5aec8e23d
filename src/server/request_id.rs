//! `X-Request-Id`: what a request is called in the log and to its client.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use http::{HeaderName, HeaderValue};

/// What a request is called in the log and to its client.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A name for a request that has none: that of this run of the program, and a number.
pub(crate) fn new_name() -> HeaderValue {
    static RUN: LazyLock<u32> = LazyLock::new(rand::random);
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let name = format!("{:08x}-{}", *RUN, NUMBER.fetch_add(1, Ordering::Relaxed));
    // Hexadecimal digits and a number are always fit for a field.
    HeaderValue::try_from(name).unwrap_or_else(|_| HeaderValue::from_static("0"))
}
