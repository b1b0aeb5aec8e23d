//! What can be set, and its defaults: one small struct a section of the file.
//!
//! `config/alyx-proxy.toml` is the annotated reference. Where values come from (file, environment,
//! flags) and how a wrong one is reported is [`load`]'s business.

mod access;
mod audit;
mod cache;
mod cluster;
mod error;
mod files;
mod freshness;
mod health;
mod keys;
mod kind;
mod layer;
pub mod load;
mod log;
mod mask;
mod meant;
mod mirror;
mod notes;
mod place;
mod reference;
mod reload;
mod renamed;
mod server;
mod snapshot;
mod storage;
mod upstream;
pub mod value;

pub use access::AccessSettings;
pub use audit::AuditSettings;
pub use cache::{CacheSettings, Profile};
pub use cluster::ClusterSettings;
pub use error::SettingsError;
pub use files::FilesSettings;
pub use freshness::FreshnessSettings;
pub use health::HealthSettings;
pub(crate) use kind::base_url;
pub use load::{Effective, LoadedSettings, Override, Sources, load};
pub use log::{LogFormat, LogSettings};
pub use mirror::MirrorSettings;
pub use place::TOKEN_VARIABLE;
pub use reference::reference;
pub use reload::{difference, reloadable_difference, reloaded};
pub use server::ServerSettings;
pub use snapshot::SnapshotSettings;
pub use storage::StorageSettings;
pub use upstream::UpstreamSettings;

use serde::{Deserialize, Serialize};

/// Everything that can be set. Validated once, when it is loaded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the proxy listens and what it accepts.
    pub server: ServerSettings,
    /// Where it keeps what it remembers, and how much.
    pub storage: StorageSettings,
    /// The Alyx behind it, and how politely it is asked.
    pub upstream: UpstreamSettings,
    /// How it finds out whether Alyx can be reached.
    pub health: HealthSettings,
    /// Who may ask.
    pub access: AccessSettings,
    /// What is remembered.
    pub cache: CacheSettings,
    /// How long an answer counts as fresh.
    pub freshness: FreshnessSettings,
    /// Whole tables that are kept, and who fetches them.
    pub mirror: MirrorSettings,
    /// Other proxies of the same Alyx.
    pub cluster: ClusterSettings,
    /// Whose snapshots are taken.
    pub snapshot: SnapshotSettings,
    /// The lab's data files.
    pub files: FilesSettings,
    /// What it tells its operator.
    pub log: LogSettings,
    /// Who did what, for its administrator.
    pub audit: AuditSettings,
}
