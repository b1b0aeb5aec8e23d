//! What the proxy has been doing, for the people who run it: answers over time, what Alyx was spared, what is asked
//! most and what is slow, and who asks. In memory only, bounded, and cheap: a request costs it a few additions. What
//! would have to wait for another thread is left out rather than waited for; these are pictures, not accounts.

mod clients;
mod minutes;
mod questions;
mod spared;

use std::{net::IpAddr, time::Duration};

use http::{HeaderMap, Uri};

pub(super) use clients::Client;
pub(super) use minutes::{KINDS, Minute};
pub(super) use questions::Asked;

use super::status::How;

/// What is known of a request when it has been answered.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) how: How,
    pub(super) endpoint: &'static str,
    pub(super) uri: &'a Uri,
    pub(super) status: u16,
    pub(super) took: Duration,
}

/// The recorder.
#[derive(Debug, Default)]
pub(super) struct Activity {
    minutes: minutes::Minutes,
    questions: questions::Questions,
    clients: clients::Clients,
    spared: spared::Spared,
}

impl Activity {
    /// A request has been answered.
    pub(super) fn answered(&self, seen: &Seen<'_>) {
        if seen.how == How::Own {
            return;
        }
        let spared = match seen.how {
            How::Forwarded { collapsed: false, .. } => {
                self.spared.asked(seen.endpoint, seen.took);
                Duration::ZERO
            }
            How::Refused(_) | How::Own => Duration::ZERO,
            _ => self.spared.saves(seen.endpoint, seen.took),
        };
        self.minutes.count(seen.how.name(), spared, seen.status >= 500);
        self.questions.note(seen);
    }

    /// A client has asked something.
    pub(super) fn client(&self, address: IpAddr, headers: &HeaderMap) {
        self.clients.seen(address, headers);
    }

    /// The last day, minute by minute, the oldest first.
    pub(super) fn day(&self) -> Vec<Minute> {
        self.minutes.day()
    }

    /// What was asked most, and what took longest.
    pub(super) fn questions(&self) -> (Vec<Asked>, Vec<Asked>) {
        self.questions.top()
    }

    /// Who asked lately, the last first.
    pub(super) fn clients(&self) -> Vec<Client> {
        self.clients.recent()
    }
}
