//! `status`: asks a running proxy how it is (`/-/status.json`).

use std::{collections::BTreeMap, time::Duration};

use alyx_proxy::{
    auth::admin_token,
    cluster::ClusterView,
    settings::{Settings, Sources, load},
};
use anyhow::anyhow;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::{CliError, CommandResult, args, client, print, print_json};

/// What is shown of the proxy's answer; `--json` passes all of it on.
#[derive(Debug, Deserialize)]
struct StatusView {
    version: String,
    uptime_seconds: u64,
    listen: String,
    upstream: UpstreamView,
    responses: ResponseCounts,
    cache: CacheView,
    tokens: u64,
    mirror: Option<MirrorView>,
    #[serde(default)]
    cluster: Option<ClusterView>,
    #[serde(default)]
    files: Option<DataFilesView>,
    degraded: Option<DegradationView>,
    quarantined_file: Option<String>,
    #[serde(default)]
    certificate_remarks: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct MirrorView {
    tables: Vec<TableView>,
    #[serde(default)]
    progress: Option<BTreeMap<String, ProgressView>>,
    verifications: VerificationsView,
    #[serde(default)]
    requests: Option<RequestsView>,
    degraded: Option<DegradationView>,
    quarantined_file: Option<String>,
    #[serde(default)]
    account_refused: Option<String>,
}

/// What the mirror asked of Alyx in the last 24 hours.
#[derive(Debug, Deserialize)]
struct RequestsView {
    background: u64,
    allowed: Option<u64>,
    reads_saved: u64,
    by_purpose: BTreeMap<String, u64>,
}

/// How far the synchronisation of a table is.
#[derive(Debug, Deserialize)]
struct ProgressView {
    moving: bool,
    text: String,
}

#[derive(Debug, Deserialize)]
struct TableView {
    endpoint: String,
    rows: u64,
    details: bool,
    #[serde(default)]
    details_not_given: usize,
    age_seconds: u64,
    scope: Vec<String>,
    distrusted: Vec<String>,
    #[serde(default)]
    unreadable_count: usize,
    #[serde(default)]
    unreadable: Vec<UnreadableLine>,
}

#[derive(Debug, Deserialize)]
struct UnreadableLine {
    record: String,
    why: String,
    again_at: String,
}

#[derive(Debug, Deserialize)]
struct VerificationsView {
    same: u64,
    changed: u64,
    different: u64,
}

#[derive(Debug, Deserialize)]
struct DegradationView {
    since: String,
    what: String,
}

#[derive(Debug, Deserialize)]
struct UpstreamView {
    url: Option<String>,
    state: String,
    since: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    hint: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ResponseCounts {
    memory: u64,
    disk: u64,
    stale: u64,
    #[serde(default)]
    mirror: u64,
    upstream: u64,
    collapsed: u64,
    refused: u64,
}

#[derive(Debug, Deserialize)]
struct CacheView {
    entries: u64,
    bytes: u64,
    limit: u64,
}

/// The lab's data files; none where they are not given.
#[derive(Debug, Deserialize)]
struct DataFilesView {
    files: u64,
    bytes: u64,
    requests: u64,
    hits: u64,
    given: u64,
    fetched: u64,
    #[serde(default)]
    differing: u64,
    #[serde(default)]
    damaged: u64,
}

pub(super) async fn run(sources: &Sources, args: &args::StatusFlags) -> CommandResult {
    let settings = load(sources)?.settings;
    let base = args.place(&settings);
    let (raw, status) = status(&base, &own_token(&settings, args)).await?;
    if args.json { print_json(&raw) } else { print(&readable(&status)) }
}

/// The administrator's token for the proxy of this machine, whose owner sees all; it is shown to no other machine.
fn own_token(settings: &Settings, args: &args::StatusFlags) -> HeaderMap {
    let known = || {
        let data_dir = settings.storage.directory().ok()?;
        let token = admin_token::known(&data_dir, &settings.access.admin_token).ok()??;
        client::bearer(&token)
    };
    let elsewhere = |url: &String| {
        let host = url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned));
        !host.is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127."))
    };
    if args.url.as_ref().is_some_and(elsewhere) { HeaderMap::new() } else { known().unwrap_or_default() }
}

