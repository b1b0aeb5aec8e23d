//! `[mirror] verify`: whether the mirror says what Alyx says.
//!
//! Off the hot path, a few times a minute, a question that was answered from the tables is put to Alyx too, by
//! the service account, and both answers are compared. Where they differ, Alyx's records may have changed since
//! the last synchronisation; so the same is done again when all tables that were used have been synchronised
//! anew. If they differ still, and Alyx said the same both times, the mirror is wrong: that is counted and
//! logged, and the parameters that were used are not answered from here until the tables have been read as a whole.
//!
//! Left out: the order of ties, which Alyx leaves open (ALYX.md 3.10), and fields that change with the time
//! of day (3.8).

mod compare;
mod samples;

use std::{sync::Arc, time::Duration};

use http::Uri;

pub(crate) use samples::{Samples, Verified, register};

use super::from_mirror::{CachedAnswer, FromMirror, MirrorMiss, MirrorQuery};
use crate::{
    alyx::{Route, filterset::Undecidable, query_string},
    cache::{JsonVariant, Question},
    clock::Millis,
    http::Directives,
    mirror::{
        Synchroniser,
        answer::MirrorQuestion,
        learn,
        state::States,
        sync::budget::{BackgroundBudget, Purpose, asking_for},
    },
    store::reader_pool::Owner,
};

/// Time between two looks where there is nothing to do.
const REST: Duration = Duration::from_mins(1);
/// Differences that wait for the next synchronisation; more are dropped.
const SUSPECTS: usize = 16;
/// Records on a page; a longer list is compared by its count and by what both pages have.
const PAGE: u64 = crate::alyx::pagination::MAX_LIMIT;

/// A difference that may have come from a change upstream.
#[derive(Debug)]
struct Suspect {
    question: Question,
    /// What Alyx said.
    said: compare::Side,
    /// When it said so: the tables must be synchronised after that.
    at: Millis,
}

/// What a comparison shows.
enum VerifyOutcome {
    Same,
    /// They differ.
    Different(Box<Suspect>, CachedAnswer),
    /// Something changed meanwhile, or one of both did not answer.
    Unknown,
}

/// What is compared in turn.
#[derive(Debug, Default)]
pub(crate) struct Verifier {
    suspects: Vec<Suspect>,
    /// When something was compared last.
    last: Option<Millis>,
}

/// Compares for as long as the proxy lives.
pub(crate) async fn run(mirror: Arc<FromMirror>) {
    let mut verifier = Verifier::default();
    loop {
        let rate = mirror.core.settings.load().mirror.verify_per_minute;
        let pause = REST.checked_div(rate).unwrap_or(REST);
        let hurried = mirror.samples.pause(pause).await;
        if rate > 0 || hurried {
            verifier.compare_one(&mirror, hurried).await;
        }
    }
}

impl Verifier {
    /// Compares one answer, where there is one and it is time.
    pub(crate) async fn compare_one(&mut self, mirror: &FromMirror, hurried: bool) {
        let Some(synchroniser) = mirror.core.synchroniser.as_ref() else { return };
        let budget = &synchroniser.budget;
        if mirror.core.upstream.health.is_down() || !(hurried || self.is_time(mirror, budget)) {
            return;
        }
        let purpose = if hurried { Purpose::Person } else { Purpose::Verification };
        let Some(_room) = budget.reserve(purpose, 1) else { return };
        let due = self.suspects.iter().position(|suspect| mirror.synchronised_since(suspect));
        let elder = due.map(|due| self.suspects.swap_remove(due));
        let Some(question) =
            elder.as_ref().map(|elder| elder.question.clone()).or_else(|| mirror.samples.take())
        else {
            return;
        };
        self.last = Some(mirror.core.clock.now());
        asking_for(purpose, self.compare(mirror, question, elder)).await;
    }

