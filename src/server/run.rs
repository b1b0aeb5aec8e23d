//! Listening: connections, their limits, and an orderly end.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, ServiceExt};
use tower_http::{
    catch_panic::CatchPanicLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
};

use super::{Proxy, answer, own, verify};
use crate::upstream::health;

/// A client that takes longer to say what it wants is sent away.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two writings of what was used.
const TIDY: Duration = Duration::from_secs(30);

/// A proxy that listens.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    proxy: Arc<Proxy>,
}

/// Binds the proxy's address.
pub async fn listen(proxy: Arc<Proxy>) -> io::Result<Listening> {
    let address = proxy.settings().load().server.listen;
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    // Listening a second time doesn't change where it listens first.
    proxy.bound.get_or_init(|| bound);
    Ok(Listening { listener, proxy })
}

impl Listening {
    /// The address that is bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` completes, then lets open requests end for `server.drain`.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        own::recorder();
        let Self { listener, proxy } = self;
        let watching = tokio::spawn(health::watch(proxy.upstream.clone(), proxy.settings().clone()));
        let tidying = tokio::spawn(tidy(proxy.clone()));
        let verifying = tokio::spawn(verify::run(proxy.clone()));
        let synchronising = proxy.synchroniser().map(|synchroniser| tokio::spawn(synchroniser.clone().run()));
        if synchronising.is_none() {
            tracing::info!("nothing is mirrored: [mirror] names no account to synchronise by");
        }
        let graceful = GracefulShutdown::new();
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => connection(&graceful, proxy.clone(), stream, peer),
                    Err(error) => {
                        // Out of file descriptors, most likely: it passes when others end.
                        tracing::error!(%error, "a connection was not accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                () = &mut shutdown => break,
            }
        }
        drop(listener);
        watching.abort();
        tidying.abort();
        verifying.abort();
        if let Some(synchronising) = synchronising {
            synchronising.abort();
        }
        let drain = proxy.settings().load().server.drain.0;
        if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
            tracing::warn!("open requests were cut off after `server.drain`");
        }
        proxy.close().await;
    }
}

fn connection(graceful: &GracefulShutdown, proxy: Arc<Proxy>, stream: TcpStream, peer: SocketAddr) {
    // Small answers leave at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let floors = tower::service_fn(move |request: Request<Incoming>| {
        let proxy = proxy.clone();
        async move { Ok::<_, Infallible>(answer(proxy, peer, request.map(Body::new)).await) }
    });
    let floors = CatchPanicLayer::custom(own::after_panic).layer(floors);
    let floors = PropagateRequestIdLayer::x_request_id().layer(floors);
    let floors = SetRequestIdLayer::x_request_id(MakeRequestUuid).layer(floors);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .keep_alive_interval(Some(HEADER_TIMEOUT));
    let service = service_fn(move |request| floors.clone().oneshot(request));
    let serving = graceful.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
    tokio::spawn(async move {
        if let Err(error) = serving.await {
            tracing::debug!(%error, "a connection ended early");
        }
    });
}

async fn tidy(proxy: Arc<Proxy>) {
    loop {
        tokio::time::sleep(TIDY).await;
        proxy.responses.tidy();
        proxy.upstream.pace.tidy();
        own::recorder().run_upkeep();
    }
}
