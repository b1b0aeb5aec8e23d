//! `inspect`.

use alyx_proxy::{
    settings::Sources,
    snapshot::{Archive, KnownKeys, SnapshotError, check},
};
use serde_json::json;

use super::lines;
use crate::cli::{
    CliError, CommandResult, args::InspectFlags, prepare, print, print_json, progress_bar::StepBar,
};

fn known(sources: &Sources) -> Result<KnownKeys, CliError> {
    let (loaded, _log) = prepare(sources)?;
    let data_dir = loaded.settings.storage.directory()?;
    Ok(KnownKeys::of(&data_dir, &loaded.settings.snapshot.trusted_keys).map_err(anyhow::Error::from)?)
}

pub(in crate::cli) async fn run(sources: &Sources, flags: &InspectFlags) -> CommandResult {
    // Whoever looks into a file need not be whoever runs the proxy here.
    let keys = known(sources).unwrap_or_else(|why| {
        eprintln!("alyx-proxy: whether its maker is known here can't be said: {why}");
        KnownKeys::none()
    });
    let (path, teller) = (flags.file.clone(), StepBar::teller());
    let looking = move || {
        let archive = Archive::open(&path, &*teller)?;
        let contents = check(&archive, &*teller)?;
        Ok::<_, SnapshotError>((archive, contents))
    };
    let looked = tokio::task::spawn_blocking(looking).await.map_err(anyhow::Error::from)?;
    let (archive, contents) = looked.map_err(anyhow::Error::from)?;
    let maker = keys.maker(archive.signature.as_ref());
    if flags.json {
        return print_json(
            &json!({ "bytes": archive.size(), "manifest": archive.manifest, "contents": contents, "maker": maker }),
        );
    }
    print(&format!("{}\n\nIt is sound.", lines(&archive.manifest, &contents, archive.size(), &maker)))
}
