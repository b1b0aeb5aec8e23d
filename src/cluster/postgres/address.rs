//! Where the engine is, and how it is reached: by TLS that is checked, but for a socket or loopback.

use std::{net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

use crate::settings::ClusterSettings;

/// What is wrong with the engine's address. No text holds any of it: there may be a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostgresError {
    /// The file that holds it can't be read.
    #[error("cluster.url_file {0}: can't be read: {1}")]
    File(String, String),
    /// It is none.
    #[error(
        "cluster.url is no URL of a PostgreSQL: postgres://USER:PASSWORD@HOST:PORT/DATABASE (special characters as %XX)"
    )]
    Url,
    /// It forbids TLS on the way to another machine.
    #[error("cluster.url says `sslmode=disable`, which is allowed for a socket or loopback alone")]
    Plain,
    /// The certificates that TLS is checked by can't be had.
    #[error("TLS to the cluster's PostgreSQL: {0}")]
    Roots(String),
}

/// Where the engine is.
#[derive(Debug, Clone)]
pub(super) struct EngineAddress {
    pub(super) config: Config,
    /// For people: without user and password.
    pub(super) shown: String,
    /// Whether it is reached by TLS.
    pub(super) by_tls: bool,
    /// What its certificate is checked by, where that is not the system's.
    pub(super) roots: Option<PathBuf>,
}

/// A beat takes a second at most; nobody waits longer for a connection.
const CONNECT: Duration = Duration::from_secs(1);

impl EngineAddress {
    pub(super) fn of(settings: &ClusterSettings) -> Result<Self, PostgresError> {
        if settings.url_file.as_os_str().is_empty() {
            return Self::read(settings.url.trim());
        }
        let (name, text) =
            (settings.url_file.display().to_string(), std::fs::read_to_string(&settings.url_file));
        let text = text.map_err(|error| PostgresError::File(name, error.to_string()))?;
        Self::read(text.trim())
    }

    fn read(url: &str) -> Result<Self, PostgresError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(PostgresError::Url);
        }
        let (place, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let value = || {
                let (_, value) = pair.split_once('=').unwrap_or_default();
                percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned()
            };
            match pair.split('=').next() {
                Some("sslmode") => mode = Some(value()),
                Some("sslrootcert") => roots = Some(PathBuf::from(value())),
                _ => rest.push(pair),
            }
        }
        let plain = format!("{place}?{}", rest.join("&"));
        let mut config = Config::from_str(plain.trim_end_matches('?')).map_err(|_| PostgresError::Url)?;
        let is_near = !config.get_hosts().is_empty() && config.get_hosts().iter().all(is_near);
        let by_tls = match mode.as_deref() {
            Some("disable") if !is_near => return Err(PostgresError::Plain),
            Some("require" | "verify-ca" | "verify-full") => true,
            _ => !is_near,
        };
        config
            .ssl_mode(if by_tls { SslMode::Require } else { SslMode::Disable })
            .application_name("alyx-proxy")
            .connect_timeout(CONNECT)
            .tcp_user_timeout(CONNECT * 2)
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        Ok(Self { shown: shown(&config), config, by_tls, roots })
    }
}

fn is_near(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn shown(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(folder) => folder.display().to_string(),
    });
    let ports: Vec<_> = config.get_ports().iter().map(u16::to_string).collect();
    let hosts = hosts.collect::<Vec<_>>().join(",");
    let port = if ports.is_empty() { String::new() } else { format!(":{}", ports.join(",")) };
    format!("{hosts}{port}/{}", config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_asked_for_and_checked_but_for_what_is_near() {
        let read = |url: &str| EngineAddress::read(url).map(|address| (address.by_tls, address.shown));
        let ok = |by_tls, shown: &str| Ok((by_tls, shown.to_owned()));
        for (url, is) in [
            ("postgres://me:word@db.example.org/alyx", ok(true, "db.example.org:5432/alyx")),
            (
                "postgresql://me:word@db.example.org:5433/alyx?sslmode=prefer",
                ok(true, "db.example.org:5433/alyx"),
            ),
            ("postgres://me:word@db.example.org/alyx?sslmode=disable", Err(PostgresError::Plain)),
            ("postgres://me:word@127.0.0.1:5432/alyx", ok(false, "127.0.0.1:5432/alyx")),
            (
                "postgres://me@localhost/alyx?sslmode=verify-full&sslrootcert=/a%2Fb",
                ok(true, "localhost:5432/alyx"),
            ),
            ("postgres:///alyx?host=/run/postgresql", ok(false, "/run/postgresql/alyx")),
            ("postgres://me:word@db/alyx?pass=word", Err(PostgresError::Url)),
            ("host=db password=word", Err(PostgresError::Url)),
        ] {
            assert_eq!(read(url), is, "{url}");
            assert!(!format!("{:?}", read(url)).contains("word"), "{url}");
        }
    }
}
