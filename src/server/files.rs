//! ONE's cache tables: `cache.zip`.

use std::{io, sync::Arc};

use axum::body::Body;
use http::Response;

use super::{Asked, Proxy, pass, status::Forward};
use crate::store::Store;

/// The files that are kept beside the database.
#[derive(Debug)]
pub(super) struct Files;

impl Files {
    pub(super) fn open(_store: &Store) -> io::Result<Self> {
        Ok(Self)
    }
}

/// Answers a GET or HEAD of `cache.zip`.
pub(super) async fn answer(proxy: &Arc<Proxy>, asked: Asked) -> Response<Body> {
    pass::answer(proxy, asked, Body::empty(), Forward::Bypass("file")).await
}
