//! Listening: connections, their limits, and an orderly end.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Response, Version};
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_io_timeout::TimeoutStream;
use tower::{Layer, ServiceExt};
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    Proxy, answer,
    interim::{Interim, Sending},
    own,
    request_id::{self, REQUEST_ID},
    taking::Taking,
    tls::{Tls, TlsError},
    verify,
};
use crate::{telemetry::metrics, upstream::health};

/// The longest head of a request: as long a URL as can be allowed, and its fields.
const LONGEST_HEAD: usize = 128 << 10;
/// File descriptors that are not for connections of clients: files, databases, Alyx.
const OTHER_FILES: u64 = 256;
/// Connections, where the system does not say how many files may be open.
const CONNECTIONS: u64 = 4096;
/// What a connection gets for which there is no room.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// Time between two writings of what was used.
const TIDY: Duration = Duration::from_secs(30);

/// A proxy that listens.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    proxy: Arc<Proxy>,
}

/// Why a proxy can't listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address can't be had.
    #[error(transparent)]
    Address(#[from] io::Error),
    /// The certificate can't be used.
    #[error("server.tls_certificate and server.tls_key can't be used")]
    Tls(#[from] TlsError),
}

/// Binds the proxy's address.
pub async fn listen(proxy: Arc<Proxy>) -> Result<Listening, ListenError> {
    let address = proxy.settings().load().server.listen;
    on(proxy, TcpListener::bind(address).await?).await
}

/// Takes a socket that somebody else has bound, as service managers do.
pub async fn listen_on(proxy: Arc<Proxy>, socket: std::net::TcpListener) -> Result<Listening, ListenError> {
    socket.set_nonblocking(true)?;
    on(proxy, TcpListener::from_std(socket)?).await
}

async fn on(proxy: Arc<Proxy>, listener: TcpListener) -> Result<Listening, ListenError> {
    let bound = listener.local_addr()?;
    let settings = proxy.settings().load_full();
    let tls = Tls::of(&settings.server).await?;
    // Listening a second time doesn't change where it listens first.
    proxy.bound.get_or_init(|| bound);
    Ok(Listening { listener, tls, proxy })
}

impl Listening {
    /// The address that is bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` completes, then lets open requests end for `server.drain`.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        metrics::recorder();
        super::gauges::register();
        let Self { listener, tls, proxy } = self;
        let mut beside = vec![tokio::spawn(tidy(proxy.clone()))];
        if proxy.knows_alyx() {
            beside.push(tokio::spawn(health::watch(proxy.upstream.clone(), proxy.settings().clone())));
            beside.push(tokio::spawn(verify::run(proxy.clone())));
        }
        beside.extend(tls.clone().map(|tls| tokio::spawn(tls.watch())));
        if !proxy.knows_alyx() {
            tracing::warn!(
                "`cache.profile` is rfc9111: this is a cache for any HTTP server, and knows no Alyx"
            );
        } else if let Some(synchroniser) = proxy.synchroniser() {
            beside.push(tokio::spawn(synchroniser.clone().run()));
        } else {
            tracing::info!("nothing is mirrored: [mirror] names no account to synchronise by");
        }
        let graceful = GracefulShutdown::new();
        tokio::pin!(shutdown);
        let room = Arc::new(Semaphore::new(connections()));
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => match room.clone().try_acquire_owned() {
                        Ok(place) => {
                            let (watcher, proxy, tls) = (graceful.watcher(), proxy.clone(), tls.clone());
                            tokio::spawn(connection(place, watcher, proxy, tls, stream, peer));
                        }
                        Err(_) => turn_away(&stream, tls.is_some()),
                    },
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
        for task in beside {
            task.abort();
        }
        let drain = proxy.settings().load().server.drain.0;
        if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
            tracing::warn!("open requests were cut off after `server.drain`");
        }
        proxy.close().await;
    }
}

