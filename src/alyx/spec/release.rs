//! The releases of Alyx that are known: what tells each from the newest, and what it means otherwise by the same question.
//!
//! Each was recorded from a running server (ALYX.md 11). What an older one lacks in its records is not said here: it is seen in
//! the records themselves.

use std::borrow::Cow;

use super::Difference::{self, DetailById, NewParameter, NoDetail, NoList, NoParameter};
use crate::alyx::{
    Endpoint,
    endpoint::Order,
    pagination::{DEFAULT_LIMIT, MAX_LIMIT, PageSizes},
};

/// A release of Alyx, or several that are alike in all of this.
#[derive(Debug, PartialEq, Eq)]
pub struct Release {
    /// The first and the last of them, for people.
    pub name: &'static str,
    differences: &'static [Difference],
    /// What it means by questions.
    pub rules: Rules,
}

/// What a release means by a question that others understand otherwise.
#[derive(Debug, PartialEq, Eq)]
pub struct Rules {
    /// Which subjects are alive.
    pub alive: Alive,
    /// Whether `datasets` of `/sessions` counts only datasets that have a file on a server, and different names.
    pub session_datasets_exist: bool,
    /// Whether a day is written `D/M/YYYY` and in no other way.
    pub day_first: bool,
    /// How imaging stacks are listed.
    pub imaging_stacks: ImagingStacks,
    /// Whether lists that stand in the order of their sessions are then ordered by name.
    pub then_by_name: bool,
    /// How many records are on a page.
    pub pages: PageSizes,
}

/// Which subjects are alive (ALYX.md 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alive {
    /// Those that have no day of death up to today (since 3.4.1).
    ByDeathDate,
    /// Those that have no record of a cull; which these are, a subject's own `alive` shows.
    Uncull,
}

/// How imaging stacks are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImagingStacks {
    /// Once for each slice, in the order of the slices' names.
    BySlice,
    /// Once, in any order.
    Once,
}

impl Rules {
    /// The columns that a list is ordered by.
    pub fn order(&self, endpoint: &Endpoint) -> &'static [Order] {
        let order = endpoint.order;
        let kept = order.iter().take_while(|order| match order.path {
            "slices__name" => self.imaging_stacks == ImagingStacks::BySlice,
            "name" => self.then_by_name || !order_begins_with_session(endpoint),
            _ => true,
        });
        &order[..kept.count()]
    }
}

fn order_begins_with_session(endpoint: &Endpoint) -> bool {
    endpoint.order.first().is_some_and(|first| first.path.starts_with("session__"))
}

const NEWEST: Rules = Rules {
    alive: Alive::ByDeathDate,
    session_datasets_exist: true,
    day_first: false,
    imaging_stacks: ImagingStacks::BySlice,
    then_by_name: true,
    pages: PageSizes { default: DEFAULT_LIMIT, greatest: Some(MAX_LIMIT) },
};

const OF_3_3: Rules = Rules {
    alive: Alive::Uncull,
    then_by_name: false,
    pages: PageSizes { default: DEFAULT_LIMIT, greatest: None },
    ..NEWEST
};

const BEFORE_3_3: Rules =
    Rules { session_datasets_exist: false, day_first: true, imaging_stacks: ImagingStacks::Once, ..OF_3_3 };

const fn new(endpoint: &'static str, name: &'static str) -> Difference {
    NewParameter(endpoint, Cow::Borrowed(name))
}

/// Every release that is known, the newest first.
pub(super) static RELEASES: &[Release] = &[
    Release { name: "3.6", differences: &[], rules: NEWEST },
    Release {
        name: "3.3",
        differences: &[NoList("data-notices"), new("subjects", "cull_method"), new("subjects", "reduced")],
        rules: OF_3_3,
    },
    Release {
        name: "3.0",
        differences: &[
            NoList("data-notices"),
            NoParameter("revisions", "name"),
            NoParameter("tags", "name"),
            new("subjects", "cull_method"),
            new("subjects", "reduced"),
            NoDetail("fov-location"),
            DetailById("tags"),
        ],
        rules: BEFORE_3_3,
    },
    Release {
        name: "2.1",
        differences: &[
            NoList("data-notices"),
            NoParameter("revisions", "name"),
            NoParameter("surgeries", "implant_weight"),
            NoParameter("tags", "name"),
            new("subjects", "cull_method"),
            new("subjects", "implant_weight"),
            new("subjects", "reduced"),
            NoDetail("fov-location"),
            DetailById("tags"),
        ],
        rules: BEFORE_3_3,
    },
];

/// The newest of them.
pub(super) fn newest() -> Option<&'static Release> {
    RELEASES.first()
}

/// The release that has these differences, which stand in order, and no others.
pub(super) fn of(differences: &[Difference]) -> Option<&'static Release> {
    RELEASES.iter().find(|release| release.differences == differences)
}

/// The release whose differences are most like these.
pub(super) fn nearest(differences: &[Difference]) -> Option<&'static Release> {
    let unlike = |release: &&Release| {
        let only = |one: &[Difference], other: &[Difference]| {
            one.iter().filter(|difference| !other.contains(difference)).count()
        };
        only(release.differences, differences) + only(differences, release.differences)
    };
    RELEASES.iter().min_by_key(unlike)
}

/// Whether some release has this difference.
pub(super) fn has(difference: &Difference) -> bool {
    RELEASES.iter().any(|release| release.differences.contains(difference))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_differences_of_every_release_stand_in_order() {
        for release in RELEASES {
            assert!(release.differences.is_sorted(), "{}", release.name);
        }
    }
}
