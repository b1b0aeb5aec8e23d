//! Room in the budget for requests that are about to be made: what asks at the same time asks no more together than it may.

use std::sync::{Arc, PoisonError};

use super::{budget::BackgroundBudget, purpose::Purpose};

/// Room for requests that are about to be made, which nobody else has meanwhile; given back when it is dropped.
#[derive(Debug)]
#[must_use = "the room is given back when it is dropped"]
pub struct RequestReservation {
    budget: Arc<BackgroundBudget>,
    /// What they are made for.
    pub(super) purpose: Purpose,
    /// How many requests.
    pub requests: u64,
}

impl Drop for RequestReservation {
    fn drop(&mut self) {
        let mut reserved = self.budget.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let of = reserved.entry(self.purpose).or_default();
        *of = of.saturating_sub(self.requests);
    }
}

impl BackgroundBudget {
    /// Room for so many requests for this, where there is so much; others that ask at the same time get what is left.
    pub fn reserve(self: &Arc<Self>, purpose: Purpose, requests: u64) -> Option<RequestReservation> {
        self.reserve_up_to(purpose, requests).filter(|reserved| reserved.requests == requests)
    }

    /// Room for as many requests for this as there is room for, and no more than `most`; none where there is no room.
    fn reserve_up_to(self: &Arc<Self>, purpose: Purpose, most: u64) -> Option<RequestReservation> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = self.used_with(&reserved).room(purpose).min(most);
        *reserved.entry(purpose).or_default() += requests;
        drop(reserved);
        // What has no room gives nothing back, either.
        let reservation = RequestReservation { budget: self.clone(), purpose, requests };
        (requests > 0 || most == 0).then_some(reservation)
    }

    /// The same for what is being asked now.
    pub(super) fn reserve_for_now(self: &Arc<Self>, most: u64) -> Option<RequestReservation> {
        self.reserve_up_to(Purpose::current(), most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::ManualClock,
        mirror::sync::budget::tests::{allows, budget},
    };

    #[test]
    fn what_is_about_to_be_asked_nobody_else_has() {
        let clock = ManualClock::at(0);
        let own = budget(&clock, 250);
        let first = own.reserve_up_to(Purpose::Sweep, 30).unwrap();
        let second = own.reserve_up_to(Purpose::Sweep, 30).unwrap();
        assert_eq!((first.requests, second.requests), (30, 20));
        assert!(own.reserve_up_to(Purpose::Sweep, 30).is_none() && own.used().background() == 0);
        drop(first);
        assert!(!allows(&own, Purpose::Sweep, 31) && allows(&own, Purpose::Sweep, 30));
        let nightly = own.reserve(Purpose::Nightly, 200).unwrap();
        assert!(!allows(&own, Purpose::Nightly, 31), "{nightly:?} {second:?}");
    }
}
