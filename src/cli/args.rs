//! The arguments. The common ones may stand before or after the command.

use std::{net::SocketAddr, path::PathBuf};

use alyx_proxy::settings::{Override, Server, SettingsError};
use clap::{Args, Parser, Subcommand};

use super::ask::Place;

const EXIT: &str = "Exit status: 0 done, 1 failed, 2 wrong usage or settings, 3 not running";

/// A lab's own Alyx: answers ONE from memory, goes on when Alyx is out of reach, and spares it requests.
#[derive(Debug, Parser)]
#[command(
    name = "alyx-proxy",
    version,

    after_help = format!("Example:\n  alyx-proxy --listen 0.0.0.0:8040 --upstream https://alyx.example.org\n\n{EXIT}"),
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) common: CommonFlags,
    #[command(flatten)]
    pub(super) serve: ServeFlags,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve clients (what is done when no command is given)
    #[command(after_help = "Example:\n  alyx-proxy serve --listen 0.0.0.0:8040 --set upstream.timeout=30s")]
    Serve {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        serve: ServeFlags,
    },
    /// Try it without network: a miniature Alyx over a sample lab, and the proxy in front of it
    #[command(after_help = "Example:\n  alyx-proxy demo --port 9040")]
    Demo {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        demo: DemoFlags,
    },
    /// Show the settings in effect and where each of them comes from
    #[command(after_help = "Example:\n  alyx-proxy check-config --config alyx-proxy.toml")]
    CheckConfig {
        #[command(flatten)]
        common: CommonFlags,
        /// As JSON, for other programs
        #[arg(long)]
        json: bool,
    },
    /// Ask a running proxy how it is
    #[command(after_help = format!("Example:\n  alyx-proxy status --url http://lab-server:8040\n\n{EXIT}"))]
    Status {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        status: StatusFlags,
    },
    /// Synchronise the mirror now: fetch whole tables of Alyx, or what has changed in them
    #[command(after_help = format!(
        "Example:\n  alyx-proxy sync sessions insertions --set mirror.token_file=/etc/alyx-proxy/token\n\n{EXIT}"
    ))]
    Sync {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        sync: SyncFlags,
    },
    /// Say how a running proxy would answer a question, and why
    #[command(after_help = format!(
        "Example:\n  alyx-proxy explain '/sessions?lab=cortexlab&performance_gte=70' --token TOKEN\n\n{EXIT}"
    ))]
    Explain {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        explain: ExplainFlags,
    },
    /// Have a running proxy forget stored answers
    ///
    /// What is mirrored stays; `alyx-proxy sync` brings it up to date.
    #[command(after_help = format!(
        "Example:\n  alyx-proxy purge --endpoint subjects\n  alyx-proxy purge --question '/sessions?lab=cortexlab'\n\n{EXIT}"
    ))]
    Purge {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        purge: PurgeFlags,
    },
    /// Have a running proxy keep away from Alyx, as if it were out of reach
    #[command(after_help = format!("Example:\n  alyx-proxy offline\n\n{EXIT}"))]
    Offline {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        proxy: StatusFlags,
    },
    /// Have a running proxy ask Alyx again, after `offline`
    #[command(after_help = format!("Example:\n  alyx-proxy online\n\n{EXIT}"))]
    Online {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        proxy: StatusFlags,
    },
    /// Make a proxy the database that ONE asks, on this machine and for this user
    ///
    /// Writes ONE's own parameter files (~/.one), and keeps the present folder for data files, so that nothing is
    /// downloaded again.
    #[command(after_help = format!(
        "Example:\n  alyx-proxy one-setup --url http://lab-server:8040\n  alyx-proxy one-setup --undo\n\n{EXIT}"
    ))]
    OneSetup {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        setup: OneSetupFlags,
    },
    /// Before a journey: have a running proxy fetch what you will ask, and say what will work without Alyx
    ///
    /// Asks as ONE asks, with your own token: $ALYX_PROXY_TOKEN, or the one that ONE has for this proxy. Of a session it
    /// fetches all that ONE and the loaders ask of it. Where nothing is named it reads queries and ids of sessions from
    /// standard input, one a line.
    #[command(after_help = format!(
        "Example:\n  alyx-proxy pack '/sessions?lab=cortexlab' --sessions\n  alyx-proxy pack --from-log 14\n\n{EXIT}"
    ))]
    Pack {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        pack: PackFlags,
    },
    /// Write everything that the lab knows to one file: a snapshot
    ///
    /// It holds the mirror and the stored answers, and no token, password or key. It can be imported elsewhere, or
    /// served alone: a read-only Alyx as of today.
    #[command(after_help = format!(
        "Example:\n  alyx-proxy export paper-2026.tar.zst --name 'as in the paper'\n  alyx-proxy export mine.tar.zst --lab cortexlab\n\n{EXIT}"
    ))]
    Export {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        export: ExportFlags,
    },
    /// Take in a snapshot: what it knows and this lab doesn't, or only as it was before
    #[command(after_help = format!("Example:\n  alyx-proxy import paper-2026.tar.zst\n\n{EXIT}"))]
    Import {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        import: ImportFlags,
    },
    /// Show what a snapshot holds, and whether it is sound
    #[command(after_help = format!("Example:\n  alyx-proxy inspect paper-2026.tar.zst\n\n{EXIT}"))]
    Inspect(InspectFlags),
    /// Write what is mirrored as ONE's cache tables, for ONE's `local` mode
    ///
    /// Reads the data directory, also beside a running proxy. /sessions, /datasets and /data-repository must be mirrored.
    #[command(after_help = format!(
        "Example:\n  alyx-proxy tables ~/one-tables\n  alyx-proxy tables cache.zip\n\n{EXIT}"
    ))]
    Tables {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        tables: TablesFlags,
    },
    /// Print the completions of a shell
    #[command(
        after_help = "Example:\n  alyx-proxy completions bash > ~/.local/share/bash-completion/completions/alyx-proxy"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all commands to a folder
    #[command(after_help = "Example:\n  alyx-proxy man | man -l -")]
    Man {
        /// An existing folder, such as /usr/local/share/man/man1
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Print the version
    #[command(after_help = "Example:\n  alyx-proxy version --json")]
    Version {
        /// As JSON, for other programs
        #[arg(long)]
        json: bool,
    },
}

