//! Who asked lately.

use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use foldhash::HashMap;
use http::{HeaderMap, header};

use crate::clock::{self, Millis};

/// Clients that are told apart; the one that was not seen for longest makes room.
const KEPT: usize = 500;
/// Clients that are shown.
const SHOWN: usize = 20;
/// Characters of a client's own name that are kept.
const LONGEST: usize = 60;

/// A client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    /// What it says it is.
    pub(crate) program: String,
    pub(crate) requests: u64,
    pub(crate) last: Millis,
}

#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<HashMap<IpAddr, Client>>);

impl Clients {
    pub(super) fn seen(&self, address: IpAddr, headers: &HeaderMap) {
        let Ok(mut known) = self.0.try_lock() else { return };
        if known.len() >= KEPT
            && !known.contains_key(&address)
            && let Some(oldest) = known.values().min_by_key(|client| client.last).map(|client| client.address)
        {
            known.remove(&oldest);
        }
        let client = known.entry(address).or_insert_with(|| Client {
            address,
            program: String::new(),
            requests: 0,
            last: 0,
        });
        client.requests += 1;
        client.last = clock::now();
        if client.requests % 64 == 1 {
            client.program = program(headers);
        }
    }

    pub(super) fn recent(&self) -> Vec<Client> {
        let mut all: Vec<Client> =
            self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        all.sort_unstable_by_key(|client| std::cmp::Reverse(client.last));
        all.truncate(SHOWN);
        all
    }
}

fn program(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let said = match text("one-api-version") {
        Some(version) => format!("ONE {version}"),
        None => text(header::USER_AGENT.as_str()).unwrap_or("?").to_owned(),
    };
    said.chars().take(LONGEST).collect()
}
