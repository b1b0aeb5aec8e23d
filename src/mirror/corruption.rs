//! What a disk has got wrong in the mirror, until it has been mended: what the status page tells.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::state::States;
use crate::{
    clock::{self, Millis},
    store::Degradation,
};

/// Damage that was met, and what became of it.
#[derive(Debug, Default)]
pub(super) struct Damage {
    /// Something was met that only a damaged file shows, and the file was not looked through since.
    suspect: AtomicBool,
    known: RwLock<Option<Known>>,
    set_aside: RwLock<Option<PathBuf>>,
}

#[derive(Debug)]
struct Known {
    since: Millis,
    /// The tables that are to be fetched anew; none before the file has been looked through.
    tables: Option<BTreeSet<&'static str>>,
}

impl Damage {
    /// None is known, but for a file that was set aside when the mirror was opened.
    pub(super) fn of(set_aside: Option<PathBuf>) -> Self {
        Self { set_aside: RwLock::new(set_aside), ..Self::default() }
    }

    /// An error was met that only a damaged file causes.
    pub(super) fn meet(&self, error: &rusqlite::Error) {
        if !self.suspect.swap(true, Ordering::AcqRel) {
            tracing::error!(%error, "the mirror is damaged: what is left of it answers until it can be fetched anew");
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.get_or_insert_with(|| Known { since: clock::now(), tables: None });
        }
    }

    /// Whether something was met since this was asked last.
    pub(super) fn take_suspicion(&self) -> bool {
        self.suspect.swap(false, Ordering::AcqRel)
    }

    /// The file was looked through: these tables are gone, and are to be fetched anew.
    pub(super) fn found(&self, tables: impl IntoIterator<Item = &'static str>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let (since, before) = known.take().map_or_else(|| (clock::now(), None), |it| (it.since, it.tables));
        let tables: BTreeSet<_> = tables.into_iter().chain(before.into_iter().flatten()).collect();
        *known = (!tables.is_empty()).then_some(Known { since, tables: Some(tables) });
    }

    /// A fresh file has taken the place of one that lies there now.
    pub(super) fn put_aside(&self, path: &Path) {
        *self.set_aside.write().unwrap_or_else(PoisonError::into_inner) = Some(path.to_owned());
    }

    /// Where the last file was put that could not be used.
    pub(super) fn set_aside(&self) -> Option<PathBuf> {
        self.set_aside.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong now, where these tables are whole.
    pub(super) fn trouble(&self, whole: &States) -> Option<Degradation> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let Known { since, tables } = known.as_ref()?;
        let what = match tables {
            None => {
                "The mirror is damaged: what is left of it answers, and it is fetched anew as soon as Alyx \
                     can be asked"
                    .to_owned()
            }
            Some(tables) => {
                let missing: Vec<_> =
                    tables.iter().copied().filter(|table| whole.of(table).is_none()).collect();
                if missing.is_empty() {
                    return None;
                }
                format!("The mirror was damaged: it is fetching anew {}", missing.join(", "))
            }
        };
        Some(Degradation { since: *since, what })
    }

    /// Forgets the tables that are whole again: one that is missing later is missing for another reason.
    pub(super) fn settle(&self, whole: &States) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(Known { tables: Some(tables), .. }) = known.as_mut() {
            tables.retain(|table| whole.of(table).is_none());
            if tables.is_empty() {
                *known = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rusqlite::ffi;

    use super::super::state::TableState;
    use super::*;

    fn whole(tables: &[&'static str]) -> States {
        let state = TableState {
            synced_at: 0,
            counted_at: 0,
            rows: 0,
            details: true,
            scope: Vec::new(),
            ambiguous: BTreeSet::new(),
            distrusted: BTreeSet::new(),
            unreadable: <_>::default(),
        };
        States::new(1, tables.iter().map(|table| (*table, state.clone())).collect::<HashMap<_, _>>())
    }

    #[test]
    fn it_is_told_from_the_first_sign_until_all_is_mended() {
        let damage = Damage::of(None);
        let told = |tables: &[&'static str]| damage.trouble(&whole(tables)).map(|trouble| trouble.what);
        assert_eq!(told(&[]), None, "a mirror that is being filled is not damaged");
        damage.meet(&rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), None));
        assert!(told(&["labs"]).unwrap().contains("is damaged"));
        assert!(damage.take_suspicion() && !damage.take_suspicion());
        damage.found(["labs", "subjects"]);
        assert!(told(&["sessions"]).unwrap().ends_with("labs, subjects"));
        assert!(told(&["sessions", "labs"]).unwrap().ends_with("anew subjects"));
        // More is found before the first is mended.
        damage.found(["sessions"]);
        assert!(told(&["labs"]).unwrap().ends_with("sessions, subjects"));
        assert_eq!(told(&["labs", "sessions", "subjects"]), None);
        damage.settle(&whole(&["labs", "sessions"]));
        assert!(told(&[]).unwrap().ends_with("anew subjects"), "what was mended is over");
        damage.settle(&whole(&["subjects"]));
        assert_eq!(told(&[]), None, "all of it is over");
        // What was only suspected.
        damage.meet(&rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), None));
        damage.found([]);
        assert_eq!(told(&[]), None);
    }
}
