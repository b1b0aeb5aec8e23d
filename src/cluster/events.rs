//! What members tell one another: an event, and how it is sealed.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    engine::{EventKind, SealedEvent},
    seal::ClusterSeal,
};

/// What one member tells the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterEvent {
    /// What a write may have changed: names of scopes.
    Written(Vec<String>),
    /// Alyx has refused this token.
    Refused(Zeroizing<String>),
    /// An administrator has answers forgotten.
    Purged(PurgedAnswers),
    /// Something may have been missed: all that is remembered is in doubt.
    Doubt,
}

/// Which answers are forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PurgedAnswers {
    /// All.
    All,
    /// Those of this path and below.
    Below(String),
    /// Those to the question of this path and query.
    Question(String),
}

fn purpose(kind: EventKind) -> &'static [u8] {
    match kind {
        EventKind::Mark => b"mark",
        EventKind::Refused => b"refused",
        EventKind::Purge => b"purge",
        EventKind::Doubt => b"doubt",
    }
}

/// The scopes of a write, sealed as the body of its mark.
pub(super) fn seal_scopes(seal: &ClusterSeal, scopes: &[String]) -> Vec<u8> {
    let names = serde_json::to_vec(scopes).unwrap_or_default();
    seal.seal(purpose(EventKind::Mark), &names)
}

impl ClusterEvent {
    /// The event as the engine takes it.
    pub(super) fn sealed(&self, seal: &ClusterSeal) -> SealedEvent {
        let (kind, body) = match self {
            Self::Written(scopes) => (EventKind::Mark, seal_scopes(seal, scopes)),
            Self::Refused(token) => {
                (EventKind::Refused, seal.seal(purpose(EventKind::Refused), token.as_bytes()))
            }
            Self::Purged(what) => {
                let what = serde_json::to_vec(what).unwrap_or_default();
                (EventKind::Purge, seal.seal(purpose(EventKind::Purge), &what))
            }
            Self::Doubt => (EventKind::Doubt, Vec::new()),
        };
        SealedEvent { kind, body }
    }

    /// What an event says; doubt where it can't be opened or understood.
    pub(super) fn opened(event: &SealedEvent, seal: &ClusterSeal) -> Self {
        Self::understood(event, seal).unwrap_or(Self::Doubt)
    }

    fn understood(event: &SealedEvent, seal: &ClusterSeal) -> Option<Self> {
        if event.kind == EventKind::Doubt {
            return Some(Self::Doubt);
        }
        let body = Zeroizing::new(seal.open(purpose(event.kind), &event.body)?);
        match event.kind {
            EventKind::Mark => serde_json::from_slice(&body).ok().map(Self::Written),
            EventKind::Refused => {
                Some(Self::Refused(Zeroizing::new(std::str::from_utf8(&body).ok()?.to_owned())))
            }
            EventKind::Purge => serde_json::from_slice(&body).ok().map(Self::Purged),
            EventKind::Doubt => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_understood_and_what_is_not_understood_is_doubt() {
        let seal = ClusterSeal::of_tests();
        for event in [
            ClusterEvent::Written(vec!["lists subjects".to_owned(), "record subjects KS01".to_owned()]),
            ClusterEvent::Refused(Zeroizing::new("d38bebd5".to_owned())),
            ClusterEvent::Purged(PurgedAnswers::Below("/subjects".to_owned())),
            ClusterEvent::Doubt,
        ] {
            let mut sealed = event.sealed(&seal);
            assert_eq!(ClusterEvent::opened(&sealed, &seal), event);
            sealed.body.push(0);
            assert_eq!(
                ClusterEvent::opened(&sealed, &seal),
                ClusterEvent::Doubt,
                "it was changed on the way"
            );
        }
    }
}
