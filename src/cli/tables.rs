//! `tables`: ONE's cache tables, made of what is mirrored, or those that a proxy elsewhere offers.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use alyx_proxy::{
    clock,
    data_dir::upstream_folder,
    mirror::export::ReadSnapshot,
    one::cache_tables::{self, Form, TablesError},
    settings::{Sources, load},
};
use anyhow::{Context, anyhow};
use http::{HeaderMap, header};
use serde_json::{Value, json};

use super::{
    CliError, CommandResult,
    args::TablesFlags,
    client::{self, Target},
    print, print_json,
    progress_bar::StepBar,
    whereabouts,
};

pub(super) async fn run(sources: &Sources, flags: &TablesFlags) -> CommandResult {
    if form_of(&flags.to) == Form::Folder && flags.to.is_file() {
        let to = flags.to.display();
        return Err(CliError::Usage(format!(
            "{to} is a file: name a folder for the tables, or a file that ends in .zip"
        )));
    }
    if let Some(url) = &flags.url {
        let url = url.trim_end_matches('/').to_owned();
        return fetch(Target { url, certificate: None }, flags).await;
    }
    let loaded = load(sources)?;
    let data_dir = loaded.settings.storage.directory()?;
    whereabouts::none_elsewhere(&loaded, &data_dir).await?;
    let upstream = loaded.settings.upstream.url;
    let folder = upstream_folder(&data_dir, &upstream);
    let (path, teller) = (flags.to.clone(), StepBar::teller());
    let form = form_of(&path);
    let work = move || {
        let Some(mirror) = ReadSnapshot::beside(&folder).map_err(TablesError::from)? else {
            return Err(anyhow!("nothing is mirrored: {}", whereabouts::nothing(&data_dir, &upstream)));
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
    print(&format!(
        "{} sessions and {} datasets as of {}, in {}.{}{}",
        info.tables.sessions.nrecs,
        info.tables.datasets.nrecs,
        clock::for_people(at),
        flags.to.display(),
        scopes.concat(),
        how_to_use(&flags.to, form),
    ))
}

fn form_of(path: &Path) -> Form {
    if path.is_dir() || path.extension().is_none() { Form::Folder } else { Form::Zip }
}

fn how_to_use(path: &Path, form: Form) -> String {
    match form {
        Form::Folder => format!(
            "\n\nIn Python:\n  from one.api import ONE\n  one = ONE(mode='local', tables_dir='{}', cache_dir='YOUR_DATA_FOLDER')",
            path.display()
        ),
        Form::Zip => "\n\nUnpack it into the folder that ONE keeps its tables in.".to_owned(),
    }
}

/// The tables that this proxy offers: Alyx's own, or those of its mirror.
async fn fetch(place: Target, flags: &TablesFlags) -> CommandResult {
    let token = client::token_for(&place, &flags.token, flags.user.as_deref())?;
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, client::authorization(&token)?);
    let (status, body) = client::json(&place, "/cache/info/", &headers).await?;
    let info = client::granted(status, body, format!("{place}/cache/info/"))?;
    let form = form_of(&flags.to);
    let folder = match form {
        Form::Folder => flags.to.clone(),
        Form::Zip => flags.to.parent().map(Path::to_owned).unwrap_or_default(),
    };
    let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
    let made = fs::create_dir_all(&folder)
        .and_then(|()| tempfile::Builder::new().prefix(".alyx-proxy-").tempdir_in(&folder));
    // What is not whole is in there, and goes with it.
    let scratch = made.with_context(|| folder.display().to_string())?;
    let zipped = scratch.path().join("cache.zip");
    let bar = StepBar::new();
    client::download_as(&place, "/cache.zip", &headers, &zipped, &bar).await?;
    drop(bar);
    let to = flags.to.clone();
    let put = move || {
        // Whatever was sent, it is put there only if it is what it should be.
        let names = cache_tables::unpack(&zipped, scratch.path())?;
        match form {
            Form::Zip => fs::rename(&zipped, &to)?,
            Form::Folder => {
                names.iter().try_for_each(|name| fs::rename(scratch.path().join(name), to.join(name)))?;
            }
        }
        Ok::<_, io::Error>(names)
    };
    let put = tokio::task::spawn_blocking(put).await.map_err(anyhow::Error::from)?;
    let names = put.with_context(|| format!("the tables of {place}"))?;
    told(&place, flags, &info, &names)
}

fn told(place: &Target, flags: &TablesFlags, info: &Value, names: &[String]) -> Result<(), CliError> {
    if flags.json {
        return print_json(&json!({ "path": flags.to, "from": place.url, "info": info, "files": names }));
    }
    let made = info["date_created"].as_str().map(|at| format!(", made {at} UTC")).unwrap_or_default();
    print(&format!(
        "{} of {place}{made}, in {}.{}",
        names.join(", "),
        flags.to.display(),
        how_to_use(&flags.to, form_of(&flags.to)),
    ))
}
