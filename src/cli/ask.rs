//! Asking a running proxy, and saying plainly where none answers.

use std::{error::Error, time::Duration};

use anyhow::anyhow;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;

use super::Failure;

const A_DAY: Duration = Duration::from_secs(86_400);
const PATIENCE: Duration = Duration::from_secs(5);

/// What a proxy says at this path: the status, and the body where it is JSON.
pub(super) async fn json(
    base: &str,
    path: &str,
    headers: &HeaderMap,
) -> Result<(StatusCode, Option<Value>), Failure> {
    read(base, client()?.get(format!("{base}{path}")).headers(headers.clone())).await
}

/// Sends an administrator's wish: the status, and the body where it is JSON.
pub(super) async fn wish(
    base: &str,
    path: &str,
    token: &str,
    wish: &Value,
) -> Result<(StatusCode, Option<Value>), Failure> {
    // Some wishes take their time; whoever waits too long can interrupt the command.
    let request = client()?.post(format!("{base}{path}")).bearer_auth(token).timeout(A_DAY);
    let json = HeaderValue::from_static("application/json");
    read(base, request.header(header::CONTENT_TYPE, json).body(wish.to_string())).await
}

/// The proxy is a neighbour: no other proxy lies between, whatever the environment says.
fn client() -> Result<reqwest::Client, Failure> {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build();
    Ok(client.map_err(anyhow::Error::from)?)
}

async fn read(base: &str, request: reqwest::RequestBuilder) -> Result<(StatusCode, Option<Value>), Failure> {
    let response = request.send().await.map_err(|error| no_answer(base, &error))?;
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
