//! `one-setup`: makes a proxy the database that a plain `ONE()` asks, and puts that back.

use std::{error::Error, path::Path, time::Duration};

use alyx_proxy::{
    one::{self, Home, OneError, SetupRequest, Undone},
    settings::{Sources, load},
};
use anyhow::anyhow;
use http::header;
use serde_json::{Value, json};

use super::{
    CliError, CommandResult,
    args::OneSetupFlags,
    client::{is_of_tls, speaks_no_tls},
    print, print_json,
};

/// ONE's folder in a home.
const FOLDER: &str = ".one";

/// How long the proxy may take to say which Alyx is behind it.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(sources: &Sources, flags: &OneSetupFlags) -> CommandResult {
    let home = match &flags.home {
        Some(home) => std::path::absolute(home).map_err(anyhow::Error::from)?,
        None => etcetera::home_dir().map_err(|error| anyhow!("no home directory: {error}"))?,
    };
    if flags.undo {
        return undo(&Home::enter(&home, FOLDER).map_err(failure)?, flags);
    }
    let url = address(&flags.proxy.place(&load(sources)?.settings).url)?;
    let behind = if flags.unchecked { None } else { Some(behind(&url, flags.ca.as_deref()).await?) };
    let data = if flags.data { Some(data_server(&url, behind.as_ref())?) } else { None };
    let wanted = SetupRequest {
        url,
        upstream: behind.map(|behind| behind.upstream),
        data,
        like: flags.like.clone(),
        username: flags.username.clone(),
        downloads: home.join("Downloads").join("ONE"),
    };
    let home = Home::enter(&home, FOLDER).map_err(failure)?;
    let plan = one::plan(&home, &wanted).map_err(failure)?;
    if !flags.dry_run {
        plan.apply().map_err(anyhow::Error::from)?;
    }
    let changed = |change: &one::Change| if change.before.is_some() { "changed" } else { "new" };
    if flags.proxy.json {
        let files: Vec<Value> = plan
            .changes
            .iter()
            .map(|change| json!({ "path": change.path.display().to_string(), "change": changed(change) }))
            .collect();
        return print_json(&json!({
            "url": wanted.one_url(), "cache_dir": plan.cache_dir, "like": plan.like,
            "default_before": plan.default, "files": files, "dry_run": flags.dry_run, "notes": plan.notes,
        }));
    }
    let mut lines: Vec<String> = plan
        .changes
        .iter()
        .map(|change| format!("{:<8} {}", changed(change), change.path.display()))
        .collect();
    lines.push(match (plan.changes.is_empty(), flags.dry_run) {
        (true, _) => format!("Nothing to change: ONE() asks {} already.", wanted.one_url()),
        (false, true) => "Nothing was changed (--dry-run).".to_owned(),
        (false, false) => {
            let default = plan.default.as_deref().map_or_else(String::new, |old| format!(" (before: {old})"));
            format!(
                "ONE() asks {} from now on{default}. `alyx-proxy one-setup --undo` puts it back.",
                wanted.one_url()
            )
        }
    });
    let of = plan.like.as_deref().map_or_else(String::new, |like| format!(", the folder of {like}"));
    lines.push(format!("Data files stay in {}{of}.", plan.cache_dir));
    lines.extend(plan.notes);
    print(&lines.join("\n"))
}

/// A proxy's URL as ONE is to ask it.
fn address(url: &str) -> Result<String, CliError> {
    let usage = || format!("--url {url}: must be an http or https URL, such as http://lab-server:8040");
    one::address(url).map(str::to_owned).ok_or_else(|| CliError::Usage(usage()))
}

