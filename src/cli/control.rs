//! `purge`, `offline`, `online`: what an administrator has a running proxy do (`/-/api/`).

use alyx_proxy::{
    alyx::Endpoint,
    auth::admin_token,
    settings::{Settings, Sources, load},
};
use anyhow::anyhow;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    CliError, CommandResult,
    args::{PurgeFlags, StatusFlags},
    client, print, print_json,
};

/// A running proxy, and the token that controls it.
pub(super) struct Control {
    /// Where it is.
    pub(super) base: client::Target,
    pub(super) token: Zeroizing<String>,
}

impl Control {
    /// The proxy that the settings and flags name.
    pub(super) fn of(settings: &Settings, flags: &StatusFlags) -> Result<Self, CliError> {
        let data_dir = settings.storage.directory()?;
        let token =
            admin_token::known(&data_dir, &settings.access.admin_token).map_err(anyhow::Error::from)?;
        let token = token.ok_or_else(|| {
            CliError::Usage(format!(
                "no administrator's token: {} has no `admin-token`; run this as the user that runs the proxy (--data-dir \
                 names its directory), or set `access.admin_token`",
                data_dir.display()
            ))
        })?;
        Ok(Self { base: flags.place(settings), token })
    }

    /// Has the proxy do something; what it says of that.
    pub(super) async fn wish(&self, action: &str, wish: &Value) -> Result<Value, CliError> {
        let (status, body) = client::wish(&self.base, &format!("/-/api/{action}"), &self.token, wish).await?;
        client::granted(status, body, &self.base)
    }
}

pub(super) async fn purge(sources: &Sources, flags: &PurgeFlags) -> CommandResult {
    let control = Control::of(&load(sources)?.settings, &flags.proxy)?;
    let what = &flags.what;
    if let Some(name) = what.endpoint.as_ref().filter(|name| Endpoint::named(name).is_none()) {
        return Err(CliError::Usage(format!("--endpoint: {}", Endpoint::unknown(name))));
    }
    let named = [
        ("endpoint", &what.endpoint),
        ("prefix", &what.prefix),
        ("question", &what.question),
        ("files", &what.files),
    ];
    let wish = named
        .into_iter()
        .find_map(|(name, value)| value.as_ref().map(|value| json!({ name: value })))
        .unwrap_or_else(|| json!({ "all": true }));
    let done = control.wish("purge", &wish).await?;
    let purged = done["purged"].as_u64().unwrap_or_default();
    if flags.proxy.json {
        print_json(&done)?;
    }
    // That all is forgotten is so where there was nothing, too.
    if purged == 0 && !what.all {
        return Err(
            anyhow!("nothing was stored of that at {}: is it spelt as it was asked?", control.base).into()
        );
    }
    if flags.proxy.json {
        return Ok(());
    }
    let kind = if what.files.is_some() { "data file" } else { "stored answer" };
    print(&match purged {
        0 => "Nothing was stored.".to_owned(),
        1 => format!("1 {kind} is forgotten."),
        purged => format!("{purged} {kind}s are forgotten."),
    })
}

pub(super) async fn offline(sources: &Sources, flags: &StatusFlags) -> CommandResult {
    let done = Control::of(&load(sources)?.settings, flags)?.wish("offline", &json!({})).await?;
    if flags.json {
        return print_json(&done);
    }
    print("The proxy keeps away from Alyx until `alyx-proxy online`, or until it is started again.")
}

pub(super) async fn online(sources: &Sources, flags: &StatusFlags) -> CommandResult {
    let done = Control::of(&load(sources)?.settings, flags)?.wish("online", &json!({})).await?;
    if flags.json {
        return print_json(&done);
    }
    print("The proxy asks Alyx again.")
}
