//! Places for connections. Who has shown no token that Alyx has accepted is a stranger: the connections of one network's
//! strangers have a part of the places, and those of all strangers leave some to users. Nobody is turned away for that:
//! whoever comes takes the place of the one that has been silent for longest.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

/// Of all places those of one network's strangers, and of all strangers.
const OF_NETWORK: usize = 8;
const OF_STRANGERS: (usize, usize) = (3, 4);
/// What of an unfinished head is not counted; hyper has as much room for each.
const SMALL_HEAD: usize = 8 << 10;
/// All that is beyond that, of all strangers.
const LARGE_HEADS: usize = 32 << 20;

/// Marks the response to somebody whom Alyx has accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OfUser;

/// The connections of strangers.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    of_network: usize,
    of_strangers: usize,
    strangers: Mutex<Strangers>,
    /// Bytes of unfinished heads.
    heads: AtomicUsize,
}

#[derive(Debug, Default)]
struct Strangers {
    next: u64,
    count: usize,
    /// In the order in which they came.
    by_network: HashMap<IpAddr, BTreeMap<u64, Arc<ConnectionState>>>,
}

#[derive(Debug, Default)]
struct ConnectionState {
    /// Requests that are being answered.
    busy: AtomicUsize,
    /// Requests that have begun.
    begun: AtomicUsize,
    of_user: AtomicBool,
    ended: Notify,
}

/// A connection's place; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPlace {
    limit: Arc<ConnectionLimit>,
    /// Its network and number, where it counts.
    name: Option<(IpAddr, u64)>,
    state: Arc<ConnectionState>,
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Answering(Arc<ConnectionState>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConnectionLimit {
    /// For so many places in all.
    pub(crate) fn new(places: usize) -> Arc<Self> {
        let (of, parts) = OF_STRANGERS;
        Arc::new(Self {
            of_network: (places / OF_NETWORK).max(8),
            of_strangers: (places / parts * of).max(8),
            strangers: Mutex::default(),
            heads: AtomicUsize::new(0),
        })
    }

    /// A place for a connection from this network; from none where it does not count (a reverse proxy).
    pub(crate) fn enter(self: &Arc<Self>, network: Option<IpAddr>) -> ConnectionPlace {
        let state = Arc::<ConnectionState>::default();
        let name = network.map(|network| {
            let mut strangers = self.lock();
            let own = strangers.next;
            strangers.next += 1;
            let of_network = strangers.by_network.entry(network).or_default();
            of_network.insert(own, state.clone());
            let full = of_network.len() > self.of_network;
            strangers.count += 1;
            if full {
                strangers.end_oldest(network, own);
            } else if strangers.count > self.of_strangers
                && let Some(largest) = strangers.largest()
            {
                strangers.end_oldest(largest, own);
            }
            (network, own)
        });
        ConnectionPlace { limit: self.clone(), name, state }
    }

    fn lock(&self) -> MutexGuard<'_, Strangers> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self, (network, number): (IpAddr, u64)) {
        self.lock().remove(network, number);
    }
}

impl Strangers {
    fn largest(&self) -> Option<IpAddr> {
        self.by_network.iter().max_by_key(|(_, of)| of.len()).map(|(network, _)| *network)
    }

    /// Ends the oldest of a network's that nobody is being answered by, but for the one that has just come.
    fn end_oldest(&mut self, network: IpAddr, newest: u64) {
        let Some(of_network) = self.by_network.get(&network) else { return };
        let silent = |(number, state): &(&u64, &Arc<ConnectionState>)| {
            **number != newest && state.busy.load(Ordering::Relaxed) == 0
        };
        if let Some((number, state)) =
            of_network.iter().find(silent).map(|(number, state)| (*number, state.clone()))
        {
            state.ended.notify_one();
            self.remove(network, number);
        }
    }

    fn remove(&mut self, network: IpAddr, number: u64) {
        let Some(of_network) = self.by_network.get_mut(&network) else { return };
        if of_network.remove(&number).is_some() {
            self.count -= 1;
        }
        if of_network.is_empty() {
            self.by_network.remove(&network);
        }
    }
}

impl ConnectionPlace {
    /// A request has come.
    pub(crate) fn begin(&self) -> Answering {
        self.state.busy.fetch_add(1, Ordering::Relaxed);
        self.state.begun.fetch_add(1, Ordering::Relaxed);
        Answering(self.state.clone())
    }

    /// Whether it has shown a token that Alyx has accepted.
    pub(crate) fn is_of_user(&self) -> bool {
        self.state.of_user.load(Ordering::Relaxed)
    }

    /// It has shown one: it counts no longer.
    pub(crate) fn show(&self) {
        if !self.state.of_user.swap(true, Ordering::Relaxed)
            && let Some(name) = self.name
        {
            self.limit.forget(name);
        }
    }

