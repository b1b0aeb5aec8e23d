//! The page of all settings: what each may be, from the table of keys; its default, from the structs; and why one
//! would change it, from the annotated file `config/alyx-proxy.toml`.

use std::fmt::Write;

use serde_json::Value;

use super::{Settings, keys};

const FILE: &str = include_str!("../../config/alyx-proxy.toml");

const HEAD: &str = "# Every setting

<!-- Made from the program's own tables: `UPDATE_DOCS=1 cargo test --test it docs::` writes it anew. -->

Nothing needs to be set but `upstream.url`, if your Alyx is not the public one. A setting can stand in a file
(`--config FILE`, `$ALYX_PROXY_CONFIG`, `~/.config/alyx-proxy/config.toml` or `/etc/alyx-proxy/alyx-proxy.toml`), in the
environment, or in a flag (`--set server.listen=0.0.0.0:8040`); the later wins. `alyx-proxy check-config` shows what is
in effect and where each value comes from. `SIGHUP` (`systemctl reload alyx-proxy`) makes a running proxy read its
settings again; some take effect only when it is started anew.

Spans of time: `30s`, `5m`, `2h`, `1d`, `2h 30m`. Sizes: `500 kB`, `64 MiB`, `2 GiB`.
";

/// The page, in Markdown.
pub fn reference() -> String {
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    let mut page = HEAD.to_owned();
    let (mut section, mut comment, mut fresh) = ("", String::new(), false);
    for line in FILE.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
            write(&mut page, &format!("\n## [{name}]\n"));
            paragraph(&mut page, &std::mem::take(&mut comment));
            fresh = true;
        } else if let Some(text) = line.strip_prefix("# ") {
            comment.push_str(text);
            comment.push('\n');
        } else if let Some((name, _)) = line.strip_prefix('#').and_then(|line| line.split_once(" = ")) {
            setting(&mut page, &defaults, &format!("{section}.{name}"));
            // Settings that stand together share what is said of them.
            paragraph(&mut page, &std::mem::take(&mut comment));
        } else if line.is_empty() && fresh {
            paragraph(&mut page, &std::mem::take(&mut comment));
            fresh = false;
        } else if line.is_empty() && section.is_empty() {
            comment.clear();
        }
    }
    page
}

fn setting(page: &mut String, defaults: &Value, name: &str) {
    let Some(key) = keys::find(name) else { return };
    let default = defaults.pointer(&key.pointer()).map(ToString::to_string).unwrap_or_default();
    let variable = name.to_uppercase().replace('.', "__");
    let when = if key.restart { "; takes effect at the next start" } else { "" };
    write(page, &format!("\n### {name}\n"));
    let allowed = plain(&key.kind.allowed());
    write(page, &format!("\nDefault `{default}`; {allowed}{when}. `ALYX_PROXY_{variable}`\n"));
}

fn paragraph(page: &mut String, comment: &str) {
    let text = comment.replace(" (restart)", "");
    if !text.trim().is_empty() {
        write(page, &format!("\n{}\n", plain(text.trim_end())));
    }
}

/// Text in which stars are stars, and emphasize nothing.
fn plain(text: &str) -> String {
    text.replace('*', "\\*")
}

fn write(page: &mut String, text: &str) {
    // Writing to a String can't fail.
    let _ = page.write_str(text);
}
