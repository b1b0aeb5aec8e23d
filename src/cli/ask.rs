//! Asking a running proxy, and saying plainly where none answers.

use std::{error::Error, fmt, path::PathBuf, time::Duration};

use alyx_proxy::server::only_this_certificate;
use anyhow::anyhow;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;

use super::Failure;

const A_DAY: Duration = Duration::from_secs(86_400);
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a proxy is asked.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Its base URL.
    pub(super) url: String,
    /// Its certificate, where that is known from the settings and needs nobody's word.
    pub(super) certificate: Option<PathBuf>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// What a proxy says at this path: the status, and the body where it is JSON.
pub(super) async fn json(
    base: &Place,
    path: &str,
    headers: &HeaderMap,
) -> Result<(StatusCode, Option<Value>), Failure> {
    read(base, client(base)?.get(format!("{base}{path}")).headers(headers.clone())).await
}

/// Sends an administrator's wish: the status, and the body where it is JSON.
pub(super) async fn wish(
    base: &Place,
    path: &str,
    token: &str,
    wish: &Value,
) -> Result<(StatusCode, Option<Value>), Failure> {
    // Some wishes take their time; whoever waits too long can interrupt the command.
    let request = client(base)?.post(format!("{base}{path}")).bearer_auth(token).timeout(A_DAY);
    let json = HeaderValue::from_static("application/json");
    read(base, request.header(header::CONTENT_TYPE, json).body(wish.to_string())).await
}

/// The proxy is a neighbour: no other proxy lies between, whatever the environment says.
fn client(place: &Place) -> Result<reqwest::Client, Failure> {
    let mut client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    if let Some(certificate) = &place.certificate {
        client = client
            .tls_backend_preconfigured(only_this_certificate(certificate).map_err(anyhow::Error::from)?);
    }
    Ok(client.build().map_err(anyhow::Error::from)?)
}

async fn read(
    base: &Place,
    request: reqwest::RequestBuilder,
) -> Result<(StatusCode, Option<Value>), Failure> {
    let response = request.send().await.map_err(|error| no_answer(base, &error))?;
    let code = response.status();
    let body = response.bytes().await.map_err(|error| no_answer(base, &error))?;
    Ok((code, serde_json::from_slice(&body).ok()))
}

fn no_answer(base: &Place, error: &reqwest::Error) -> Failure {
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
