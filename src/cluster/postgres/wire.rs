//! One connection to PostgreSQL, made anew when it is needed. A call that is given up takes its connection with it: nobody
//! knows what the server still does there.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::poll_fn;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    task::AbortHandle,
};
use tokio_postgres::{
    AsyncMessage, Client, Connection, NoTls,
    error::{DbError, Severity},
};

use super::{address::EngineAddress, tls::PostgresTls};
use crate::cluster::engine::ClusterEngineError;

/// A connection, or none yet.
#[derive(Debug)]
pub(super) struct PostgresWire {
    /// What is listened to on it, if anything.
    pub(super) channel: Option<String>,
    pub(super) woken: Arc<Notify>,
    open: Mutex<Option<OpenWire>>,
    /// One connects at a time.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct OpenWire {
    client: Arc<Client>,
    task: AbortHandle,
}

/// A call under way; dropped before it is done it closes the connection.
#[derive(Debug)]
pub(super) struct WireCall<'w> {
    wire: &'w PostgresWire,
    pub(super) client: Arc<Client>,
    is_done: bool,
}

impl WireCall<'_> {
    /// The server has answered, be it by an error.
    pub(super) fn done<T>(
        mut self,
        answer: Result<T, tokio_postgres::Error>,
    ) -> Result<T, ClusterEngineError> {
        self.is_done = match &answer {
            Ok(_) => true,
            // After what is fatal the server ends the connection, which may not have been seen yet.
            Err(error) => error.as_db_error().is_some_and(|said| !ends_session(said)) && !error.is_closed(),
        };
        answer.map_err(|error| away(&error))
    }
}

impl Drop for WireCall<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            self.wire.close(&self.client);
        }
    }
}

impl PostgresWire {
    pub(super) fn new(channel: Option<String>) -> Self {
        Self {
            channel,
            woken: Arc::default(),
            open: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    fn ready(&self) -> Option<WireCall<'_>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let client = open.as_ref().map(|open| open.client.clone()).filter(|client| !client.is_closed())?;
        Some(WireCall { wire: self, client, is_done: false })
    }

    fn close(&self, client: &Arc<Client>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(closed) = open.take_if(|open| Arc::ptr_eq(&open.client, client)) {
            closed.task.abort();
        }
    }

    /// A call on the connection, which is made where there is none; `true` where it is new.
    pub(super) async fn call(
        &self,
        address: &EngineAddress,
        tls: Option<&PostgresTls>,
    ) -> Result<(WireCall<'_>, bool), ClusterEngineError> {
        if let Some(call) = self.ready() {
            return Ok((call, false));
        }
        let _turn = self.connecting.lock().await;
        if let Some(call) = self.ready() {
            return Ok((call, false));
        }
        let woken = self.woken.clone();
        let (client, task) = if let Some(tls) = tls {
            let connected = address.config.connect(tls.clone()).await;
            let (client, connection) = connected.map_err(|error| away(&error))?;
            (client, tokio::spawn(carry(connection, woken)).abort_handle())
        } else {
            let (client, connection) = address.config.connect(NoTls).await.map_err(|error| away(&error))?;
            (client, tokio::spawn(carry(connection, woken)).abort_handle())
        };
        let client = Arc::new(client);
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(OpenWire { client: client.clone(), task });
        let call = WireCall { wire: self, client, is_done: false };
        if let Some(channel) = &self.channel {
            let listening = call.client.batch_execute(&format!("LISTEN {channel}")).await;
            listening.map_err(|error| away(&error))?;
        }
        Ok((call, true))
    }
}

impl Drop for PostgresWire {
    fn drop(&mut self) {
        if let Some(open) = self.open.get_mut().unwrap_or_else(PoisonError::into_inner) {
            open.task.abort();
        }
    }
}

/// Carries what goes over a connection, until it ends.
async fn carry<S, T>(mut connection: Connection<S, T>, woken: Arc<Notify>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(_)) => woken.notify_one(),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    // Whoever waits for news finds that it is gone.
    woken.notify_one();
}

fn ends_session(said: &DbError) -> bool {
    matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
}

/// What the server or the system says.
pub(super) fn away(error: &tokio_postgres::Error) -> ClusterEngineError {
    if let Some(said) = error.as_db_error() {
        return ClusterEngineError::Away(said.message().to_owned());
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    ClusterEngineError::Away(text)
}
