//! What stands behind the proxy: Alyx, a miniature of it, or a snapshot that is served alone, a read-only Alyx as of
//! that day.
//!
//! Nothing is asked of Alyx, nothing newer is taken in, and whoever can reach the proxy may read: whoever has the file
//! has all that is in it anyhow.

use std::{path::PathBuf, sync::Arc, time::Duration};

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::{
    clock::{self, Millis},
    miniature::Miniature,
    settings::{
        Settings,
        value::{Size, Span},
    },
    snapshot::{Archive, Manifest},
};

/// The snapshot that a proxy serves.
#[derive(Debug, Clone)]
pub struct ServedSnapshot {
    manifest: Manifest,
    checksum: [u8; 32],
}

impl ServedSnapshot {
    /// The snapshot in this file.
    pub fn new(archive: &Archive) -> Self {
        Self { manifest: archive.manifest.clone(), checksum: archive.checksum }
    }

    /// The settings under which it is served: its Alyx, a folder of its own below the data directory, everything
    /// kept, nobody synchronised, everybody let in.
    #[must_use]
    pub fn over(&self, mut settings: Settings) -> Settings {
        let folder = format!("snapshot-{}", &blake3::Hash::from_bytes(self.checksum).to_hex()[..16]);
        if !settings.storage.data_dir.ends_with(&folder) {
            settings.storage.data_dir = settings.storage.data_dir.join("snapshots").join(folder);
        }
        settings.storage.max_disk = Size(u64::MAX);
        settings.upstream.url.clone_from(&self.manifest.upstream);
        settings.access.anonymous = true;
        settings.access.private_paths.clear();
        settings.access.query_history = Span(Duration::ZERO);
        let mirror = &mut settings.mirror;
        mirror.time_zone.clone_from(&self.manifest.time_zone);
        for secret in [&mut mirror.username, &mut mirror.password, &mut mirror.token] {
            secret.clear();
        }
        mirror.token_file = PathBuf::new();
        settings
    }

    /// What it is, in a sentence's middle.
    pub fn for_people(&self) -> String {
        let Manifest { name, upstream, choice, .. } = &self.manifest;
        let only =
            if choice.is_everything() { String::new() } else { format!(" ({} only)", choice.for_people()) };
        format!("the snapshot `{name}`{only} of {upstream} as of {}", clock::for_people(self.as_of()))
    }

    /// The time of the newest that it holds.
    pub fn as_of(&self) -> Millis {
        self.manifest.as_of
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn today(&self) -> Date {
        let zone = TimeZone::get(&self.manifest.time_zone).unwrap_or(TimeZone::UTC);
        let at = Timestamp::from_millisecond(self.as_of()).unwrap_or(Timestamp::UNIX_EPOCH);
        at.to_zoned(zone).date()
    }
}

/// What stands behind the proxy.
#[derive(Debug, Clone, Default)]
pub enum Mode {
    /// An Alyx that can be asked.
    #[default]
    Live,
    /// A snapshot, served alone: nothing is asked of Alyx.
    Snapshot(Box<ServedSnapshot>),
    /// A miniature Alyx whose network can be cut.
    Demo(Arc<Miniature>),
}

impl Mode {
    /// The snapshot that is served alone.
    pub fn snapshot(&self) -> Option<&ServedSnapshot> {
        if let Self::Snapshot(snapshot) = self { Some(snapshot) } else { None }
    }

    /// The day that Alyx's clock stands at. That of the demo's, and of a snapshot, stands still.
    pub(crate) fn today(&self, settings: &Settings, now: Millis) -> Date {
        match self {
            Self::Live => clock::day(now, &settings.mirror.time_zone),
            Self::Snapshot(snapshot) => snapshot.today(),
            Self::Demo(miniature) => miniature.today(),
        }
    }

    /// The zone in which Alyx's times stand.
    pub(crate) fn zone(&self, settings: &Settings) -> TimeZone {
        let name = match self {
            Self::Live => &settings.mirror.time_zone,
            Self::Snapshot(snapshot) => &snapshot.manifest.time_zone,
            Self::Demo(_) => return TimeZone::UTC,
        };
        TimeZone::get(name).unwrap_or(TimeZone::UTC)
    }
}
