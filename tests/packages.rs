//! The ways in which people install programs: each gives one that runs the demo.
//!
//! The wheel and the Debian package are made around the program that is built already, and installed into folders of
//! their own. Docker's files are held against the rules by those who know them, and against what the build reads;
//! `packaging/image-test` builds and runs the image, in `./check --long`.
//!
//! A crate of its own: while maturin packs the program, it is gone from where all other tests look for it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tempfile::TempDir;

#[path = "it/support/tool.rs"]
mod tool;

const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// Held by whoever needs the program where it was built.
fn program() -> MutexGuard<'static, ()> {
    static PROGRAM: Mutex<()> = Mutex::new(());
    PROGRAM.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs it to its end, which must be a good one; what it printed.
fn run(command: &mut Command) -> String {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{name}: {error}"));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{name} failed:\n{said}");
    said
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// A program of one of the tools of `scripts/tool`.
fn tool(of: &str, name: &str) -> Command {
    Command::new(tool::tool(of).join("bin").join(name))
}

/// The demo; killed when it is dropped.
struct Demo {
    child: Child,
    _home: TempDir,
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program runs the demo, and the demo answers another of its commands.
fn must_run_the_demo(program: &Path) {
    let home = tempfile::tempdir().unwrap();
    let plain = |arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("HOME", home.path()).env("TMPDIR", home.path());
        command
    };
    let mut child = plain(&["demo", "--port", "0", "--alyx-port", "0", "--config", "/dev/null"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let url = lines.into_iter().find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned));
    let demo = Demo { child, _home: tempfile::tempdir().unwrap() };
    let url = url.expect("it says where it listens");
    let status = run(&mut plain(&["status", "--url", &url]));
    assert!(status.contains(env!("CARGO_PKG_VERSION")), "{status}");
    drop(demo);
}

#[test]
fn the_wheel_gives_a_program_that_runs_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let _program = program();
    // As it was built for the tests: not for release, and with all its symbols.
    let mut maturin = tool("wheel", "maturin");
    maturin.args(["build", "--strip", "false", "--compatibility", "linux", "--target-dir"]).arg(target());
    run(maturin.arg("--out").arg(folder.path()).current_dir(PROJECT));
    let wheel = only(folder.path(), "whl");

    let home = folder.path().join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&home));
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"];
    run(Command::new(home.join("bin/python")).args(pip).arg(&wheel));
    let shown = run(Command::new(home.join("bin/python")).args(["-m", "pip", "show", "alyx-proxy"]));
    assert!(shown.contains(&format!("Version: {}", env!("CARGO_PKG_VERSION"))), "{shown}");
    must_run_the_demo(&home.join("bin/alyx-proxy"));
}

#[test]
fn the_debian_package_gives_a_program_that_runs_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let _program = program();
    let mut build = Command::new(Path::new(PROJECT).join("packaging/deb"));
    build.args(["--binary", env!("CARGO_BIN_EXE_alyx-proxy")]).arg(folder.path());
    // Quick rather than small.
    run(build.env("DEB_COMPRESSION", "gzip"));
    let package = only(folder.path(), "deb");

    let root = folder.path().join("root");
    let database = root.join("var/lib/dpkg");
    for name in ["info", "updates", "triggers"] {
        fs::create_dir_all(database.join(name)).unwrap();
    }
    fs::write(database.join("status"), "").unwrap();
    let dpkg = |arguments: &[&OsStr]| {
        let mut command = Command::new("dpkg");
        command.arg("--root").arg(&root).args(["--force-script-chrootless", "--force-not-root"]);
        // The root folder holds nothing else, also not what the package depends on.
        command.args(["--force-depends", "--force-confold"]).args(arguments);
        run(&mut command)
    };
    dpkg(&["--install".as_ref(), package.as_ref()]);
    must_run_the_demo(&root.join("usr/bin/alyx-proxy"));
    for path in [
        "usr/lib/systemd/system/alyx-proxy.service",
        "usr/lib/systemd/system/alyx-proxy.socket",
        "usr/share/doc/alyx-proxy/copyright",
    ] {
        assert!(root.join(path).is_file(), "{path}");
    }
    pages_and_completions_are_whole(&root.join("usr/share"));
    commands_and_service_have_one_idea_of_where_the_data_are(&root);

    // What an administrator wrote outlives a new version, and the package.
    let settings = root.join("etc/alyx-proxy/alyx-proxy.toml");
    check_config(&settings);
    fs::write(&settings, "[log]\nlevel = \"warn\"\n").unwrap();
    dpkg(&["--install".as_ref(), package.as_ref()]);
    dpkg(&["--remove".as_ref(), "alyx-proxy".as_ref()]);
    assert_eq!(fs::read_to_string(&settings).unwrap(), "[log]\nlevel = \"warn\"\n");
    assert!(!root.join("usr/bin/alyx-proxy").exists());
}

/// What the service's environment alone says, commands would not know (issue "The first day", point 1).
fn commands_and_service_have_one_idea_of_where_the_data_are(root: &Path) {
    let settings = fs::read_to_string(root.join("etc/alyx-proxy/alyx-proxy.toml")).unwrap();
    let settings: toml::Table = toml::from_str(&settings).unwrap();
    assert_eq!(settings["storage"]["data_dir"].as_str(), Some("/var/lib/alyx-proxy"));
    let unit = fs::read_to_string(root.join("usr/lib/systemd/system/alyx-proxy.service")).unwrap();
    assert!(!unit.contains("ALYX_PROXY_STORAGE"), "{unit}");
    assert!(unit.contains("StateDirectory=alyx-proxy"), "{unit}");
}