    /// Whether the last comparison is long enough ago that the share of all is spread over the day.
    fn is_time(&self, mirror: &FromMirror, budget: &BackgroundBudget) -> bool {
        let spread = budget.pause(Purpose::Verification).unwrap_or_default();
        let spread = Millis::try_from(spread.as_millis()).unwrap_or(Millis::MAX);
        let lately = self.last.is_some_and(|last| (0..spread).contains(&(mirror.core.clock.now() - last)));
        !lately
    }

    async fn compare(&mut self, mirror: &FromMirror, question: Question, elder: Option<Suspect>) {
        match (mirror.compare(&question).await, elder) {
            (VerifyOutcome::Same, elder) => {
                mirror.samples.count(elder.map_or(Verified::Same, |_| Verified::Changed));
            }
            (VerifyOutcome::Unknown, _) => mirror.samples.count(Verified::Unknown),
            (VerifyOutcome::Different(suspect, kept), Some(elder)) if suspect.said == elder.said => {
                mirror.samples.count(Verified::Different);
                mirror.distrust(&question, &kept).await;
            }
            (VerifyOutcome::Different(suspect, _), _) => {
                if let Some(synchroniser) = &mirror.core.synchroniser {
                    synchroniser.request(suspect.said.tables.iter().copied(), suspect.at);
                }
                if self.suspects.len() < SUSPECTS {
                    self.suspects.push(*suspect);
                }
            }
        }
    }
}

impl FromMirror {
    /// Notes a question that was answered from the tables.
    pub(crate) fn sample(&self, question: &Question) {
        self.samples.note(question);
    }

    /// Whether all tables that the question was answered from have been synchronised since.
    fn synchronised_since(&self, suspect: &Suspect) -> bool {
        let Some(mirror) = &self.core.mirror else { return false };
        let states = mirror.states();
        suspect
            .said
            .tables
            .iter()
            .all(|table| states.of(table).is_none_or(|state| state.synced_at > suspect.at))
    }

    async fn compare(&self, question: &Question) -> VerifyOutcome {
        let settings = self.core.settings.load_full();
        let Ok(recency) = self.recency(question, &settings, &Directives::default()) else {
            return VerifyOutcome::Unknown;
        };
        let (Ok(target), Some(synchroniser)) = (self.mirror_for(question), &self.core.synchroniser) else {
            return VerifyOutcome::Unknown;
        };
        let written = self.core.responses.written_lists();
        let kept = match self.kept(question, &settings, Some(recency), Owner::Proxy).await {
            Ok(kept) => kept,
            Err(miss) => {
                if is_strange(&miss) {
                    self.learn(question, synchroniser).await;
                }
                return VerifyOutcome::Unknown;
            }
        };
        let at = self.core.clock.now();
        let Ok(answer) = synchroniser.ask(&question.path_and_query).await else {
            return VerifyOutcome::Unknown;
        };
        // A record that Alyx can't give just now says nothing of the one that is here.
        let unreadable =
            matches!(question.route, Route::Detail(..)) && !matches!(answer.status.as_u16(), 200 | 404);
        let moved_on =
            target.mirror.version() != kept.version || self.core.responses.written_lists() != written;
        if moved_on || unreadable || !answer.json || matches!(answer.status.as_u16(), 401 | 403 | 429) {
            return VerifyOutcome::Unknown;
        }
        let (endpoint, ours) = (target.endpoint, kept.entry.clone());
        let tables: Vec<_> = kept.tables.iter().map(|table| table.endpoint).collect();
        let keys = target.mirror.states().ordered_by(endpoint);
        let compared = tokio::task::spawn_blocking(move || {
            let clock = endpoint.clock;
            let ours = compare::Side::of(ours.status, &ours.body, clock, &keys, tables.clone());
            let theirs = compare::Side::of(answer.status, &answer.body, clock, &keys, tables);
            (ours.agrees(&theirs), theirs)
        });
        match compared.await {
            Ok((true, _)) => VerifyOutcome::Same,
            Ok((false, said)) => {
                VerifyOutcome::Different(Box::new(Suspect { question: question.clone(), said, at }), kept)
            }
            Err(_) => VerifyOutcome::Unknown,
        }
    }

