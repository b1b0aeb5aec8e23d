//! Single flight: identical requests under way become one.
//!
//! The request runs as a task of its own. Once it has been sent it is finished (and remembered) even if
//! everyone who waited has gone; before, it ends with the last of them, so that what nobody waits for
//! neither piles up here nor is asked of Alyx. Should that task die, those who wait see it at once and
//! ask for themselves.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

/// Requests under way, by what makes them the same.
#[derive(Debug)]
pub(crate) struct Flights<K, T> {
    under_way: FlightTable<K, T>,
}

type FlightTable<K, T> = Arc<Mutex<HashMap<K, Flight<T>>>>;

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self { under_way: Arc::default() }
    }
}

/// Whether a request has been sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct SendState(Arc<AtomicBool>);

impl SendState {
    /// It is sent now.
    pub(crate) fn mark_sent(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has been sent.
    pub(crate) fn is_sent(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A request under way.
#[derive(Debug)]
struct Flight<T> {
    announce: watch::Sender<Option<T>>,
    send_state: SendState,
}

impl<T> Clone for Flight<T> {
    fn clone(&self) -> Self {
        Self { announce: self.announce.clone(), send_state: self.send_state.clone() }
    }
}

impl<T> Flight<T> {
    fn seat(&self, joined: bool) -> Waiter<T> {
        Waiter { outcome: self.announce.subscribe(), send_state: self.send_state.clone(), joined }
    }
}

/// A seat on a flight.
#[derive(Debug)]
pub(crate) struct Waiter<T> {
    outcome: watch::Receiver<Option<T>>,
    /// Whether the request has been sent.
    pub send_state: SendState,
    /// Whether another request had started it.
    pub joined: bool,
}

impl<T: Clone> Waiter<T> {
    /// The outcome; `None` if the flight was lost without one.
    pub(crate) async fn outcome(mut self) -> Option<T> {
        self.wait().await
    }

    /// The same, keeping the seat.
    pub(crate) async fn wait(&mut self) -> Option<T> {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        }
    }
}

impl<T: Send + Sync + 'static> Waiter<T> {
    /// Stays in it to the end, though nobody waits for what it brings. For flights that are bounded in number by
    /// something else than who asks; and whoever has joined one leaves that to the one who started it.
    pub(crate) fn detach(mut self) {
        if !self.joined {
            tokio::spawn(async move { self.outcome.wait_for(Option::is_some).await.map(drop) });
        }
    }
}

/// Takes a flight off the table however it ends.
struct RemoveOnDrop<K: Eq + Hash, T> {
    key: K,
    flight: Flight<T>,
    under_way: FlightTable<K, T>,
}

impl<K: Eq + Hash, T> RemoveOnDrop<K, T> {
    /// Completes when nobody waits for a request that has not been sent; it is off the table then.
    async fn abandoned(&self) {
        loop {
            self.flight.announce.closed().await;
            if self.flight.send_state.is_sent() {
                return std::future::pending().await;
            }
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            // Seats are taken while the table is held.
            if self.flight.announce.receiver_count() == 0 {
                under_way.remove(&self.key);
                return;
            }
        }
    }
}

impl<K: Eq + Hash, T> Drop for RemoveOnDrop<K, T> {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was abandoned may have a successor.
        let own = |flight: &Flight<T>| Arc::ptr_eq(&flight.send_state.0, &self.flight.send_state.0);
        if under_way.get(&self.key).is_some_and(own) {
            under_way.remove(&self.key);
        }
    }
}

impl<K, T> Flights<K, T>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Joins the flight with this key, or starts it; it goes on to its end without anybody, too.
    pub(crate) fn join<F>(&self, key: K, start: impl FnOnce() -> F) -> Waiter<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        self.get_or_start(key, |send_state| {
            send_state.mark_sent();
            start()
        })
    }

    /// The same for one that goes on without anybody only from [`SendState::leave`] on.
    pub(crate) fn get_or_start<F>(&self, key: K, start: impl FnOnce(SendState) -> F) -> Waiter<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = under_way.get(&key) {
            return flight.seat(true);
        }
        let flight = Flight { announce: watch::Sender::new(None), send_state: SendState::default() };
        let seat = flight.seat(false);
        under_way.insert(key.clone(), flight.clone());
        drop(under_way);
        let request = start(flight.send_state.clone());
        let announce = flight.announce.clone();
        let landing = RemoveOnDrop { key, flight, under_way: self.under_way.clone() };
        tokio::spawn(async move {
            let result = tokio::select! {
                result = request => result,
                () = landing.abandoned() => return,
            };
            // Whoever comes from here on finds what was remembered, not this flight.
            drop(landing);
            announce.send_replace(Some(result));
        });
        seat
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "by a time that is paused")]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_join_one() {
        let flights = Flights::<u8, usize>::default();
        let started = Arc::new(AtomicUsize::new(0));
        let seats: Vec<_> = (0..50)
            .map(|_| {
                let started = started.clone();
                flights.join(1, move || async move {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    started.fetch_add(1, Ordering::SeqCst) + 1
                })
            })
            .collect();
        assert_eq!(seats.iter().filter(|seat| seat.joined).count(), 49);
        for seat in seats {
            assert_eq!(seat.outcome().await, Some(1));
        }
        assert_eq!(flights.join(1, || async { 7 }).outcome().await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_flight_tells_those_who_wait() {
        let flights = Flights::<u8, usize>::default();
        let leader = flights.join(1, || async { panic!("lost on purpose") });
        let follower = flights.join(1, || async { 2 });
        assert_eq!(leader.outcome().await, None);
        assert!(matches!(follower.outcome().await, None | Some(2)));
        assert_eq!(flights.join(1, || async { 3 }).outcome().await, Some(3));
    }

    /// A flight that waits for `sent`, leaves, and ends with `landed`.
    fn waiting(
        flights: &Flights<u8, usize>,
        [sent, landed]: [&Arc<tokio::sync::Notify>; 2],
        value: usize,
    ) -> Waiter<usize> {
        let (sent, landed) = (sent.clone(), landed.clone());
        flights.get_or_start(1, move |send_state| async move {
            sent.notified().await;
            send_state.mark_sent();
            landed.notified().await;
            value
        })
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_is_not_sent() {
        let flights = Flights::<u8, usize>::default();
        let [sent, landed]: [Arc<tokio::sync::Notify>; 2] = Default::default();
        let is_under_way = || !flights.under_way.lock().unwrap().is_empty();
        // The last one to go takes it along; whoever comes then has a flight of their own.
        let first = waiting(&flights, [&sent, &landed], 1);
        let second = waiting(&flights, [&sent, &landed], 2);
        assert!(second.joined);
        drop(first);
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(is_under_way());
        drop(second);
        while is_under_way() {
            tokio::task::yield_now().await;
        }
        let third = waiting(&flights, [&sent, &landed], 3);
        assert!(!third.joined);
        sent.notify_one();
        landed.notify_one();
        assert_eq!(third.outcome().await, Some(3));
        // One that has been sent goes on, and so does one whose seat is kept.
        let mut fourth = waiting(&flights, [&sent, &landed], 4);
        sent.notify_one();
        while !fourth.send_state.is_sent() {
            tokio::task::yield_now().await;
        }
        fourth.joined = true;
        fourth.detach();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(is_under_way());
        landed.notify_one();
        while is_under_way() {
            tokio::task::yield_now().await;
        }
        waiting(&flights, [&sent, &landed], 5).detach();
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert!(is_under_way());
    }
}