/// A page for each command, gzipped as Debian wants it, and completions that each shell finds.
fn pages_and_completions_are_whole(share: &Path) {
    let help = run(Command::new(env!("CARGO_BIN_EXE_alyx-proxy")).arg("--help"));
    let commands = help.split_once("Commands:").unwrap().1.split("\n\n").next().unwrap();
    let commands: Vec<_> =
        commands.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next()).collect();
    assert!(commands.contains(&"serve"), "{help}");
    for command in commands.iter().filter(|&&command| command != "help") {
        let page = share.join(format!("man/man1/alyx-proxy-{command}.1.gz"));
        let text = run(Command::new("gzip").args(["--decompress", "--stdout"]).arg(&page));
        assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{}", page.display());
    }
    assert!(share.join("man/man1/alyx-proxy.1.gz").is_file());
    for completions in [
        "bash-completion/completions/alyx-proxy",
        "zsh/vendor-completions/_alyx-proxy",
        "fish/vendor_completions.d/alyx-proxy.fish",
    ] {
        let text = fs::read_to_string(share.join(completions)).unwrap();
        for command in &commands {
            assert!(text.contains(command), "{completions} has no {command}");
        }
    }
    run(Command::new("bash").arg("-n").arg(share.join("bash-completion/completions/alyx-proxy")));
}

/// By Debian's own judge, and the same bytes whenever it is made.
#[test]
fn the_debian_package_keeps_the_rules() {
    let make = |umask: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut build = Command::new("sh");
        build
            .args(["-c", &format!("umask {umask} && exec \"$@\""), "sh"])
            .arg(Path::new(PROJECT).join("packaging/deb"));
        build.args(["--binary", env!("CARGO_BIN_EXE_alyx-proxy")]).arg(folder.path());
        run(build.env("DEB_COMPRESSION", "gzip"));
        folder
    };
    let _program = program();
    let (one, other) = (make("022"), make("077"));
    let package = only(one.path(), "deb");
    run(Command::new("lintian").args(["--allow-root", "--fail-on", "error,warning"]).arg(&package));
    let same = fs::read(&package).unwrap() == fs::read(only(other.path(), "deb")).unwrap();
    assert!(same, "it differs from one made a moment later");
}

fn check_config(settings: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
    run(command.arg("check-config").arg("--config").arg(settings));
}

#[test]
fn the_files_for_docker_keep_the_rules() {
    run(tool("packages", "hadolint").arg(Path::new(PROJECT).join("Dockerfile")));
    let mut check = tool("packages", "check-jsonschema");
    run(check.args(["--builtin-schema", "vendor.compose-spec"]).arg(Path::new(PROJECT).join("compose.yaml")));
}

/// What the build reads and the builder isn't given is found out by whoever builds the image, else.
#[test]
fn docker_gives_the_builder_all_that_the_build_reads() {
    // maturin has it written anew.
    let _program = program();
    let ignore = fs::read_to_string(Path::new(PROJECT).join(".dockerignore")).unwrap();
    let given: Vec<_> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for path in &given {
        assert!(Path::new(PROJECT).join(path).exists(), "{path} is given, but not there");
    }
    // What the compiler says it has read, for the library and the program.
    let mut read = Vec::new();
    let made = fs::read_to_string(Path::new(env!("CARGO_BIN_EXE_alyx-proxy")).with_extension("d")).unwrap();
    for path in made.split_once(": ").unwrap().1.split_whitespace() {
        read.extend(Path::new(path).strip_prefix(PROJECT).ok().map(Path::to_owned));
    }
    assert!(read.iter().any(|path| path.starts_with("templates")), "what isn't Rust counts too: {read:?}");
    // And what cargo reads before: the workspace and the lock file.
    read.extend(["Cargo.toml", "Cargo.lock", "fuzz/Cargo.toml"].map(PathBuf::from));
    for path in read {
        let first = path.components().next().unwrap().as_os_str().to_str().unwrap();
        assert!(given.contains(&first), "{} is read, but .dockerignore keeps it back", path.display());
    }
}

/// What is said is what is tested.
#[test]
fn one_version_of_each_tool_is_named_everywhere() {
    let read = |file: &str| fs::read_to_string(Path::new(PROJECT).join(file)).unwrap();
    let named = |file: &str, before: &str| {
        let text = read(file);
        let rest = text.split_once(before).unwrap_or_else(|| panic!("{file} has no {before:?}")).1;
        rest.split(|c: char| c != '.' && !c.is_ascii_digit()).next().unwrap().to_owned()
    };
    let pinned = named("rust-toolchain.toml", "channel = \"");
    let minor = pinned.rsplit_once('.').unwrap().0;
    for file in ["Cargo.toml", "fuzz/Cargo.toml"] {
        assert_eq!(named(file, "rust-version = \""), minor, "{file}");
    }
    assert_eq!(named("Dockerfile", "rust:"), minor, "Dockerfile");
    assert_eq!(named("README.md", "[Rust](https://rustup.rs) "), minor, "README.md");
    let auditable = "cargo-auditable@";
    assert_eq!(named("Dockerfile", auditable), named("scripts/tool", auditable), "{auditable}");
}

/// The one file with this ending.
fn only(folder: &Path, ending: &str) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = files.filter(|path| path.extension() == Some(OsStr::new(ending))).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}
