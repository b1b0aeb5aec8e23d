//! The real ONE client: installed from PyPI into an environment of its own (`scripts/tool`), run as a process of its own.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::tool;

/// What people do with ONE, once through.
pub(crate) const SCENARIO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/one/scenario.py");
/// Questions that are asked nowhere else.
pub(crate) const QUESTIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/one/questions.py");
/// The same questions with and without a server.
pub(crate) const LOCAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/one/local.py");
/// Where ONE has its files on each system, and where the script of one-setup puts them.
pub(crate) const FOLDERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/one/folders.py");

/// A version of ONE, ready to run.
pub(crate) struct One {
    python: PathBuf,
    version: &'static str,
}

/// Who logs in, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Login<'a> {
    Password {
        username: &'a str,
        password: &'a str,
    },
    /// A pasted token. Without a user name ONE asks `/me` whose it is.
    Token {
        token: &'a str,
        username: Option<&'a str>,
    },
}

/// What the scenario printed.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    pub(crate) one: String,
    /// What each step gave.
    pub(crate) results: BTreeMap<String, Value>,
    /// Warnings that ONE showed to its user because of `Alyx-API-Notice`.
    pub(crate) notices: Vec<String>,
}

impl One {
    /// The newest version.
    pub(crate) fn newest() -> Self {
        Self::install("3.6.1")
    }

    /// The last of the generation before.
    pub(crate) fn last_of_2() -> Self {
        Self::install("2.11.2")
    }

    fn install(version: &'static str) -> Self {
        Self { python: tool(&format!("one-{version}")).join("bin/python"), version }
    }

    /// The interpreter of its environment.
    pub(crate) fn python(&self) -> &Path {
        &self.python
    }

    /// Whether this version shows `Alyx-API-Notice` to its user.
    pub(crate) fn shows_notices(&self) -> bool {
        !self.version.starts_with("2.")
    }

    /// Runs the scenario against `base_url` as a process of its own, with nothing left by an earlier one.
    pub(crate) fn run(&self, base_url: &str, login: Login) -> Document {
        self.run_script(SCENARIO, base_url, login)
    }

    /// Runs one of the scripts of this folder, each of which prints a document.
    pub(crate) fn run_script(&self, script: &str, base_url: &str, login: Login) -> Document {
        let home = TempDir::with_prefix("one-home-").unwrap();
        self.run_at(home.path(), script, base_url, login)
    }

    /// The same in a home that is there.
    pub(crate) fn run_at(&self, home: &Path, script: &str, base_url: &str, login: Login) -> Document {
        let mut command = Command::new(&self.python);
        command.arg(script).args(["--base-url", base_url]);
        match login {
            Login::Password { username, password } => {
                command.args(["--username", username, "--password", password]);
            }
            Login::Token { token, username } => {
                command.args(["--token", token]);
                command.args(username.into_iter().flat_map(|username| ["--username", username]));
            }
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        // No proxy between ONE and this machine, and no parameters but those made here.
        command.env_clear().env("PATH", path).env("HOME", home).env("NO_PROXY", "*");
        let output = run(&mut command);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ONE {} at {base_url} failed:\n{error}", self.version);
        let document: Document = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}\n{error}", String::from_utf8_lossy(&output.stdout)));
        assert_eq!(document.one, self.version, "another version of ONE than was installed");
        document
    }
}

impl Document {
    pub(crate) fn get(&self, step: &str) -> &Value {
        self.results.get(step).unwrap_or_else(|| panic!("the scenario has no step {step:?}"))
    }

    /// How many records a step gave.
    pub(crate) fn count(&self, step: &str) -> u64 {
        let value = self.get(step);
        let list = value.as_array().map(|records| records.len() as u64);
        list.or_else(|| value["count"].as_u64()).unwrap_or_else(|| panic!("{step:?} is no list"))
    }

    /// Panics unless both runs gave the same; names the steps that differ.
    pub(crate) fn must_equal(&self, expected: &Self, place: &str) {
        let names = |document: &Self| document.results.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(self), names(expected), "{place}: other steps");
        let differs = |(step, value): (&String, &Value)| {
            let found = self.get(step);
            (found != value).then(|| {
                let [value, found] = [value, found].map(ToString::to_string);
                let same = value.chars().zip(found.chars()).take_while(|(one, other)| one == other).count();
                let from = same.saturating_sub(100);
                format!("{step}\n  expected …{}\n  found    …{}", cut(&value, from), cut(&found, from))
            })
        };
        let differences: Vec<_> = expected.results.iter().filter_map(differs).collect();
        assert!(differences.is_empty(), "ONE {} {place}:\n{}", self.one, differences.join("\n"));
    }
}

fn cut(text: &str, from: usize) -> String {
    text.chars().skip(from).take(400).collect()
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}
