//! The service account: what the proxy asks of its own accord it asks under this name (ALYX.md 4.1).

use std::{
    io,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::RequestBuilder;

use super::{
    Upstream, UpstreamError, UpstreamRequest, UpstreamResponse, fetch, measure::Measured, rate_limit::Caller,
};
use crate::{
    alyx::{error_body, route::LOG_IN},
    settings,
};

/// What Alyx says to a log-in is a hundred bytes.
const MAX_BODY: usize = 64 << 10;

/// Why nothing can be asked under the account's name.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccountError {
    /// Alyx did not answer.
    #[error("Alyx was not reached: {0}")]
    Failure(#[from] UpstreamError),
    /// Alyx does not accept the user name and password.
    #[error(
        "Alyx does not accept the account's user name and password (status {0}); set `mirror.username` and `mirror.password` right and start anew: until then it is not asked again"
    )]
    LogIn(u16),
    /// Alyx does not accept the token, and there is no password to have another one by.
    #[error(
        "Alyx does not accept the account's token; set `mirror.token` to one that it accepts, or `mirror.username` and `mirror.password`"
    )]
    Token,
    /// The file with the token can't be read.
    #[error("{0}: {1}")]
    File(PathBuf, String),
}

impl AccountError {
    /// Whether Alyx knows the account and does not accept it, rather than being away or broken.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Token => true,
            // 408 and 429 say something else.
            Self::LogIn(status) => (400..500).contains(status) && !matches!(status, 408 | 429),
            Self::Failure(_) | Self::File(..) => false,
        }
    }

    /// Whether Alyx could not be reached.
    pub fn is_outage(&self) -> bool {
        matches!(self, Self::Failure(failure) if failure.is_outage() || *failure == UpstreamError::Offline)
    }
}

/// A user of Alyx in whose name the mirror is synchronised.
#[derive(Debug)]
pub struct Account {
    username: String,
    password: String,
    token: ArcSwapOption<HeaderValue>,
    /// How long a log-in may wait for its turn, and how long it may take then (`upstream.timeout`).
    timeout: Duration,
    /// Why Alyx refused it when it was asked last.
    refused: Mutex<Option<AccountError>>,
    /// Held while logging in, so that one log-in serves all who wait.
    logging_in: tokio::sync::Mutex<()>,
}

impl Account {
    /// The account that the settings name, if they name one; a log-in of it takes no longer than `timeout`.
    pub fn of(settings: &settings::MirrorSettings, timeout: Duration) -> Result<Option<Self>, AccountError> {
        if !settings.has_account() {
            return Ok(None);
        }
        let mut token = settings.token.clone();
        let file = &settings.token_file;
        if token.is_empty() && !file.as_os_str().is_empty() {
            let failed = |error: io::Error| AccountError::File(file.clone(), error.to_string());
            std::fs::read_to_string(file).map_err(failed)?.trim().clone_into(&mut token);
        }
        let token = if token.is_empty() { None } else { Some(header(&token)?) };
        Ok(Some(Self {
            username: settings.username.clone(),
            password: settings.password.clone(),
            token: ArcSwapOption::new(token.map(Into::into)),
            timeout,
            refused: Mutex::default(),
            logging_in: tokio::sync::Mutex::default(),
        }))
    }

    /// Reads an answer of Alyx's under this name, behind all requests of people; logs in where that is needed.
    pub async fn fetch(
        &self,
        upstream: &Upstream,
        ask: &UpstreamRequest,
    ) -> Result<UpstreamResponse, AccountError> {
        // Many wrong log-ins lock an account.
        if let Some(error) = self.refusal() {
            return Err(error);
        }
        let result = self.fetch_logged_in(upstream, ask).await;
        if let Err(error) = result.as_ref()
            && error.is_refusal()
        {
            let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
            if refused.replace(error.clone()).is_none() {
                tracing::error!("nothing is synchronised: {error}");
            }
        }
        result
    }

    /// Why Alyx refused its token or password when it was asked last; it is not asked again.
    pub fn refusal(&self) -> Option<AccountError> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has Alyx asked once more, as somebody wishes it.
    pub fn try_again(&self) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    async fn fetch_logged_in(
        &self,
        upstream: &Upstream,
        ask: &UpstreamRequest,
    ) -> Result<UpstreamResponse, AccountError> {
        let token = self.token(upstream, None).await?;
        let answer = Self::ask(upstream, ask, &token).await?;
        if !is_refused(&answer) {
            return Ok(answer);
        }
        let token = self.token(upstream, Some(&token)).await?;
        let answer = Self::ask(upstream, ask, &token).await?;
        if is_refused(&answer) { Err(AccountError::Token) } else { Ok(answer) }
    }

