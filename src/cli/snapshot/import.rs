//! `import`.

use alyx_proxy::{
    settings::Sources,
    snapshot::{Archive, TrustOptions},
};
use anyhow::Context;
use serde_json::{Value, json};

use super::Worker;
use crate::cli::{
    CliError, CommandResult, args::ImportFlags, client, prepare, print, print_json, progress_bar::StepBar,
    whereabouts::Unused,
};

pub(in crate::cli) async fn run(sources: &Sources, flags: &ImportFlags) -> CommandResult {
    let path = &flags.file;
    let (loaded, _log) = prepare(sources)?;
    let done = match Worker::of(&loaded, &flags.proxy, Unused::Begins).await? {
        Worker::Here(proxy) => {
            let imported = proxy.import(path, &flags.word.word(), StepBar::teller()).await;
            proxy.close().await;
            json!(imported.map_err(anyhow::Error::from)?)
        }
        Worker::There(control) => {
            // What is damaged is not even sent.
            let (opened, teller) = (path.clone(), StepBar::teller());
            let opening = tokio::task::spawn_blocking(move || Archive::open(&opened, &*teller).map(drop));
            opening.await.context("the snapshot was not read")?.map_err(anyhow::Error::from)?;
            client::upload(&control, &place(&flags.word.word()), path, &StepBar::new()).await?
        }
    };
    if flags.proxy.json {
        return print_json(&done);
    }
    told(&done)
}

fn told(done: &Value) -> Result<(), CliError> {
    let tables = |field: &str| -> Vec<String> {
        let names = done[field].as_array().into_iter().flatten().filter_map(Value::as_str);
        names.map(ToOwned::to_owned).collect()
    };
    let count = |field: &str| done[field].as_u64().unwrap_or_default();
    let (came, kept) = (tables("tables"), tables("kept_tables"));
    let mut lines = vec![format!("{} tables and {} answers came in.", came.len(), count("answers"))];
    if !came.is_empty() {
        lines.push(format!("  {}", came.join(", ")));
    }
    if !kept.is_empty() || count("kept_answers") > 0 {
        lines.push(format!(
            "{} tables and {} answers stayed as they were: those here are not older.",
            kept.len(),
            count("kept_answers")
        ));
    }
    if let Some(folder) = done["folder"].as_str() {
        lines.push(format!("What the proxy knows lies in {folder}."));
    }
    let maker = &done["maker"];
    lines.push(match (maker["name"].as_str(), maker["fingerprint"].as_str()) {
        (Some(name), Some(fingerprint)) => format!("It is signed by {name}, {fingerprint}."),
        _ => "Nobody has signed it.".to_owned(),
    });
    print(&lines.join("\n"))
}

/// Where it is sent, with what is said of whose it is.
fn place(word: &TrustOptions) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(name) = &word.trust {
        query.append_pair("trust", name);
    }
    for (flag, name) in [(word.once, "once"), (word.unsigned, "unsigned")] {
        if flag {
            query.append_pair(name, "true");
        }
    }
    format!("/-/api/import?{}", query.finish())
}
