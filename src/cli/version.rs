//! `version`.

use serde_json::json;

use super::{CommandResult, print, print_json};

pub(super) fn run(as_json: bool) -> CommandResult {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    if as_json {
        print_json(&json!({"name": name, "version": version}))
    } else {
        print(&format!("{name} {version}"))
    }
}
