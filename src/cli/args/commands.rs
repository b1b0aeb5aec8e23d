//! What single commands take.

use std::path::PathBuf;

use alyx_proxy::settings::value::Size;
use clap::{Args, ValueEnum};

use super::common::{StatusFlags, TokenFlag, WordFlags};

#[derive(Debug, Args)]
pub(in crate::cli) struct DemoFlags {
    /// The proxy's port; 0: any that is free
    #[arg(long, default_value_t = 8040)]
    pub(in crate::cli) port: u16,
    /// The port of the miniature Alyx; 0: any that is free
    #[arg(long, default_value_t = 8041)]
    pub(in crate::cli) alyx_port: u16,
    /// Keep the sessions without a start time too (ONE's own search fails on them)
    #[arg(long)]
    pub(in crate::cli) complete: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SyncFlags {
    /// The endpoints to synchronise [default: all that the settings name]
    #[arg(value_name = "ENDPOINT")]
    pub(in crate::cli) endpoints: Vec<String>,
    /// A summary as JSON at the end, for other programs
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(in crate::cli) struct OneSetupFlags {
    #[command(flatten)]
    pub(in crate::cli) proxy: StatusFlags,
    /// Have data files come through the proxy, too (its setting files.enabled)
    #[arg(long, conflicts_with = "unchecked")]
    pub(in crate::cli) data: bool,
    /// Put back what was there before, byte for byte: of the proxy at --url, or of all
    #[arg(long, conflicts_with_all = ["data", "like", "username", "dry_run", "unchecked", "ca"])]
    pub(in crate::cli) undo: bool,
    /// With --undo: also where somebody has changed a file since
    #[arg(long, requires = "undo")]
    pub(in crate::cli) force: bool,
    /// Take over folder and parameters of this database [default: the Alyx behind the proxy]
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) like: Option<String>,
    /// Your user name in Alyx [default: the one that ONE has]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) username: Option<String>,
    /// Only show what would change
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Don't ask the proxy whether it is one
    #[arg(long)]
    pub(in crate::cli) unchecked: bool,
    /// Trust certificates of the authorities in this file (PEM), and no others
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) ca: Option<PathBuf>,
    /// Another home directory than yours
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) home: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportFlags {
    /// The file to write, e.g. lab.tar.zst
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    /// What it is called [default: the file's name]
    #[arg(long)]
    pub(in crate::cli) name: Option<String>,
    /// Only this endpoint, e.g. sessions; may be repeated [default: all]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) endpoint: Vec<String>,
    /// Only what belongs to this lab
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) lab: Option<String>,
    /// Only what belongs to this project
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) project: Option<String>,
    /// Only what belongs to the subject of this nickname; where labs share it, with --lab
    #[arg(long, value_name = "NICKNAME")]
    pub(in crate::cli) subject: Option<String>,
    /// Only what belongs to this session; may be repeated
    #[arg(long, value_name = "EID")]
    pub(in crate::cli) session: Vec<uuid::Uuid>,
    /// Replace a file that is there
    #[arg(long)]
    pub(in crate::cli) force: bool,
    #[command(flatten)]
    pub(in crate::cli) proxy: StatusFlags,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportFlags {
    /// The snapshot
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) word: WordFlags,
    #[command(flatten)]
    pub(in crate::cli) proxy: StatusFlags,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TablesFlags {
    /// A folder for the tables, or one file that ends in .zip
    #[arg(value_name = "FOLDER|FILE", default_value = "cache.zip")]
    pub(in crate::cli) to: PathBuf,
    /// Fetch those of the proxy at this URL, with your own token [default: make them of this machine's data directory]
    #[arg(long)]
    pub(in crate::cli) url: Option<String>,
    /// Whose token of ONE's to take with --url [default: the one who logs in by default]
    #[arg(long, value_name = "NAME", requires = "url")]
    pub(in crate::cli) user: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) token: TokenFlag,
    /// As JSON, for other programs
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct InspectFlags {
    /// The snapshot
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    /// As JSON, for other programs
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct KeysFlags {
    /// Take no snapshots of this key any more, by its name or as it is listed
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) revoke: Option<String>,
    /// As JSON, for other programs
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PurgeFlags {
    #[command(flatten)]
    pub(in crate::cli) what: PurgeWhat,
    #[command(flatten)]
    pub(in crate::cli) proxy: StatusFlags,
}

/// Exactly one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct PurgeWhat {
    /// All stored answers
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// Those of an endpoint, e.g. subjects: its lists and its records
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) endpoint: Option<String>,
    /// Those of a path and all below it
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) prefix: Option<String>,
    /// Those to one question, path and query, however it is spelt
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) question: Option<String>,
    /// Data files of a session (its id, or KS001/2021-03-01/001) or dataset (its id), or whose path is like this ('*/KS001/*')
    #[arg(long, value_name = "WHICH")]
    pub(in crate::cli) files: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExplainFlags {
    /// Path and query, as ONE asks them
    #[arg(value_name = "PATH")]
    pub(in crate::cli) path: String,
    #[command(flatten)]
    pub(in crate::cli) token: TokenFlag,
    #[command(flatten)]
    pub(in crate::cli) proxy: StatusFlags,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct FetchFlags {
    /// Whose sessions, as ONE asks for them: sessions?lab=cortexlab
    #[arg(value_name = "SESSIONS")]
    pub(in crate::cli) query: String,
    /// Files whose collection and name are like this (alf/*, *spikes.times*); may be repeated [default: all]
    #[arg(long, value_name = "PATTERN", default_value = "*", hide_default_value = true)]
    pub(in crate::cli) datasets: Vec<String>,
    /// No more than so much in a second, e.g. "20 MB"
    #[arg(long, value_name = "SIZE")]
    pub(in crate::cli) rate: Option<Size>,
    /// Only say how much it would be
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Your name at the data server, with the password in HTTP_DATA_SERVER_PWD [default: ONE's]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) login: Option<String>,
    /// Whose token of ONE's to take [default: the one who logs in by default]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) user: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) token: TokenFlag,
    #[command(flatten)]
    pub(in crate::cli) proxy: StatusFlags,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PackFlags {
    /// Queries as ONE asks them (/sessions?lab=cortexlab, or a whole URL), and ids of sessions
    #[arg(value_name = "QUERY|SESSION")]
    pub(in crate::cli) wanted: Vec<String>,
    /// A session, by its id; may be repeated
    #[arg(long, value_name = "EID")]
    pub(in crate::cli) session: Vec<uuid::Uuid>,
    /// What you asked through this proxy in the last so many days
    #[arg(long, value_name = "DAYS")]
    pub(in crate::cli) from_log: Option<u32>,
    /// Also all that belongs to the sessions that the queries find
    #[arg(long)]
    pub(in crate::cli) sessions: bool,
    /// The most pages of one query
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(in crate::cli) pages: u64,
    /// Whose token of ONE's to take [default: the one who logs in by default]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) user: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) token: TokenFlag,
    #[command(flatten)]
    pub(in crate::cli) proxy: StatusFlags,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ClusterFlags {
    /// What to do
    #[arg(value_name = "WHAT")]
    pub(in crate::cli) wish: ClusterWish,
    /// With `forget`: the name of the machine, or the beginning of the proxy's id
    #[arg(value_name = "NAME", required_if_eq("wish", "forget"))]
    pub(in crate::cli) name: Option<String>,
    /// With `status`: as JSON, for other programs
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ClusterWish {
    /// Make the tables, as a role that may; a proxy does it itself where its role may
    Init,
    /// Show who is in, as PostgreSQL knows it
    Status,
    /// Print a new key, for `cluster.key_file`
    Key,
    /// Take out proxies that are gone, so that nobody waits for them; those that run join again
    Forget,
}
