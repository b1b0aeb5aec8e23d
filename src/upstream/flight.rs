//! Single flight: identical requests under way become one.
//!
//! The request runs as a task of its own, so it is finished (and remembered) even if everyone who
//! waited has gone. Should that task die, those who wait see it at once and ask for themselves.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// Requests under way, by what makes them the same.
#[derive(Debug)]
pub struct Flights<K, T> {
    under_way: Arc<Mutex<HashMap<K, watch::Receiver<Option<T>>>>>,
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self { under_way: Arc::default() }
    }
}

/// A seat on a flight.
#[derive(Debug)]
pub struct Seat<T> {
    outcome: watch::Receiver<Option<T>>,
    /// Whether another request had started it.
    pub joined: bool,
}

impl<T: Clone> Seat<T> {
    /// The outcome; `None` if the flight was lost without one.
    pub async fn outcome(mut self) -> Option<T> {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone(),
            Err(_) => None,
        }
    }
}

/// Takes a flight off the table however it ends.
struct Landing<K: Eq + Hash, T> {
    key: K,
    under_way: Arc<Mutex<HashMap<K, watch::Receiver<Option<T>>>>>,
}

impl<K: Eq + Hash, T> Drop for Landing<K, T> {
    fn drop(&mut self) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl<K, T> Flights<K, T>
where
    K: Eq + Hash + Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Joins the flight of `key`, or starts it with `start`.
    pub fn join<F>(&self, key: K, start: impl FnOnce() -> F) -> Seat<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = under_way.get(&key) {
            return Seat { outcome: outcome.clone(), joined: true };
        }
        let (announce, outcome) = watch::channel(None);
        under_way.insert(key.clone(), outcome.clone());
        drop(under_way);
        let landing = Landing { key, under_way: self.under_way.clone() };
        let request = start();
        tokio::spawn(async move {
            let result = request.await;
            // Whoever comes from here on finds what was remembered, not this flight.
            drop(landing);
            announce.send_replace(Some(result));
        });
        Seat { outcome, joined: false }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use super::*;

    #[tokio::test]
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

    #[tokio::test]
    async fn a_lost_flight_tells_those_who_wait() {
        let flights = Flights::<u8, usize>::default();
        let leader = flights.join(1, || async { panic!("lost on purpose") });
        let follower = flights.join(1, || async { 2 });
        assert_eq!(leader.outcome().await, None);
        assert!(matches!(follower.outcome().await, None | Some(2)));
        assert_eq!(flights.join(1, || async { 3 }).outcome().await, Some(3));
    }
}
