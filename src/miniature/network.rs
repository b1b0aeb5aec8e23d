//! The miniature's network: a listener that can be cut and restored.
//!
//! It runs on a thread with a runtime of its own, so that a cut is complete when the call returns,
//! whatever runtime the caller is on.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, runtime, sync::oneshot, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::respond::{self, Alyx};

/// A listener and its connections; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Network {
    addr: SocketAddr,
    alyx: Arc<Alyx>,
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    ended: mpsc::Receiver<()>,
}

impl Network {
    pub(super) async fn open(listen: SocketAddr, alyx: Arc<Alyx>) -> io::Result<Self> {
        let (addr, running) = run(listen, Arc::clone(&alyx)).await?;
        Ok(Self { addr, alyx, running: Mutex::new(Some(running)) })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes the listener and every connection, and waits until they are closed.
    pub(super) fn cut(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { stop, ended }) = running {
            stop.cancel();
            // An error means that the thread has ended already.
            let _ = ended.recv();
        }
    }

    /// Opens the listener again on the same port; does nothing if it is open.
    pub(super) async fn restore(&self) -> io::Result<()> {
        if self.running.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let (_, running) = run(self.addr, Arc::clone(&self.alyx)).await?;
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Listens and answers on a new thread until told to stop.
async fn run(listen: SocketAddr, alyx: Arc<Alyx>) -> io::Result<(SocketAddr, Running)> {
    let stop = CancellationToken::new();
    let (ended_tx, ended) = mpsc::channel();
    let (bound_tx, bound) = oneshot::channel();
    let stopped = stop.clone();
    thread::Builder::new().name("miniature-alyx".to_owned()).spawn(move || {
        let runtime = match runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = bound_tx.send(Err(error));
                return;
            }
        };
        runtime.block_on(async {
            let listener = match TcpListener::bind(listen).await {
                Ok(listener) => listener,
                Err(error) => {
                    let _ = bound_tx.send(Err(error));
                    return;
                }
            };
            // The caller may be gone; then dropping its end has told us to stop.
            let _ = bound_tx.send(listener.local_addr());
            accept(listener, alyx, stopped).await;
        });
        // Connections are gone before the caller is told so.
        drop(runtime);
        drop(ended_tx);
    })?;
    let addr = bound.await.map_err(|_| io::Error::other("the miniature Alyx ended at its start"))??;
    Ok((addr, Running { stop, ended }))
}

async fn accept(listener: TcpListener, alyx: Arc<Alyx>, stop: CancellationToken) {
    let app = respond::app(alyx);
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Such as a client that left before it was accepted.
                Err(_) => continue,
            },
        };
        let service = TowerToHyperService::new(app.clone());
        connections.spawn(async move {
            let connection = auto::Builder::new(TokioExecutor::new());
            // How a connection ends is its client's business.
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
