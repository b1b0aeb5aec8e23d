//! `man`: the manual pages, made from the same descriptions as `--help`.

use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;

use super::{Cli, CommandResult, print};

/// Prints the page of the program, or writes it and those of all commands to a folder.
pub(super) fn run(folder: Option<&Path>) -> CommandResult {
    let command = Cli::command();
    if let Some(folder) = folder {
        let written = clap_mangen::generate_to(command, folder);
        return Ok(written.with_context(|| format!("no manual pages in {}", folder.display()))?);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).context("the manual page can't be made")?;
    print(String::from_utf8_lossy(&page).trim_end())
}
