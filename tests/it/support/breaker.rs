//! A breaking proxy: stands between our proxy and an upstream, passes requests on, and does to the answers what the test
//! commands. It sees bytes, not messages, so that it can break any of them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::upstream::{Stuffed, drop_packets, socket};

/// What is done to an answer, or instead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Nothing.
    Nothing,
    /// Connections are refused.
    Refuse,
    /// Connections are neither accepted nor refused.
    Drop,
    /// It comes after so many milliseconds.
    Delay(u64),
    /// It never comes.
    Silence,
    /// The connection is reset.
    Reset,
    /// It ends after so many per cent of its body.
    CutAt(usize),
    /// Some bytes of its body are others.
    Corrupt,
    /// It says that it is longer than it is.
    LongLength,
    /// It says that it is shorter than it is.
    ShortLength,
    /// It says that it is another type.
    WrongType,
    /// A page of HTML comes instead, with status 200.
    Html,
    /// It says that it is packed, and isn't.
    BadGzip,
    /// Its body does not end.
    Endless,
    /// A byte a second.
    Trickle,
    /// Its head is a megabyte.
    LargeHead,
    /// Its head has thousands of fields.
    ManyFields,
    /// Something else than HTTP: as from a port that speaks TLS.
    NotHttp,
    /// JSON that nests a hundred thousand times.
    Nested,
    /// A redirect to another host.
    Elsewhere,
    /// The gateway before it has no answer.
    Gateway(u16),
}

impl Break {
    pub const ALL: &[Self] = &[
        Self::Nothing,
        Self::Refuse,
        Self::Drop,
        Self::Delay(400),
        Self::Silence,
        Self::Reset,
        Self::CutAt(0),
        Self::CutAt(50),
        Self::CutAt(99),
        Self::Corrupt,
        Self::LongLength,
        Self::ShortLength,
        Self::WrongType,
        Self::Html,
        Self::BadGzip,
        Self::Endless,
        Self::Trickle,
        Self::LargeHead,
        Self::ManyFields,
        Self::NotHttp,
        Self::Nested,
        Self::Elsewhere,
        Self::Gateway(502),
        Self::Gateway(503),
    ];

    /// Whether the right answer comes all the same, within a second.
    pub fn is_harmless(self) -> bool {
        matches!(self, Self::Nothing | Self::Delay(_))
    }
}

pub struct Breaker {
    address: SocketAddr,
    shared: Arc<Shared>,
    state: Mutex<State>,
    _reservation: tokio::net::TcpSocket,
}

struct Shared {
    upstream: SocketAddr,
    how: Mutex<Break>,
}

#[derive(Default)]
struct State {
    accepting: Option<tokio::task::JoinHandle<()>>,
    stuffed: Option<Stuffed>,
}

