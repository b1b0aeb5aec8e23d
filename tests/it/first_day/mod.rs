//! The first day of a technician and of a scientist: what both type and see, usual mistakes included. A test's name begins
//! with the number of the point that somebody stumbled over (issue "The first day").

mod account;
mod commands;
mod mirror;
mod one;
mod pages;
mod settings;
mod snapshots;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::support::Proxy;

/// A person's home, and the program in it with no settings but those of the test.
struct Home {
    folder: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    /// Sets a setting by its name, as the settings file of the machine would.
    fn set(mut self, name: &str, value: &str) -> Self {
        let name = format!("ALYX_PROXY_{}", name.to_uppercase().replace('.', "__"));
        self.environment.push((name, value.to_owned()));
        self
    }

    /// That of somebody who works beside a proxy, by the same settings but for the data directory.
    fn beside(proxy: &Proxy, upstream: &str) -> Self {
        Self::new().set("server.listen", &proxy.address().to_string()).set("upstream.url", upstream)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
        command.args(arguments).env_clear().env("HOME", self.folder.path()).stdin(Stdio::null());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
