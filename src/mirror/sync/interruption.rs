//! What can't wait for the end of a cycle: a snapshot that comes in, which brings what the first fill would take an hour for.

use tokio::sync::{MutexGuard, watch};

use super::{Cycle, Synchroniser};

/// How many wait for the cycle that is under way to end at once.
#[derive(Debug, Default)]
pub(super) struct Interruptions(watch::Sender<usize>);

/// One who waits, for as long as it lives.
struct Interruption<'w>(&'w watch::Sender<usize>);

impl Drop for Interruption<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

impl Interruptions {
    fn wait(&self) -> Interruption<'_> {
        self.0.send_modify(|waiting| *waiting += 1);
        Interruption(&self.0)
    }
}

impl Synchroniser {
    /// Keeps cycles from beginning for as long as what is returned lives. One that is under way because it was due ends at
    /// once, and goes on later; whether there was one. One that somebody has asked for is waited for.
    pub async fn pause(&self) -> (MutexGuard<'_, ()>, bool) {
        if let Ok(alone) = self.cycling.try_lock() {
            return (alone, false);
        }
        let _waiting = self.interruptions.wait();
        (self.cycling.lock().await, true)
    }

    /// Completes when somebody wants the cycle to end, unless it is one that somebody asked for.
    pub(super) async fn interrupted(&self, cycle: Cycle<'_>) {
        let mut waiting = self.interruptions.0.subscribe();
        if matches!(cycle, Cycle::Now(_)) || waiting.wait_for(|waiting| *waiting > 0).await.is_err() {
            std::future::pending::<()>().await;
        }
        tracing::info!("synchronising stops, and goes on in a moment");
        // As soon as it may.
        self.asked.notify_one();
    }
}
