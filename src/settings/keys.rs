//! Every key there is, in the order of the file: what it may be, and when a change takes effect.
//!
//! `tests/it/settings.rs` holds this table against the structs and against `config/alyx-proxy.toml`.

use super::{kind::ValueKind, value::Size};
use crate::{
    alyx::{ENDPOINTS, Endpoint},
    spelling,
};

/// A key of the settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct SettingKey {
    /// `section.key`.
    pub(super) name: &'static str,
    /// What its value may be.
    pub(super) kind: ValueKind,
    /// Whether a running proxy must be started anew for a change to take effect.
    pub(super) restart: bool,
}

impl SettingKey {
    /// Where its value stands in the settings as JSON.
    pub(super) fn pointer(&self) -> String {
        format!("/{}", self.name.replace('.', "/"))
    }
}

const fn live(name: &'static str, kind: ValueKind) -> SettingKey {
    SettingKey { name, kind, restart: false }
}

const fn fixed(name: &'static str, kind: ValueKind) -> SettingKey {
    SettingKey { name, kind, restart: true }
}

const ANY_SPAN: ValueKind = ValueKind::Span { zero: true };
const SOME_TIME: ValueKind = ValueKind::Span { zero: false };
const ANY_SIZE: ValueKind = ValueKind::Size { least: Size(0) };

/// Every key but the names under [`EXCEPTIONS`].
pub(super) const KEYS: &[SettingKey] = &[
    fixed("server.listen", ValueKind::Address { empty: false }),
    fixed("server.tls_certificate", ValueKind::File),
    fixed("server.tls_key", ValueKind::File),
    live("server.public_url", ValueKind::BaseUrl { empty: true }),
    live("server.hosts", ValueKind::Hosts),
    fixed("server.alyx_pages_listen", ValueKind::Address { empty: true }),
    live("server.alyx_pages_url", ValueKind::BaseUrl { empty: true }),
    live("server.trusted_proxies", ValueKind::Addresses),
    live("server.max_body", ANY_SIZE),
    live("server.max_url", ValueKind::Size { least: Size::kib(1) }),
    live("server.max_requests", ValueKind::Count { least: 1, most: 1_000_000 }),
    live("server.max_requests_per_client", ValueKind::Count { least: 1, most: 1_000_000 }),
    live("server.client_timeout", SOME_TIME),
    live("server.shutdown_timeout", ANY_SPAN),
    fixed("storage.data_dir", ValueKind::Directory),
    fixed("storage.max_disk", ANY_SIZE),
    fixed("storage.max_memory", ANY_SIZE),
    fixed("upstream.url", ValueKind::BaseUrl { empty: false }),
    fixed("upstream.connect_timeout", SOME_TIME),
    live("upstream.timeout", SOME_TIME),
    live("upstream.serve_stale_after", ANY_SPAN),
    live("upstream.requests_per_minute", ValueKind::Count { least: 0, most: 1_000_000 }),
    fixed("upstream.concurrency", ValueKind::Count { least: 1, most: 1_000 }),
    live("upstream.retries", ValueKind::Count { least: 0, most: 10 }),
    live("health.interval", SOME_TIME),
    live("health.idle_interval", ANY_SPAN),
    live("health.timeout", SOME_TIME),
    live("access.token_ttl", ANY_SPAN),
    live("access.grace", ANY_SPAN),
    live("access.private_paths", ValueKind::Paths),
    live("access.anonymous", ValueKind::Switch),
    live("access.query_history", ANY_SPAN),
    live("access.login_attempts", ValueKind::Count { least: 1, most: 1_000_000 }),
    live("access.login_window", SOME_TIME),
    fixed("access.admin_token", ValueKind::Secret),
    fixed("cache.profile", ValueKind::Profile),
    live("cache.max_response", ANY_SIZE),
    live("cache.stale_while_revalidate", ANY_SPAN),
    live("cache.negative_ttl", ANY_SPAN),
    live("cache.max_file", ANY_SIZE),
    fixed("cache.given_copies", ANY_SIZE),
    live("freshness.reference", ANY_SPAN),
    live("freshness.records", ANY_SPAN),
    live("freshness.volatile", ANY_SPAN),
    live("freshness.schema", ANY_SPAN),
    live("freshness.tables", ANY_SPAN),
    fixed("mirror.endpoints", ValueKind::Endpoints),
    fixed("mirror.details", ValueKind::Endpoints),
    live("mirror.interval", SOME_TIME),
    live("mirror.full_interval", SOME_TIME),
    live("mirror.background_per_day", ValueKind::Count { least: 0, most: 1_000_000 }),
    live("mirror.max_age", ANY_SPAN),
    live("mirror.query_timeout", SOME_TIME),
    live("mirror.verify_per_minute", ValueKind::Count { least: 0, most: 1_000 }),
    live("mirror.time_zone", ValueKind::Zone),
    fixed("mirror.username", ValueKind::Text),
    fixed("mirror.password", ValueKind::Text),
    fixed("mirror.token", ValueKind::Text),
    fixed("mirror.token_file", ValueKind::File),
    fixed("cluster.url", ValueKind::EngineUrl),
    fixed("cluster.url_file", ValueKind::File),
    fixed("cluster.key_file", ValueKind::File),
    fixed("cluster.strict", ValueKind::Switch),
    live("snapshot.trusted_keys", ValueKind::SnapshotKeys),
    fixed("files.enabled", ValueKind::Switch),
    fixed("files.origin", ValueKind::BaseUrl { empty: true }),
    live("files.max_size", ANY_SIZE),
    live("files.min_free", ANY_SIZE),
    live("files.max_age", ANY_SPAN),
    live("files.credentials_ttl", ANY_SPAN),
    live("files.check_every", SOME_TIME),
    live("log.level", ValueKind::Level),
    fixed("log.format", ValueKind::Format),
    live("audit.max_size", ANY_SIZE),
    live("audit.hash_names", ValueKind::Switch),
];

