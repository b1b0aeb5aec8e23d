//! `fetch`: has a running proxy fetch data files, so that they are here when somebody asks for them.
//!
//! Of each block the last byte is asked for: its answer says that the block is here. What is here already costs the data server
//! nothing, so that a fetch that was interrupted goes on where it was.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use alyx_proxy::{
    one,
    settings::{Sources, load},
};
use anyhow::anyhow;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use indicatif::HumanBytes;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    CliError, CommandResult,
    args::FetchFlags,
    client::{self, ProxyClient, Reply, Target},
    print, print_json,
    progress_bar::StepBar,
};

/// In blocks of so many bytes the proxy keeps files.
const BLOCK: u64 = 8 << 20;
/// A block of a slow data server takes its time.
const PATIENCE: Duration = Duration::from_hours(1);
/// The variable with the password for the data server.
const PASSWORD: &str = "HTTP_DATA_SERVER_PWD";

/// A file that is wanted.
#[derive(Debug)]
struct WantedFile {
    /// Below the proxy's base URL; none where Alyx names no file at the data server that this proxy stands before.
    path: Option<String>,
    /// As Alyx has it; none where it says nothing.
    size: Option<u64>,
}

/// All that is wanted.
#[derive(Debug, Default)]
struct WantedFiles {
    sessions: usize,
    files: Vec<WantedFile>,
}

/// What came of it.
#[derive(Debug, Default)]
struct FetchOutcome {
    /// Bytes of blocks that came from the data server.
    new: u64,
    /// And of those that were here.
    here: u64,
    /// Files that are passed on only.
    not_kept: Vec<String>,
    /// Those that could not be had, and why.
    failed: Vec<(String, String)>,
}

impl WantedFiles {
    /// Those that can be had.
    fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter_map(|file| file.path.as_deref())
    }

    /// Bytes of those that can be had, as far as Alyx says.
    fn size(&self) -> u64 {
        self.files.iter().filter(|file| file.path.is_some()).filter_map(|file| file.size).sum()
    }

    /// For people.
    fn readable(&self) -> String {
        let (count, sessions, size) = (self.paths().count(), self.sessions, HumanBytes(self.size()));
        let mut text = format!("{count} files of {sessions} sessions, {size}");
        let unsaid = self.files.iter().filter(|file| file.path.is_some() && file.size.is_none()).count();
        if unsaid > 0 {
            let _ = write!(text, " and {unsaid} of unknown size");
        }
        match self.files.len() - count {
            0 => {}
            absent => {
                let _ = write!(text, "; {absent} more have no file at the data server");
            }
        }
        text
    }
}

pub(super) async fn run(sources: &Sources, flags: &FetchFlags) -> CommandResult {
    let place = flags.proxy.place(&load(sources)?.settings);
    let token = client::token_for(&place, &flags.token, flags.user.as_deref())?;
    let fields = |field: Option<HeaderValue>| {
        let accept = (header::ACCEPT, HeaderValue::from_static("application/json"));
        let field = field.map(|field| (header::AUTHORIZATION, field));
        [accept].into_iter().chain(field).collect::<HeaderMap>()
    };
    let asker = ProxyClient::new(place.clone(), fields(Some(client::authorization(&token)?)), PATIENCE)?;
    let reader = ProxyClient::new(place.clone(), fields(credentials(&place, flags)?), PATIENCE)?;
    let wanted = wanted(&asker, &place, flags).await?;
    if !flags.proxy.json {
        print(&wanted.readable())?;
    }
    let mut fetched = FetchOutcome::default();
    let ended = if flags.dry_run { Ok(()) } else { fetch(&reader, &wanted, flags, &mut fetched).await };
    let told = tell(flags, &wanted, &fetched);
    ended.and(told)
}

/// What Alyx's records name.
async fn wanted(asker: &ProxyClient, place: &Target, flags: &FetchFlags) -> Result<WantedFiles, CliError> {
    let bar = StepBar::new();
    let question = format!("/{}", flags.query.trim_start_matches('/'));
    if question.split('?').next() != Some("/sessions") {
        return Err(CliError::Usage(format!("{}: not a question for sessions (sessions?…)", flags.query)));
    }
    let sessions = all(asker, place, &question, |one| one["id"].as_str().map(str::to_owned)).await?;
    let mut wanted = WantedFiles { sessions: sessions.len(), files: Vec::new() };
    for (at, session) in sessions.iter().enumerate() {
        bar.step("looking for files", at as u64, sessions.len() as u64);
        let question = format!("/-/one/datasets?session={session}");
        wanted.files.extend(all(asker, place, &question, |one| file(one, place, &flags.datasets)).await?);
    }
    Ok(wanted)
}

