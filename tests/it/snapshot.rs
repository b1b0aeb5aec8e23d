//! Issue "For the people in the lab", acceptance 4: snapshots. That all the recordings are answered after an import
//! is `recordings.rs`'s to show.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::support::{
    Proxy, Setup, command, miniature,
    snapshots::{members, packed},
    users,
};
use alyx_proxy::miniature::{Miniature, Options};
use serde_json::{Value, json};

const ENDPOINTS: &[&str] = &[
    "sessions",
    "subjects",
    "labs",
    "projects",
    "users",
    "insertions",
    "data-repository",
    "dataset-types",
    "tags",
];
/// A question that nobody asks before the snapshot is made.
const NEW: &str = "/sessions?lab=cortexlab&date_range=2019-01-01,2020-12-31";

async fn miniature() -> Miniature {
    miniature::start(Options { complete: true, ..Options::default() }).await
}

/// A proxy that has mirrored some tables, seen a log-in and a few questions, and whose Alyx is gone then.
async fn lab() -> (Arc<Miniature>, Proxy) {
    let alyx = Arc::new(miniature().await);
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", &ENDPOINTS.join(","))
        .set("mirror.verify_per_minute", "0")
        .start()
        .await;
    proxy.until_mirrored(ENDPOINTS.len()).await;
    let ask = proxy.client().anonymous().ask("POST", "/auth-token");
    let login = format!("username={}&password={}", users::ONEUSER.name, users::ONEUSER.password);
    ask.body("application/x-www-form-urlencoded", login).send().await.expect(200);
    for path in
        ["/users", "/data-repository", "/docs/?format=corejson", "/trajectories?limit=3", "/labs?limit=2"]
    {
        proxy.client().ask("GET", path).header("cache-control", "no-cache").send().await;
    }
    alyx.cut();
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
    proxy.until_upstream_is("down").await;
    (alyx, proxy)
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file with these bytes.
    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn exported(proxy: &Proxy, file: &Path, more: &[&str]) -> Value {
    let output = command::run_for(proxy, &[&["export", text(file), "--json"], more].concat());
    serde_json::from_str(&command::done(&output)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_an_alyx_as_of_its_day_and_holds_no_secret() {
    let (_alyx, proxy) = lab().await;
    let folder = Folder::new();
    let file = folder.path("paper-2026.tar.zst");
    let told = exported(&proxy, &file, &["--name", "as in the paper"]);
    assert_eq!(told["manifest"]["name"], "as in the paper");
    assert_eq!(told["contents"]["for_single_users"], 1, "/users: {told:#}");
    assert_eq!(told["contents"]["tables"]["sessions"]["records"], 400);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let again = command::failed(&command::run_for(&proxy, &["export", text(&file)]), 1);
    assert!(again.contains("--force"), "{again}");

    // Nothing that opens a door is in it.
    let all: Vec<u8> = members(&file).into_iter().flat_map(|(_, bytes)| bytes).collect();
    let [secret_key, admin, signing] = ["secret.key", "admin-token", "snapshot.key"]
        .map(|name| fs::read(proxy.data_dir().join(name)).unwrap().trim_ascii().to_vec());
    let mut secrets: Vec<Vec<u8>> = users::ALL
        .iter()
        .flat_map(|user| [user.token.as_bytes().to_vec(), user.password.as_bytes().to_vec()])
        .collect();
    secrets.extend([secret_key, admin, signing, b"FAKE-ACCESS-KEY".to_vec()]);
    for secret in &secrets {
        let found = memchr::memmem::find(&all, secret).is_some();
        assert!(!found, "{}", String::from_utf8_lossy(secret));
    }
    assert!(memchr::memmem::find(&all, b"Access key ID").is_some(), "there are keys to be blanked");
    assert!(told["contents"]["blanked"]["data-repository"].as_u64().unwrap() > 0);

    let looked = command::done(&command::run(&["inspect", text(&file)]));
    for part in ["as in the paper", "sessions", "400", "kept apart for single users", "It is sound."] {
        assert!(looked.contains(part), "{looked}");
    }

    // Served alone: everybody may read, as of that day, and nothing else.
    let frozen = Setup::of_snapshot(&file).set("mirror.token", users::ADMIN.token).start().await;
    let token = frozen.client().with_authorization(&format!("Token {}", users::UNKNOWN_TOKEN));
    for path in [NEW, "/sessions?limit=3&offset=2", "/users", "/labs/cortexlab", "/trajectories?limit=3"] {
        let client = proxy.client();
        let here = client.get(path).await;
        let there = token.get(path).await;
        let base = |answer: &crate::support::Answer, url: String| answer.text().replace(&url, "BASE");
        assert_eq!(base(&there, frozen.url()), base(&here, proxy.url()), "{path}");
        assert_eq!(frozen.client().anonymous().get(path).await.body, there.body);
        let notice = there.header("alyx-api-notice").unwrap();
        assert!(notice.contains("as in the paper"), "{notice}");
    }
    let unknown = token.get("/weighings").await.expect(504).json();
    assert!(
        unknown["detail"].as_str().unwrap().contains("This is the snapshot `as in the paper`"),
        "{unknown}"
    );
    let write = token.ask("POST", "/sessions").body("application/json", "{}").send().await.expect(504).json();
    assert!(write["detail"].as_str().unwrap().contains("nothing can be written"), "{write}");
    let ask = frozen.client().anonymous().ask("POST", "/auth-token");
    let login = ask.body("application/x-www-form-urlencoded", "username=anybody&password=any").send().await;
    assert_eq!(login.expect(200).json()["token"].as_str().unwrap().len(), 40);
    let status = frozen.status().await;
    assert_eq!(status["snapshot"]["name"], "as in the paper", "{status:#}");
    let refused = command::failed(&command::run_for(&frozen, &["import", text(&file)]), 2);
    assert!(refused.contains("admin"), "the folder of a snapshot has a token of its own: {refused}");

    // Once taken in, it is there at the next start.
    let frozen = frozen.restart().await;
    frozen.client().anonymous().get(NEW).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_chosen_is_in_it_and_nothing_else() {
    let (alyx, proxy) = lab().await;
    let folder = Folder::new();
    let file = folder.path("cortexlab.tar.zst");
    let told = exported(&proxy, &file, &["--lab", "cortexlab"]);
    let sessions = told["contents"]["tables"]["sessions"]["records"].as_u64().unwrap();
    assert!(0 < sessions && sessions < 400, "{told:#}");
    assert!(told["contents"]["answers"].get("trajectories").is_none(), "{told:#}");
    let wrong = command::failed(
        &command::run_for(&proxy, &["export", text(&folder.path("x")), "--endpoint", "sesions"]),
        2,
    );
    assert!(wrong.contains("`sesions`"), "{wrong}");

    // Into a proxy that runs, and has no network.
    let there = Setup::new(&alyx.url()).set("access.anonymous", "true").start().await;
    there.until_upstream_is("down").await;
    let import = || -> Value {
        let output = command::run_for(&there, &["import", text(&file), "--once", "--json"]);
        serde_json::from_str(&command::done(&output)).unwrap()
    };
    let first = import();
    assert!(first["tables"].as_array().unwrap().contains(&json!("sessions")), "{first}");
    let second = import();
    assert_eq!(second["tables"], json!([]), "what is here already stays");
    assert_eq!(second["kept_tables"].as_array().unwrap().len(), first["tables"].as_array().unwrap().len());
    assert_eq!(
        (second["answers"].as_u64(), second["kept_answers"].as_u64()),
        (Some(0), first["answers"].as_u64())
    );
    let base = |text: &str, proxy: &Proxy| text.replace(&proxy.url(), "BASE");
    let (here, new) = (proxy.client().get(NEW).await, there.client().get(NEW).await);
    assert_eq!(base(new.expect(200).text(), &there), base(here.expect(200).text(), &proxy));
    let other = there.client().get("/sessions?lab=mainenlab").await.expect(504).json();
    assert!(other["detail"].as_str().unwrap().contains("lab=cortexlab"), "{other}");

    // Of another Alyx it takes in nothing.
    let elsewhere = Setup::new("http://127.0.0.1:9").start().await;
    let refused = command::failed(&command::run_for(&elsewhere, &["import", text(&file), "--once"]), 1);
    assert!(refused.contains(&alyx.url()) && refused.contains("http://127.0.0.1:9"), "{refused}");
}

/// Changes a snapshot's members.
type Change = fn(&mut Vec<(String, Vec<u8>)>);

fn member<'a>(members: &'a mut [(String, Vec<u8>)], name: &str) -> &'a mut Vec<u8> {
    &mut members.iter_mut().find(|(known, _)| known == name).unwrap().1
}

fn replace(members: &mut [(String, Vec<u8>)], name: &str, from: &str, to: &str) {
    let bytes = member(members, name);
    let text = String::from_utf8(bytes.clone()).unwrap();
    assert!(text.contains(from), "{text}");
    *bytes = text.replacen(from, to, 1).into_bytes();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_sound_snapshot_is_refused_and_changes_nothing() {
    let (alyx, proxy) = lab().await;
    let folder = Folder::new();
    let file = folder.path("lab.tar.zst");
    exported(&proxy, &file, &[]);
    let bytes = fs::read(&file).unwrap();
    drop(proxy);
    let there = Setup::new(&alyx.url()).start().await;
    let refused = |path: &Path| {
        let import = ["import", text(path), "--once", "--unsigned"];
        let (looked, imported) = (command::run(&["inspect", text(path)]), command::run_for(&there, &import));
        let said = command::failed(&looked, 1);
        command::failed(&imported, 1);
        assert!(said.contains(text(path)), "it names the file: {said}");
        said
    };

    for length in [4, 47, 48, 1_000, bytes.len() / 2, bytes.len() - 48, bytes.len() - 1] {
        let said = refused(&folder.file("cut", &bytes[..length]));
        assert!(said.contains("cut short"), "{length}: {said}");
    }
    for (name, content) in [("empty", &b""[..]), ("text", b"hello, I am no snapshot"), ("zip", b"PK\x03\x04")]
    {
        let said = refused(&folder.file(name, content));
        assert!(said.contains("is not a snapshot"), "{said}");
    }
    let longer = [&bytes[..], b"more"].concat();
    refused(&folder.file("longer", &longer));
    // A bit here and there, in every part of it.
    for at in (0..bytes.len()).step_by(bytes.len() / 60).chain(bytes.len() - 48..bytes.len()) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(folder.path("flipped"), flipped).unwrap();
        let said = command::failed(&command::run(&["inspect", text(&folder.path("flipped"))]), 1);
        let named =
            ["is damaged", "cut short", "is not a snapshot"].iter().any(|reason| said.contains(reason));
        assert!(named, "byte {at}: {said}");
    }

    let sound = members(&file);
    let first = "mirror/sessions/000001.jsonl";
    let changes: [(&str, Change); 14] = [
        ("in form 2", |all| replace(all, "manifest.json", "\"form\":1", "\"form\":2,\"hologram\":true")),
        ("is not a snapshot", |all| replace(all, "manifest.json", "alyx-proxy snapshot", "something else")),
        ("unknown field", |all| replace(all, "manifest.json", "\"form\":1", "\"form\":1,\"hologram\":true")),
        ("`../../etc/passwd`", |all| all.insert(1, ("../../etc/passwd".to_owned(), b"root".to_vec()))),
        ("`/etc/passwd`", |all| all.insert(1, ("/etc/passwd".to_owned(), b"root".to_vec()))),
        ("no member has such a name", |all| {
            all.insert(1, ("mirror/passwords/table.json".to_owned(), b"{}".to_vec()));
        }),
        ("must not stand", |all| all.swap(1, 2)),
        ("must not stand", |all| {
            let again = all[1].clone();
            all.push(again);
        }),
        ("says something else", |all| {
            all.retain(|(name, _)| name != "answers/000001.jsonl");
        }),
        ("is not there", |all| drop(all.pop())),
        ("line 1:", |all| replace(all, "mirror/sessions/000001.jsonl", "{", "[")),
        ("is not what it ought to be", |all| {
            replace(all, "mirror/sessions/000001.jsonl", r#"\"number\":"#, r#"\"number\":\"x\",\"no\":"#);
        }),
        ("not in their order", |all| {
            let bytes = member(all, "mirror/sessions/000001.jsonl");
            let line = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap().to_vec();
            bytes.splice(0..0, line);
        }),
        ("are never kept", |all| {
            replace(all, "answers/000001.jsonl", r#""path":"/"#, r#""path":"//"#);
        }),
    ];
    assert!(sound.iter().any(|(name, _)| name == first));
    for (reason, change) in changes {
        let mut members = sound.clone();
        change(&mut members);
        let said = refused(&folder.file("changed", &packed(&members, tar::EntryType::Regular)));
        assert!(said.contains(reason), "{reason}: {said}");
    }
    let said = refused(&folder.file("link", &packed(&sound, tar::EntryType::Symlink)));
    assert!(said.contains("no plain file"), "{said}");

    let status = there.status().await;
    assert_eq!((&status["mirror"]["tables"], &status["cache"]["entries"]), (&json!([]), &json!(0)));
    let left: Vec<_> = fs::read_dir(there.data_dir())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("incoming"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    // And what is sound is taken in.
    let said =
        command::done(&command::run_for(&there, &["import", text(&folder.file("sound", &bytes)), "--once"]));
    assert!(said.contains("9 tables"), "{said}");
}
