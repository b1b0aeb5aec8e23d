//! `./check` says what is missing, and how to have it, on systems where it installs nothing.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");
/// What every system has.
const BASIC: [&str; 14] =
    ["bash", "cat", "cut", "dirname", "git", "grep", "head", "id", "mkdir", "rm", "sed", "sort", "tr", "tee"];

/// A machine of which only these programs are there.
struct Machine(TempDir);

impl Machine {
    /// With Rust of this version, as somebody without rustup has it.
    fn new(rust: &str) -> Self {
        let machine = Self::without_rust();
        machine.put("cargo", "echo cargo");
        machine.put("rustc", &format!("echo 'rustc {rust} (0123abcd 2026-01-01)'"));
        machine
    }

    fn without_rust() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        for name in BASIC {
            let path = std::env::var_os("PATH").unwrap();
            let found =
                std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
            symlink(found.unwrap_or_else(|| panic!("there is no {name}")), machine.program(name)).unwrap();
        }
        machine
    }

    fn program(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, script: &str) {
        fs::write(self.program(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(self.program(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn check(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.program("bash"));
        command.arg(Path::new(PROJECT).join("check")).args(arguments);
        command.env_clear().env("PATH", self.0.path()).env("CARGO_TARGET_DIR", self.0.path().join("target"));
        command.output().unwrap()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn pinned() -> String {
    let file = fs::read_to_string(Path::new(PROJECT).join("rust-toolchain.toml")).unwrap();
    file.split_once("channel = \"").unwrap().1.split_once('"').unwrap().0.to_owned()
}

#[test]
fn where_it_installs_nothing_it_says_the_one_command() {
    for (manager, command, package) in [
        ("dnf", "dnf install ", "ShellCheck"),
        ("pacman", "pacman -S --needed ", "base-devel"),
        ("brew", "brew install ", "shellcheck"),
    ] {
        let machine = Machine::new(&pinned());
        machine.put(manager, "echo touched >&2; exit 9");
        let output = machine.check(&["--quick"]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{manager}: {text}");
        let line =
            text.lines().find(|line| line.contains(command)).unwrap_or_else(|| panic!("{manager}: {text}"));
        assert!(line.split_whitespace().any(|word| word == package), "{line}");
        assert!(!line.split_whitespace().any(|word| word == "-"), "no package of that name: {line}");
        assert!(text.contains("missing: cc: a C compiler"), "{text}");
        assert!(!text.contains("touched"), "{text}");
        assert!(text.contains("FAILED: install"), "{text}");
    }
}

#[test]
fn told_not_to_it_installs_nothing() {
    let machine = Machine::new(&pinned());
    machine.put("apt-get", "echo touched >&2; exit 9");
    let output = machine.check(&["--quick", "--no-install"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("apt-get install --no-install-recommends ") && text.contains("shellcheck"),
        "{text}"
    );
    assert!(!text.contains("touched"), "{text}");
}

#[test]
fn a_missing_rust_is_told_and_not_downloaded() {
    let machine = Machine::without_rust();
    let output = machine.check(&[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains(&format!("missing: Rust {}", pinned())) && text.contains("https://rustup.rs"),
        "{text}"
    );

    // As rustup answers, told to install nothing.
    machine.put("cargo", "[ \"$RUSTUP_AUTO_INSTALL\" = 0 ] || echo downloads >&2; exit 1");
    machine.put(
        "rustup",
        "case $1 in toolchain) echo 'stable-x86_64 (default)' ;; run) echo 'rustc 1.80.0 (0 0)' ;; esac",
    );
    let text = said(&machine.check(&[]));
    assert!(text.contains(&format!("rustup toolchain install {} --component", pinned())), "{text}");
    assert!(!text.contains("downloads"), "{text}");
}

#[test]
fn the_pinned_rust_is_used_under_whatever_name() {
    let machine = Machine::new(&pinned());
    machine.put("cargo", "[ \"$RUSTUP_TOOLCHAIN\" = stable-x86_64 ] && echo cargo");
    let answer = format!("echo 'rustc {} (0 0)'", pinned());
    machine.put(
        "rustup",
        &format!("case $1 in toolchain) echo 'stable-x86_64 (default)' ;; run) {answer} ;; esac"),
    );
    let text = said(&machine.check(&["--quick", "--no-install"]));
    assert!(text.contains("is here under the name stable-x86_64"), "{text}");
    assert!(text.contains("FAILED: install"), "it goes on: {text}");
}

#[test]
fn another_rust_is_told() {
    let text = said(&Machine::new("1.99.0").check(&["--quick", "--no-install"]));
    assert!(text.contains(&format!("what is tested is {}", pinned())), "{text}");
}

#[test]
fn its_flags_are_looked_at() {
    let machine = Machine::new(&pinned());
    assert_eq!(machine.check(&["--quik"]).status.code(), Some(2));
    let output = machine.check(&["--help"]);
    assert!(output.status.success());
    for flag in ["--quick", "--long", "--install", "--no-install"] {
        assert!(said(&output).contains(flag), "{flag}");
    }
}

/// Runs the step of the tests with a `cargo` of which each run prints what stands in `runs`, and fails where a test did.
fn tests_step(runs: &[&str]) -> (bool, String) {
    let machine = Machine::without_rust();
    let (target, counter) = (machine.program("target"), machine.program("counter"));
    fs::create_dir(&target).unwrap();
    for (n, failed) in runs.iter().enumerate() {
        let failures = failed.replace(' ', "\n    ");
        let text = if failed.is_empty() {
            "test result: ok. 1 passed\n".to_owned()
        } else {
            format!(
                "failures:\n    {failures}\n\ntest result: FAILED. 1 failed\nerror: 1 target failed:\n    `--test it`\n"
            )
        };
        fs::write(machine.program(&format!("run-{n}")), text).unwrap();
    }
    let here = machine.0.path().display();
    let script = format!(
        "n=$(cat {counter} 2>/dev/null || echo 0); echo $((n + 1)) >{counter}; echo \"$@\"; cat {here}/run-$n; ! grep -q FAILED {here}/run-$n",
        counter = counter.display()
    );
    machine.put("cargo", &script);
    let line = ". scripts/tests.sh; set -euo pipefail; tested cargo test";
    let path = format!("{here}:{}", std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", line])
        .current_dir(PROJECT)
        .env("PATH", path)
        .env("target", &target)
        .output()
        .unwrap();
    let unsteady = fs::read_to_string(target.join("unsteady.txt")).is_ok();
    assert_eq!(unsteady, output.status.success() && runs.len() > 1);
    (output.status.success(), said(&output))
}

#[test]
fn few_tests_that_failed_are_run_once_more_and_what_fails_again_has_failed() {
    assert!(tests_step(&[""]).0);
    let (passed, text) = tests_step(&["walk::a loads::b", ""]);
    assert!(passed && text.contains("-- --exact loads::b walk::a"), "{text}");
    assert!(!tests_step(&["walk::a loads::b", "walk::a"]).0);
    let (passed, text) = tests_step(&["a::a b::b c::c d::d"]);
    assert!(!passed && !text.contains("once more"), "{text}");
}
