//! What tests need from PyPI and npm: `scripts/tool` installs it, once, and says where.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The folder of a tool of `scripts/tool`.
pub(crate) fn tool(name: &str) -> PathBuf {
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/tool"));
    let output = script.arg(name).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}