/// Where settings come from, for each command.
#[derive(Debug, Args)]
pub(super) struct CommonFlags {
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
    pub(super) fn and(mut self, more: Self) -> Self {
        self.set.extend(more.set);
        Self {
            config: more.config.or(self.config),
            data_dir: more.data_dir.or(self.data_dir),
            set: self.set,
            log: more.log.or(self.log),
        }
    }

    /// The file's name, and what the flags set.
    pub(super) fn overrides(self) -> Result<(Option<PathBuf>, Vec<Override>), SettingsError> {
        let mut found =
            self.set.iter().map(|text| Override::assignment(text)).collect::<Result<Vec<_>, _>>()?;
        found.extend(self.data_dir.map(|text| Override::new("--data-dir", "storage.data_dir", text)));
        found.extend(self.log.map(|text| Override::new("--log", "log.level", text)));
        Ok((self.config, found))
    }
}

#[derive(Debug, Args)]
pub(super) struct ServeFlags {
    /// Where to listen, e.g. 0.0.0.0:8040 for the whole lab [setting: server.listen]
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// The Alyx behind the proxy [setting: upstream.url]
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
    /// Serve this snapshot and nothing else: a read-only Alyx as of its day, for everybody who can reach it
    #[arg(long, value_name = "FILE", conflicts_with = "upstream")]
    pub(super) snapshot: Option<PathBuf>,
}

impl ServeFlags {
    pub(super) fn is_given(&self) -> bool {
        self.listen.is_some() || self.upstream.is_some() || self.snapshot.is_some()
    }

    /// What stands before the command and what stands after it; the latter wins.
    pub(super) fn and(self, more: Self) -> Self {
        Self {
            listen: more.listen.or(self.listen),
            upstream: more.upstream.or(self.upstream),
            snapshot: more.snapshot.or(self.snapshot),
        }
    }

    pub(super) fn overrides(self) -> Vec<Override> {
        let listen = self.listen.map(|text| Override::new("--listen", "server.listen", text));
        let upstream = self.upstream.map(|text| Override::new("--upstream", "upstream.url", text));
        listen.into_iter().chain(upstream).collect()
    }
}

#[derive(Debug, Args)]
pub(super) struct DemoFlags {
    /// The proxy's port; 0: any that is free
    #[arg(long, default_value_t = 8040)]
    pub(super) port: u16,
    /// The port of the miniature Alyx; 0: any that is free
    #[arg(long, default_value_t = 8041)]
    pub(super) alyx_port: u16,
    /// Keep the sessions without a start time too (ONE's own search fails on them)
    #[arg(long)]
    pub(super) complete: bool,
}

#[derive(Debug, Args)]
pub(super) struct SyncFlags {
    /// The endpoints to synchronise [default: all that the settings name]
    #[arg(value_name = "ENDPOINT")]
    pub(super) endpoints: Vec<String>,
    /// A summary as JSON at the end, for other programs
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct OneSetupFlags {
    #[command(flatten)]
    pub(super) proxy: StatusFlags,
    /// Put back what was there before, byte for byte
    #[arg(long, conflicts_with_all = ["like", "username", "dry_run", "unchecked", "url"])]
    pub(super) undo: bool,
    /// With --undo: also where somebody has changed a file since
    #[arg(long, requires = "undo")]
    pub(super) force: bool,
    /// Take folder and parameters of this database [default: the Alyx behind the proxy, or ONE's default]
    #[arg(long, value_name = "URL")]
    pub(super) like: Option<String>,
    /// Your user name in Alyx [default: the one that ONE has]
    #[arg(long, value_name = "NAME")]
    pub(super) username: Option<String>,
    /// Only show what would change
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Don't ask the proxy whether it is one
    #[arg(long)]
    pub(super) unchecked: bool,
    /// Another home directory than yours
    #[arg(long, value_name = "DIR")]
    pub(super) home: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ExportFlags {
    /// The file to write, e.g. lab.tar.zst
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// What it is called [default: the file's name]
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Only this endpoint, e.g. sessions; may be repeated [default: all]
    #[arg(long, value_name = "NAME")]
    pub(super) endpoint: Vec<String>,
    /// Only what belongs to this lab
    #[arg(long, value_name = "NAME")]
    pub(super) lab: Option<String>,
    /// Only what belongs to this project
    #[arg(long, value_name = "NAME")]
    pub(super) project: Option<String>,
    /// Replace a file that is there
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) proxy: StatusFlags,
}

#[derive(Debug, Args)]
pub(super) struct ImportFlags {
    /// The snapshot
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) proxy: StatusFlags,
}

