//! An upstream that answers as its handler says, counts, and breaks on command in each way a network breaks.
//!
//! Its port stays reserved while nothing listens on it, so that it can come back on the same one.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::{AbortHandle, JoinHandle},
};

/// How an upstream is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is well.
    None,
    /// Nothing listens: connections are refused.
    Refuse,
    /// Connections are neither accepted nor refused, as where a firewall drops packets.
    Drop,
    /// Connections are accepted, and then nothing.
    Silence,
    /// Connections are accepted and reset.
    Reset,
    /// The connection ends when a request has come: nothing is made of it.
    Unread,
    /// What is asked is carried out, and the connection ends without an answer.
    Unanswered,
    /// An error page of a gateway, with this status.
    Gateway(u16),
    /// A page of HTML with status 200, as hotels and airports have it.
    Portal,
    /// Half of the answer, then the end of the connection.
    Truncated,
    /// The same without a `Content-Length`: chunks that break off.
    ChunksCut,
    /// Status 200, `application/json`, and a body that isn't.
    NotJson,
    /// The right answer after this many milliseconds.
    Slow(u64),
    /// The right head at once, then one byte of the body a second.
    Trickle,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query as they were sent.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    /// The path, percent-decoded.
    pub fn path(&self) -> String {
        let path = self.target.split('?').next().unwrap_or_default();
        percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()
    }

    /// The query's pairs, decoded, in their order.
    pub fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// The last value of a parameter; none if it is empty.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query()
            .into_iter()
            .rev()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value)
            .filter(|v| !v.is_empty())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The base URL under which it was asked, as Django builds it from `Host`.
    pub fn base(&self) -> String {
        format!("http://{}", self.header("host").unwrap_or("no-host"))
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Reply {
    pub fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.into(),
        }
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// What makes the answers.
pub type Handler = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// A running upstream; gone when it is dropped.
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Mutex<Tasks>,
    /// Bound but not listening: keeps the port ours while nobody listens.
    _reservation: TcpSocket,
}

struct Shared {
    handler: Handler,
    fault: Mutex<Fault>,
    asked: Mutex<Vec<Asked>>,
    connections: Mutex<Vec<AbortHandle>>,
}

#[derive(Default)]
struct Tasks {
    accepting: Option<JoinHandle<()>>,
    /// What keeps the queue of an upstream that drops packets full.
    stuffed: Option<Stuffed>,
}

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

