//! The arguments. The common ones may stand before or after the command.

mod commands;
mod common;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(super) use commands::{
    ClusterFlags, ClusterWish, DemoFlags, ExplainFlags, ExportFlags, FetchFlags, ImportFlags, InspectFlags,
    KeysFlags, OneSetupFlags, PackFlags, PurgeFlags, SyncFlags, TablesFlags,
};
pub(super) use common::{CommonFlags, ServeFlags, StatusFlags, TokenFlag, reachable};

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
    /// Have a running proxy fetch data files of sessions, before somebody asks for them
    ///
    /// How much it is stands first. What is here already is not fetched again, so that a fetch that was interrupted goes on
    /// where it was. The data server is asked with your own name and password.
    #[command(after_help = format!(
        "Example:\n  alyx-proxy fetch 'sessions?lab=cortexlab' --datasets 'alf/*' --rate '20 MB'\n\n{EXIT}"
    ))]
    Fetch {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        fetch: FetchFlags,
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
    ///
    /// One that this machine has made, or whose maker is known here, is taken at once; any other on a word.
    #[command(after_help = format!(
        "Example:\n  alyx-proxy import paper-2026.tar.zst\n  alyx-proxy import lab.tar.zst --trust lab-server\n\n{EXIT}"
    ))]
    Import {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        import: ImportFlags,
    },
    /// Show what a snapshot holds, who made it, and whether it is sound
    #[command(after_help = format!("Example:\n  alyx-proxy inspect paper-2026.tar.zst\n\n{EXIT}"))]
    Inspect {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        inspect: InspectFlags,
    },
    /// List the keys by which makers of snapshots are known here, and this machine's own
    #[command(after_help = format!("Example:\n  alyx-proxy keys\n  alyx-proxy keys --revoke lab-server\n\n{EXIT}"))]
    Keys {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        keys: KeysFlags,
    },
    /// Several proxies as one service: make the tables in PostgreSQL, make a key, show who is in
    #[command(after_help = format!(
        "Example:\n  alyx-proxy cluster key > cluster.key\n  alyx-proxy cluster status --set cluster.url_file=url --set cluster.key_file=cluster.key\n\n{EXIT}"
    ))]
    Cluster {
        #[command(flatten)]
        common: CommonFlags,
        #[command(flatten)]
        cluster: ClusterFlags,
    },
    /// Write what is mirrored as ONE's cache tables, for ONE's `local` mode
    ///
    /// Reads the data directory, also beside a running proxy. /sessions, /datasets and /data-repository must be mirrored.
    /// With --url it fetches those that a proxy elsewhere offers.
    #[command(after_help = format!(
        "Example:\n  alyx-proxy tables ~/one-tables\n  alyx-proxy tables cache.zip --url http://lab-server:8040\n\n{EXIT}"
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
