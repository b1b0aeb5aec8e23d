//! Snapshots that somebody has made who means ill, under a checksum that is right, and those of a machine whose clock or disk
//! was wrong: what comes of importing them, or of serving them alone.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use alyx_proxy::miniature::Miniature;
use serde_json::{Value, json};

use crate::support::{
    Proxy, Setup, command,
    snapshots::{Forged, closed, header, now},
    users,
};

/// What is said to have something imported that nobody has signed.
const WORD: &[&str] = &["--unsigned"];
/// The year 2100.
const FUTURE: i64 = 4_102_444_800_000;
const PIECE: usize = 4 << 20;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn written(&self, forged: &Forged) -> PathBuf {
        let file = self.0.path().join("gift.tar.zst");
        forged.write(&file);
        file
    }

    fn bytes(&self, bytes: &[u8]) -> PathBuf {
        let file = self.0.path().join("gift.tar.zst");
        fs::write(&file, bytes).unwrap();
        file
    }
}

fn import(proxy: &Proxy, file: &Path) -> std::process::Output {
    command::run_for(proxy, &[&["import", file.to_str().unwrap()], WORD].concat())
}

/// What is said where it is refused, by whoever is asked to take it: a proxy that runs, one that is to serve it, `inspect`.
fn refused(proxy: &Proxy, file: &Path) -> String {
    let path = file.to_str().unwrap();
    let said = command::failed(&import(proxy, file), 1);
    let inspected = command::failed(&command::run(&["inspect", path]), 1);
    assert!(inspected.contains(path), "it names the file: {inspected}");
    said
}

async fn before(alyx: &Miniature, settings: &[(&str, &str)]) -> Proxy {
    let setup = settings.iter().fold(Setup::new(&alyx.url()), |setup, (name, value)| setup.set(name, value));
    setup.start().await
}

