//! Asking a running proxy, and saying plainly where none answers.

use std::{error::Error, time::Duration};

use anyhow::anyhow;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::Failure;

const PATIENCE: Duration = Duration::from_secs(5);

/// What a proxy says at this path: the status, and the body where it is JSON.
pub(super) async fn json(
    base: &str,
    path: &str,
    headers: &HeaderMap,
) -> Result<(StatusCode, Option<Value>), Failure> {
    // The proxy is a neighbour: no other proxy lies between, whatever the environment says.
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
    let request = client.map_err(anyhow::Error::from)?.get(format!("{base}{path}"));
    let response = request.headers(headers.clone()).send().await;
    let response = response.map_err(|error| no_answer(base, &error))?;
    let code = response.status();
    let body = response.bytes().await.map_err(|error| no_answer(base, &error))?;
    Ok((code, serde_json::from_slice(&body).ok()))
}

fn no_answer(base: &str, error: &reqwest::Error) -> Failure {
    if error.is_builder() {
        return Failure::Usage(format!("--url {base}: must be an http or https URL"));
    }
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if error.is_connect() {
        return Failure::NotRunning(format!("no proxy is running at {base}: {cause}"));
    }
    anyhow!("{base} took the request, but did not answer it: {cause}").into()
}
