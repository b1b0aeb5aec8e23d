//! What the proxy has been doing, for the people who run it: answers over time, what Alyx was spared, what is asked
//! most and what is slow, and who asks. In memory only, bounded, and cheap: a request costs it a few additions. What
//! would have to wait for another thread is left out rather than waited for; these are pictures, not accounts.

mod clients;
pub(crate) mod costly;
mod minutes;
mod questions;
mod spared;

use std::{net::IpAddr, time::Duration};

use http::{HeaderMap, Uri};

pub(crate) use clients::Client;
pub(crate) use costly::CostlyQuestion;
pub(crate) use minutes::{KINDS, Minute};
pub(crate) use questions::TopQuery;

use crate::http::cache_status::CacheStatus;

/// What is known of a request when it has been answered.
#[derive(Debug)]
pub(crate) struct ResponseEvent<'a> {
    pub(crate) how: CacheStatus,
    pub(crate) endpoint: &'static str,
    pub(crate) uri: &'a Uri,
    pub(crate) status: u16,
    pub(crate) took: Duration,
}

/// The recorder.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    minutes: minutes::Minutes,
    questions: questions::Questions,
    clients: clients::Clients,
    spared: spared::Spared,
    costly: costly::CostlyQuestions,
}

impl Activity {
    /// A request has been answered.
    pub(crate) fn answered(&self, seen: &ResponseEvent<'_>) {
        if matches!(seen.how, CacheStatus::Internal | CacheStatus::MaxForwards) {
            return;
        }
        let spared = match seen.how {
            CacheStatus::Forwarded { collapsed: false, .. } | CacheStatus::Revalidated => {
                self.spared.asked(seen.endpoint, seen.took);
                Duration::ZERO
            }
            CacheStatus::Refused(_) | CacheStatus::StaleIfError { .. } => Duration::ZERO,
            _ => self.spared.saves(seen.endpoint, seen.took),
        };
        self.minutes.count(seen.how.name(), spared, seen.status >= 500);
        self.questions.note(seen);
    }

    /// A client has asked something.
    pub(crate) fn client(&self, address: IpAddr, headers: &HeaderMap) {
        self.clients.seen(address, headers);
    }

    /// The last day, minute by minute, the oldest first.
    pub(crate) fn day(&self) -> Vec<Minute> {
        self.minutes.day()
    }

    /// The mirror gave this question up, for this reason.
    pub(crate) fn too_costly(&self, endpoint: &'static str, question: &str, reason: &'static str) {
        self.costly.note(endpoint, question, reason);
    }

    /// Questions that the mirror gave up lately, the last first.
    pub(crate) fn costly(&self) -> Vec<CostlyQuestion> {
        self.costly.last()
    }

    /// What was asked most, and what took longest.
    pub(crate) fn questions(&self) -> (Vec<TopQuery>, Vec<TopQuery>) {
        self.questions.top()
    }

    /// Who asked lately, the last first.
    pub(crate) fn clients(&self) -> Vec<Client> {
        self.clients.recent()
    }
}