impl Upstream {
    pub async fn start(handler: Handler) -> Self {
        let reservation = socket("127.0.0.1:0".parse().unwrap());
        let address = reservation.local_addr().unwrap();
        let shared = Shared {
            handler,
            fault: Mutex::new(Fault::None),
            asked: Mutex::default(),
            connections: Mutex::default(),
        };
        let upstream =
            Self { address, shared: Arc::new(shared), tasks: Mutex::default(), _reservation: reservation };
        upstream.break_down(Fault::None).await;
        upstream
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Refuses connections from now on, and ends those that there are.
    pub async fn cut(&self) {
        self.break_down(Fault::Refuse).await;
    }

    /// Is well again.
    pub async fn restore(&self) {
        self.break_down(Fault::None).await;
    }

    /// Fails in this way from now on; connections that there are end.
    pub async fn break_down(&self, fault: Fault) {
        let Tasks { accepting, stuffed } = std::mem::take(&mut *lock(&self.tasks));
        drop(stuffed);
        if let Some(task) = accepting {
            task.abort();
            // Awaited, so that its socket is closed when this returns.
            let _ = task.await;
        }
        for connection in lock(&self.shared.connections).drain(..) {
            connection.abort();
        }
        *lock(&self.shared.fault) = fault;
        let tasks = match fault {
            Fault::Refuse => Tasks::default(),
            Fault::Drop => Tasks { accepting: None, stuffed: Some(drop_packets(self.address).await) },
            _ => {
                let listener = socket(self.address).listen(1024).unwrap();
                Tasks { accepting: Some(tokio::spawn(accept(listener, self.shared.clone()))), stuffed: None }
            }
        };
        *lock(&self.tasks) = tasks;
    }

    /// Answers requests that come from now on in this way; those under way go on as they began.
    pub fn behave(&self, fault: Fault) {
        let kept = !matches!(fault, Fault::Refuse | Fault::Drop | Fault::Reset);
        assert!(kept, "{fault:?} is about connections");
        *lock(&self.shared.fault) = fault;
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// How many requests there were for this path, whatever their query.
    pub fn count(&self, path: &str) -> usize {
        self.asked().iter().filter(|asked| asked.path() == path).count()
    }

    /// The last request for this path; a look whether Alyx is there may have come after it.
    #[track_caller]
    pub fn last(&self, path: &str) -> Asked {
        let last = self.asked().into_iter().rfind(|asked| asked.path() == path);
        last.unwrap_or_else(|| panic!("nobody asked for {path}"))
    }

    pub fn forget(&self) {
        lock(&self.shared.asked).clear();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let Tasks { accepting, .. } = std::mem::take(&mut *lock(&self.tasks));
        accepting.iter().for_each(JoinHandle::abort);
        lock(&self.shared.connections).iter().for_each(AbortHandle::abort);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A listener that never accepts, and the connections that keep its queue full: the system drops what else comes.
pub struct Stuffed {
    _listener: TcpListener,
    _connections: Vec<TcpStream>,
}

/// Makes the system drop what comes to this address.
pub async fn drop_packets(address: SocketAddr) -> Stuffed {
    let listener = socket(address).listen(1).unwrap();
    let mut connections = Vec::new();
    loop {
        let connect = TcpStream::connect(address);
        let Ok(stream) = tokio::time::timeout(Duration::from_millis(200), connect).await else { break };
        connections.push(stream.unwrap());
        assert!(connections.len() < 64, "this system's queue of connections does not fill up");
    }
    Stuffed { _listener: listener, _connections: connections }
}

/// A socket that is bound to an address, which others may be bound to, too.
pub fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let fault = *lock(&shared.fault);
        if fault == Fault::Reset {
            reset(stream);
            continue;
        }
        let shared_ = shared.clone();
        let task = tokio::spawn(async move {
            let service = service_fn(|request| serve(shared_.clone(), request));
            // Errors are what this upstream is for.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        let mut connections = lock(&shared.connections);
        connections.retain(|connection| !connection.is_finished());
        connections.push(task.abort_handle());
    }
}

fn reset(stream: TcpStream) {
    tokio::spawn(async move {
        // The peer has sent its request by then, so that it meets the reset while it waits for the answer.
        let _ = tokio::time::timeout(Duration::from_secs(5), stream.readable()).await;
        stream.set_zero_linger().unwrap();
    });
}

async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let asked = Asked { method: head.method.to_string(), target, headers: head.headers, body };
    let fault = *lock(&shared.fault);
    let ends = || Err(std::io::Error::other("the connection ends"));
    if fault == Fault::Unread {
        return ends();
    }
    lock(&shared.asked).push(asked.clone());
    let reply = (shared.handler)(&asked);
    match fault {
        Fault::Silence => std::future::pending().await,
        Fault::Slow(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Fault::Unanswered => return ends(),
        _ => (),
    }
    let html = |status, text: &str| {
        let page =
            format!("<!doctype html><html><head><title>{text}</title></head><body>{text}</body></html>");
        Reply::new(status, "text/html; charset=utf-8", page)
    };
    let half = reply.body.len() / 2;
    Ok(match fault {
        Fault::Gateway(status) => respond(html(status, "the gateway has no answer"), Manner::Whole),
        Fault::Portal => respond(html(200, "Welcome! Please accept our terms"), Manner::Whole),
        Fault::NotJson => respond(Reply { body: reply.body.slice(..half), ..reply }, Manner::Whole),
        Fault::Truncated => respond(reply, Manner::Half),
        Fault::ChunksCut => respond(reply, Manner::HalfInChunks),
        Fault::Trickle => respond(reply, Manner::Trickle),
        Fault::None | Fault::Slow(_) => respond(reply, Manner::Whole),
        Fault::Refuse | Fault::Drop | Fault::Silence | Fault::Reset | Fault::Unread | Fault::Unanswered => {
            unreachable!("{fault:?} does not answer")
        }
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Whole,
    Half,
    HalfInChunks,
    Trickle,
}

fn respond(reply: Reply, manner: Manner) -> Response<Body> {
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let whole = reply.body.len();
    if manner != Manner::HalfInChunks && reply.status != 304 {
        response = response.header(header::CONTENT_LENGTH, whole);
    }
    let body = match manner {
        Manner::Whole => http_body_util::Full::new(reply.body).map_err(|never| match never {}).boxed_unsync(),
        Manner::Half | Manner::HalfInChunks => {
            let half = Ok(Frame::data(reply.body.slice(..whole / 2)));
            let end = Err(std::io::Error::other("cut off"));
            let stream = futures_util::stream::iter([half, end]).then(async |frame| {
                // The first half leaves before the connection ends.
                tokio::time::sleep(Duration::from_millis(20)).await;
                frame
            });
            BodyExt::boxed_unsync(StreamBody::new(stream))
        }
        Manner::Trickle => {
            let bytes = futures_util::stream::iter((0..whole).map(move |i| reply.body.slice(i..=i)));
            let stream = bytes.then(async |byte| {
                tokio::time::sleep(Duration::from_secs(1)).await;
                Ok(Frame::data(byte))
            });
            BodyExt::boxed_unsync(StreamBody::new(stream))
        }
    };
    response.body(body).unwrap()
}
