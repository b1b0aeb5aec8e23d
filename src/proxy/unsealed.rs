//! Answers of the mirror with the secrets of Alyx's records, which lie in its tables sealed.

use std::borrow::Cow;

use crate::{
    alyx::{filterset::Undecidable, redact},
    mirror::answer::MirrorOutcome,
    storage::seal::SecretSeal,
};

/// An answer with its secrets, which lie in the tables sealed; none where they were sealed with another key.
pub(super) fn opened(outcome: MirrorOutcome, endpoint: &'static str, seal: &SecretSeal) -> MirrorOutcome {
    let MirrorOutcome::Answer(mut answer) = outcome else { return outcome };
    if redact::ENDPOINTS.contains(&endpoint) {
        match seal.open_text(&answer.body) {
            Some(Cow::Borrowed(_)) => {}
            Some(Cow::Owned(opened)) => answer.body = opened,
            None => return MirrorOutcome::Undecided(Undecidable::KeysSealed { endpoint }),
        }
    }
    MirrorOutcome::Answer(answer)
}