/// The table of spans for single endpoints: its keys are names of endpoints.
pub(super) const EXCEPTIONS: &str = "freshness.endpoints";
const EXCEPTION: SettingKey = live(EXCEPTIONS, ANY_SPAN);

/// The table of tables of parameters that narrow what is mirrored: `mirror.scope.<endpoint>.<parameter>`.
pub(super) const SCOPE: &str = "mirror.scope";
const PARAMETER: SettingKey = fixed(SCOPE, ValueKind::Text);

/// The key called `name`.
pub(super) fn find(name: &str) -> Option<&'static SettingKey> {
    if let Some(endpoint) = within(name, EXCEPTIONS) {
        return Endpoint::named(endpoint).map(|_| &EXCEPTION);
    }
    if let Some(parameter) = within(name, SCOPE) {
        let (endpoint, parameter) = parameter.split_once('.')?;
        return Endpoint::named(endpoint)?.filter(parameter).map(|_| &PARAMETER);
    }
    KEYS.iter().find(|key| key.name == name)
}

/// Whether `name` is a table of keys, and not a key.
pub(super) fn is_table(name: &str) -> bool {
    let of_scope = within(name, SCOPE).is_some_and(|endpoint| Endpoint::named(endpoint).is_some());
    name == EXCEPTIONS || name == SCOPE || of_scope || sections().any(|section| section == name)
}

fn within<'n>(name: &'n str, table: &str) -> Option<&'n str> {
    name.strip_prefix(table)?.strip_prefix('.')
}

/// The names that would have been right instead of the unknown `name`.
pub(super) fn allowed_instead(name: &str) -> String {
    if name == EXCEPTIONS || name.starts_with("freshness.endpoints.") {
        let names: Vec<_> = ENDPOINTS.iter().map(|endpoint| endpoint.name).collect();
        return format!("in [{EXCEPTIONS}] the names of endpoints: {}", names.join(", "));
    }
    if name == SCOPE || within(name, SCOPE).is_some() {
        return format!("in [{SCOPE}.ENDPOINT] parameters by which Alyx filters that endpoint");
    }
    let section = name.split('.').next().unwrap_or(name);
    if !sections().any(|known| known == section) {
        return format!("the sections {}", sections().collect::<Vec<_>>().join(", "));
    }
    let keys = KEYS.iter().filter_map(|key| key.name.strip_prefix(section)?.strip_prefix('.'));
    let tables = [EXCEPTIONS, SCOPE].into_iter().filter_map(|table| within(table, section));
    let names: Vec<_> = keys.chain(tables).collect();
    format!("in [{section}] {}", names.join(", "))
}

/// The key that was likely meant by one that there is not: "; did you mean …?", or nothing.
pub(super) fn meant(name: &str) -> String {
    if let Some(endpoint) = within(name, EXCEPTIONS) {
        let names = ENDPOINTS.iter().map(|endpoint| endpoint.name);
        let meant = spelling::nearest(endpoint, names);
        return meant.map(|meant| format!("; did you mean `{EXCEPTIONS}.{meant}`?")).unwrap_or_default();
    }
    let last = name.rsplit('.').next().unwrap_or(name);
    let elsewhere = KEYS.iter().find(|key| key.name.rsplit('.').next() == Some(last));
    match elsewhere {
        Some(key) => format!("; did you mean `{}`?", key.name),
        None => spelling::did_you_mean(name, KEYS.iter().map(|key| key.name)),
    }
}

/// The same for an environment variable.
pub(super) fn meant_variable(middle: &str) -> String {
    let meant = spelling::nearest(middle, KEYS.iter().map(|key| key.name));
    let variable = |key: &str| format!("ALYX_PROXY_{}", key.to_uppercase().replace('.', "__"));
    meant.map(|key| format!("; did you mean `{}`?", variable(key))).unwrap_or_default()
}

/// The key that the middle of an environment variable stands for: `UPSTREAM__URL` ▸ `upstream.url`.
/// A variable's name can't hold the `-` of an endpoint's name; there `_` stands for it.
pub(super) fn of_variable(middle: &str) -> String {
    let name = middle.to_lowercase().replace("__", ".");
    match name.strip_prefix("freshness.endpoints.") {
        Some(endpoint) => format!("{EXCEPTIONS}.{}", endpoint.replace('_', "-")),
        None => match within(&name, SCOPE).and_then(|rest| rest.split_once('.')) {
            Some((endpoint, parameter)) => format!("{SCOPE}.{}.{parameter}", endpoint.replace('_', "-")),
            None => name,
        },
    }
}

fn sections() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    KEYS.iter().filter_map(move |key| {
        let (section, _) = key.name.split_once('.')?;
        (section != std::mem::replace(&mut last, section)).then_some(section)
    })
}
