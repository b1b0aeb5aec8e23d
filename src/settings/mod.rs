//! What can be set, and its defaults: one small struct a section of the file.
//!
//! `config/alyx-proxy.toml` is the annotated reference. Where values come from (file, environment,
//! flags) and how a wrong one is reported is [`load`]'s business.

mod access;
mod cache;
mod error;
mod freshness;
mod health;
mod keys;
mod kind;
mod layer;
pub mod load;
mod log;
mod mask;
mod mirror;
mod place;
mod reference;
mod reload;
mod server;
mod storage;
mod upstream;
pub mod value;

pub use access::Access;
pub use cache::{Cache, Profile};
pub use error::SettingsError;
pub use freshness::Freshness;
pub use health::Health;
pub use load::{Effective, Loaded, Override, Sources, load};
pub use log::{Log, LogFormat};
pub use mirror::Mirror;
pub use place::TOKEN_VARIABLE;
pub use reference::reference;
pub use reload::{reloadable_difference, reloaded};
pub use server::Server;
pub use storage::Storage;
pub use upstream::Upstream;

use serde::{Deserialize, Serialize};

/// Everything that can be set. Validated once, when it is loaded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the proxy listens and what it accepts.
    pub server: Server,
    /// Where it keeps what it remembers, and how much.
    pub storage: Storage,
    /// The Alyx behind it, and how politely it is asked.
    pub upstream: Upstream,
    /// How it finds out whether Alyx can be reached.
    pub health: Health,
    /// Who may ask.
    pub access: Access,
    /// What is remembered.
    pub cache: Cache,
    /// How long an answer counts as fresh.
    pub freshness: Freshness,
    /// Whole tables that are kept, and who fetches them.
    pub mirror: Mirror,
    /// What it tells its operator.
    pub log: Log,
}
