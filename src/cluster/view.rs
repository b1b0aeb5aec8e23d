//! What the cluster looks like from here, for pages, `status` and metrics.

use serde::{Deserialize, Serialize};

use super::Cluster;

/// What is shown of the cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterView {
    /// `together`, `alone` or `joining`.
    pub state: String,
    /// Why this proxy is not in.
    pub trouble: Option<String>,
    /// Seconds since it was in last.
    pub alone_seconds: Option<u64>,
    /// Where the engine is, without user and password.
    pub engine: String,
    /// How long it took for the last beat, in milliseconds.
    pub engine_milliseconds: u64,
    /// The engine's life.
    pub life: Option<String>,
    /// All who are in, as this proxy heard last.
    pub members: Vec<MemberView>,
    /// How many scopes were written that the others have yet to be told.
    pub untold: usize,
    /// Whether nothing is written that they can't be told.
    pub strict: bool,
}

/// A proxy that is in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MemberView {
    /// The name of its machine.
    pub name: String,
    /// What tells it from others there.
    pub id: String,
    /// Its version.
    pub version: String,
    /// Whether it is this one.
    pub own: bool,
    /// How many events it has yet to apply.
    pub lag: u64,
}

impl Cluster {
    /// What it looks like from here; strangers get no `names`.
    pub fn view(&self, names: bool) -> ClusterView {
        let (state, now) = (self.lease.state().clone(), self.clock.awake());
        let is_in = self.together();
        let for_people = |text: String| if names { text } else { String::new() };
        let members = state.members.iter().map(|member| MemberView {
            name: for_people(member.name.clone()),
            id: member.id.simple().to_string()[..8].to_owned(),
            version: member.version.clone(),
            own: Some(member.id) == state.member,
            lag: u64::try_from(state.last - member.seen).unwrap_or(0),
        });
        let joining = state.trouble.is_none() && !is_in;
        ClusterView {
            state: if is_in {
                "together"
            } else if joining {
                "joining"
            } else {
                "alone"
            }
            .to_owned(),
            alone_seconds: (!is_in).then(|| now.saturating_sub(state.lost_at).as_secs()),
            trouble: state.trouble.filter(|_| !is_in && names),
            engine: for_people(self.engine.address()),
            engine_milliseconds: u64::try_from(state.took.as_millis()).unwrap_or(u64::MAX),
            life: state.life.filter(|_| names).map(|life| life.to_string()),
            members: members.collect(),
            untold: self.notes.untold().len(),
            strict: self.strict,
        }
    }

    /// How many are in, as this proxy heard last; none while it is not in.
    pub fn members(&self) -> usize {
        if self.together() { self.lease.state().members.len() } else { 0 }
    }
}