    async fn ask(
        upstream: &Upstream,
        ask: &UpstreamRequest,
        token: &HeaderValue,
    ) -> Result<UpstreamResponse, UpstreamError> {
        let ask = UpstreamRequest {
            authorization: Some(token.clone()),
            who: Some(Caller::of(token)),
            ..ask.clone()
        };
        // Whoever waits for it does not wait behind what nobody waits for.
        if FOR_SOMEBODY.try_with(|()| ()).is_ok() {
            upstream.fetch(&ask).await
        } else {
            upstream.fetch_in_background(&ask).await
        }
    }

    /// A token; another one than `refused`.
    async fn token(
        &self,
        upstream: &Upstream,
        refused: Option<&HeaderValue>,
    ) -> Result<HeaderValue, AccountError> {
        let known = || self.token.load_full().filter(|token| Some(token.as_ref()) != refused);
        if let Some(token) = known() {
            return Ok(token.as_ref().clone());
        }
        let _alone = self.logging_in.lock().await;
        if let Some(token) = known() {
            return Ok(token.as_ref().clone());
        }
        if self.username.is_empty() || self.password.is_empty() {
            return Err(AccountError::Token);
        }
        let token = upstream.log_in(&self.username, &self.password, self.timeout).await?;
        self.token.store(Some(token.clone().into()));
        Ok(token)
    }
}

tokio::task_local! {
    /// Set where somebody waits for what an account asks.
    static FOR_SOMEBODY: ();
}

/// Has what the account asks in this future asked in front, as somebody waits for it.
pub async fn for_somebody<F: Future>(asking: F) -> F::Output {
    FOR_SOMEBODY.scope((), asking).await
}

impl Upstream {
    async fn log_in(
        &self,
        username: &str,
        password: &str,
        timeout: Duration,
    ) -> Result<HeaderValue, AccountError> {
        if self.health.is_down() {
            return Err(UpstreamError::Offline.into());
        }
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("username", username)
            .append_pair("password", password)
            .finish();
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let request = self.reader.post(self.url_of(LOG_IN)?).headers(headers).body(body);
        // Alyx does not count log-ins (ALYX.md 4.2), so they are nobody else's either.
        let who = Caller::User(*blake3::hash(username.as_bytes()).as_bytes());
        let turn = self.pace.turn(Some(&who), self.clock.instant() + timeout).await?;
        let measured = Measured::begin();
        let exchange = tokio::time::timeout(timeout, self.exchange_log_in(request));
        let result = exchange.await.unwrap_or(Err(UpstreamError::Timeout));
        measured.end(&result.as_ref().map(|(status, _)| *status).map_err(Clone::clone));
        drop(turn);
        self.heed(Some(&who), &result);
        match &result {
            Ok(_) => self.health.answered(),
            Err(failure) => self.health.failed(failure),
        }
        let (status, body) = result?;
        let token = serde_json::from_slice::<serde_json::Value>(&body).ok();
        match token.as_ref().and_then(|body| body.get("token")).and_then(|token| token.as_str()) {
            Some(token) if status.is_success() => header(token),
            _ => Err(AccountError::LogIn(status.as_u16())),
        }
    }

    async fn exchange_log_in(&self, request: RequestBuilder) -> Result<(StatusCode, Bytes), UpstreamError> {
        let response = request.send().await.map_err(|error| UpstreamError::of(&error))?;
        self.judge_head(&response)?;
        let status = response.status();
        let kind = fetch::media_type(response.headers());
        let body = fetch::read_body(response, MAX_BODY).await.map_err(|failure| match failure {
            UpstreamError::TooLarge => UpstreamError::NotJson("more than any answer to a log-in".to_owned()),
            failure => failure,
        })?;
        if status == StatusCode::OK && !fetch::is_json(&kind) {
            return Err(UpstreamError::NotJson(kind));
        }
        Ok((status, body))
    }
}

fn header(token: &str) -> Result<HeaderValue, AccountError> {
    let mut value = HeaderValue::from_str(&format!("Token {token}")).map_err(|_| AccountError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

fn is_refused(answer: &UpstreamResponse) -> bool {
    error_body::is_token_refused(answer.status, &answer.body)
}
