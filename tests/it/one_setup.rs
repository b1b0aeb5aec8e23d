//! `one-setup`: plain `ONE()` asks the proxy and goes on using the folder that is there; `--undo` puts everything back.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use crate::one::One;
use crate::support::{Proxy, miniature, users};
use alyx_proxy::miniature::{Miniature, Options};
use serde_json::{Value, json};
use tempfile::TempDir;

async fn miniature() -> Arc<Miniature> {
    Arc::new(miniature::start(Options::default()).await)
}

/// A user's home.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(TempDir::with_prefix("one-setup-home-").unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn try_setup(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
        command.arg("one-setup").args(arguments).env_clear().env("HOME", self.path());
        command.output().unwrap()
    }

    fn setup(&self, arguments: &[&str]) -> String {
        let output = self.try_setup(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn python(&self, script: &str) -> Value {
        let mut command = Command::new(One::newest().python());
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .args(["-c", script])
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.path())
            .env("NO_PROXY", "*");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{script}\n{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(text.lines().last().unwrap()).unwrap_or_else(|e| panic!("{e}: {text}"))
    }

    /// All files of ONE's, with modes.
    fn files(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let folder = self.path().join(".one");
        let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
        entries
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| {
                let mode = fs::metadata(&path).unwrap().permissions().mode();
                let bytes = fs::read(&path).unwrap();
                (path, (mode, bytes))
            })
            .collect()
    }
}

/// What ONE has been set up with, as ONE itself tells.
const TELL: &str = "
import json
print(json.dumps({'url': one.alyx.base_url, 'cache_dir': str(one.cache_dir), 'user': one.alyx._par.ALYX_LOGIN,
                  'sessions': len(one.search(lab='cortexlab', query_type='remote'))}))
";

#[tokio::test(flavor = "multi_thread")]
async fn plain_one_asks_the_proxy_with_the_folder_that_was_there_and_undo_restores_it() {
    let alyx = miniature().await;
    let proxy = Proxy::start(&alyx.url()).await;
    let (url, alyx_url) = (proxy.url(), alyx.url());
    tokio::task::spawn_blocking(move || {
        let home = Home::new();
        let folder = home.path().join("my data");
        let user = users::ONEUSER;
        // Someone who has used Alyx itself until now, and another database too.
        let script = format!(
            "from one.api import ONE
ONE.setup(base_url='https://other.example.org', silent=True, make_default=False)
ONE.setup(base_url='{alyx_url}', silent=True, make_default=True, username='{}', cache_dir='{}')
one = ONE(password='{}', silent=True){TELL}",
            user.name,
            folder.display(),
            user.password
        );
        let before = home.python(&script);
        assert_eq!(before["url"], json!(alyx_url));
        let original = home.files();

        let shown = home.setup(&["--url", &url, "--dry-run"]);
        assert!(shown.contains(".caches") && shown.contains("my data"), "{shown}");
        assert_eq!(home.files(), original);

        let said = home.setup(&["--url", &url]);
        assert!(said.contains(".caches") && said.contains("--undo"), "{said}");
        let made: Vec<_> =
            home.files().into_iter().filter(|(path, _)| !original.contains_key(path)).collect();
        assert_eq!(made.len(), 1, "one file for the proxy");
        assert_eq!(made[0].1.0 & 0o777, 0o600);
        let text = String::from_utf8_lossy(&made[0].1.1).into_owned();
        assert!(!text.contains(user.token) && !text.contains(user.password), "{text}");

        // The password is needed once, as for any new database; then ONE() alone will do.
        let after = home.python(&format!(
            "from one.api import ONE\none = ONE(password='{}', silent=True){TELL}",
            user.password
        ));
        let plain = home.python(&format!("from one.api import ONE\none = ONE(){TELL}"));
        assert_eq!(plain, after);
        assert_eq!(plain["url"], json!(url));
        for same in ["cache_dir", "user", "sessions"] {
            assert_eq!(plain[same], before[same], "{same}");
        }

        // A second time changes nothing, and undoing still leads to what was there at first.
        home.setup(&["--url", &url]);
        home.setup(&["--undo"]);
        assert_eq!(home.files(), original);
        let undone = home.python(&format!("from one.api import ONE\none = ONE(){TELL}"));
        assert_eq!(undone, before);
        let again = home.try_setup(&["--undo"]);
        assert_eq!(again.status.code(), Some(2), "{again:?}");
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_never_used_one_gets_a_folder_and_can_go_back_to_nothing() {
    let alyx = miniature().await;
    let proxy = Proxy::start(&alyx.url()).await;
    let url = proxy.url();
    tokio::task::spawn_blocking(move || {
        let home = Home::new();
        let user = users::ONEUSER;
        home.setup(&["--url", &url, "--username", user.name]);
        let script =
            format!("from one.api import ONE\none = ONE(password='{}', silent=True){TELL}", user.password);
        let told = home.python(&script);
        assert_eq!(told["url"], json!(url));
        let downloads = home.path().join("Downloads/ONE");
        assert!(Path::new(told["cache_dir"].as_str().unwrap()).starts_with(downloads), "{told}");
        home.setup(&["--undo"]);
        assert!(home.files().is_empty());
    })
    .await
    .unwrap();
}

#[test]
fn what_cannot_be_done_safely_is_refused_and_nothing_changes() {
    let home = Home::new();
    let one = home.path().join(".one");
    fs::create_dir(&one).unwrap();
    let url = "http://127.0.0.1:9";
    let unchecked = ["--url", url, "--unchecked"];
    // Nobody listens there.
    let output = home.try_setup(&["--url", url]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    for (text, reason) in [("{", "mend it"), ("[]", "mend it"), (r#"{"CLIENT_MAP": 1}"#, "CLIENT_MAP")] {
        fs::write(one.join(".caches"), text).unwrap();
        let before = home.files();
        let output = home.try_setup(&unchecked);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(reason), "{output:?}");
        assert_eq!(home.files(), before);
    }
    let caches =
        r#"{"CLIENT_MAP": {"alyx.example.org": "/nonexistent-but-mine"}, "DEFAULT": "alyx.example.org"}"#;
    fs::write(
        one.join(".caches"),
        caches.replace("/nonexistent-but-mine", &home.path().display().to_string()),
    )
    .unwrap();
    let output = home.try_setup(&[&unchecked[..], &["--like", "https://elsewhere.org"]].concat());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("alyx.example.org"), "{output:?}");

    // What nobody can read is put back by force only.
    let before = home.files();
    home.setup(&unchecked);
    let mut text = fs::read_to_string(one.join(".caches")).unwrap();
    text.push('{');
    fs::write(one.join(".caches"), &text).unwrap();
    let output = home.try_setup(&["--undo"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(fs::read_to_string(one.join(".caches")).unwrap(), text);
    home.setup(&["--undo", "--force"]);
    assert_eq!(home.files(), before);
}