fn peak_memory(proxy: &Proxy) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// R6a.
#[tokio::test(flavor = "multi_thread")]
async fn their_header_fields_are_nobodys_and_their_bodies_run_nowhere() {
    let alyx = super::miniature().await;
    let proxy = before(&alyx, &[]).await;
    let folder = Folder::new();
    let body = r#""<script src=/-/app.js></script><h1>hello</h1>""#;
    let evil = json!([
        ["content-type", "application/json"],
        ["set-cookie", "alyx_proxy_session=0000; Path=/-/"],
        ["content-security-policy", "default-src * 'unsafe-inline'"],
        ["location", "http://evil.example/"],
        ["refresh", "0;url=http://evil.example/"],
        ["link", "<http://evil.example/>; rel=preload"],
        ["access-control-allow-origin", "*"],
        ["strict-transport-security", "max-age=99999999"],
        ["alt-svc", "h2=\"evil.example:443\""],
        ["clear-site-data", "\"*\""],
        ["cache-control", "public, max-age=99999999"],
        ["x-content-type-options", "none"],
        ["allow", "GET"],
    ]);
    let forged = Forged::of(&alyx.url()).answer("/api/schema", "format=json", &evil, body);
    command::done(&import(&proxy, &folder.written(&forged)));
    let frozen = Setup::of_snapshot(&folder.written(&forged)).with_the_word(WORD).start().await;
    for proxy in [&proxy, &frozen] {
        let answer = proxy.client().anonymous().get("/api/schema?format=json").await.expect(200);
        assert_eq!(answer.text(), body);
        for name in [
            "set-cookie",
            "location",
            "refresh",
            "link",
            "access-control-allow-origin",
            "alt-svc",
            "strict-transport-security",
            "clear-site-data",
            "cache-control",
        ] {
            assert_eq!(answer.header(name), None, "{name}: {}", answer.describe());
        }
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("allow"), Some("GET"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    }
    // What Alyx itself says, too.
    let own = proxy.client().get("/labs?limit=1").await.expect(200);
    assert_eq!(own.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    assert_eq!(own.header("x-content-type-options"), Some("nosniff"));

    // Another type than JSON's is no answer of Alyx's.
    for kind in ["text/html", "image/svg+xml", "application/xhtml+xml", "application/json,text/html", ""] {
        let headers = if kind.is_empty() { json!([]) } else { json!([["content-type", kind]]) };
        let forged = Forged::of(&alyx.url()).answer("/api/schema", "format=json", &headers, body);
        let said = refused(&proxy, &folder.written(&forged));
        assert!(said.contains("content type") && said.contains("answers/000001.jsonl"), "{kind}: {said}");
    }
}

/// The same of a kept file.
#[tokio::test(flavor = "multi_thread")]
async fn the_fields_of_their_files_are_a_zips() {
    let alyx = super::miniature().await;
    let proxy = before(&alyx, &[]).await;
    let folder = Folder::new();
    let zip = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/sample/cache.zip")).unwrap();
    let mut forged = Forged::of(&alyx.url()).file(vec![zip.clone()]);
    forged.files[0].0["headers"] = json!([
        ["content-type", "text/html"],
        ["set-cookie", "a=b"],
        ["content-disposition", "attachment; filename=setup.exe"],
        ["content-security-policy", "default-src *"],
    ]);
    command::done(&import(&proxy, &folder.written(&forged)));
    let answer = proxy.client().get("/cache.zip").await.expect(200);
    assert!(answer.cache().hit(), "{}", answer.describe());
    assert_eq!(answer.body, zip);
    assert_eq!(answer.header("content-type"), Some("application/zip"));
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.header("content-disposition"), Some("inline; filename=\"cache.zip\""));
    assert_eq!(answer.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

/// Has a snapshot say this time.
type Change = fn(&mut Forged, i64);

/// R6b and R6c: each time that may lie in the future.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_from_the_future_comes_in() {
    let alyx = super::miniature().await;
    let proxy = before(&alyx, &[]).await;
    let folder = Folder::new();
    let sound = || {
        let json = json!([["content-type", "application/json"]]);
        let zip = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/sample/cache.zip")).unwrap();
        Forged::of(&alyx.url()).table("labs").answer("/labs", "limit=1", &json, "[]").file(vec![zip])
    };
    let changes: [(&str, Change); 14] = [
        ("manifest.json", |all, at| all.manifest["created_at"] = json!(at)),
        ("manifest.json", |all, at| all.manifest["as_of"] = json!(at)),
        ("marks.jsonl", |all, at| all.marks = format!("[\"everything\",{at}]\n")),
        ("marks.jsonl", |all, at| all.marks = format!("[\"lists labs\",1]\n[\"lists labs\",{at}]\n")),
        ("answers/000001.jsonl", |all, at| all.answers[0]["asked_at"] = json!(at)),
        ("answers/000001.jsonl", |all, at| all.answers[0]["received_at"] = json!(at)),
        ("answers/000001.jsonl", |all, at| all.answers[0]["pages_since"] = json!(at)),
        ("mirror/labs/table.json", |all, at| all.tables[0].1["synced_at"] = json!(at)),
        ("mirror/labs/table.json", |all, at| all.tables[0].1["listed_at"] = json!(at)),
        ("mirror/labs/table.json", |all, at| all.tables[0].1["seen_at"] = json!(at)),
        ("mirror/labs/table.json", |all, at| all.tables[0].1["low"] = json!(at.saturating_mul(1000))),
        ("mirror/labs/table.json", |all, at| all.tables[0].1["seen"] = json!(at.saturating_mul(1000))),
        ("files/000001/file.json", |all, at| all.files[0].0["asked_at"] = json!(at)),
        ("files/000001/file.json", |all, at| all.files[0].0["received_at"] = json!(at)),
    ];
    for (member, change) in changes {
        for at in [now() + 90_000_000, FUTURE, 9_000_000_000_000_000_000, i64::MAX] {
            let mut forged = sound();
            change(&mut forged, at);
            let said = refused(&proxy, &folder.written(&forged));
            assert!(said.contains("in the future") && said.contains(member), "{member} {at}: {said}");
        }
        let mut forged = sound();
        change(&mut forged, i64::MIN);
        let said = refused(&proxy, &folder.written(&forged));
        assert!(said.contains(member), "{member}: {said}");
    }
    let frozen = sound_of_the_future(&sound, &folder).refusal().await;
    assert!(frozen.contains("in the future"), "{frozen}");
    // Nothing of all that has come in.
    let status = proxy.status().await;
    assert_eq!((&status["mirror"]["tables"], &status["cache"]["entries"]), (&json!([]), &json!(0)));
    command::done(&import(&proxy, &folder.written(&sound())));
}

fn sound_of_the_future(sound: &dyn Fn() -> Forged, folder: &Folder) -> Setup {
    let mut forged = sound();
    forged.marks = format!("[\"everything\",{FUTURE}]\n");
    Setup::of_snapshot(&folder.written(&forged)).with_the_word(WORD)
}

/// What an earlier revision took in, or a clock that was years ahead has written, holds nothing up for ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_lies_on_the_disk_from_the_future_stops_nothing() {
    let alyx = super::miniature().await;
    for at in [FUTURE, 9_000_000_000_000_000_000, i64::MAX] {
        let proxy =
            before(&alyx, &[("mirror.token", users::ADMIN.token), ("mirror.endpoints", "labs")]).await;
        proxy.until_mirrored(1).await;
        proxy.get("/projects?limit=2").await.expect(200);
        let mut proxy = proxy;
        proxy.terminate().await;
        let database = rusqlite::Connection::open(proxy.database()).unwrap();
        database.execute("INSERT OR REPLACE INTO marks (scope, at) VALUES ('everything', ?1)", [at]).unwrap();
        database.execute("UPDATE families SET since = ?1", [at]).unwrap();
        drop(database);
        let proxy = proxy.restart().await;
        proxy.get("/projects?limit=1").await.expect(200);
        let again = proxy.get("/projects?limit=1").await.expect(200);
        assert!(again.cache().hit(), "{at}: {}", again.describe());
        proxy.get("/projects?limit=2").await.expect(200);
        let page = proxy.get("/projects?limit=2").await.expect(200);
        assert!(page.cache().hit(), "{at}: {}", page.describe());
        proxy.until_mirrored(1).await;
        // As after a write, it answers when it is synchronised once more.
        let token = fs::read_to_string(proxy.data_dir().join("admin-token")).unwrap();
        let admin = proxy.client().with_authorization(&format!("Bearer {}", token.trim()));
        let sync = json!({ "endpoints": ["labs"], "wait": true });
        admin.ask("POST", "/-/api/sync").json(&sync).send().await.expect(200);
        let mirrored = proxy.get("/labs?limit=1").await.expect(200);
        assert!(super::is_mirrored(&mirrored), "{at}: {}", mirrored.describe());
    }
}

/// R6d: a file that is none.
#[tokio::test(flavor = "multi_thread")]
async fn bombs_fill_neither_disk_nor_memory() {
    let alyx = super::miniature().await;
    let proxy = before(&alyx, &[("cache.max_file", "8 MiB"), ("storage.max_disk", "64 MiB")]).await;
    let folder = Folder::new();
    let nothing_is_kept = || {
        let files = proxy.database().parent().unwrap().join("files");
        let kept: Vec<_> = fs::read_dir(&files).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(kept.is_empty(), "{kept:?}");
    };
    let random = |length: usize| -> Vec<u8> {
        (0..=length / 16).flat_map(|_| *uuid::Uuid::new_v4().as_bytes()).take(length).collect()
    };
    let zip = |inner: Vec<u8>| {
        let end = [&b"PK\x05\x06"[..], &[0; 18]].concat();
        [&b"PK\x03\x04"[..], &inner, &end].concat()
    };
    let sound = Forged::of(&alyx.url());
    for (what, forged, word) in [
        ("no zip", Forged::of(&alyx.url()).file(vec![vec![0; PIECE]]), "zip"),
        ("a zip without an end", Forged::of(&alyx.url()).file(vec![b"PK\x03\x04".to_vec()]), "zip"),
        ("empty", Forged::of(&alyx.url()).file(vec![]), "zip"),
        (
            "beyond the setting",
            Forged::of(&alyx.url()).file(vec![zip(random(PIECE)), random(PIECE), random(PIECE), zip(vec![])]),
            "cache.max_file",
        ),
    ] {
        let said = command::failed(&import(&proxy, &folder.written(&forged)), 1);
        assert!(said.contains(word), "{what}: {said}");
        nothing_is_kept();
    }
    // 2 GiB of zeros in a few kilobytes.
    let members = sound.members();
    let mut tar = tar::Builder::new(zstd::Encoder::new(Vec::new(), 3).unwrap());
    for (name, bytes) in &members[..2] {
        tar.append(&header(name, bytes.len(), tar::EntryType::Regular), bytes.as_slice()).unwrap();
    }
    let (zeros, count) = (vec![0; PIECE], 512);
    let head = json!({ "tag": "", "headers": [], "length": PIECE * count, "info": null, "asked_at": 1, "received_at": 2 });
    let head = head.to_string().into_bytes();
    let name = "files/000001/file.json";
    tar.append(&header(name, head.len(), tar::EntryType::Regular), head.as_slice()).unwrap();
    for part in 1..=count {
        let name = format!("files/000001/{part:06}.part");
        let bytes = if part == 1 { zip(vec![0; PIECE - 26]) } else { zeros.clone() };
        tar.append(&header(&name, bytes.len(), tar::EntryType::Regular), bytes.as_slice()).unwrap();
    }
    let (name, bytes) = members.last().unwrap();
    tar.append(&header(name, bytes.len(), tar::EntryType::Regular), bytes.as_slice()).unwrap();
    let bomb = closed(tar.into_inner().unwrap().finish().unwrap());
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    let said = refused(&proxy, &folder.bytes(&bomb));
    assert!(said.contains("unpacked"), "{said}");
    nothing_is_kept();

    // A quarter of a gigabyte of marks.
    let forged = Forged { marks: "[\"\",1]\n".repeat(36 << 20), ..Forged::of(&alyx.url()) };
    let said = refused(&proxy, &folder.written(&forged));
    assert!(said.contains("marks.jsonl"), "{said}");
    // And as much of lines elsewhere.
    let json = json!([["content-type", "application/json"]]);
    let mut forged = Forged::of(&alyx.url()).answer("/labs", "", &json, "[]");
    forged.tables.push(("labs", Value::String("x".repeat(200 << 20))));
    let said = command::failed(&import(&proxy, &folder.written(&forged)), 1);
    assert!(said.contains("mirror/labs/table.json"), "{said}");
    let peak = peak_memory(&proxy);
    assert!(peak < 400 << 20, "{} MiB", peak >> 20);
    // And it goes on.
    proxy.get("/labs?limit=1").await.expect(200);
}

/// R6e.
#[tokio::test(flavor = "multi_thread")]
async fn no_snapshot_says_where_the_proxy_goes() {
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = visits.clone();
    let inside = axum::Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async { "PK\u{3}\u{4} internal" }
    });
    let (url, _inside) = crate::support::serve(inside).await;
    let alyx = super::miniature().await;
    let proxy = before(&alyx, &[]).await;
    let folder = Folder::new();
    let json = json!([["content-type", "application/json"]]);
    for tag in ["", "secret"] {
        let path = if tag.is_empty() { "/cache/info/".to_owned() } else { format!("/cache/info/{tag}/") };
        let info = json!({ "location": format!("{url}/internal"), "date_created": "2026-11-23 06:00" });
        let forged = Forged::of(&alyx.url()).answer(&path, "", &json, &info.to_string());
        command::done(&import(&proxy, &folder.written(&forged)));
        let answer = proxy.client().get(&format!("/cache.zip?tag={tag}")).await;
        let led = memchr::memmem::find(&answer.body, b"internal").is_some();
        assert!(!led, "{tag}: {}", answer.describe());
        assert_eq!(visits.load(Ordering::SeqCst), 0, "{tag}: {}", answer.describe());
    }
}