    /// Completes when another connection has taken its place.
    pub(crate) async fn taken(self: Arc<Self>) {
        self.state.ended.notified().await;
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        if let Some(name) = self.name {
            self.limit.forget(name);
        }
    }
}

/// A connection that is read from as far as there is room for heads.
#[derive(Debug)]
pub(crate) struct HeadMeter<S> {
    stream: S,
    place: Arc<ConnectionPlace>,
    /// Requests that had begun when something was read last.
    begun: usize,
    /// What was read since, and how much of it is counted.
    read: usize,
    counted: usize,
    longest: usize,
}

impl<S> HeadMeter<S> {
    /// No head is longer than this.
    pub(crate) fn new(stream: S, place: Arc<ConnectionPlace>, longest: usize) -> Self {
        Self { stream, place, begun: 0, read: 0, counted: 0, longest }
    }

    fn release(&mut self) {
        self.place.limit.heads.fetch_sub(self.counted, Ordering::Relaxed);
        (self.read, self.counted) = (0, 0);
    }

    /// Counts what was read of a head; whether there is room for it.
    fn count(&mut self, bytes: usize) -> bool {
        self.read += bytes;
        let counted = self.read.min(self.longest).saturating_sub(SMALL_HEAD);
        if counted == self.counted || self.place.is_of_user() {
            return true;
        }
        let heads = &self.place.limit.heads;
        let all = heads.fetch_add(counted - self.counted, Ordering::Relaxed);
        self.counted = counted;
        all <= LARGE_HEADS
    }
}

impl<S> Drop for HeadMeter<S> {
    fn drop(&mut self) {
        self.release();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadMeter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let state = &self.place.state;
        let (busy, begun) = (state.busy.load(Ordering::Relaxed) > 0, state.begun.load(Ordering::Relaxed));
        if begun != self.begun {
            // The head that was counted is read.
            self.begun = begun;
            self.release();
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        if !busy && read > 0 && !self.count(read) {
            return Poll::Ready(Err(io::Error::other("too many long heads of requests are unfinished")));
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadMeter<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    fn is_taken(place: &ConnectionPlace) -> bool {
        futures_util::FutureExt::now_or_never(place.state.ended.notified()).is_some()
    }

    #[test]
    fn whoever_comes_takes_the_place_of_the_longest_silent_of_their_network() {
        let limit = ConnectionLimit::new(800);
        let held: Vec<_> = (0..100).map(|_| limit.enter(Some(network(1)))).collect();
        let answering = held[0].begin();
        held[1].show();
        let other = limit.enter(Some(network(2)));
        let more: Vec<_> = (0..3).map(|_| limit.enter(Some(network(1)))).collect();
        // One of the hundred counts no longer.
        let taken: Vec<usize> = (0..100).filter(|n| is_taken(&held[*n])).collect();
        assert_eq!(taken, [2, 3]);
        assert!(!is_taken(&other) && !more.iter().any(is_taken));
        drop((answering, held, more, other));
        assert_eq!(limit.lock().count, 0);
        assert!(limit.lock().by_network.is_empty());
    }

    #[test]
    fn all_strangers_leave_places_to_users() {
        let limit = ConnectionLimit::new(80);
        let held: Vec<_> = (0..20).flat_map(|n| [1, 2, 3].map(|_| limit.enter(Some(network(n))))).collect();
        assert!(!held.iter().any(is_taken));
        let next = limit.enter(Some(network(99)));
        assert_eq!(held.iter().filter(|place| is_taken(place)).count(), 1);
        assert!(!is_taken(&next));
        // Behind a reverse proxy nobody counts.
        let proxied: Vec<_> = (0..100).map(|_| limit.enter(None)).collect();
        assert_eq!(limit.lock().count, 60);
        drop(proxied);
    }

    #[tokio::test]
    async fn long_heads_have_room_together() {
        let limit = ConnectionLimit::new(800);
        let mut meter = HeadMeter::new(&[0_u8; 0][..], Arc::new(limit.enter(Some(network(1)))), 128 << 10);
        assert!(meter.count(100_000) && meter.count(1_000_000));
        assert_eq!(
            limit.heads.load(Ordering::Relaxed),
            (128 << 10) - SMALL_HEAD,
            "no more than is kept of it"
        );
        limit.heads.fetch_add(LARGE_HEADS, Ordering::Relaxed);
        let mut late = HeadMeter::new(&[0_u8; 0][..], Arc::new(limit.enter(Some(network(2)))), 128 << 10);
        assert!(late.count(SMALL_HEAD) && !late.count(1));
        drop((meter, late));
        assert_eq!(limit.heads.load(Ordering::Relaxed), LARGE_HEADS);
    }
}
