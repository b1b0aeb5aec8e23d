//! What the mirror's account asks Alyx for, and what each purpose may have of what is asked with nobody waiting.

use serde::{Deserialize, Serialize};

/// What Alyx is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// Each table is looked at once a night.
    Nightly,
    /// What Alyx is, which its descriptions tell.
    Description,
    /// Whether an answer that was given here is Alyx's.
    Verification,
    /// A table is read as a whole, by and by, for what was changed without a note of it.
    Sweep,
    /// What is asked about, or was written, is kept current.
    Follow,
    /// A question waits for it.
    Question,
    /// A person has asked for it.
    Person,
    /// It is not here yet, or was found to be wrong.
    Fill,
}

impl Purpose {
    /// All of them; those before others are served before them.
    pub const ALL: [Self; 8] = [
        Self::Nightly,
        Self::Description,
        Self::Verification,
        Self::Sweep,
        Self::Follow,
        Self::Question,
        Self::Person,
        Self::Fill,
    ];

    /// Its name in metrics and status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nightly => "nightly",
            Self::Description => "description",
            Self::Verification => "verification",
            Self::Sweep => "sweep",
            Self::Follow => "follow",
            Self::Question => "question",
            Self::Person => "person",
            Self::Fill => "fill",
        }
    }

    /// Whether nobody waits for it, and nobody has asked for it.
    pub fn is_background(self) -> bool {
        !matches!(self, Self::Question | Self::Person | Self::Fill)
    }

    /// What it may have of so many requests before those after it get any; with `true` it never has more.
    pub(super) fn share(self, allowed: u64) -> (u64, bool) {
        match self {
            // All tables, twice over where they are small.
            Self::Nightly => ((allowed * 2 / 5).min(100), false),
            // One an hour, and some more.
            Self::Description => ((allowed / 5).min(30), true),
            Self::Verification => ((allowed / 10).min(240), true),
            Self::Sweep => (allowed / 5, true),
            Self::Follow | Self::Question | Self::Person | Self::Fill => (0, false),
        }
    }

    /// That of what is being asked now.
    pub(super) fn current() -> Self {
        PURPOSE.try_with(|purpose| *purpose).unwrap_or(Self::Follow)
    }
}

tokio::task_local! {
    static PURPOSE: Purpose;
}

/// Has what is asked in this future counted for this purpose.
pub fn asking_for<F: Future>(purpose: Purpose, asking: F) -> impl Future<Output = F::Output> {
    // A whole round is large, and whoever waits for it need not hold it.
    PURPOSE.scope(purpose, Box::pin(asking))
}
