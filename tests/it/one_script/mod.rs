//! `/-/one-setup.py`, which a proxy gives to machines without the program: it does what the command `one-setup` does, byte
//! for byte, and is run whole or not at all.

mod cases;
mod same;
mod with_one;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, chown, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use crate::support::{Lab, Proxy, client::Ask, miniature};
use alyx_proxy::miniature::{Miniature, Options};
use serde_json::json;
use tempfile::TempDir;

async fn miniature() -> Arc<Miniature> {
    Arc::new(miniature::start(Options::default()).await)
}

/// The script as somebody without a log-in gets it.
async fn script_of(proxy: &Proxy) -> String {
    proxy.client().anonymous().get("/-/one-setup.py").await.expect(200).text().to_owned()
}

/// `command | python3 - ARGUMENTS` in this home.
fn pipe(python: &Path, script: &[u8], home: &Path, arguments: &[&str]) -> Output {
    let mut command = within_permissions(python);
    command
        .arg("-")
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("PATH", std::env::var_os("PATH").unwrap());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script).unwrap();
    child.wait_with_output().unwrap()
}

/// A program for which permissions count, root or not.
fn within_permissions(program: &Path) -> Command {
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-dac_override,-dac_read_search", "--"]).arg(program);
    command
}

/// What can be seen of a file, a link or a folder: its permissions, its owner, and its bytes or where it leads.
type Seen = (u32, u32, Option<Vec<u8>>);

fn tree(folder: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_symlink() {
            Some(fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes())
        } else if metadata.is_dir() {
            found.extend(tree(&path));
            None
        } else {
            fs::read(&path).ok()
        };
        found.insert(path, (metadata.permissions().mode(), metadata.uid(), content));
    }
    found
}

/// The same in files, for programs that read it.
fn in_file(script: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one-setup.py");
    fs::write(&file, script).unwrap();
    (folder, file)
}

fn python(program: &Path, home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("HOME", home).env("NO_PROXY", "*");
    command.env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_names_the_url_it_was_asked_by() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let named = |script: &str| script.lines().find_map(|line| line.strip_prefix("URL = ").map(str::to_owned));
    assert_eq!(named(&script_of(&proxy).await).unwrap(), format!("\"{}\"", proxy.url()));
    let ask = || proxy.client().anonymous().ask("GET", "/-/one-setup.py");
    let forwarded =
        |ask: Ask| ask.header("x-forwarded-host", "alyx.lab").header("x-forwarded-proto", "https");
    let answer = forwarded(ask().header("host", "[::1]:8040")).send().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(named(answer.text()).unwrap(), "\"http://[::1]:8040\"");
    ask().header("host", "a\";import os#").send().await.expect(400);
    let proxy = proxy.restart_with("server.trusted_proxies", "127.0.0.1").await;
    let answer = forwarded(proxy.client().ask("GET", "/-/one-setup.py")).send().await.expect(200);
    assert_eq!(named(answer.text()).unwrap(), "\"https://alyx.lab\"");
    let proxy = proxy.restart_with("server.public_url", "https://lab.org/alyx").await;
    assert_eq!(named(&script_of(&proxy).await).unwrap(), "\"https://lab.org/alyx\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_start_shows_the_line_for_the_readers_system() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    for (agent, first) in [
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "irm"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", "curl"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "curl"),
    ] {
        for path in ["/-/docs/start", "/-/docs/one"] {
            let ask = proxy.client().anonymous().ask("GET", path).header("user-agent", agent);
            let page = ask.send().await.expect(200);
            let lines: Vec<&str> = page.text().split("/-/one-setup.py | ").collect();
            assert!(lines.len() > 2, "{path} shows both");
            let line = lines[0].rsplit('>').next().unwrap();
            assert!(line.starts_with(first) && line.ends_with(&proxy.url()), "{agent}: {line}");
        }
    }
}

/// Runs each beginning of the script: at each line, and at each character of its end.
const CUT: &str = r#"
import atexit, contextlib, io, os, sys
source = open(sys.argv[1]).read()
cuts = {i + 1 for i, c in enumerate(source) if c == "\n"} | set(range(len(source) - 400, len(source)))
whole = source.rstrip()
hooks, exits = [], []
atexit.register, os._exit = hooks.append, exits.append
silent = refused = told = 0
for cut in sorted(cuts):
    text = source[:cut]
    if text.rstrip() == whole:
        continue
    try:
        code = compile(text, "cut", "exec")
    except SyntaxError:
        refused += 1
        continue
    hooks.clear(), exits.clear()
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            exec(code, {"__name__": "__main__"})
        except Exception:  # `sys.exi` is no name: it ends by an error
            pass
        for hook in hooks:
            hook()
    if hooks:
        assert exits == [1], cut
        told += 1
    else:
        silent += 1
        assert "class " not in text, cut
