//! Asking a running proxy, and saying plainly where none answers.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use alyx_proxy::{one, server::only_this_certificate};
use anyhow::{Context, anyhow};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio_rustls::rustls;
use tokio_util::io::ReaderStream;
use zeroize::Zeroizing;

use super::{CliError, args::TokenFlag, control::Control, progress_bar::StepBar};

const A_DAY: Duration = Duration::from_hours(24);
const PATIENCE: Duration = Duration::from_secs(5);
/// Times that a request is repeated when the proxy asks for a pause, and the longest pause.
const PAUSES: u32 = 8;
const LONGEST_PAUSE: Duration = Duration::from_mins(2);

/// Where a proxy is asked.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Its base URL.
    pub(super) url: String,
    /// Its certificate, where that is known from the settings and needs nobody's word.
    pub(super) certificate: Option<PathBuf>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

/// Somebody who asks one proxy many things.
pub(super) struct ProxyClient {
    base: Target,
    client: reqwest::Client,
    headers: HeaderMap,
}

/// What a proxy said.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The body, where it is JSON.
    pub(super) body: Option<Value>,
}

impl ProxyClient {
    /// One who sends these fields with everything, and waits this long for an answer.
    pub(super) fn new(base: Target, headers: HeaderMap, patience: Duration) -> Result<Self, CliError> {
        Ok(Self { client: client(&base, patience)?, base, headers })
    }

