//! `tables`: ONE's cache tables, made of what is mirrored.

use alyx_proxy::{
    clock,
    data_dir::upstream_folder,
    mirror::export::ReadSnapshot,
    one::cache_tables::{self, Form, TablesError},
    settings::{Sources, load},
};
use anyhow::anyhow;
use serde_json::json;

use super::{CommandResult, args::TablesFlags, print, print_json, progress_bar::StepBar};

pub(super) async fn run(sources: &Sources, flags: &TablesFlags) -> CommandResult {
    let settings = load(sources)?.settings;
    let folder = upstream_folder(&settings.storage.directory()?, &settings.upstream.url);
    let upstream = settings.upstream.url.clone();
    let (path, teller) = (flags.to.clone(), StepBar::teller());
    let form = if path.is_dir() || path.extension().is_none() { Form::Folder } else { Form::Zip };
    let work = move || {
        let Some(mirror) = ReadSnapshot::beside(&folder).map_err(TablesError::from)? else {
            return Err(anyhow!("nothing of {upstream} is mirrored in {}", folder.display()));
        };
        let at = cache_tables::as_of(&mirror)?;
        let info = cache_tables::write(&mirror, cache_tables::origin_of(&upstream), &path, form, &*teller)?;
        Ok((at, cache_tables::scopes(&mirror), cache_tables::left_out(&mirror), info))
    };
    let (at, scopes, left_out, info) =
        tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)??;
    if flags.json {
        return print_json(
            &json!({ "path": flags.to, "as_of": clock::for_machines(at), "info": info, "left_out": left_out }),
        );
    }
    let scopes: Vec<String> = scopes
        .into_iter()
        .map(|(name, scope)| {
            let scope: Vec<String> = scope.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("\n/{name} is mirrored for {} only.", scope.join("&"))
        })
        .collect();
    let left_out = left_out.iter().map(|record| format!("\nLeft out, as Alyx could not give it: {record}."));
    let scopes: Vec<String> = scopes.into_iter().chain(left_out).collect();
    let path = flags.to.display();
    let how = match form {
        Form::Folder => format!(
            "\n\nIn Python:\n  from one.api import ONE\n  one = ONE(mode='local', tables_dir='{path}', cache_dir='YOUR_DATA_FOLDER')"
        ),
        Form::Zip => "\n\nUnpack it into the folder that ONE keeps its tables in.".to_owned(),
    };
    print(&format!(
        "{} sessions and {} datasets as of {}, in {path}.{}{how}",
        info.tables.sessions.nrecs,
        info.tables.datasets.nrecs,
        clock::for_people(at),
        scopes.concat(),
    ))
}
