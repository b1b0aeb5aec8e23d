//! Why a snapshot is not written or not read.

use std::{
    fmt::Display,
    io,
    path::{Path, PathBuf},
};

use crate::{
    alyx::json::JsonError,
    mirror::{MirrorError, ingest::LoadError},
    store::StoreError,
};

/// Why a snapshot is not written or not read. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file system's word.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The file is there already.
    #[error("{0}: there is such a file already; choose another name, or say --force to replace it")]
    Exists(PathBuf),
    /// The file is something else.
    #[error("{0}: is not a snapshot of alyx-proxy")]
    Foreign(PathBuf),
    /// The end is missing.
    #[error(
        "{0}: its end is missing: it was cut short (a download or copy that did not finish?); nothing of it was used"
    )]
    CutShort(PathBuf),
    /// The checksum is wrong.
    #[error(
        "{0}: is damaged: it is not what was once written (its checksum differs); nothing of it was used"
    )]
    Damaged(PathBuf),
    /// A newer program has written it.
    #[error(
        "{path}: was written by alyx-proxy {program} in form {form}, and this program reads form {known}; use that version or a newer one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The program that wrote it.
        program: String,
        /// Its form.
        form: u32,
        /// The newest form that is known here.
        known: u32,
    },
    /// Something within it is not as it must be.
    #[error("{path}: holds what no snapshot holds: `{member}`: {why}; nothing of it was used")]
    Member {
        /// The file.
        path: PathBuf,
        /// The member's name, as far as it can be shown.
        member: String,
        /// What is wrong with it.
        why: String,
    },
    /// It is more than there is room for.
    #[error("{path}: is too large: {what}; nothing of it was used")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is too large.
        what: String,
    },
    /// Its signature is wrong.
    #[error(
        "{0}: its signature is wrong: somebody has changed it since it was made, or pretends to be its maker; nothing of it was used"
    )]
    Forged(PathBuf),
    /// It has no signature.
    #[error(
        "{0}: nobody has signed it: an earlier version has made it, or somebody has changed it. If you know whom it is from, say --unsigned; nothing of it was used"
    )]
    Unsigned(PathBuf),
    /// Its key is not known here.
    #[error(
        "{path}: is signed with a key that is not known here. It says to be of `{name}`; its fingerprint is {fingerprint}. Ask its maker for the fingerprint (`alyx-proxy keys` shows it there). If it is the same, say --trust NAME, and the key is known from then on under that name, or --once; nothing of it was used"
    )]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// What its maker calls itself.
        name: String,
        /// The short form of the key.
        fingerprint: String,
    },
    /// Its key was revoked here.
    #[error(
        "{path}: is signed with a key that was revoked here (`{name}`, {fingerprint}); to take it all the same, say --trust NAME, and the key is known again; nothing of it was used"
    )]
    RevokedKey {
        /// The file.
        path: PathBuf,
        /// What it was called here.
        name: String,
        /// The short form of the key.
        fingerprint: String,
    },
    /// Keys can't be had.
    #[error("keys of snapshots: {0}")]
    Keys(String),
    /// It is of another Alyx than the one that the proxy stands before.
    #[error("{path}: is of {theirs}, and this proxy stands before {ours}; set `upstream.url` to import it")]
    OtherAlyx {
        /// The file.
        path: PathBuf,
        /// The Alyx that the snapshot is of.
        theirs: String,
        /// The proxy's own.
        ours: String,
    },
    /// There is nothing of what was chosen.
    #[error(
        "nothing of it is here ({what}): {} holds nothing of it from {upstream}. No snapshot was written; does the proxy keep its data elsewhere (`storage.data_dir`, --data-dir), or stand before another Alyx?",
        .folder.display()
    )]
    Nothing {
        /// What was chosen.
        what: String,
        /// The Alyx that it would be of.
        upstream: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// What is to be exported can't be chosen so.
    #[error("{0}")]
    Choice(String),
    /// A table of the mirror is not as it was stored.
    #[error(
        "the mirror's table /{0} is damaged: nothing is exported of it. A proxy that runs fetches it anew while Alyx can be reached: try again then, or choose others with --endpoint"
    )]
    DamagedTable(&'static str),
    /// The database of answers failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The mirror failed.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// It took longer than it may.
    #[error("it took longer than two hours, and was given up: nothing of it is kept")]
    TooLong,
    /// The work was given up: the program ends.
    #[error("the work was given up")]
    GivenUp,
}

impl SnapshotError {
    pub(super) fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |error| Self::Io(path.to_owned(), error)
    }

    pub(super) fn member(path: &Path, member: &str, why: &dyn Display) -> Self {
        // A name that somebody made up may hold anything, and any amount of it.
        let shown: String = member.chars().take(120).flat_map(char::escape_debug).collect();
        Self::Member { path: path.to_owned(), member: shown, why: why.to_string() }
    }

    /// Whether it is the file that is at fault, or what is wished, and not the program's own means.
    pub fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Io(..)
                | Self::Keys(_)
                | Self::Store(_)
                | Self::Mirror(_)
                | Self::DamagedTable(_)
                | Self::TooLong
                | Self::GivenUp
        )
    }
}

impl From<rusqlite::Error> for SnapshotError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<LoadError> for SnapshotError {
    fn from(error: LoadError) -> Self {
        Self::Mirror(error.into())
    }
}

impl From<JsonError> for SnapshotError {
    fn from(error: JsonError) -> Self {
        Self::Choice(format!("a stored text is not JSON: {error}"))
    }
}