fn undo(home: &Home, flags: &OneSetupFlags) -> CommandResult {
    let url = flags.proxy.url.as_deref().map(address).transpose()?;
    let undoing = one::undo(home, url.as_deref(), flags.force).map_err(failure)?;
    let shown = |undone: &Undone| match undone {
        Undone::Restored(path) => ("restored", path.display().to_string()),
        Undone::Removed(path) => ("removed", path.display().to_string()),
        Undone::Changed(path) => ("changed", path.display().to_string()),
    };
    let files = undoing.files.iter().map(shown);
    if flags.proxy.json {
        let files: Vec<Value> =
            files.map(|(change, path)| json!({ "path": path, "change": change })).collect();
        return print_json(&json!({ "files": files, "default": undoing.default, "left": undoing.left }));
    }
    let mut lines: Vec<String> = files.map(|(change, path)| format!("{change:<8} {path}")).collect();
    lines.push(match &undoing.default {
        Some(default) => format!("ONE() asks {default} now."),
        None => "ONE has no default database now.".to_owned(),
    });
    if !undoing.left.is_empty() {
        lines.push(format!("Still set up: {}.", undoing.left.join(", ")));
    }
    print(&lines.join("\n"))
}

fn failure(error: OneError) -> CliError {
    match error {
        OneError::Unknown(..) | OneError::NothingToUndo(_) | OneError::NotSetUp(..) => {
            CliError::Usage(error.to_string())
        }
        error => anyhow::Error::from(error).into(),
    }
}

/// What is behind a proxy.
struct Behind {
    /// The Alyx.
    upstream: String,
    /// The data server; none where it gives no data files.
    data: Option<String>,
}

/// The data server behind the proxy, which must give its files.
fn data_server(url: &str, behind: Option<&Behind>) -> Result<String, CliError> {
    let data = behind.and_then(|behind| behind.data.clone());
    data.ok_or_else(|| anyhow!("--data: {url} gives no data files (its setting files.enabled)").into())
}

/// What is behind the proxy: the Alyx, whose data files they are. ONE trusts by name and authority only, and its log-in survives
/// no redirect, so neither does this.
async fn behind(url: &str, ca: Option<&Path>) -> Result<Behind, CliError> {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    let mut client = client.redirect(reqwest::redirect::Policy::none());
    if let Some(file) = ca {
        let failed = |error: &dyn Error| anyhow!("--ca {}: {error}", file.display());
        let bundle = std::fs::read(file).map_err(|error| failed(&error))?;
        let authorities = reqwest::Certificate::from_pem_bundle(&bundle).map_err(|error| failed(&error))?;
        if authorities.is_empty() {
            return Err(anyhow!("--ca {}: no certificate in it", file.display()).into());
        }
        client = client.tls_certs_only(authorities);
    }
    let client = client.build().map_err(anyhow::Error::from)?;
    let sent = client.get(format!("{url}/-/one-setup.json")).send().await;
    let response = sent.map_err(|error| no_answer(url, &error))?;
    let status = response.status().as_u16();
    let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
    let to = to.map_or_else(String::new, |to| format!(" and sends to {to}"));
    let fine = response.status().is_success();
    let body = response.bytes().await.map_err(|error| no_answer(url, &error))?;
    let body: Value = serde_json::from_slice(&body).ok().filter(|_| fine).unwrap_or_default();
    let upstream = body["upstream"]["url"].as_str().map(str::to_owned);
    let doubt = "is it an alyx-proxy? (--unchecked takes it all the same)";
    let upstream = upstream.ok_or_else(|| anyhow!("{url} answered with status {status}{to}: {doubt}"))?;
    Ok(Behind { upstream, data: body["data"]["origin"].as_str().map(str::to_owned) })
}

/// Why there was no answer: nobody is there, or somebody whom ONE would not trust, either.
fn no_answer(url: &str, error: &reqwest::Error) -> CliError {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    if speaks_no_tls(cause) {
        return anyhow!("{url} does not speak https; is it http? ({cause})").into();
    }
    if is_of_tls(cause) {
        return anyhow!("{url} can't be trusted: {cause} (--ca FILE names a lab's own authority)").into();
    }
    if error.is_connect() {
        return CliError::NotRunning(format!("no proxy is running at {url}: {cause}"));
    }
    anyhow!("{url} took the request, but did not answer it: {cause}").into()
}