    /// Asks this, with these fields besides.
    pub(super) async fn get(&self, path: &str, more: HeaderMap) -> Result<Reply, CliError> {
        let mut headers = self.headers.clone();
        headers.extend(more);
        let request = self.client.get(format!("{}{path}", self.base)).headers(headers);
        let response = request.send().await.map_err(|error| no_answer(&self.base, &error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(|error| no_answer(&self.base, &error))?;
        Ok(Reply { status, headers, body: serde_json::from_slice(&body).ok() })
    }

    /// Asks; where the proxy wants a pause it has one.
    pub(super) async fn get_patiently(&self, path: &str, fields: &HeaderMap) -> Result<Reply, CliError> {
        for _ in 0..PAUSES {
            let reply = self.get(path, fields.clone()).await?;
            let pause =
                reply.headers.get(header::RETRY_AFTER).and_then(|pause| pause.to_str().ok()?.parse().ok());
            match (reply.status, pause.map(Duration::from_secs)) {
                (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(pause))
                    if pause <= LONGEST_PAUSE =>
                {
                    tokio::time::sleep(pause).await;
                }
                _ => return Ok(reply),
            }
        }
        self.get(path, fields.clone()).await
    }
}

/// The token to ask with: that of the environment or the command line, or the one that ONE has for this proxy.
pub(super) fn token_for(
    place: &Target,
    given: &TokenFlag,
    user: Option<&str>,
) -> Result<Zeroizing<String>, CliError> {
    if let Some(token) = given.token() {
        return Ok(Zeroizing::new(token));
    }
    let home = etcetera::home_dir().map_err(|error| anyhow!("no home directory: {error}"))?;
    let found = one::token(&home.join(".one"), &place.url, user).map_err(anyhow::Error::from)?;
    found.ok_or_else(|| {
        let variable = alyx_proxy::settings::TOKEN_VARIABLE;
        let who = user.map_or_else(String::new, |user| format!(" as {user}"));
        CliError::Usage(format!(
            "ONE has no token for {place}{who}: log in once with ONE(base_url='{place}'), or set {variable}"
        ))
    })
}

/// The field that shows this token.
pub(super) fn authorization(token: &str) -> Result<HeaderValue, CliError> {
    let mut field = HeaderValue::try_from(format!("Token {token}"))
        .map_err(|_| CliError::Usage("--token: not a token".to_owned()))?;
    field.set_sensitive(true);
    Ok(field)
}

/// The field that shows the administrator's token.
pub(super) fn bearer(token: &str) -> Option<HeaderMap> {
    let mut field = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    field.set_sensitive(true);
    Some(HeaderMap::from_iter([(header::AUTHORIZATION, field)]))
}

/// What a proxy says at this path: the status, and the body where it is JSON.
pub(super) async fn json(
    base: &Target,
    path: &str,
    headers: &HeaderMap,
) -> Result<(StatusCode, Option<Value>), CliError> {
    read(base, client(base, PATIENCE)?.get(format!("{base}{path}")).headers(headers.clone())).await
}

/// Sends an administrator's action: the status, and the body where it is JSON.
pub(super) async fn wish(
    base: &Target,
    path: &str,
    token: &str,
    wish: &Value,
) -> Result<(StatusCode, Option<Value>), CliError> {
    // Some wishes take their time; whoever waits too long can interrupt the command.
    let request = client(base, PATIENCE)?.post(format!("{base}{path}")).bearer_auth(token).timeout(A_DAY);
    let json = HeaderValue::from_static("application/json");
    read(base, request.header(header::CONTENT_TYPE, json).body(wish.to_string())).await
}

/// Sends an administrator's action, and writes what comes back to a file that only its owner can read.
pub(super) async fn download(
    control: &Control,
    path: &str,
    wish: &Value,
    to: &Path,
    bar: &StepBar,
) -> Result<(), CliError> {
    let base = &control.base;
    let request = client(base, PATIENCE)?.post(format!("{base}{path}")).bearer_auth(control.token.as_str());
    let json = HeaderValue::from_static("application/json");
    save(base, request.header(header::CONTENT_TYPE, json).body(wish.to_string()), to, bar).await
}

/// Gets what is at this path with these fields, and writes it to a file that only its owner can read.
pub(super) async fn download_as(
    base: &Target,
    path: &str,
    headers: &HeaderMap,
    to: &Path,
    bar: &StepBar,
) -> Result<(), CliError> {
    save(base, client(base, PATIENCE)?.get(format!("{base}{path}")).headers(headers.clone()), to, bar).await
}

async fn save(
    base: &Target,
    request: reqwest::RequestBuilder,
    to: &Path,
    bar: &StepBar,
) -> Result<(), CliError> {
    let mut response = request.timeout(A_DAY).send().await.map_err(|error| no_answer(base, &error))?;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    let failed = |error| anyhow::Error::new(error).context(to.display().to_string());
    let mut file = tokio::fs::OpenOptions::new();
    let file = file.write(true).create(true).truncate(true).mode(0o600);
    let mut file = file.open(to).await.map_err(failed)?;
    let (mut done, total) = (0, response.content_length().unwrap_or_default());
    while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(base, &error))? {
        file.write_all(&chunk).await.map_err(failed)?;
        done += chunk.len() as u64;
        bar.bytes("receiving", done, total);
    }
    Ok(file.sync_all().await.map_err(failed)?)
}

/// Sends an administrator's file; what the proxy says when it has done its work with it.
pub(super) async fn upload(
    control: &Control,
    path: &str,
    from: &Path,
    bar: &StepBar,
) -> Result<Value, CliError> {
    let base = &control.base;
    let opened = async {
        let file = tokio::fs::File::open(from).await?;
        let length = file.metadata().await?.len();
        Ok::<_, std::io::Error>((file, length))
    };
    let (file, length) = opened.await.with_context(|| from.display().to_string())?;
    let request = client(base, PATIENCE)?.post(format!("{base}{path}")).bearer_auth(control.token.as_str());
    let kind = HeaderValue::from_static("application/zstd");
    bar.wait("sending, and having it imported");
    let request = request
        .timeout(A_DAY)
        .header(header::CONTENT_TYPE, kind)
        .header(header::CONTENT_LENGTH, length)
        .body(reqwest::Body::wrap_stream(ReaderStream::with_capacity(file, 256 << 10)));
    let response = request.send().await.map_err(|error| no_answer(base, &error))?;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    let body = response.bytes().await.map_err(|error| no_answer(base, &error))?;
    Ok(serde_json::from_slice(&body).map_err(anyhow::Error::from)?)
}

/// What a proxy said, or its refusal in its own words. `place` is where it was asked.
pub(super) fn granted(
    status: StatusCode,
    body: Option<Value>,
    place: impl fmt::Display,
) -> Result<Value, CliError> {
    match body {
        Some(body) if status.is_success() => Ok(body),
        body => Err(refused(status, &body.unwrap_or_default(), place)),
    }
}

fn refused(status: StatusCode, body: &Value, place: impl fmt::Display) -> CliError {
    match body["detail"].as_str() {
        Some(why) => anyhow!("{why}").into(),
        None => anyhow!("{place} answered with status {status}: is it an alyx-proxy?").into(),
    }
}

/// A refusal in the proxy's own words.
async fn refusal(response: reqwest::Response) -> CliError {
    let (status, url) = (response.status(), response.url().clone());
    let body = serde_json::from_slice(&response.bytes().await.unwrap_or_default()).unwrap_or_default();
    refused(status, &body, url)
}

/// The proxy is a neighbour: no other proxy lies between, whatever the environment says.
fn client(place: &Target, patience: Duration) -> Result<reqwest::Client, CliError> {
    let mut client = reqwest::Client::builder().no_proxy().timeout(patience);
    if let Some(certificate) = &place.certificate {
        client = client
            .tls_backend_preconfigured(only_this_certificate(certificate).map_err(anyhow::Error::from)?);
    }
    Ok(client.build().map_err(anyhow::Error::from)?)
}

async fn read(
    base: &Target,
    request: reqwest::RequestBuilder,
) -> Result<(StatusCode, Option<Value>), CliError> {
    let response = request.send().await.map_err(|error| no_answer(base, &error))?;
    let code = response.status();
    let body = response.bytes().await.map_err(|error| no_answer(base, &error))?;
    Ok((code, serde_json::from_slice(&body).ok()))
}

fn no_answer(base: &Target, error: &reqwest::Error) -> CliError {
    if error.is_builder() {
        return CliError::Usage(format!("--url {base}: must be an http or https URL"));
    }
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if speaks_no_tls(cause) {
        return anyhow!("{base} speaks no https: is it http://…? ({cause})").into();
    }
    if is_of_tls(cause) {
        return CliError::NotRunning(format!(
            "something runs at {base}, but its certificate is not trusted here: {cause}. A self-made one is trusted where the \
             settings name it (`server.tls_certificate`); one of a lab's own authority where the system knows that"
        ));
    }
    if error.is_connect() {
        return CliError::NotRunning(format!("no proxy is running at {base}: {cause}"));
    }
    anyhow!("{base} took the request, but did not answer it: {cause}").into()
}

/// Whether what came is no TLS: the port speaks http.
pub(super) fn speaks_no_tls(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => speaks_no_tls(inner),
        None => matches!(error.downcast_ref(), Some(rustls::Error::InvalidMessage(_))),
    }
}

/// An error of TLS comes wrapped in errors of I/O, which don't name it as their source.
pub(super) fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => is_of_tls(inner),
        None => error.is::<rustls::Error>(),
    }
}