#[derive(Debug, Args)]
pub(super) struct TablesFlags {
    /// A folder for the tables, or one file that ends in .zip
    #[arg(value_name = "FOLDER|FILE", default_value = "cache.zip")]
    pub(super) to: PathBuf,
    /// As JSON, for other programs
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct InspectFlags {
    /// The snapshot
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// As JSON, for other programs
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct PurgeFlags {
    #[command(flatten)]
    pub(super) what: PurgeWhat,
    #[command(flatten)]
    pub(super) proxy: StatusFlags,
}

/// Exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct PurgeWhat {
    /// All stored answers
    #[arg(long)]
    pub(super) all: bool,
    /// Those of an endpoint, e.g. subjects: its lists and its records
    #[arg(long, value_name = "NAME")]
    pub(super) endpoint: Option<String>,
    /// Those of a path and all below it
    #[arg(long, value_name = "PATH")]
    pub(super) prefix: Option<String>,
    /// Those to one question, path and query, however it is spelt
    #[arg(long, value_name = "PATH")]
    pub(super) question: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ExplainFlags {
    /// Path and query, as ONE asks them
    #[arg(value_name = "PATH")]
    pub(super) path: String,
    #[command(flatten)]
    pub(super) token: TokenFlag,
    #[command(flatten)]
    pub(super) proxy: StatusFlags,
}

#[derive(Debug, Args)]
pub(super) struct PackFlags {
    /// Queries as ONE asks them (/sessions?lab=cortexlab, or a whole URL), and ids of sessions
    #[arg(value_name = "QUERY|SESSION")]
    pub(super) wanted: Vec<String>,
    /// A session, by its id; may be repeated
    #[arg(long, value_name = "EID")]
    pub(super) session: Vec<uuid::Uuid>,
    /// What you asked through this proxy in the last so many days
    #[arg(long, value_name = "DAYS")]
    pub(super) from_log: Option<u32>,
    /// Also all that belongs to the sessions that the queries find
    #[arg(long)]
    pub(super) sessions: bool,
    /// The most pages of one query
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) pages: u64,
    /// Whose token of ONE's to take [default: the one who logs in by default]
    #[arg(long, value_name = "NAME")]
    pub(super) user: Option<String>,
    #[command(flatten)]
    pub(super) token: TokenFlag,
    #[command(flatten)]
    pub(super) proxy: StatusFlags,
}

#[derive(Debug, Args)]
pub(super) struct TokenFlag {
    /// A token that Alyx accepts [default: $ALYX_PROXY_TOKEN, which other users of this machine can't see]
    #[arg(long)]
    token: Option<String>,
}

impl TokenFlag {
    /// The token to ask with.
    pub(super) fn token(&self) -> Option<String> {
        let variable = || std::env::var(alyx_proxy::settings::TOKEN_VARIABLE).ok();
        self.token.clone().or_else(variable).filter(|token| !token.is_empty())
    }
}

#[derive(Debug, Args)]
pub(super) struct StatusFlags {
    /// The proxy's URL [default: the address that the settings let it listen on]
    #[arg(long)]
    pub(super) url: Option<String>,
    /// As JSON, for other programs
    #[arg(long)]
    pub(super) json: bool,
}

impl StatusFlags {
    /// The proxy to ask. One that listens everywhere is asked on this machine.
    pub(super) fn place(&self, server: &Server) -> Place {
        use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
        if let Some(url) = &self.url {
            return Place { url: url.trim_end_matches('/').to_owned(), certificate: None };
        }
        let listen = server.listen;
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let scheme = if server.has_tls() { "https" } else { "http" };
        Place {
            url: format!("{scheme}://{}", SocketAddr::new(ip, listen.port())),
            certificate: server.has_tls().then(|| server.tls_certificate.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_well_formed_and_each_command_shows_an_example() {
        let mut cli = Cli::command();
        cli.clone().debug_assert();
        let help = cli.render_help().to_string();
        assert!(help.contains("Example:\n  alyx-proxy"), "{help}");
        for command in cli.get_subcommands_mut().filter(|command| command.get_name() != "help") {
            let help = command.render_help().to_string();
            assert!(help.contains("Example:\n  alyx-proxy"), "{help}");
        }
    }
}
