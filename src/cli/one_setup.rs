//! `one-setup`: makes a proxy the database that a plain `ONE()` asks, and puts that back.

use std::path::Path;

use alyx_proxy::{
    one::{self, OneError, Undone, Wanted},
    settings::{Sources, load},
};
use anyhow::anyhow;
use http::HeaderMap;
use serde_json::{Value, json};

use super::{
    Failure, Outcome,
    args::OneSetupFlags,
    ask::{self, Place},
    print, print_json,
};

/// ONE's folder in a home.
const FOLDER: &str = ".one";

pub(super) async fn run(sources: &Sources, flags: &OneSetupFlags) -> Outcome {
    let home = match &flags.home {
        Some(home) => home.clone(),
        None => etcetera::home_dir().map_err(|error| anyhow!("no home directory: {error}"))?,
    };
    let folder = home.join(FOLDER);
    if flags.undo {
        return undo(&folder, flags);
    }
    // ONE trusts by name and authority only; a certificate that it would refuse is found out here.
    let place = Place { certificate: None, ..flags.proxy.place(&load(sources)?.settings.server) };
    let url = place.url.clone();
    let parsed =
        url::Url::parse(&url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if parsed.is_none() {
        return Err(Failure::Usage(format!("--url {url}: must be an http or https URL")));
    }
    let upstream = if flags.unchecked { None } else { Some(upstream_of(&place).await?) };
    let wanted = Wanted {
        url,
        upstream,
        like: flags.like.clone(),
        username: flags.username.clone(),
        downloads: home.join("Downloads").join("ONE"),
    };
    let plan = one::plan(&folder, &wanted).map_err(failure)?;
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
            "url": wanted.url, "cache_dir": plan.cache_dir.display().to_string(), "like": plan.like,
            "default_before": plan.default, "files": files, "dry_run": flags.dry_run,
        }));
    }
    let mut lines: Vec<String> = plan
        .changes
        .iter()
        .map(|change| format!("{:<8} {}", changed(change), change.path.display()))
        .collect();
    lines.push(match (plan.changes.is_empty(), flags.dry_run) {
        (true, _) => format!("Nothing to change: ONE() asks {} already.", wanted.url),
        (false, true) => "Nothing was changed (--dry-run).".to_owned(),
        (false, false) => {
            let default = plan.default.as_deref().map_or_else(String::new, |old| format!(" (before: {old})"));
            format!(
                "ONE() asks {} from now on{default}. `alyx-proxy one-setup --undo` puts it back.",
                wanted.url
            )
        }
    });
    let of = plan.like.as_deref().map_or_else(String::new, |like| format!(", the folder of {like}"));
    lines.push(format!("Data files stay in {}{of}.", plan.cache_dir.display()));
    print(&lines.join("\n"))
}

fn undo(folder: &Path, flags: &OneSetupFlags) -> Outcome {
    let done = one::undo(folder, flags.force).map_err(failure)?;
    let shown = |undone: &Undone| match undone {
        Undone::Restored(path) => ("restored", path.display().to_string()),
        Undone::Removed(path) => ("removed", path.display().to_string()),
    };
    if flags.proxy.json {
        let files: Vec<Value> = done
            .iter()
            .map(|undone| {
                let (change, path) = shown(undone);
                json!({ "path": path, "change": change })
            })
            .collect();
        return print_json(&json!({ "files": files }));
    }
    let lines: Vec<String> = done
        .iter()
        .map(|undone| {
            let (change, path) = shown(undone);
            format!("{change:<8} {path}")
        })
        .collect();
    print(&lines.join("\n"))
}

fn failure(error: OneError) -> Failure {
    match error {
        OneError::Unknown(..) | OneError::NothingToUndo(_) => Failure::Usage(error.to_string()),
        error => anyhow::Error::from(error).into(),
    }
}

/// The Alyx behind the proxy: whose data files they are.
async fn upstream_of(base: &Place) -> Result<String, Failure> {
    let (status, body) = ask::json(base, "/-/status.json", &HeaderMap::new()).await?;
    let url = body.as_ref().and_then(|body| body["upstream"]["url"].as_str());
    url.map(str::to_owned).ok_or_else(|| {
        anyhow!(
            "{base} answered with status {status}: is it an alyx-proxy? (--unchecked takes it all the same)"
        )
        .into()
    })
}
