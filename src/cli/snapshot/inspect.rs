//! `inspect`.

use alyx_proxy::snapshot::{Archive, SnapshotError, check};
use serde_json::json;

use super::lines;
use crate::cli::{CommandResult, args::InspectFlags, print, print_json, progress_bar::StepBar};

pub(in crate::cli) async fn run(flags: &InspectFlags) -> CommandResult {
    let (path, teller) = (flags.file.clone(), StepBar::teller());
    let looking = move || {
        let archive = Archive::open(&path, &*teller)?;
        let contents = check(&archive, &*teller)?;
        Ok::<_, SnapshotError>((archive, contents))
    };
    let looked = tokio::task::spawn_blocking(looking).await.map_err(anyhow::Error::from)?;
    let (archive, contents) = looked.map_err(anyhow::Error::from)?;
    if flags.json {
        return print_json(
            &json!({ "bytes": archive.size(), "manifest": archive.manifest, "contents": contents }),
        );
    }
    print(&format!("{}\n\nIt is sound.", lines(&archive.manifest, &contents, archive.size())))
}