/// What there is to say in the end.
fn tell(flags: &FetchFlags, wanted: &WantedFiles, fetched: &FetchOutcome) -> CommandResult {
    let FetchOutcome { new, here, not_kept, failed } = fetched;
    let count = wanted.paths().count();
    if flags.proxy.json {
        let failed: Vec<Value> =
            failed.iter().map(|(path, why)| json!({ "path": path, "why": why })).collect();
        print_json(&json!({
            "sessions": wanted.sessions, "files": count, "bytes": wanted.size(),
            "without_file": wanted.files.len() - count, "fetched": new, "here_before": here,
            "not_kept": not_kept, "failed": failed, "dry_run": flags.dry_run,
        }))?;
    } else if !flags.dry_run {
        let mut lines =
            vec![format!("{} fetched, {} were here before.", HumanBytes(*new), HumanBytes(*here))];
        lines.extend(not_kept.iter().map(|path| format!("passed on and not kept: {path}")));
        lines.extend(failed.iter().map(|(path, why)| format!("{path}: {why}")));
        print(&lines.join("\n"))?;
    }
    match failed.len() + not_kept.len() {
        0 => Ok(()),
        missing => Err(anyhow!("{missing} of {count} files are not here").into()),
    }
}

/// The credentials for the data server: those named, or those that ONE has for this proxy.
fn credentials(place: &Target, flags: &FetchFlags) -> Result<Option<HeaderValue>, CliError> {
    let given = if let Some(login) = &flags.login {
        let password = std::env::var(PASSWORD)
            .map_err(|_| CliError::Usage(format!("--login needs the password in {PASSWORD}")))?;
        Some((login.clone(), Zeroizing::new(password)))
    } else {
        let home = etcetera::home_dir().map_err(|error| anyhow!("no home directory: {error}"))?;
        one::data_login(&home.join(".one"), &place.url).map_err(anyhow::Error::from)?
    };
    let Some((login, password)) = given else { return Ok(None) };
    let text = format!("Basic {}", BASE64_STANDARD.encode(format!("{login}:{}", password.as_str())));
    let mut field = HeaderValue::try_from(text).map_err(anyhow::Error::from)?;
    field.set_sensitive(true);
    Ok(Some(field))
}

/// What is wanted of all records of a list, page by page.
async fn all<T>(
    asker: &ProxyClient,
    place: &Target,
    question: &str,
    wanted: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<T>, CliError> {
    let (mut found, mut next) = (Vec::new(), Some(question.to_owned()));
    while let Some(path) = next {
        let Reply { status, body, .. } = asker.get_patiently(&path, &HeaderMap::new()).await?;
        let page = client::granted(status, body, &path)?;
        let records = page["results"].as_array().or_else(|| page.as_array());
        found.extend(records.into_iter().flatten().filter_map(&wanted));
        next = page["next"].as_str().and_then(|next| next.strip_prefix(&place.url)).map(str::to_owned);
    }
    Ok(found)
}

/// A dataset's file, where it comes through this proxy and its name is like one that is wanted.
fn file(dataset: &Value, place: &Target, patterns: &[String]) -> Option<WantedFile> {
    let text = |field: &str| dataset[field].as_str().unwrap_or_default();
    let name = format!("{}/{}", text("collection"), text("name"));
    let name = name.trim_start_matches('/');
    if !patterns.iter().any(|pattern| is_like(pattern.as_bytes(), name.as_bytes())) {
        return None;
    }
    let data = format!("{}/-/data/", place.url);
    let records = dataset["file_records"].as_array().into_iter().flatten();
    let mut urls = records.filter(|one| one["exists"] == true).filter_map(|one| one["data_url"].as_str());
    let path = urls.find(|url| url.starts_with(&data)).and_then(|url| url.strip_prefix(&place.url));
    Some(WantedFile { path: path.map(|path| path.replace('#', "%23")), size: dataset["file_size"].as_u64() })
}

/// Whether a name is like a pattern, in which `*` stands for anything and `?` for one byte.
fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => (0..=name.len()).any(|skipped| is_like(rest, &name[skipped..])),
        (Some((b'?', pattern)), Some((_, name))) => is_like(pattern, name),
        (Some((one, pattern)), Some((other, name))) => one == other && is_like(pattern, name),
        _ => false,
    }
}

