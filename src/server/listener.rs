//! Listening: connections, their limits, and an orderly end.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
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

use super::{
    connection_limit::{ConnectionLimit, ConnectionPlace, HeadMeter, OfUser},
    interim::{Interim, Sending},
    request_id::{self, REQUEST_ID},
    stalled_streams::StreamStallGuard,
    tls::{Tls, TlsError},
};
use crate::{
    http::forwarded,
    settings::{ServerSettings, Settings},
    telemetry::metrics,
};

/// The longest head of a request: as long a URL as can be allowed, and its fields.
const LONGEST_HEAD: usize = 128 << 10;
/// File descriptors that are not for connections of clients: files, databases, Alyx.
const OTHER_FILES: u64 = 256;
/// Connections, where the system does not say how many files may be open.
const CONNECTIONS: u64 = 4096;
/// What a connection gets for which there is no room.
const NO_ROOM: &[u8] =
    b"HTTP/1.1 503 RequestHandler Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// A socket that requests come by.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    tls: Option<Arc<Tls>>,
    settings: Arc<ArcSwap<Settings>>,
}

/// Why a proxy can't listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address can't be had.
    #[error(transparent)]
    Address(#[from] io::Error),
    /// The address of Alyx's own pages can't be had.
    #[error("can't listen on {0} (setting `server.alyx_pages_listen`): {1}")]
    AlyxPages(SocketAddr, io::Error),
    /// The certificate can't be used.
    #[error("server.tls_certificate and server.tls_key can't be used")]
    Tls(#[from] TlsError),
}

/// What requests are answered by, for as long as a connection lasts.
pub(crate) trait RequestHandler: Clone + Send + Sync + 'static {
    /// Whether requests may get 1xx responses before the final one.
    fn has_interim_responses(&self) -> bool;

    /// Answers a request from this peer.
    fn serve(
        &self,
        peer: SocketAddr,
        request: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static;
}

impl Listener {
    /// Takes a socket, with the certificate that the settings name.
    pub(crate) async fn new(
        socket: TcpListener,
        settings: Arc<ArcSwap<Settings>>,
    ) -> Result<Self, ListenError> {
        let tls = Tls::of(settings.clone()).await?;
        Ok(Self { socket, tls, settings })
    }

    /// The address that is bound.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The certificate that it shows; none where it speaks http.
    pub(crate) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.clone()
    }

    /// Accepts connections until `shutdown` completes; what lets those that are open end.
    pub(crate) async fn accept(
        self,
        service: &impl RequestHandler,
        shutdown: impl Future<Output = ()>,
    ) -> GracefulShutdown {
        let Self { socket, tls, settings } = self;
        let watching = tls.clone().map(|tls| tokio::spawn(tls.watch()));
        let graceful = GracefulShutdown::new();
        tokio::pin!(shutdown);
        let places = connections();
        let room = Arc::new(Semaphore::new(places));
        let limit = ConnectionLimit::new(places);
        loop {
            tokio::select! {
                accepted = socket.accept() => match accepted {
                    Ok((stream, peer)) => match room.clone().try_acquire_owned() {
                        Ok(place) => {
                            let (watcher, service, tls) = (graceful.watcher(), service.clone(), tls.clone());
                            let server = &settings.load().server;
                            let timeout = server.client_timeout.0;
                            let place = (place, Arc::new(limit.enter(counted(peer, server))));
                            tokio::spawn(connection(place, watcher, service, tls, stream, peer, timeout));
                        }
                        Err(_) => reject_connection(&stream, tls.is_some()),
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
        if let Some(watching) = watching {
            watching.abort();
        }
        graceful
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

/// The network that a connection counts for; none where a reverse proxy makes it, whose clients count by their requests.
fn counted(peer: SocketAddr, settings: &ServerSettings) -> Option<IpAddr> {
    let address = peer.ip().to_canonical();
    (!settings.trusted_proxies.contains(&address)).then(|| forwarded::network(address))
}

/// Says that there is no room, where that can be said at once.
fn reject_connection(stream: &TcpStream, tls: bool) {
    metrics::count_rejected(metrics::CONNECTIONS);
    if !tls && let Err(error) = stream.try_write(NO_ROOM) {
        tracing::debug!(%error, "turned away without a word");
    }
}

/// A connection from its first byte to its last, at its place among all.
///
/// Very many are kept open and say nothing, so its task is kept small: what a future is given and what it waits for are
/// both part of it.
async fn connection<A: RequestHandler>(
    (_room, place): (OwnedSemaphorePermit, Arc<ConnectionPlace>),
    watcher: Watcher,
    service: A,
    tls: Option<Arc<Tls>>,
    stream: TcpStream,
    peer: SocketAddr,
    timeout: Duration,
) {
    // Small answers leave at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    match tls {
        None => requests(watcher, service, stream, peer, timeout, place).await,
        // Boxed, so that connections without TLS needn't have the room for it.
        Some(_) if speaks_http(&stream, timeout).await => {
            if let Err(error) = stream.try_write(NOT_HTTPS) {
                tracing::debug!(%error, "turned away without a word");
            }
        }
        Some(tls) => match tokio::time::timeout(timeout, Box::pin(tls.accept(stream))).await {
            Ok(Ok(stream)) => Box::pin(requests(watcher, service, stream, peer, timeout, place)).await,
            Ok(Err(error)) => tracing::debug!(%error, %peer, "no handshake"),
            Err(_) => tracing::debug!(%peer, "no handshake in time"),
        },
    }
}

/// What is said to one who speaks http where https is spoken.
const NOT_HTTPS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 90\r\n\r\n\
{\"status_code\": 400, \"detail\": \"This port speaks https: begin the address with https://.\"}";

/// Whether a client begins with a request of HTTP in the clear: its first byte is none of a handshake (RFC 8446, 5.1).
async fn speaks_http(stream: &TcpStream, timeout: Duration) -> bool {
    let mut first = [0];
    let peeked = tokio::time::timeout(timeout, stream.peek(&mut first)).await;
    matches!(peeked, Ok(Ok(1))) && first[0].is_ascii_uppercase()
}

/// The versions of HTTP that are spoken, with their limits.
fn versions(timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(timeout).max_buf_size(LONGEST_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_header_list_size(u32::try_from(LONGEST_HEAD).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(timeout));
    builder
}

/// The requests of a connection. It ends where its client takes longer than `timeout` to say what it wants, or to take
/// something of what it gets.
fn requests<A, S>(
    watcher: Watcher,
    answering: A,
    stream: S,
    peer: SocketAddr,
    timeout: Duration,
    place: Arc<ConnectionPlace>,
) -> impl Future<Output = ()> + Send
where
    A: RequestHandler,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let interim = answering.has_interim_responses().then(Interim::default);
    let interim_of_requests = interim.clone();
    // The layers for this in tower-http make two maps for each request, which costs as much as all that is ours.
    let taking = Arc::new(StreamStallGuard::default());
    let taking_of_answers = taking.clone();
    let place_of_requests = place.clone();
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (answering, taking, version) = (answering.clone(), taking_of_answers.clone(), request.version());
        taking.begins();
        let (place, answered) = (place_of_requests.clone(), place_of_requests.begin());
        if let Some(interim) = &interim_of_requests
            && version == Version::HTTP_11
        {
            request.extensions_mut().insert(interim.clone());
        }
        async move {
            let name = request_id::name(request.headers_mut());
            let mut response = answering.serve(peer, request.map(Body::new)).await;
            response.headers_mut().insert(REQUEST_ID, name);
            if !place.is_of_user() && response.extensions().get::<OfUser>().is_some() {
                place.show();
            }
            Ok::<_, Infallible>(response.map(|body| taking.watch(body, version, answered)))
        }
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(timeout));
    let stream = HeadMeter::new(Box::pin(stream), place.clone(), LONGEST_HEAD);
    let stream = Sending::new(Box::pin(stream), interim);
    let serving = versions(timeout).serve_connection(TokioIo::new(stream), service).into_owned();
    let served = watcher.watch(serving);
    // Which version of HTTP is spoken is waited for without a limit, and so is who takes nothing by HTTP/2; for all else
    // hyper and the stream have limits of their own.
    let too_slow = taking.too_slow(timeout);
    async move {
        tokio::select! {
            served = served => if let Err(error) = served {
                tracing::debug!(%error, "a connection ended early");
            },
            () = place.taken() => tracing::debug!(%peer, "a silent connection ended for one that came"),
            () = too_slow => tracing::debug!(%peer, "a client said or took nothing for too long"),
        }
    }
}
