//! Threads that look things up, each with a connection of its own, and who gets one of them next.
//!
//! Those who ask take turns, and none of them ever has all threads: who asks for much, or for what takes long, leaves one
//! to others. A look has a budget ([`super::budget`]) that begins when it is asked for, and is not begun where nobody waits
//! for it any more.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    Degradation,
    budget::{Budget, Leaving, Ticket},
};
use crate::clock::{self, Millis};

/// A look that takes longer than its budget by this holds its thread for too long: a function that SQLite calls may not come
/// back.
const GRACE: Duration = Duration::from_secs(2);
/// What the proxy itself looks up is short, but for a table of millions of records on a slow disk.
const OWN: Budget = Budget { time: Duration::from_mins(5), steps: 100_000_000_000 };

/// For whom something is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The proxy itself.
    Proxy,
    /// All who have no token.
    Guests,
    /// The holder of a token, by its keyed hash.
    User([u8; 32]),
}

/// What is asked of the threads.
#[derive(Debug, Clone)]
pub struct ReadRequest {
    /// For whom.
    pub owner: Owner,
    /// What, for the log: no secret.
    pub what: String,
    /// What it may cost.
    pub budget: Budget,
}

impl ReadRequest {
    /// What the proxy itself looks up.
    pub fn own(what: &str) -> Self {
        Self { owner: Owner::Proxy, what: what.to_owned(), budget: OWN }
    }
}

/// Why nothing was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRead {
    /// All threads were busy until its time was over.
    Busy,
    /// It was begun, and its time was over.
    Spent,
    /// The threads have ended.
    Closed,
}

const OVERDUE: &str =
    "A thread that reads the database has been busy for too long with one question (the log says which)";

type Look<C> = Box<dyn FnOnce(&mut C, Arc<Ticket>) + Send>;

struct ReadJob<C> {
    ticket: Arc<Ticket>,
    what: String,
    look: Look<C>,
}

/// A look that is under way.
#[derive(Debug)]
struct UnderWay {
    owner: Owner,
    what: String,
    since: Millis,
    /// From when on it takes too long.
    overdue: Instant,
    told: bool,
}

struct Queue<C> {
    waiting: HashMap<Owner, VecDeque<ReadJob<C>>>,
    /// Who waits, in the order of their turns.
    turns: VecDeque<Owner>,
    /// What each thread does.
    under_way: Vec<Option<UnderWay>>,
    closed: bool,
}

struct PoolShared<C> {
    queue: Mutex<Queue<C>>,
    changed: Condvar,
}

/// The threads; they end when this is dropped.
pub(crate) struct ReaderPool<C> {
    shared: Arc<PoolShared<C>>,
}

impl<C> fmt::Debug for ReaderPool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderPool").finish_non_exhaustive()
    }
}

impl<C: Send + 'static> ReaderPool<C> {
    /// Starts a thread for each of these, called `name`.
    pub(crate) fn start(name: &str, readers: Vec<C>) -> std::io::Result<Self> {
        let queue = Queue {
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            under_way: readers.iter().map(|_| None).collect(),
            closed: false,
        };
        let shared = Arc::new(PoolShared { queue: Mutex::new(queue), changed: Condvar::new() });
        let pool = Self { shared };
        for (number, reader) in readers.into_iter().enumerate() {
            let shared = pool.shared.clone();
            thread::Builder::new()
                .name(format!("{name}-{number}"))
                .spawn(move || work(reader, number, &shared))?;
        }
        Ok(pool)
    }

    /// Has one of the threads look something up.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        request: ReadRequest,
        look: impl FnOnce(&mut C, Arc<Ticket>) -> T + Send + 'static,
    ) -> Result<T, NoRead> {
        let (tell, told) = oneshot::channel();
        let ticket = Ticket::new(request.budget);
        let look: Look<C> = Box::new(move |reader, ticket| {
            // Whoever asked may have gone.
            let _ = tell.send(look(reader, ticket));
        });
        let _leaving = Leaving(ticket.clone());
        let ends = ticket.ends();
        self.submit(request.owner, ReadJob { ticket: ticket.clone(), what: request.what, look })?;
        let mut told = told;
        let in_time = match tokio::time::timeout_at(ends.into(), &mut told).await {
            // A look that is under way ends by itself now; a function that SQLite calls may take a little longer.
            Err(_) if ticket.has_begun() => tokio::time::timeout_at((ends + GRACE / 8).into(), told).await,
            in_time => in_time,
        };
        match in_time {
            Ok(Ok(result)) => Ok(result),
            Err(_) if ticket.has_begun() => Err(NoRead::Spent),
            Ok(Err(_)) if !ticket.is_over() => Err(NoRead::Closed),
            Ok(Err(_)) | Err(_) => Err(NoRead::Busy),
        }
    }

    fn submit(&self, owner: Owner, job: ReadJob<C>) -> Result<(), NoRead> {
        let mut queue = self.shared.lock();
        if queue.closed {
            return Err(NoRead::Closed);
        }
        let waiting = queue.waiting.entry(owner).or_default();
        waiting.push_back(job);
        if waiting.len() == 1 {
            queue.turns.push_back(owner);
        }
        drop(queue);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// The look that has held a thread for too long, if any; each is told once in the log.
    pub(crate) fn overdue(&self) -> Option<Degradation> {
        let mut queue = self.shared.lock();
        let now = Instant::now();
        let mut found: Option<Degradation> = None;
        for look in queue.under_way.iter_mut().flatten().filter(|look| look.overdue <= now) {
            if !look.told {
                look.told = true;
                tracing::warn!(question = look.what, "{OVERDUE}");
            }
            if found.as_ref().is_none_or(|found| look.since < found.since) {
                // Who may read this is not known: not with what.
                found = Some(Degradation { since: look.since, what: OVERDUE.to_owned() });
            }
        }
        found
    }
}