    /// Has Alyx's answer tell what it means, where nobody knows that. What speaks against what is known may come of a change that
    /// is not here yet, and so tells nothing.
    async fn learn(&self, question: &Question, synchroniser: &Synchroniser) {
        let Ok(MirrorQuery { mirror, endpoint, key }) = self.mirror_for(question) else { return };
        let Ok(answer) = synchroniser.ask(&question.path_and_query).await else { return };
        if !answer.json || matches!(answer.status.as_u16(), 401 | 403 | 429 | 502..=504) {
            return;
        }
        let settings = self.core.settings.load();
        let today = self.core.mode.today(&settings, self.core.clock.now());
        let (zone, pairs) = (self.core.mode.zone(&settings), question.pairs.clone());
        let look = move |connection: &rusqlite::Connection, states: &Arc<States>| {
            let (key, zone) = (key.as_deref(), Some(&zone));
            let asked = MirrorQuestion { endpoint, key, pairs: &pairs, url: "", today, zone, recency: None };
            let body = String::from_utf8_lossy(&answer.body);
            learn::learn(connection, states, &asked, (answer.status.as_u16(), &body))
        };
        let found = match mirror.read(look).await {
            Ok(found) if !found.contradicts() => found,
            _ => return,
        };
        if let Err(error) = mirror.note_findings(found).await {
            tracing::error!(%error, "what Alyx means can't be noted");
        }
    }

    /// Alyx says something else: what was asked goes to Alyx until that is mended. A detail is fetched again, and that is
    /// all unless it is still seen to differ then.
    async fn distrust(&self, question: &Question, kept: &CachedAnswer) {
        let (Ok(target), Some(synchroniser)) = (self.mirror_for(question), &self.core.synchroniser) else {
            return;
        };
        if let Route::Detail(endpoint, key) = &question.route
            && synchroniser.touch(endpoint, key).await.is_ok()
            && !matches!(self.compare(question).await, VerifyOutcome::Different(..))
        {
            tracing::warn!(
                question = question.path_and_query,
                "the mirror's answer differs from Alyx's; the record was fetched again"
            );
            return;
        }
        tracing::warn!(
            question = question.path_and_query,
            "the mirror's answer differs from Alyx's; what it was asked with goes to Alyx until the tables have been \
             read as a whole"
        );
        // Without parameters, the list itself is not what it ought to be.
        let used = if kept.used.is_empty() { &[""][..] } else { &kept.used };
        let tables: Vec<_> = kept.tables.iter().map(|table| table.endpoint).collect();
        for parameter in used {
            if let Err(error) = target.mirror.distrust(target.endpoint.name, parameter, &tables).await {
                tracing::error!(%error, "what differs can't be noted");
            }
        }
        synchroniser.request_cycle();
    }
}

/// Whether a question goes to Alyx because nobody knows what this Alyx means by it.
pub(crate) fn is_strange(miss: &MirrorMiss) -> bool {
    matches!(miss, MirrorMiss::Undecided(Undecidable::OtherAlyx { .. }))
}

/// The question for the whole list instead of the page that somebody asked for.
fn whole(question: &Question) -> Option<Question> {
    let Route::List(_) = &question.route else { return Some(question.clone()) };
    let mut pairs: query_string::Pairs =
        question.pairs.iter().filter(|(name, _)| name != "limit" && name != "offset").cloned().collect();
    pairs.push(("limit".to_owned(), PAGE.to_string()));
    let uri: Uri = format!("{}?{}", question.path, query_string::encode_sorted(&pairs)).parse().ok()?;
    Some(Question::new(question.route.clone(), question.class, &uri, &JsonVariant::plain(), None))
}