async fn status(base: &client::Target, headers: &HeaderMap) -> Result<(Value, StatusView), CliError> {
    let url = format!("{base}/-/status.json");
    let (code, raw) = client::json(base, "/-/status.json", headers).await?;
    let status = |raw: Value| Some((raw.clone(), serde_json::from_value(raw).ok()?));
    // In the other's own words, where it has some.
    if let Some(why) = raw.as_ref().filter(|_| !code.is_success()).and_then(|raw| raw["detail"].as_str()) {
        return Err(anyhow!("{url} answers {code}: {why}").into());
    }
    let answer = raw.filter(|_| code.is_success()).and_then(status);
    let stranger = || anyhow!("{url} answers {code}, but not as this version of alyx-proxy does");
    answer.ok_or_else(|| stranger().into())
}

fn readable(status: &StatusView) -> String {
    let StatusView { version, uptime_seconds, listen, upstream, responses, cache, tokens, mirror, .. } =
        status;
    let uptime = humantime::format_duration(Duration::from_secs(*uptime_seconds));
    let since =
        upstream.since.as_ref().map(|since| format!(" since {}", time_for_people(since))).unwrap_or_default();
    let reason = upstream.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let at = upstream.url.as_ref().map(|url| format!("{url}: ")).unwrap_or_default();
    let lines = [
        ("alyx-proxy", format!("{version}, listening on {listen}, running for {uptime}")),
        ("upstream", format!("{at}{}{since}{reason}", upstream.state)),
        (
            "responses",
            format!(
                "{} from memory, {} from disk, {} stale, {} from the mirror, {} from upstream, {} shared, {} refused",
                responses.memory,
                responses.disk,
                responses.stale,
                responses.mirror,
                responses.upstream,
                responses.collapsed,
                responses.refused
            ),
        ),
        ("cache", format!("{} responses, {}", cache.entries, used(cache))),
        ("tokens", format!("{tokens} accepted by Alyx")),
    ];
    let mut lines: Vec<_> = lines.into_iter().map(|(name, text)| format!("{name:<11} {text}")).collect();
    let degraded = status.degraded.iter().chain(mirror.iter().flat_map(|mirror| &mirror.degraded));
    let attention =
        degraded.map(|DegradationView { what, since }| format!("{what}, since {}", time_for_people(since)));
    let damaged = status.quarantined_file.iter().map(|path| ("database", path));
    let damaged =
        damaged.chain(mirror.iter().flat_map(|mirror| &mirror.quarantined_file).map(|path| ("mirror", path)));
    let attention = attention
        .chain(damaged.map(|(what, path)| format!("the {what} was damaged; it was set aside as {path}")));
    let hint = upstream.hint.iter().map(|hint| format!("Alyx was never reached: {hint}"));
    let refused = mirror.iter().filter_map(|mirror| mirror.account_refused.clone());
    let attention = attention.chain(hint).chain(refused).chain(status.certificate_remarks.iter().cloned());
    lines.extend(attention.map(|text| format!("{:<11} {text}", "ATTENTION")));
    lines.extend(
        status.cluster.iter().map(|cluster| format!("{:<11} {}", "cluster", readable_cluster(cluster))),
    );
    lines.extend(status.files.iter().map(|files| format!("{:<11} {}", "data files", readable_files(files))));
    lines.extend(mirror.iter().flat_map(readable_mirror));
    lines.join("\n")
}

fn readable_cluster(view: &ClusterView) -> String {
    let ClusterView { state, members, trouble, untold, .. } = view;
    let why = trouble.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let untold = if *untold > 0 { "; the others have yet to be told what was written here" } else { "" };
    match members.len() {
        2 if state == "together" => format!("together with one other{untold}"),
        all @ 3.. if state == "together" => format!("together with {} others{untold}", all - 1),
        _ => format!("{state}{why}{untold}"),
    }
}

