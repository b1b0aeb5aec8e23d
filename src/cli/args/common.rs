//! What several commands take: where settings come from, which proxy is asked, and with what token.

use std::{net::SocketAddr, path::PathBuf};

use alyx_proxy::{
    data_dir::ListeningNote,
    settings::{Override, Settings, SettingsError},
    snapshot::TrustOptions,
};
use clap::Args;

use crate::cli::{CliError, client::Target};

/// Where settings come from, for each command.
#[derive(Debug, Args)]
pub(in crate::cli) struct CommonFlags {
    /// The settings file [default: $ALYX_PROXY_CONFIG, ~/.config/alyx-proxy/config.toml or
    /// /etc/alyx-proxy/alyx-proxy.toml, where there is one]
    #[arg(long, help_heading = "Settings", value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory of what is remembered [setting: storage.data_dir]
    #[arg(long, help_heading = "Settings", value_name = "DIR")]
    data_dir: Option<String>,
    /// Any setting; may be repeated
    #[arg(long, help_heading = "Settings", value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// How much is logged: error, warn, info, debug, trace, or a filter [setting: log.level]
    #[arg(long, help_heading = "Settings", value_name = "LEVEL")]
    log: Option<String>,
}

impl CommonFlags {
    /// What stands before the command and what stands after it; the latter wins.
    pub(in crate::cli) fn and(mut self, more: Self) -> Self {
        self.set.extend(more.set);
        Self {
            config: more.config.or(self.config),
            data_dir: more.data_dir.or(self.data_dir),
            set: self.set,
            log: more.log.or(self.log),
        }
    }

    /// The file's name, and what the flags set.
    pub(in crate::cli) fn overrides(self) -> Result<(Option<PathBuf>, Vec<Override>), SettingsError> {
        let mut found =
            self.set.iter().map(|text| Override::assignment(text)).collect::<Result<Vec<_>, _>>()?;
        found.extend(self.data_dir.map(|text| Override::new("--data-dir", "storage.data_dir", text)));
        found.extend(self.log.map(|text| Override::new("--log", "log.level", text)));
        Ok((self.config, found))
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ServeFlags {
    /// Where to listen, e.g. 0.0.0.0:8040 for the whole lab [setting: server.listen]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The Alyx behind the proxy [setting: upstream.url]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Serve this snapshot and nothing else: a read-only Alyx as of its day, for everybody who can reach it
    #[arg(long, value_name = "FILE", conflicts_with = "upstream")]
    pub(in crate::cli) snapshot: Option<PathBuf>,
    #[command(flatten)]
    word: WordFlags,
}

/// What is said of a snapshot whose maker is not known here.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct WordFlags {
    /// Of a snapshot whose maker is not known here: know its key from now on, under this name
    #[arg(long, value_name = "NAME")]
    trust: Option<String>,
    /// Of a snapshot whose maker is not known here: take it this once
    #[arg(long)]
    once: bool,
    /// Of a snapshot that nobody has signed: take it all the same
    #[arg(long)]
    unsigned: bool,
}

impl WordFlags {
    fn is_given(&self) -> bool {
        self.trust.is_some() || self.once || self.unsigned
    }

    /// What stands before the command and what stands after it; the latter wins.
    fn and(self, more: Self) -> Self {
        Self {
            trust: more.trust.or(self.trust),
            once: self.once || more.once,
            unsigned: self.unsigned || more.unsigned,
        }
    }

    pub(in crate::cli) fn word(&self) -> TrustOptions {
        TrustOptions { trust: self.trust.clone(), once: self.once, unsigned: self.unsigned }
    }
}

impl ServeFlags {
    pub(in crate::cli) fn is_given(&self) -> bool {
        self.listen.is_some() || self.upstream.is_some() || self.snapshot.is_some() || self.word.is_given()
    }

    /// What stands before the command and what stands after it; the latter wins.
    pub(in crate::cli) fn and(self, more: Self) -> Self {
        Self {
            listen: more.listen.or(self.listen),
            upstream: more.upstream.or(self.upstream),
            snapshot: more.snapshot.or(self.snapshot),
            word: self.word.and(more.word),
        }
    }

    /// The snapshot that is to be served, and what is said of whose it is.
    pub(in crate::cli) fn served(&self) -> Result<Option<(PathBuf, TrustOptions)>, CliError> {
        match &self.snapshot {
            Some(file) => Ok(Some((file.clone(), self.word.word()))),
            None if self.word.is_given() => {
                Err(CliError::Usage("--trust, --once and --unsigned belong to --snapshot".to_owned()))
            }
            None => Ok(None),
        }
    }

    pub(in crate::cli) fn overrides(self) -> Vec<Override> {
        let listen = self.listen.map(|text| Override::new("--listen", "server.listen", text));
        let upstream = self.upstream.map(|text| Override::new("--upstream", "upstream.url", text));
        listen.into_iter().chain(upstream).collect()
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TokenFlag {
    /// A token that Alyx accepts [default: $ALYX_PROXY_TOKEN, which other users of this machine can't see]
    #[arg(long)]
    token: Option<String>,
}

impl TokenFlag {
    /// The token to ask with.
    pub(in crate::cli) fn token(&self) -> Option<String> {
        let variable = || std::env::var(alyx_proxy::settings::TOKEN_VARIABLE).ok();
        self.token.clone().or_else(variable).filter(|token| !token.is_empty())
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StatusFlags {
    /// The proxy's URL [default: where the one listens that runs on the data directory, else what the settings say]
    #[arg(long)]
    pub(in crate::cli) url: Option<String>,
    /// As JSON, for other programs
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

impl StatusFlags {
    /// The proxy to ask: the named one, the one that runs on the data directory, or that of the settings.
    pub(in crate::cli) fn place(&self, settings: &Settings) -> Target {
        if let Some(url) = &self.url {
            return Target { url: url.trim_end_matches('/').to_owned(), certificate: None };
        }
        let server = &settings.server;
        let noted = settings.storage.directory().ok().and_then(|data_dir| ListeningNote::read(&data_dir));
        let scheme = if server.has_tls() { "https" } else { "http" };
        let url = noted.unwrap_or_else(|| format!("{scheme}://{}", reachable(server.listen)));
        let certificate = url.starts_with("https://").then(|| server.tls_certificate.clone());
        Target { url, certificate: certificate.filter(|file| !file.as_os_str().is_empty()) }
    }
}

/// Where whoever listens there is asked on this machine: one that listens everywhere, at its own address.
pub(in crate::cli) fn reachable(listen: SocketAddr) -> SocketAddr {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
