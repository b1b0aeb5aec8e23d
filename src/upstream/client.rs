//! The two HTTP clients: pooled connections, HTTP/2 and TLS, no redirects followed by themselves.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, ClientBuilder, redirect::Policy};

use super::inside::GuardedResolver;
use crate::settings;

/// Connections that nobody uses are closed after this time, before servers' own limits strike.
pub(super) const IDLE: Duration = Duration::from_secs(55);
/// A silent connection is tried after this time.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(30);

/// The client that reads answers (codings undone) and the one that relays bytes.
///
/// Files may lie elsewhere: the relayer resolves names as it is told which it may.
pub(super) fn build(
    upstream: &settings::UpstreamSettings,
    resolver: GuardedResolver,
) -> Result<(Client, Client), reqwest::Error> {
    let reader = common(upstream).build()?;
    let relayer = common(upstream).no_gzip().no_zstd().dns_resolver(Arc::new(resolver)).build()?;
    Ok((reader, relayer))
}

/// The client of a server of files that an operator has named: bytes as they come.
pub(super) fn of_files(upstream: &settings::UpstreamSettings) -> Result<Client, reqwest::Error> {
    common(upstream).no_gzip().no_zstd().build()
}

fn common(upstream: &settings::UpstreamSettings) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("alyx-proxy/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .connect_timeout(upstream.connect_timeout.0)
        .pool_idle_timeout(IDLE)
        .tcp_keepalive(KEEPALIVE)
        .tcp_nodelay(true)
}