impl<C> Drop for ReaderPool<C> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl<C> PoolShared<C> {
    fn lock(&self) -> MutexGuard<'_, Queue<C>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this thread does next; none where it ends.
    fn next(&self, number: usize) -> Option<ReadJob<C>> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.take(number) {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<C> Queue<C> {
    /// The next of whoever's turn it is, but for those who have their share.
    fn take(&mut self, number: usize) -> Option<ReadJob<C>> {
        let share = (self.under_way.len() - 1).max(1);
        let has = |owner: &Owner| self.under_way.iter().flatten().filter(|look| look.owner == *owner).count();
        let turn = self.turns.iter().position(|owner| has(owner) < share)?;
        let owner = self.turns.remove(turn)?;
        let waiting = self.waiting.get_mut(&owner)?;
        let mut job = waiting.pop_front();
        // Nobody waits for these any more.
        while job.as_ref().is_some_and(|job| job.ticket.is_over()) {
            job = waiting.pop_front();
        }
        if waiting.is_empty() {
            self.waiting.remove(&owner);
        } else {
            self.turns.push_back(owner);
        }
        let Some(job) = job else { return self.take(number) };
        job.ticket.begin();
        let overdue = job.ticket.ends() + GRACE;
        let what = job.what.clone();
        self.under_way[number] = Some(UnderWay { owner, what, since: clock::now(), overdue, told: false });
        Some(job)
    }
}

fn work<C>(mut reader: C, number: usize, shared: &PoolShared<C>) {
    while let Some(job) = shared.next(number) {
        let look = AssertUnwindSafe(|| (job.look)(&mut reader, job.ticket));
        // What was looked up is lost then, and whoever asked is told so; the thread is needed by others.
        if catch_unwind(look).is_err() {
            tracing::error!("a look into the database failed");
        }
        shared.lock().under_way[number] = None;
        shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG_ENOUGH: Budget = Budget { time: Duration::from_hours(1), steps: 1 };

    fn request(owner: Owner, time: Duration) -> ReadRequest {
        ReadRequest { owner, what: "/labs".to_owned(), budget: Budget { time, ..LONG_ENOUGH } }
    }

    /// Has `owner` hold as many threads as it gets until the sender is dropped.
    async fn hold(pool: &Arc<ReaderPool<()>>, owner: Owner, looks: usize) -> mpsc::Sender<()> {
        let (end, ended) = mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        for _ in 0..looks {
            let (pool, ended) = (pool.clone(), ended.clone());
            tokio::spawn(async move {
                let wait = move |(): &mut (), _| ended.lock().unwrap().recv().is_err();
                pool.read(request(owner, LONG_ENOUGH.time), wait).await
            });
        }
        while !pool.shared.lock().under_way.iter().flatten().any(|look| look.owner == owner) {
            tokio::task::yield_now().await;
        }
        end
    }

    #[tokio::test]
    async fn whoever_asks_for_much_leaves_a_thread_to_others() {
        let pool = Arc::new(ReaderPool::start("test", vec![(), (), ()]).unwrap());
        let (one, other) = (Owner::User([1; 32]), Owner::User([2; 32]));
        let _held = hold(&pool, one, 50).await;
        for _ in 0..20 {
            assert_eq!(pool.read(request(other, LONG_ENOUGH.time), |(), _| 7).await, Ok(7));
        }
        assert!(pool.shared.lock().waiting.contains_key(&one), "it waits for itself");
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_their_time() {
        let pool = Arc::new(ReaderPool::start("test", vec![()]).unwrap());
        let held = hold(&pool, Owner::Proxy, 1).await;
        let short = Duration::from_millis(20);
        let late = pool.read(request(Owner::Guests, short), |(), _| ()).await;
        assert_eq!(late, Err(NoRead::Busy));
        assert!(pool.overdue().is_none());
        drop(held);
        assert_eq!(pool.read(request(Owner::Guests, LONG_ENOUGH.time), |(), _| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn what_holds_a_thread_for_too_long_is_told() {
        let pool = Arc::new(ReaderPool::start("test", vec![(), ()]).unwrap());
        let _held = hold(&pool, Owner::Guests, 1).await;
        assert!(pool.overdue().is_none());
        pool.shared.lock().under_way.iter_mut().flatten().for_each(|look| look.overdue = Instant::now());
        assert!(pool.overdue().is_some_and(|overdue| !overdue.what.contains("/labs")));
    }
}