assert told > 300 and refused > 100 and silent < 60, (told, refused, silent)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_did_not_arrive_whole_or_is_a_portals_page_does_nothing() {
    let lab = Lab::open().await;
    let script = script_of(&Proxy::start(&lab.url()).await).await;
    let (folder, file) = in_file(&script);
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    let cut = python(Path::new("python3"), &home, &["-c", CUT, file.to_str().unwrap()]);
    assert!(cut.status.success(), "{cut:?}");
    let halves = [script.len() / 2, script.len() - 20]
        .map(|at| script[..script[..at].rfind('\n').unwrap()].to_owned());
    let portal = "<!doctype html>\n<html><body><script>main()</script></body></html>\n".to_owned();
    for text in halves.into_iter().chain([portal]) {
        let output = pipe(Path::new("python3"), text.as_bytes(), &home, &["--unchecked"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(!output.stderr.is_empty(), "{output:?}");
    }
    assert!(tree(&home).is_empty());
    // In PowerShell lines come with a carriage return, and in ASCII.
    assert!(script.is_ascii());
    let windows = script.replace('\n', "\r\n");
    let output = pipe(Path::new("python3"), windows.as_bytes(), &home, &["--unchecked", "--dry-run"]);
    assert!(output.status.success(), "{output:?}");
    let old = "import ast, sys; ast.parse(open(sys.argv[1]).read(), feature_version=(3, 8))";
    let parsed = python(Path::new("python3"), &home, &["-c", old, file.to_str().unwrap()]);
    assert!(parsed.status.success(), "{parsed:?}");
}

/// What fails when the first of two files stands in its place already: that one is taken back.
const LATE: &str = r#"
import os, pathlib, sys
script = {"__name__": "one_setup"}
exec(open(sys.argv[1]).read(), script)
home = pathlib.Path.home()
first, second, folder = home / "first", home / "second", home / "new" / "folder"
first.write_bytes(b"before")
second.mkdir()
writes = [(first, b"after", 0o600), (home / "third", b"x", 0o600), (second, b"y", 0o600)]
try:
    script["commit"]([(folder, None)], writes)
except IsADirectoryError:
    print(sorted(path.name for path in home.iterdir()), first.read_bytes())
"#;

#[test]
fn a_file_that_fails_late_takes_back_those_before_it() {
    let (folder, file) = in_file(&alyx_proxy::one::script("http://lab:8040"));
    let home = folder.path().join("home");
    fs::create_dir(&home).unwrap();
    let output = python(Path::new("python3"), &home, &["-c", LATE, file.to_str().unwrap()]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "['first', 'second'] b'before'\n", "{output:?}");
}

/// An administrator sets up the homes of others: what is made there is theirs. (Where the tests are not run by root, it
/// is their own home.)
#[test]
fn what_is_made_in_somebodys_home_is_theirs() {
    let folder = TempDir::with_prefix("one-script-").unwrap();
    let script = folder.path().join("one-setup.py");
    fs::write(&script, alyx_proxy::one::script("http://lab:8040")).unwrap();
    let mut trees = Vec::new();
    for program in ["python3", env!("CARGO_BIN_EXE_alyx-proxy")] {
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        let _ = chown(&home, Some(12345), Some(12345));
        let mut command = Command::new(program);
        if program == "python3" {
            command.arg(&script)
        } else {
            command.arg("one-setup")
        };
        let output = command.args(["--unchecked", "--url", "http://lab:8040", "--home"]).arg(&home).output();
        assert!(output.as_ref().unwrap().status.success(), "{output:?}");
        let owner = fs::metadata(&home).unwrap().uid();
        let made = tree(&home);
        assert!(made.len() > 5 && made.values().all(|(_, uid, _)| *uid == owner), "{made:?}");
        trees.push(made);
        fs::remove_dir_all(&home).unwrap();
    }
    assert_eq!(trees[0], trees[1]);
}

/// Both programs, with the words that go before their arguments.
fn programs(script: &Path) -> [Vec<String>; 2] {
    let script = script.to_str().unwrap().to_owned();
    [
        vec!["python3".to_owned(), script],
        vec![env!("CARGO_BIN_EXE_alyx-proxy").to_owned(), "one-setup".to_owned()],
    ]
}

/// A link could lead an administrator's hand to whatever its owner likes. (Where the tests are not run by root, it is
/// their own home, and links are followed.)
#[test]
fn no_link_is_followed_in_the_home_of_somebody_else() {
    let folder = TempDir::with_prefix("one-script-").unwrap();
    let script = folder.path().join("one-setup.py");
    fs::write(&script, alyx_proxy::one::script("http://lab:8040")).unwrap();
    let (home, outside) = (folder.path().join("home"), folder.path().join("outside"));
    let caches = format!(r#"{{"CLIENT_MAP": {{"alyx.org": "{}/data"}}}}"#, outside.display());
    let prepare: [(&dyn Fn(), &str); 4] = [
        (&|| symlink(&outside, home.join(".one")).unwrap(), "is a link"),
        (
            &|| {
                fs::create_dir(home.join(".one")).unwrap();
                symlink(outside.join("x"), home.join(".one/.lab_8040")).unwrap();
            },
            "is a link",
        ),
        (
            &|| {
                fs::create_dir(home.join(".one")).unwrap();
                symlink(&outside, home.join(".one/.alyx-proxy-undo")).unwrap();
            },
            "is a link",
        ),
        (
            &|| {
                fs::create_dir(home.join(".one")).unwrap();
                fs::write(home.join(".one/.caches"), &caches).unwrap();
            },
            "lies outside the home",
        ),
    ];
    for (prepare, words) in prepare {
        for program in programs(&script) {
            for folder in [&home, &outside] {
                fs::create_dir(folder).unwrap();
            }
            prepare();
            let is_theirs = chown(&home, Some(12345), Some(12345)).is_ok();
            let mut command = Command::new(&program[0]);
            command
                .args(&program[1..])
                .args(["--unchecked", "--url", "http://lab:8040", "--home"])
                .arg(&home);
            let like: &[&str] = if words.contains("outside") { &["--like", "alyx.org"] } else { &[] };
            let output = command.args(like).output().unwrap();
            assert_eq!(output.status.code(), Some(i32::from(is_theirs)), "{output:?}");
            if is_theirs {
                assert!(String::from_utf8_lossy(&output.stderr).contains(words), "{output:?}");
                assert!(tree(&outside).is_empty());
            }
            for folder in [&home, &outside] {
                fs::remove_dir_all(folder).unwrap();
            }
        }
    }
}

/// Homes that can't be set up, and what a run that was killed has left in one.
#[test]
fn a_home_is_one_and_what_a_killed_run_left_is_swept() {
    let folder = TempDir::with_prefix("one-script-").unwrap();
    let script = folder.path().join("one-setup.py");
    fs::write(&script, alyx_proxy::one::script("http://lab:8040")).unwrap();
    for program in programs(&script) {
        let run = |home: &OsStr, arguments: &[&str]| {
            let mut command = Command::new(&program[0]);
            command.args(&program[1..]).args(arguments).arg("--home").arg(home).output().unwrap()
        };
        let setup = ["--unchecked", "--url", "http://lab:8040"];
        assert_eq!(run(OsStr::new(""), &setup).status.code(), Some(2));
        let strange = folder.path().join(OsStr::from_bytes(b"h\xffme"));
        fs::create_dir(&strange).unwrap();
        for arguments in [&setup[..], &["--undo"]] {
            let output = run(strange.as_os_str(), arguments);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("no UTF-8"), "{output:?}");
        }
        assert!(tree(&strange).is_empty());
        fs::remove_dir(&strange).unwrap();
        // Killed before anything stood in its place, and after.
        let home = folder.path().join("home");
        let store = home.join(".one/.alyx-proxy-undo");
        fs::create_dir_all(&store).unwrap();
        fs::write(home.join(".one/.lab_8040.alyx-proxy-new"), "{").unwrap();
        fs::write(store.join("list.json.alyx-proxy-new"), "{").unwrap();
        fs::write(store.join("original.caches"), "{}").unwrap();
        assert!(run(home.as_os_str(), &setup).status.success());
        fs::write(home.join(".one/.caches.alyx-proxy-new"), "{").unwrap();
        assert!(run(home.as_os_str(), &["--undo"]).status.success());
        assert!(tree(&home).is_empty(), "{:?}", tree(&home));
        fs::remove_dir(&home).unwrap();
    }
}

/// What the program wrote before it noted which proxies were set up, and BLAKE2s.
#[test]
fn what_an_earlier_version_has_set_up_is_put_back() {
    let home = TempDir::with_prefix("one-script-").unwrap();
    let folder = home.path().join(".one");
    let store = folder.join(".alyx-proxy-undo");
    fs::create_dir_all(&store).unwrap();
    let (was, is) =
        ("{\"CLIENT_MAP\": {}}", "{\"CLIENT_MAP\": {\"lab_8040\": \"/x\"}, \"DEFAULT\": \"lab_8040\"}");
    let list = json!({"files": [
        {"name": ".lab_8040", "mode": null, "written": blake3::hash(b"{}").to_hex().to_string()},
        {"name": ".caches", "mode": 0o644, "written": blake3::hash(is.as_bytes()).to_hex().to_string()},
    ]});
    for (path, text) in [
        (folder.join(".lab_8040"), "{}"),
        (folder.join(".caches"), is),
        (store.join("original.caches"), was),
        (store.join("list.json"), &format!("{list:#}")),
    ] {
        fs::write(path, text).unwrap();
    }
    let script = alyx_proxy::one::script("http://lab:8040");
    let output = pipe(Path::new("python3"), script.as_bytes(), home.path(), &["--undo"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("an earlier alyx-proxy"), "{output:?}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
    let output =
        command.args(["one-setup", "--undo", "--url", "http://lab:8040"]).env("HOME", home.path()).output();
    assert!(output.as_ref().unwrap().status.success(), "{output:?}");
    let left = tree(&folder);
    assert_eq!(left.values().map(|(_, _, bytes)| bytes.clone()).collect::<Vec<_>>(), [Some(was.into())]);
}
