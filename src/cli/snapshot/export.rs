//! `export`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use alyx_proxy::{
    settings::Sources,
    snapshot::{Archive, Contents, Maker, Manifest, Selection, SnapshotError, check},
};
use anyhow::{Context, anyhow};
use serde_json::json;

use super::{Worker, lines};
use crate::cli::{
    CliError, CommandResult, args::ExportFlags, client, control::Control, prepare, print, print_json,
    progress_bar::StepBar, whereabouts::Unused,
};

pub(in crate::cli) async fn run(sources: &Sources, flags: &ExportFlags) -> CommandResult {
    let path = &flags.file;
    if path.exists() && !flags.force {
        return Err(anyhow::Error::from(SnapshotError::Exists(path.clone())).into());
    }
    let choice = Selection {
        endpoints: flags.endpoint.iter().cloned().collect(),
        lab: flags.lab.clone(),
        project: flags.project.clone(),
        subject: flags.subject.clone(),
        sessions: flags.session.iter().map(ToString::to_string).collect(),
    };
    choice.check().map_err(|error| CliError::Usage(error.to_string()))?;
    let name = flags.name.clone().unwrap_or_else(|| stem(path));
    if name.is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
        return Err(CliError::Usage(
            "--name: a name has 1 to 100 characters, none of them invisible".to_owned(),
        ));
    }
    let (loaded, _log) = prepare(sources)?;
    let (manifest, contents, archive) = match Worker::of(&loaded, &flags.proxy, Unused::Fails).await? {
        Worker::Here(proxy) => {
            let exported = proxy.export(&name, &choice, path, StepBar::teller()).await;
            proxy.close().await;
            let (manifest, contents) = exported.map_err(anyhow::Error::from)?;
            let (written, teller) = (path.clone(), StepBar::teller());
            let opening = tokio::task::spawn_blocking(move || Archive::open(&written, &*teller));
            let opened = opening.await.context("the snapshot was not read")?;
            (manifest, contents, opened.map_err(anyhow::Error::from)?)
        }
        Worker::There(control) => fetch(&control, &name, &choice, path).await?,
    };
    let size = archive.size();
    // Whoever made it, made it now.
    let maker = Maker::own(archive.signature.as_ref());
    if flags.proxy.json {
        return print_json(
            &json!({ "path": path, "bytes": size, "manifest": manifest, "contents": contents, "maker": maker }),
        );
    }
    print(&format!(
        "{}\n\nWritten to {}. Whoever takes it in elsewhere is shown this fingerprint. It holds data of your lab, and no password, token or key; give it to those only who may see it.\n\
         To serve it alone: alyx-proxy serve --snapshot {}",
        lines(&manifest, &contents, size, &maker),
        path.display(),
        path.display()
    ))
}

/// The file's name without what says of which kind it is.
fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// Has a running proxy send a snapshot, and puts it into its place when it is whole.
async fn fetch(
    control: &Control,
    name: &str,
    choice: &Selection,
    path: &Path,
) -> Result<(Manifest, Contents, Archive), CliError> {
    let beside = PathBuf::from(format!("{}.part", path.display()));
    let fetched = async {
        let bar = StepBar::new();
        bar.wait("exporting");
        client::download(control, "/-/api/export", &json!({ "name": name, "choice": choice }), &beside, &bar)
            .await?;
        drop(bar);
        let (beside, teller) = (beside.clone(), StepBar::teller());
        let checking = move || {
            let archive = Archive::open(&beside, &*teller)?;
            let contents = check(&archive, &*teller)?;
            Ok::<_, SnapshotError>((archive.manifest.clone(), contents, archive))
        };
        let checked = tokio::task::spawn_blocking(checking).await.map_err(anyhow::Error::from)?;
        Ok::<_, CliError>(checked.map_err(anyhow::Error::from)?)
    };
    let result = Arc::new(fetched.await);
    let placed = match &*result {
        Ok(_) => fs::rename(&beside, path).map_err(|error| anyhow!("{}: {error}", path.display()).into()),
        Err(_) => Ok(()),
    };
    if result.is_err() || placed.is_err() {
        // Whatever it was that failed is told.
        let _ = fs::remove_file(&beside);
    }
    placed
        .and_then(|()| Arc::into_inner(result).unwrap_or_else(|| Err(anyhow!("nothing was fetched").into())))
}
