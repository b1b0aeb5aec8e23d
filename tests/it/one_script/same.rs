//! The script and the command in the same homes: the same files, the same words, the same exit status.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{Seen, cases, miniature, pipe, script_of, tree, within_permissions};
use crate::support::{Proxy, Setup};

/// What is done in a home.
enum Step {
    /// `one-setup` with these arguments: the exit status, and what it says on the way.
    Run(Vec<String>, i32, String),
    /// Somebody writes a file.
    Edit(String, String),
    /// A file holds this JSON.
    Holds(String, Value),
}

/// A home, and what is done in it.
pub(super) struct Case {
    name: &'static str,
    /// Files before.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// Anything else that makes the home special.
    special: fn(&Path),
    steps: Vec<Step>,
}

/// What stands for what in the cases.
pub(super) type Names = [(&'static str, String)];

fn fill(text: &str, names: &Names) -> String {
    names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

impl Case {
    /// A step is `ARGUMENTS => STATUS WORDS`, `FILE := TEXT` or `FILE == JSON`; `!WORDS` are those that are not said.
    pub(super) fn new(name: &'static str, names: &Names, files: &[(&str, &str)], steps: &[&str]) -> Self {
        let files =
            files.iter().map(|(path, text)| (fill(path, names), fill(text, names).into_bytes())).collect();
        let step = |text: &&str| {
            if let Some((path, text)) = text.split_once(" := ") {
                return Step::Edit(fill(path, names), fill(text, names));
            }
            if let Some((path, text)) = text.split_once(" == ") {
                return Step::Holds(fill(path, names), serde_json::from_str(&fill(text, names)).unwrap());
            }
            let (arguments, rest) = text.split_once("=> ").unwrap();
            let (status, words) = rest.split_once(' ').unwrap();
            let arguments = fill(arguments, names).split_whitespace().map(str::to_owned).collect();
            Step::Run(arguments, status.parse().unwrap(), fill(words, names))
        };
        Self { name, files, special: |_| {}, steps: steps.iter().map(step).collect() }
    }

    pub(super) fn special(self, special: fn(&Path)) -> Self {
        Self { special, ..self }
    }

    /// Does all of it in a home made anew; what is there after each step, what was said, and the status.
    fn play(
        &self,
        home: &Path,
        one_setup: &dyn Fn(&[String]) -> Output,
    ) -> Vec<(BTreeMap<PathBuf, Seen>, String)> {
        fs::create_dir(home).unwrap();
        for (path, bytes) in &self.files {
            let path = home.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        }
        (self.special)(home);
        let before = tree(home);
        let mut states = Vec::new();
        for step in &self.steps {
            let was = tree(home);
            match step {
                Step::Edit(path, bytes) => fs::write(home.join(path), bytes).unwrap(),
                Step::Holds(path, expected) => {
                    let bytes = fs::read(home.join(path)).unwrap();
                    let value: Value = serde_json::from_slice(&bytes).unwrap();
                    assert_eq!(value, *expected, "{}: {path}", self.name);
                }
                Step::Run(arguments, expected, says) => {
                    let place = format!("{}: {arguments:?}", self.name);
                    let output = one_setup(arguments);
                    assert_eq!(output.status.code(), Some(*expected), "{place}: {output:?}");
                    let [out, err] =
                        [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
                    let is_said = |words: &str| out.contains(words) || err.contains(words);
                    assert!(
                        says.strip_prefix('!').map_or_else(|| is_said(says), |words| !is_said(words)),
                        "{place}: {out}{err}"
                    );
                    assert_eq!(err.is_empty(), *expected == 0, "{place}: {err}");
                    if *expected != 0 {
                        assert_eq!(tree(home), was, "{place}: half done");
                    }
                    states.push((tree(home), out));
                }
            }
        }
        assert_eq!(tree(home), before, "{}: not as it was", self.name);
        // Whatever is special about it must not keep it.
        let _ = Command::new("chmod").arg("-R").arg("u+rwX").arg(home).status();
        fs::remove_dir_all(home).unwrap();
        states
    }
}

/// Something that answers as a portal does: it sends elsewhere, or shows a page of its own.
async fn portal() -> String {
    let router = axum::Router::new()
        .route(
            "/-/one-setup.json",
            axum::routing::get(|| async { axum::response::Redirect::temporary("http://portal.example/") }),
        )
        .route(
            "/html/-/one-setup.json",
            axum::routing::get(|| async { axum::response::Html("<!doctype html><p>Log in") }),
        );
    crate::support::serve(router).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_and_the_command_do_the_same() {
    let (alyx, other) = (miniature().await, miniature().await);
    let first = Setup::new(&alyx.url()).set("files.enabled", "true").set("files.origin", "https://my.data");
    let (first, second) = (first.start().await, Proxy::start(&other.url()).await);
    let script = script_of(&first).await;
    let folder = TempDir::with_prefix("one-script-").unwrap();
    let home = folder.path().join("home");
    let key = alyx_proxy::one::key;
    let names = [
        ("@ALYX", alyx.url()),
        ("@DB", key(&alyx.url())),
        ("@OWN1", key(&first.url())),
        ("@OWN2", key(&second.url())),
        ("@DATA", key(&format!("{}/-/one", first.url()))),
        ("@FIRST", first.url()),
        ("@SECOND", second.url()),
        ("@PORTAL", portal().await),
        ("@HTTPS", first.url().replace("http:", "https:")),
        ("@LOCALHOST", first.url().replace("127.0.0.1", "localhost")),
        ("@HOME", home.display().to_string()),
    ];
    let url = first.url();
    tokio::task::spawn_blocking(move || {
        let by_script = |arguments: &[String]| {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            pipe(Path::new("python3"), script.as_bytes(), &home, &arguments)
        };
        let by_command = |arguments: &[String]| {
            let mut command = within_permissions(Path::new(env!("CARGO_BIN_EXE_alyx-proxy")));
            command.arg("one-setup").args(arguments).env_clear().env("HOME", &home);
            let is_named = ["--url", "--undo"].iter().any(|name| arguments.iter().any(|given| given == name));
            // The script knows where it comes from.
            command.args(if is_named { vec![] } else { vec!["--url", &url] });
            command.output().unwrap()
        };
        let cases = [cases::usual(&names), cases::data_files(&names), cases::unusual(&names)];
        let cases: Vec<Case> = cases.into_iter().flatten().collect();
        let mut states = 0;
        for case in &cases {
            let command = case.play(&home, &by_command);
            let script = case.play(&home, &by_script);
            states += script.len();
            for ((command, by_command), (script, by_script)) in command.into_iter().zip(script) {
                assert_eq!(script, command, "{}", case.name);
                let hint = [
                    "The same line with ` --undo` behind it puts it",
                    "`alyx-proxy one-setup --undo` puts it",
                ];
                assert_eq!(by_script.replace(hint[0], hint[1]), by_command, "{}", case.name);
            }
        }
        assert!(states > 80, "{states} states were compared");
    })
    .await
    .unwrap();
}
