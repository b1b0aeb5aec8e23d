//! Snapshots: everything that a lab knows of its Alyx, in one file.
//!
//! A snapshot is a `tar` archive under zstd, so that anybody can look into it with common tools:
//!
//! ```text
//! manifest.json                   what it is: form, name, day, of which Alyx
//! marks.jsonl                     what writes have made stale
//! mirror/sessions/table.json      a table of the mirror: as of when, within which scope
//! mirror/sessions/000001.jsonl    its records, as Alyx sent them
//! answers/000001.jsonl            stored answers, each with its question
//! files/000001/file.json          ONE's cache tables that are kept: of which tag, as of when
//! files/000001/000001.part        and their bytes
//! contents.json                   how much there is of everything
//! ```
//!
//! Behind the archive stand zstd frames that decoders skip: the signature of who made it ([`signature`]), and the BLAKE3 of
//! all that lies before. So what was cut short or changed by a single bit is found before anything of it is read
//! ([`archive`]), and what was changed on purpose is nobody's that is known here ([`keys`]). However right its checksum, it
//! is somebody's word: [`check`] holds all of it against what can be, and against a [`budget`].
//!
//! Tokens, log-ins and keys are never in it: answers that are kept apart for single users stay out, and the secrets
//! of data repositories are blanked ([`crate::alyx::redact`]). It holds questions, not the hashes that name them
//! here, so that it outlives another form of the canonical key.

pub mod archive;
mod budget;
mod check;
mod choice;
mod error;
mod export;
mod files;
mod import;
pub mod keys;
mod manifest;
mod member;
mod narrowing;
pub mod signature;
mod times;

pub use archive::Archive;
pub use budget::ImportBudget;
pub use check::check;
pub use choice::Selection;
pub use error::SnapshotError;
pub use export::{Exporting, export};
pub use files::{FileHead, FileSink, KeptFile};
pub use import::{Imported, Importing, import};
pub use keys::{KnownKey, KnownKeys, Maker, MakerStanding, TrustOptions, parse_trusted};
pub use manifest::{Contents, Manifest, TableLine};
pub use signature::{PublicKey, Signature, SigningKey, SigningKeyError};

pub(crate) use crate::progress::{Progress, Tell};
