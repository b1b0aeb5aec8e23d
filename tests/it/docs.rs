//! The documentation says what is so: the settings and commands are the program's own, and what the first page tells
//! newcomers to type works as printed.

use std::{
    fmt::Write,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Holds a generated page against the file; writes the file instead where `UPDATE_DOCS` is set.
fn hold(name: &str, made: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/src").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, made).unwrap();
        return;
    }
    let file = fs::read_to_string(&path).unwrap();
    let differs = made.lines().zip(file.lines()).find(|(made, file)| made != file);
    assert!(
        file == made,
        "docs/src/{name} is old ({differs:?}); run UPDATE_DOCS=1 cargo test --test it docs::"
    );
}

#[test]
fn the_page_of_settings_is_made_from_the_settings() {
    let page = alyx_proxy::settings::reference();
    for key in alyx_proxy::settings::load(&alyx_proxy::settings::Sources::default()).unwrap().origins {
        let variable = format!("`ALYX_PROXY_{}`", key.key.to_uppercase().replace('.', "__"));
        assert!(page.contains(&variable), "{} is not on the page", key.key);
    }
    hold("settings.md", &page);
}

/// Holds a generated part of a page, between its marks, against the file.
fn hold_part(name: &str, part: &str, made: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/src").join(name);
    let file = fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {part}: made from the program"), format!("<!-- end of {part} -->\n"));
    let start = file.find(&begin).and_then(|at| Some(at + file[at..].find('\n')? + 1)).unwrap();
    let stop = start + file[start..].find(&end).unwrap();
    hold(name, &format!("{}\n{made}\n{}", &file[..start], &file[stop..]));
}

#[test]
fn the_table_of_how_old_an_answer_is_is_made_from_the_classes() {
    hold_part("offline.md", "how old", &crate::how_old::table());
}

fn help(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
    let output = command.args(arguments).env_clear().env("HOME", "/nonexistent").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_page_of_commands_is_made_from_the_commands() {
    let mut page = "# Every command

<!-- Made from the program's own help: `UPDATE_DOCS=1 cargo test --test it docs::` writes it anew. -->

`alyx-proxy COMMAND --help` says the same on a terminal. All commands take the flags `--config`, `--data-dir`, `--set`
and `--log`, and end with

| exit status | |
|---|---|
| 0 | done |
| 1 | failed; the last line on the standard error output says why |
| 2 | wrong usage or settings |
| 3 | no proxy is running there |

Results go to the standard output, all else to the standard error output. `--json` prints results for other programs.
"
    .to_owned();
    let overview = help(&["--help"]);
    let list = overview.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let commands: Vec<&str> = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 8, "{commands:?}");
    for name in commands {
        let text = help(&[name, "--help"]);
        // The same for all commands.
        let own = text.split("\nSettings:\n").next().unwrap().trim_end();
        let example = text.split_once("\nExample:\n").map(|(_, example)| example).unwrap();
        let example = example.split("\n\nExit status").next().unwrap();
        let examples: Vec<&str> = example.trim_end().lines().map(str::trim).collect();
        write!(page, "\n## {name}\n\n```sh\n{}\n```\n\n```text\n{own}\n```\n", examples.join("\n")).unwrap();
    }
    hold("commands.md", &page);
}

/// The fenced blocks of a page: language and text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let text: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((language.to_owned(), text.join("\n")));
        }
    }
    blocks
}

/// A newcomer's machine: an empty home, the program and Python on the path.
struct Newcomer {
    home: tempfile::TempDir,
    path: String,
    /// What was left running in the first terminal.
    running: Option<Child>,
}

impl Newcomer {
    fn new(python: &Path) -> Self {
        let home = tempfile::tempdir().unwrap();
        let bin = home.path().join(".cargo/bin");
        fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_alyx-proxy"), bin.join("alyx-proxy")).unwrap();
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{}:{path}", bin.display(), python.parent().unwrap().display());
        Self { home, path, running: None }
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.home.path()).env_clear();
        command.env("HOME", self.home.path()).env("PATH", &self.path).env("NO_PROXY", "*");
        command.stdin(Stdio::null());
        command
    }

    /// Types a block and waits until it has ended well.
    fn types(&self, program: &str, text: &str) -> String {
        let arguments: &[&str] =
            if program == "bash" { &["-euo", "pipefail", "-c", text] } else { &["-c", text] };
        let output = self.command(program, arguments).output().unwrap();
        assert!(output.status.success(), "{text}\n{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types a command that goes on until it is stopped, and waits until it listens.
    fn leaves_running(&mut self, text: &str) {
        self.stops();
        let out = self.home.path().join("terminal");
        let file = File::create(&out).unwrap();
        let mut command = self.command("bash", &["-c", &format!("exec {text}")]);
        let mut child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        let start = Instant::now();
        loop {
            let said = fs::read_to_string(&out).unwrap();
            if said.contains("Listening on") {
                break;
            }
            assert!(child.try_wait().unwrap().is_none(), "{text}\n{said}\nAre ports 8040 and 8041 free?");
            assert!(start.elapsed() < Duration::from_mins(1), "{text}\n{said}");
            std::thread::sleep(Duration::from_millis(50));
        }
        self.running = Some(child);
    }

    /// Ctrl-C.
    fn stops(&mut self) {
        if let Some(mut child) = self.running.take() {
            let id = child.id().to_string();
            assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
            assert!(child.wait().unwrap().success());
        }
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The build that tests use stands for what `cargo install` makes of the same source; all else is typed as printed.
const BUILT: &str = "cargo install --path .";

#[test]
fn what_the_first_page_says_works_as_printed() {
    let page = include_str!("../../docs/src/start.md");
    let mut newcomer = Newcomer::new(crate::one::One::newest().python());
    let (mut typed, mut built) = (0, false);
    for (language, text) in blocks(page) {
        let long = text.starts_with("alyx-proxy demo") || text.starts_with("alyx-proxy serve");
        match language.as_str() {
            "sh" if text == BUILT => built = true,
            "sh" if long => newcomer.leaves_running(&text),
            "sh" => drop(newcomer.types("bash", &text)),
            "python" => {
                let said = newcomer.types("python", &text);
                // Each of them counts sessions.
                let count: usize = said.split_whitespace().next().unwrap().parse().unwrap();
                assert!(count > 0, "{text}\n{said}");
            }
            other => panic!("a block of {other:?} can't be tried"),
        }
        typed += 1;
    }
    assert!(built && typed > 8, "{typed} blocks");
    newcomer.stops();
}
