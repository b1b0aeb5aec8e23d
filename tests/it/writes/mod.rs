//! Acceptance 6: a write goes to Alyx as it came, and whoever reads after it reads the new state (ALYX.md 7).

mod back;
mod back_walk;
mod joins;
mod miniature;
mod order;
mod passing;
mod refused;
mod table;

use std::collections::BTreeSet;

use crate::support::{self, Answer, Lab, Proxy, client::Ask, lab, users};
use serde_json::json;

const SESSION: &str = "/sessions/00000000-0000-4000-8000-000000000000";

/// Every list and a record of each kind.
fn reads() -> Vec<String> {
    let session = format!("sessions/{}", lab::session_id(0));
    let mut reads = vec!["sessions".to_owned(), session, "users".to_owned(), "users/oneuser".to_owned()];
    for (table, key) in lab::TABLES {
        reads.extend([(*table).to_owned(), format!("{table}/{key}")]);
    }
    reads.extend(lab::LISTS.iter().map(|list| (*list).to_owned()));
    reads
}

/// Reads everything as `user`; what of it is of an older version than `new`.
async fn old_reads(proxy: &Proxy, user: users::User, new: usize) -> BTreeSet<String> {
    let mut old = BTreeSet::new();
    for read in reads() {
        let answer = proxy.client().with(user).get(&format!("/{read}")).await.expect(200);
        if lab::version(&answer.json()) != new {
            assert!(answer.cache().hit(), "{read}: {}", answer.cache().text);
            old.insert(read);
        }
    }
    old
}

/// The reads that an entry of the table stands for.
fn meant(entry: &str) -> Vec<String> {
    let name = entry.trim_end_matches(['?', '/']);
    let all = reads();
    let detail = |read: &&String| read.split_once('/').is_some_and(|(table, _)| table == name);
    let list = |read: &&String| *read == name;
    all.iter()
        .filter(|read| (list(read) && !entry.ends_with('/')) || (detail(read) && !entry.ends_with('?')))
        .cloned()
        .collect()
}

/// A proxy that has stored everything for both users, before the data change.
async fn primed() -> (Lab, Proxy, usize) {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    for user in [users::ONEUSER, users::ADMIN] {
        assert!(old_reads(&proxy, user, 1).await.is_empty());
    }
    let new = lab.renew();
    (lab, proxy, new)
}

fn create(proxy: &Proxy) -> Ask {
    proxy.client().ask("POST", "/sessions").json(&json!({"subject": "KS004"}))
}

fn posts(lab: &Lab) -> usize {
    lab.upstream.asked().iter().filter(|asked| asked.method == "POST").count()
}

fn assert_gone(answer: &Answer) {
    assert_eq!(answer.status, 503, "{}", answer.describe());
    assert_eq!(answer.json()["status_code"], 503);
}