/// The sibling: it is Alyx, or a bucket, that leads to an address which only machines of the inside reach.
#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_leads_to_addresses_that_no_alyx_serves() {
    use crate::support::{Reply, Upstream};
    for place in
        ["http://169.254.169.254/latest", "http://[fe80::1]/x", "http://0.0.0.0:1/x", "http://224.0.0.1/x"]
    {
        let alyx =
            Upstream::start(Arc::new(move |asked: &crate::support::Asked| match asked.path().as_str() {
                "/cache.zip" => Reply::new(302, "text/html", "").header("location", place),
                _ => Reply::new(200, "application/json", "[]"),
            }))
            .await;
        let proxy = Setup::new(&alyx.url()).set("upstream.timeout", "20s").start().await;
        let answer = proxy.client().get("/cache.zip").await;
        assert_eq!(answer.status, 504, "{place}: {}", answer.describe());
        assert!(answer.text().contains("an address of the inside"), "{place}: {}", answer.text());
    }
}

/// What a snapshot says of itself is served alone with it: it must be what it can be.
#[tokio::test(flavor = "multi_thread")]
async fn what_it_says_of_itself_is_believed_only_where_it_can_be() {
    let alyx = super::miniature().await;
    let proxy = before(&alyx, &[]).await;
    let folder = Folder::new();
    for (field, value) in [
        ("upstream", json!("file:///etc/passwd")),
        ("upstream", json!("http://user:word@alyx")),
        ("upstream", json!("http://alyx/\r\nx: y")),
        ("time_zone", json!("Nowhere/Land")),
        ("name", json!("a\r\nset-cookie: b")),
        ("name", json!("x".repeat(10_000))),
        ("program", json!("<script>")),
        ("choice", json!({ "lab": "a\u{1b}[2Jb" })),
    ] {
        let mut forged = Forged::of(&alyx.url());
        forged.manifest[field] = value.clone();
        let file = folder.written(&forged);
        let said = refused(&proxy, &file);
        assert!(said.contains("manifest.json") && said.contains(field), "{field} {value}: {said}");
        Setup::of_snapshot(&file).with_the_word(WORD).refusal().await;
    }
}
