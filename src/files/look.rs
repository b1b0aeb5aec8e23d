//! Who may have which file, and whether it is still what it was: the data server says so, asked with the credentials of
//! whoever asks, once for all requests that come with them at that moment.
//!
//! Its word counts for this path alone: of two files in one folder one may be open and the other not.

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};

use super::{
    DataFiles, answer::fresh_for, credentials::DataCredentials, index::IndexedFile, path::DataPath,
    source::SourceRequest, version::FileVersion,
};
use crate::upstream::UpstreamError;

/// What the data server says of a file to somebody.
#[derive(Debug, Clone)]
pub(super) enum LookOutcome {
    /// It gives it, and it is this one.
    File(IndexedFile),
    /// It says something else, or gives what can't be kept: its own answer is the one to give.
    Pass,
}

/// Whose look it is, at which path, and whether it must be a new one.
pub(super) type LookKey = ([u8; 32], DataPath, bool);

impl DataFiles {
    /// Asks the data server about a file; without `news`, what it said to another request a moment ago will do.
    pub(super) async fn look(
        self: &Arc<Self>,
        path: &DataPath,
        credentials: &DataCredentials,
        news: bool,
    ) -> Result<LookOutcome, UpstreamError> {
        let (files, path, credentials) = (self.clone(), path.clone(), credentials.clone());
        let key = (credentials.hash(), path.clone(), news);
        let flight = self.looks.join(key, move || async move {
            match files.known(&path, &credentials).await {
                Some(file) if !news => Ok(LookOutcome::File(file)),
                _ => files.ask_about(&path, &credentials).await,
            }
        });
        flight.outcome().await.unwrap_or(Err(UpstreamError::Reset))
    }

    /// What the data server has said lately enough.
    async fn known(&self, path: &DataPath, credentials: &DataCredentials) -> Option<IndexedFile> {
        let (now, settings) = (self.clock.now(), self.settings.load_full());
        let found = self.index.find(path.as_str(), credentials.hash(), now).await.ok().flatten();
        found.filter(|file| fresh_for(file, &settings, now).is_some())
    }

    async fn ask_about(
        &self,
        path: &DataPath,
        credentials: &DataCredentials,
    ) -> Result<LookOutcome, UpstreamError> {
        let fields = credentials.fields();
        let request = SourceRequest { method: Method::HEAD, path, query: None, fields };
        let response = self.ask(request).await?;
        match response.status() {
            StatusCode::OK => Ok(self.given(path, credentials, response.headers()).await),
            status if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
                Err(UpstreamError::Unavailable(status.as_u16()))
            }
            StatusCode::TOO_MANY_REQUESTS => Err(UpstreamError::Unavailable(429)),
            _ => {
                if let Err(error) = self.index.revoke(path.as_str(), credentials.hash()).await {
                    tracing::error!(%error, "that somebody may no longer have a file is not noted");
                }
                Ok(LookOutcome::Pass)
            }
        }
    }

    /// The data server gives the file.
    async fn given(
        &self,
        path: &DataPath,
        credentials: &DataCredentials,
        headers: &HeaderMap,
    ) -> LookOutcome {
        let Some(version) = FileVersion::of(headers) else { return LookOutcome::Pass };
        let (now, word) = (self.clock.now(), self.word_on(path.as_str()).await);
        if self.is_refuted(path, &version, &word).await {
            self.standings.note(credentials, now);
            return LookOutcome::Pass;
        }
        match self.index.vouch(path.as_str(), version, credentials.hash(), now).await {
            Ok((file, old)) => {
                self.standings.note(credentials, now);
                if let Some(old) = old {
                    self.remove(old).await;
                }
                self.settle(path, file, word).await
            }
            Err(error) => {
                tracing::warn!(%error, "a file is passed on and not kept");
                LookOutcome::Pass
            }
        }
    }

    /// Removes the blocks of a file that the index has forgotten.
    pub(super) async fn remove(&self, id: i64) {
        let (folder, index, room) = (self.folder.clone(), self.index.clone(), self.room.clone());
        let removing = tokio::task::spawn_blocking(move || {
            folder.remove(id);
            match index.usage() {
                Ok(usage) => room.set(usage),
                Err(error) => tracing::warn!(%error, "the room that files take is not known"),
            }
        });
        let _ = removing.await;
    }
}
