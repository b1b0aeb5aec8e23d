//! Having the proxy that is running synchronise, and telling how far it is.

use std::collections::BTreeMap;

use alyx_proxy::{
    alyx::Endpoint,
    mirror::sync::TableProgress,
    settings::{Sources, load},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{SummaryLine, failed, report, teller::ProgressReporter};
use crate::cli::{CliError, CommandResult, args::StatusFlags, client, control::Control};

/// What is read of `/-/status.json`.
#[derive(Deserialize)]
struct RunningStatus {
    mirror: RunningMirror,
}

#[derive(Deserialize)]
struct RunningMirror {
    tables: Vec<RunningTable>,
    #[serde(default)]
    progress: BTreeMap<String, TableProgress>,
}

#[derive(Deserialize)]
struct RunningTable {
    endpoint: String,
    rows: u64,
    details: bool,
}

pub(super) async fn run(sources: &Sources, named: &[&'static Endpoint], as_json: bool) -> CommandResult {
    let control = Control::of(&load(sources)?.settings, &StatusFlags { url: None, json: as_json })?;
    let wished: Vec<_> = named.iter().map(|endpoint| endpoint.name).collect();
    let wish = json!({ "endpoints": wished, "wait": true });
    let done = {
        let ended = control.wish("sync", &wish);
        tokio::pin!(ended);
        let mut teller = ProgressReporter::new();
        loop {
            match tokio::time::timeout(teller.pause(), &mut ended).await {
                Ok(done) => break done?,
                Err(_) => teller.tell(mirror(&control).await?.progress),
            }
        }
    };
    let errors: BTreeMap<String, String> =
        serde_json::from_value(done["errors"].clone()).map_err(anyhow::Error::from)?;
    let chosen = done["synchronising"].as_array().cloned().unwrap_or_default();
    let tables = mirror(&control).await?.tables;
    let lines: Vec<SummaryLine> = chosen
        .iter()
        .filter_map(Value::as_str)
        .map(|endpoint| {
            let table = tables.iter().find(|table| table.endpoint == endpoint);
            SummaryLine {
                endpoint: endpoint.to_owned(),
                rows: table.map_or(0, |table| table.rows),
                details: table.is_some_and(|table| table.details),
                error: errors.get(endpoint).cloned(),
            }
        })
        .collect();
    report(&lines, as_json)?;
    failed(errors.into_values())
}

async fn mirror(control: &Control) -> Result<RunningMirror, CliError> {
    let headers = client::bearer(&control.token).unwrap_or_default();
    let (_, body) = client::json(&control.base, "/-/status.json", &headers).await?;
    let status: RunningStatus =
        serde_json::from_value(body.unwrap_or_default()).map_err(anyhow::Error::from)?;
    Ok(status.mirror)
}
