//! `/-/files`: the lab's data files that lie here.

use askama::Template;
use axum::body::Body;
use http::Response;
use serde_json::{Value, json};

use super::{
    Visit,
    error::ProxyError,
    frame::{Frame, page},
    status::size,
    text_response,
};
use crate::{
    clock,
    files::{DataFiles, DifferingFile, FilesUsage, IndexError, KeptSession},
};

/// Sessions that are shown on the page; JSON has all.
const ROWS: usize = 500;

#[derive(Template)]
#[template(path = "files.html")]
struct DataFilesPage {
    frame: Frame,
    /// None where no data files are given.
    shown: Option<ShownFiles>,
    logged_in: bool,
}

struct ShownFiles {
    usage: FilesUsage,
    bytes: String,
    given: String,
    fetched: String,
    saved: String,
    hit_rate: String,
    sessions: Vec<SessionRow>,
    /// Sessions that are here and not shown.
    more: usize,
    differing: Vec<DifferingRow>,
}

struct SessionRow {
    session: String,
    files: u64,
    compared: u64,
    bytes: String,
    used: String,
}

struct DifferingRow {
    path: String,
    /// What it is.
    is: String,
    /// What Alyx says.
    said: String,
    at: String,
}

impl Visit {
    /// The page; strangers see counts.
    pub(super) async fn files_page(&self) -> Response<Body> {
        let logged_in = self.counts();
        let shown = match &self.admin.core.data_files {
            Some(files) => match shown(files, logged_in).await {
                Ok(shown) => Some(shown),
                Err(error) => return unreadable(&error),
            },
            None => None,
        };
        let frame = self.frame("files", "Data files");
        page(&DataFilesPage { frame, shown, logged_in }, 200)
    }

    /// The same as JSON.
    pub(super) async fn files_json(&self) -> Response<Body> {
        let told = match &self.admin.core.data_files {
            Some(files) => told(files, self.counts()).await,
            None => Ok(Value::Null),
        };
        match told {
            Ok(told) => text_response(&format!("{:#}\n", json!({ "files": told })), "application/json"),
            Err(error) => unreadable(&error),
        }
    }
}

async fn told(files: &DataFiles, names: bool) -> Result<Value, IndexError> {
    let usage = files.usage();
    let mut told = json!({ "usage": usage, "saved": saved(&usage), "hit_rate": hit_rate(&usage) });
    if names {
        told["sessions"] = json!(files.kept_sessions().await?);
        told["differing"] = json!(files.differing().await?);
    }
    Ok(told)
}

async fn shown(files: &DataFiles, names: bool) -> Result<ShownFiles, IndexError> {
    let usage = files.usage();
    let (mut sessions, mut differing) = (Vec::new(), Vec::new());
    if names {
        (sessions, differing) = (files.kept_sessions().await?, files.differing().await?);
    }
    Ok(ShownFiles {
        bytes: size(usage.bytes),
        given: size(usage.given),
        fetched: size(usage.fetched),
        saved: size(saved(&usage)),
        hit_rate: hit_rate(&usage).map_or_else(String::new, |rate| format!("{:.0} %", rate * 100.0)),
        usage,
        more: sessions.len().saturating_sub(ROWS),
        sessions: sessions.into_iter().take(ROWS).map(row).collect(),
        differing: differing.into_iter().map(differing_row).collect(),
    })
}

fn row(kept: KeptSession) -> SessionRow {
    SessionRow {
        session: kept.session.unwrap_or_else(|| "of no session".to_owned()),
        files: kept.files,
        compared: kept.compared,
        bytes: size(kept.bytes),
        used: clock::for_people(kept.used_at),
    }
}

fn differing_row(file: DifferingFile) -> DifferingRow {
    let text = |hash: Option<String>, length: Option<u64>| {
        let length = length.map(|length| format!("{length} bytes"));
        [hash.map(|hash| format!("MD5 {hash}")), length].into_iter().flatten().collect::<Vec<_>>().join(", ")
    };
    DifferingRow {
        path: file.path,
        is: text(file.md5, Some(file.length)),
        said: text(file.record.hash, file.record.size),
        at: clock::for_people(file.at),
    }
}

/// Bytes that clients got and the data server did not give.
fn saved(usage: &FilesUsage) -> u64 {
    usage.given.saturating_sub(usage.fetched)
}

/// How many of the answers were all from here, from 0 to 1; none where there were none.
#[allow(clippy::cast_precision_loss, reason = "a share for people")]
fn hit_rate(usage: &FilesUsage) -> Option<f64> {
    (usage.requests > 0).then(|| usage.hits as f64 / usage.requests as f64)
}

fn unreadable(error: &IndexError) -> Response<Body> {
    tracing::error!(%error, "what is kept of data files can't be read");
    let text = "What is kept of data files can't be read; the proxy's log says more.";
    ProxyError::refused(http::StatusCode::INTERNAL_SERVER_ERROR, text).into()
}