fn readable_files(view: &DataFilesView) -> String {
    let DataFilesView { files, bytes, requests, hits, given, fetched, differing, damaged } = view;
    let [bytes, given, fetched] = [bytes, given, fetched].map(|bytes| size(*bytes));
    let told = |count: &u64, what: &str| if *count > 0 { format!("; {count} {what}") } else { String::new() };
    let differing = told(differing, "not what Alyx says, and not kept");
    let damaged = told(damaged, "blocks damaged by the disk");
    format!(
        "{files} kept, {bytes}; {given} given in {requests} answers, {hits} of them all from here; {fetched} fetched{differing}{damaged}"
    )
}

/// The mirror as a whole, and table by table.
fn readable_mirror(mirror: &MirrorView) -> Vec<String> {
    let MirrorView { tables, verifications: VerificationsView { same, changed, different }, .. } = mirror;
    let moving = mirror.progress.iter().flatten().filter(|(_, run)| run.moving);
    let moving: Vec<_> =
        moving.map(|(endpoint, run)| format!("  {endpoint}, synchronising: {}", run.text)).collect();
    if tables.is_empty() {
        let mut lines = vec![format!("{:<11} nothing yet", "mirror")];
        lines.extend(moving);
        return lines;
    }
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    let mut lines = vec![format!(
        "{:<11} {} tables, {rows} records; compared with Alyx: {same} the same, {changed} changed meanwhile, \
         {different} different",
        "mirror",
        tables.len()
    )];
    lines.extend(mirror.requests.iter().map(readable_requests));
    let width = tables.iter().map(|table| table.endpoint.len()).max().unwrap_or_default();
    for TableView { endpoint, rows, details, details_not_given, age_seconds, scope, distrusted, .. } in tables
    {
        let details = match (details, details_not_given) {
            (true, _) => ", details".to_owned(),
            (false, 0) => String::new(),
            (false, lack) => format!(", details but for {lack} that Alyx does not give"),
        };
        let scope = if scope.is_empty() { String::new() } else { format!(", only {}", scope.join("&")) };
        let distrusted = if distrusted.is_empty() {
            String::new()
        } else {
            format!(", not answering {}", distrusted.join(", "))
        };
        let age = humantime::format_duration(Duration::from_secs(*age_seconds));
        lines.push(format!("  {endpoint:<width$} {rows:>8} records{details}{scope}, {age} old{distrusted}"));
    }
    lines.extend(moving);
    lines.extend(tables.iter().flat_map(readable_unreadable));
    lines
}

/// What was asked and saved in the last 24 hours.
fn readable_requests(requests: &RequestsView) -> String {
    let RequestsView { background, allowed, reads_saved, by_purpose } = requests;
    let allowed = allowed.map(|allowed| format!(" of {allowed}")).unwrap_or_default();
    let others: Vec<_> = ["question", "person", "fill"]
        .into_iter()
        .filter_map(|name| Some(format!("{} for {name}", by_purpose.get(name).filter(|count| **count > 0)?)))
        .collect();
    let others = if others.is_empty() { String::new() } else { format!("; {}", others.join(", ")) };
    format!(
        "{:<11} {reads_saved} reads answered without Alyx in 24 hours; the mirror asked {background}{allowed} by itself{others}",
        ""
    )
}

/// The records of a table that Alyx could not give.
fn readable_unreadable(table: &TableView) -> Vec<String> {
    const SHOWN: usize = 10;
    let line = |UnreadableLine { record, why, again_at }: &UnreadableLine| {
        format!("  not given by Alyx: {record} ({why}; asked for again at {})", time_for_people(again_at))
    };
    let mut lines: Vec<_> = table.unreadable.iter().take(SHOWN).map(line).collect();
    if table.unreadable_count > lines.len() {
        lines.push(format!("  and {} more of /{}", table.unreadable_count - lines.len(), table.endpoint));
    }
    lines
}

/// What is stored, of what may be; a snapshot is served without a limit.
fn used(cache: &CacheView) -> String {
    if cache.limit >= 1 << 60 {
        return size(cache.bytes);
    }
    format!("{} of {}", size(cache.bytes), size(cache.limit))
}

/// A time for people, as programs are told it.
pub(super) fn time_for_people(text: &str) -> String {
    let read = text.parse::<jiff::Timestamp>();
    read.map_or_else(|_| text.to_owned(), |at| alyx_proxy::clock::for_people(at.as_millisecond()))
}

/// A size to be read at a glance: three digits will do.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}