/// Has all files fetched, one after the other. Fails where the proxy itself no longer answers.
async fn fetch(
    reader: &ProxyClient,
    wanted: &WantedFiles,
    flags: &FetchFlags,
    fetched: &mut FetchOutcome,
) -> CommandResult {
    #[allow(clippy::disallowed_methods, reason = "the pace of a command")]
    let (bar, begun, size) = (StepBar::new(), Instant::now(), wanted.size());
    for path in wanted.paths() {
        let mut at = 0;
        loop {
            let (reply, is_new) = block(reader, path, at).await?;
            // An empty file has no bytes to ask for.
            if at == 0 && reply.status == StatusCode::RANGE_NOT_SATISFIABLE && length(&reply) == Some(0) {
                break;
            }
            if reply.status != StatusCode::PARTIAL_CONTENT {
                fetched.failed.push((path.to_owned(), why(&reply)));
                break;
            }
            if is_passed_on(&reply) {
                fetched.not_kept.push(path.to_owned());
                break;
            }
            let length = length(&reply).unwrap_or_default();
            let bytes = BLOCK.min(length.saturating_sub(at));
            *if is_new { &mut fetched.new } else { &mut fetched.here } += bytes;
            let done = fetched.new + fetched.here;
            bar.bytes("fetching", done, size.max(done));
            if let (Some(rate), true) = (flags.rate, is_new) {
                keep_to(rate.0, fetched.new, begun).await;
            }
            at += BLOCK;
            if at >= length {
                break;
            }
        }
    }
    Ok(())
}

/// Why a file can't be had: the proxy's own words, or the data server's status.
fn why(reply: &Reply) -> String {
    let detail = reply.body.as_ref().and_then(|body| body["detail"].as_str());
    detail.map_or_else(|| format!("the data server answers with status {}", reply.status), str::to_owned)
}

/// Has one block fetched: its last byte, or that of the file. Whether it was not here.
async fn block(reader: &ProxyClient, path: &str, at: u64) -> Result<(Reply, bool), CliError> {
    let range = |range: String| {
        let range = HeaderValue::try_from(range).map_err(anyhow::Error::from)?;
        Ok::<_, CliError>(HeaderMap::from_iter([(header::RANGE, range)]))
    };
    let reply = reader.get_patiently(path, &range(format!("bytes={at}-{at}"))?).await?;
    let (first, length) = (is_new(&reply), length(&reply).unwrap_or_default());
    let last = (at + BLOCK).min(length).saturating_sub(1);
    if reply.status != StatusCode::PARTIAL_CONTENT || last <= at {
        return Ok((reply, first));
    }
    // Its first bytes are given while the rest comes yet.
    let reply = reader.get_patiently(path, &range(format!("bytes={last}-{last}"))?).await?;
    let new = first || is_new(&reply);
    Ok((reply, new))
}

/// The length of the file that an answer is a part of.
fn length(reply: &Reply) -> Option<u64> {
    let range = reply.headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.rsplit_once('/')?.1.parse().ok()
}

fn said(reply: &Reply) -> &str {
    reply.headers.get("cache-status").and_then(|said| said.to_str().ok()).unwrap_or_default()
}

fn is_new(reply: &Reply) -> bool {
    said(reply).contains("uri-miss")
}

fn is_passed_on(reply: &Reply) -> bool {
    said(reply).contains("not-kept")
}

/// Waits until so many bytes are no more than the rate allows, in bytes per second.
#[allow(clippy::disallowed_methods, reason = "a pause between two requests, which no deadline depends on")]
async fn keep_to(rate: u64, bytes: u64, begun: Instant) {
    let due = Duration::from_millis(bytes.saturating_mul(1000) / rate.max(1));
    tokio::time::sleep(due.saturating_sub(begun.elapsed())).await;
}

#[cfg(test)]
mod tests {
    #[test]
    fn patterns_are_those_of_a_shell() {
        let is_like = |pattern: &str, name: &str| super::is_like(pattern.as_bytes(), name.as_bytes());
        assert!(is_like("*", "") && is_like("*spikes*", "alf/spikes.times.npy") && is_like("a?c", "abc"));
        assert!(is_like("alf/*.npy", "alf/probe00/a.npy") && is_like("", ""));
        assert!(
            !is_like("alf/*.npy", "alf/a.pqt") && !is_like("spikes", "spikes.times") && !is_like("a?c", "ac")
        );
    }
}