/// How many connections there may be: as many as files can be open, without those that are needed otherwise.
fn connections() -> usize {
    // Shells begin programs with room for a thousand files; most systems allow a million.
    let files = rlimit::increase_nofile_limit(1 << 20).unwrap_or(CONNECTIONS);
    usize::try_from(files.saturating_sub(OTHER_FILES).max(64))
        .unwrap_or(usize::MAX)
        .min(Semaphore::MAX_PERMITS)
}

/// Says that there is no room, where that can be said at once.
fn turn_away(stream: &TcpStream, tls: bool) {
    super::load::count_connection_turned_away();
    if !tls && let Err(error) = stream.try_write(NO_ROOM) {
        tracing::debug!(%error, "turned away without a word");
    }
}

/// A connection from its first byte to its last, at its place among all.
///
/// Very many are kept open and say nothing, so its task is kept small: what a future is given and what it waits for are
/// both part of it.
async fn connection(
    _place: OwnedSemaphorePermit,
    watcher: Watcher,
    proxy: Arc<Proxy>,
    tls: Option<Arc<Tls>>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    // Small answers leave at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let timeout = proxy.settings().load().server.client_timeout.0;
    match tls {
        None => requests(watcher, proxy, stream, peer, timeout).await,
        // Boxed, so that connections without TLS needn't have the room for it.
        Some(tls) => match tokio::time::timeout(timeout, Box::pin(tls.accept(stream))).await {
            Ok(Ok(stream)) => Box::pin(requests(watcher, proxy, stream, peer, timeout)).await,
            Ok(Err(error)) => tracing::debug!(%error, %peer, "no handshake"),
            Err(_) => tracing::debug!(%peer, "no handshake in time"),
        },
    }
}

/// The requests of a connection. It ends where its client takes longer than `timeout` to say what it wants, or to take
/// something of what it gets.
fn requests<S>(
    watcher: Watcher,
    proxy: Arc<Proxy>,
    stream: S,
    peer: SocketAddr,
    timeout: Duration,
) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // Alyx says nothing before its answers.
    let interim = (!proxy.knows_alyx()).then(Interim::default);
    let interim_of_requests = interim.clone();
    let floors = tower::service_fn(move |request: Request<Incoming>| {
        let proxy = proxy.clone();
        async move { Ok::<_, Infallible>(answer(proxy, peer, request.map(Body::new)).await) }
    });
    let floors = CatchPanicLayer::custom(own::after_panic).layer(floors);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(timeout).max_buf_size(LONGEST_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_header_list_size(u32::try_from(LONGEST_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(timeout));
    // The layers for this in tower-http make two maps for each request, which costs as much as all that is ours.
    let taking = Arc::new(Taking::default());
    let taking_of_answers = taking.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (floors, taking, version) = (floors.clone(), taking_of_answers.clone(), request.version());
        taking.begins();
        if let Some(interim) = &interim_of_requests
            && version == Version::HTTP_11
        {
            request.extensions_mut().insert(interim.clone());
        }
        async move {
            let name = request.headers_mut().entry(REQUEST_ID).or_insert_with(request_id::new_name).clone();
            let mut response: Response<_> = floors.oneshot(request).await?;
            response.headers_mut().insert(REQUEST_ID, name);
            Ok::<_, Infallible>(response.map(|body| taking.watch(body, version)))
        }
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(timeout));
    let stream = Sending::new(Box::pin(stream), interim);
    let serving = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let served = watcher.watch(serving);
    // Which version of HTTP is spoken is waited for without a limit, and so is who takes nothing by HTTP/2; for all else
    // hyper and the stream have limits of their own.
    let too_slow = taking.too_slow(timeout);
    async move {
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            },
            () = too_slow => tracing::debug!(%peer, "a client said or took nothing for too long"),
        }
    }
}

async fn tidy(proxy: Arc<Proxy>) {
    loop {
        tokio::time::sleep(TIDY).await;
        proxy.responses.tidy();
        proxy.upstream.pace.tidy();
        metrics::recorder().run_upkeep();
    }
}
