//! What a question may cost the mirror, and whose turn it takes.

use super::{from_mirror::MirrorMiss, read::Read};
use crate::{
    alyx::{Route, filterset::Undecidable},
    cache::Question,
    settings::Settings,
    store::{ReadRequest, budget::Budget, reader_pool::Owner},
    telemetry::activity::Activity,
};

/// Steps of SQLite's virtual machine that a question may take: some seconds of a fast machine's. What the largest labs
/// ask takes a hundredth of it.
const MOST_STEPS: u64 = 200_000_000;

/// So many times `mirror.query_timeout` a question may take while nobody else can answer it.
const WITHOUT_ALYX: u32 = 5;

/// What is asked of the mirror's threads for a question; `alone` where neither Alyx nor anything stored can answer it.
pub(super) fn request(question: &Question, owner: Owner, settings: &Settings, alone: bool) -> ReadRequest {
    let times = if alone { WITHOUT_ALYX } else { 1 };
    let time = settings.mirror.query_timeout.0.saturating_mul(times);
    let budget = Budget { time, steps: MOST_STEPS.saturating_mul(times.into()) };
    ReadRequest { owner, what: question.path_and_query.clone(), budget }
}

/// Notes a question that was given up for what it costs, so that its operator can see which.
pub(super) fn note(activity: &Activity, question: &Question, miss: &MirrorMiss) {
    let (Route::List(endpoint) | Route::Detail(endpoint, _)) = &question.route else { return };
    if let MirrorMiss::Busy | MirrorMiss::Undecided(Undecidable::TooCostly) = miss
        && let Some(reason) = miss.name()
    {
        activity.too_costly(endpoint.name, &question.path_and_query, reason);
    }
}

impl Read<'_> {
    /// Whose turn it takes.
    pub(super) fn owner(&self) -> Owner {
        self.credentials.token().map_or(Owner::Guests, |token| Owner::User(token.0))
    }
}