impl Breaker {
    pub async fn before(upstream: SocketAddr) -> Self {
        let reservation = socket("127.0.0.1:0".parse().unwrap());
        let address = reservation.local_addr().unwrap();
        let shared = Arc::new(Shared { upstream, how: Mutex::new(Break::Nothing) });
        let breaker = Self { address, shared, state: Mutex::default(), _reservation: reservation };
        breaker.set(Break::Nothing).await;
        breaker
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Breaks all answers in this way from now on, those under way too: their connections end.
    pub async fn set(&self, how: Break) {
        let State { accepting, stuffed } = std::mem::take(&mut *self.state.lock().unwrap());
        drop(stuffed);
        if let Some(accepting) = accepting {
            accepting.abort();
            // Awaited, so that its sockets are closed.
            let _ = accepting.await;
        }
        *self.shared.how.lock().unwrap() = how;
        let mut state = State::default();
        match how {
            Break::Refuse => {}
            Break::Drop => state.stuffed = Some(drop_packets(self.address).await),
            _ => {
                let listener = socket(self.address).listen(1024).unwrap();
                state.accepting = Some(tokio::spawn(accept(listener, self.shared.clone())));
            }
        }
        *self.state.lock().unwrap() = state;
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if let Some(accepting) = self.state.lock().unwrap().accepting.take() {
            accepting.abort();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Ended with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(serve(stream, shared.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One request and its answer; errors are what this is for.
async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let Some(request) = read_request(&mut client).await else { return };
    let how = *shared.how.lock().unwrap();
    let Ok(mut upstream) = TcpStream::connect(shared.upstream).await else { return };
    // Always carried out: what the answer is like is another matter.
    let mut answer = Vec::new();
    if upstream.write_all(&request).await.is_err() || upstream.read_to_end(&mut answer).await.is_err() {
        return;
    }
    let _ = give(&mut client, &answer, how).await;
    let _ = client.shutdown().await;
}

/// A request with its body, changed so that the connection ends with its answer.
async fn read_request(client: &mut TcpStream) -> Option<Vec<u8>> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(at) = memchr::memmem::find(&read, b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let field = |name: &str| {
        head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let length = field("content-length").map_or(0, |length| length.parse::<usize>().unwrap());
    let chunked = field("transfer-encoding").is_some();
    let whole = |read: &[u8]| if chunked { read.ends_with(b"0\r\n\r\n") } else { read.len() >= end + length };
    while !whole(&read) {
        if client.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
    let mut request = head.trim_end().to_owned().into_bytes();
    request.extend(b"\r\nConnection: close\r\n\r\n");
    request.extend(&read[end..]);
    Some(request)
}

async fn give(client: &mut TcpStream, answer: &[u8], how: Break) -> std::io::Result<()> {
    let end = memchr::memmem::find(answer, b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let (head, body) = answer.split_at(end);
    let text = String::from_utf8_lossy(head).into_owned();
    // The head with a field in place of the one that is there.
    let with = |name: &str, value: &str| {
        let kept = text
            .trim_end()
            .lines()
            .filter(|line| !line.split(':').next().unwrap_or_default().eq_ignore_ascii_case(name));
        let kept: Vec<&str> = kept.collect();
        format!("{}\r\n{name}: {value}\r\n\r\n", kept.join("\r\n")).into_bytes()
    };
    let mut out: Vec<u8> = Vec::new();
    match how {
        Break::Nothing => out = answer.to_vec(),
        Break::Delay(millis) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            out = answer.to_vec();
        }
        Break::Silence => std::future::pending().await,
        Break::Reset => return client.set_zero_linger(),
        Break::CutAt(percent) => {
            out.extend(head);
            out.extend(&body[..body.len() * percent / 100]);
        }
        Break::Corrupt => {
            out.extend(head);
            let mut body = body.to_vec();
            for at in (body.len() / 3..body.len()).step_by(97) {
                body[at] = 0xfe;
            }
            out.extend(body);
        }
        Break::LongLength => {
            out = with("content-length", &(body.len() + 100).to_string());
            out.extend(body);
        }
        Break::ShortLength => {
            out = with("content-length", &(body.len() / 2).to_string());
            out.extend(body);
        }
        Break::WrongType => {
            out = with("content-type", "text/plain");
            out.extend(body);
        }
        Break::Html => out.extend(page("200 OK", "Welcome! Please accept our terms")),
        Break::Gateway(status) => out.extend(page(&format!("{status} x"), "the gateway has no answer")),
        Break::BadGzip => {
            out = with("content-encoding", "gzip");
            out.extend(body);
        }
        Break::Endless => {
            client.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
            let mut chunk = b"10000\r\n".to_vec();
            chunk.extend(vec![b' '; 0x10000]);
            chunk.extend(b"\r\n");
            loop {
                client.write_all(&chunk).await?;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        Break::Trickle => {
            client.write_all(head).await?;
            for byte in body {
                client.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Break::LargeHead => {
            out = with("x-bomb", &"x".repeat(1 << 20));
            out.extend(body);
        }
        Break::ManyFields => {
            out.extend(text.trim_end().as_bytes());
            for n in 0..5000 {
                out.extend(format!("\r\nx-{n}: y").bytes());
            }
            out.extend(b"\r\n\r\n");
            out.extend(body);
        }
        Break::NotHttp => out.extend([0x15, 3, 3, 0, 2, 2, 70]),
        Break::Nested => {
            let body = "[".repeat(100_000) + &"]".repeat(100_000);
            out = with("content-length", &body.len().to_string());
            out.extend(body.bytes());
        }
        Break::Elsewhere => {
            out.extend(
                b"HTTP/1.1 302 Found\r\nLocation: http://portal.invalid/\r\nContent-Length: 0\r\n\r\n",
            );
        }
        Break::Refuse | Break::Drop => unreachable!("{how:?} is about connections"),
    }
    client.write_all(&out).await
}

fn page(status: &str, text: &str) -> Vec<u8> {
    let body = format!("<!doctype html><title>{text}</title>{text}");
    format!("HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}
