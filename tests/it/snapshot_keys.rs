//! Snapshots are signed: whose they are is shown, one's own and those of known keys come in without a word, others on one, and
//! what somebody has changed is nobody's.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};

use alyx_proxy::miniature::Miniature;
use serde_json::Value;

use crate::support::{
    Proxy, Setup, command, miniature,
    snapshots::{closed, members, packed},
};

/// What stands behind an archive: the checksum, and before it the signature.
const CHECKSUM: usize = 48;
const SIGNATURE: usize = 176;

struct Case {
    folder: tempfile::TempDir,
    alyx: Miniature,
    maker: Proxy,
    file: PathBuf,
}

/// A lab's proxy, and a snapshot of it.
async fn case() -> Case {
    let alyx = miniature::start(alyx_proxy::miniature::Options::default()).await;
    let maker = Proxy::start(&alyx.url()).await;
    maker.get("/labs?limit=2").await.expect(200);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lab.tar.zst");
    command::done(&command::run_for(&maker, &["export", text(&file)]));
    Case { folder, alyx, maker, file }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn import(proxy: &Proxy, file: &Path, words: &[&str]) -> Output {
    command::run_for(proxy, &[&["import", text(file)], words].concat())
}

fn at(data_dir: &Path, arguments: &[&str]) -> Output {
    command::run(&[arguments, &["--data-dir", text(data_dir)]].concat())
}

fn keys(data_dir: &Path) -> Value {
    serde_json::from_str(&command::done(&at(data_dir, &["keys", "--json"]))).unwrap()
}

fn inspected(data_dir: &Path, file: &Path) -> Value {
    let told = command::done(&at(data_dir, &["inspect", text(file), "--json"]));
    serde_json::from_str::<Value>(&told).unwrap()["maker"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_come_in_without_a_word_and_strangers_on_one() {
    let Case { folder: _folder, alyx, maker, file } = case().await;
    let key = maker.data_dir().join("snapshot.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let own = keys(&maker.data_dir())["own"].clone();
    let fingerprint = own["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(inspected(&maker.data_dir(), &file)["standing"], "own");
    command::done(&import(&maker, &file, &[]));

    // Elsewhere its maker is nobody that is known, whoever asks.
    let there = Proxy::start(&alyx.url()).await;
    let seen = inspected(&there.data_dir(), &file);
    assert_eq!((seen["standing"].as_str(), seen["key"].as_str()), (Some("unknown"), own["key"].as_str()));
    let looked = command::done(&at(&there.data_dir(), &["inspect", text(&file)]));
    assert!(looked.contains("not known here") && looked.contains(&fingerprint), "{looked}");
    let said = command::failed(&import(&there, &file, &[]), 1);
    for part in [fingerprint.as_str(), own["name"].as_str().unwrap(), "--trust NAME", "--once"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(there.status().await["cache"]["entries"], 0, "nothing has come in");
    command::failed(&import(&there, &file, &["--unsigned"]), 1);

    // Once is once.
    let told = command::done(&import(&there, &file, &["--once"]));
    assert!(told.contains(&fingerprint), "{told}");
    command::failed(&import(&there, &file, &[]), 1);
    assert_eq!(keys(&there.data_dir())["known"], serde_json::json!([]));

    // Who is trusted is known from then on, until the key is revoked.
    command::failed(&import(&there, &file, &["--trust", "a\nb"]), 1);
    command::done(&import(&there, &file, &["--trust", "the lab"]));
    command::done(&import(&there, &file, &[]));
    let known = keys(&there.data_dir())["known"][0].clone();
    assert_eq!((known["name"].as_str(), &known["fingerprint"]), (Some("the lab"), &own["fingerprint"]));
    let seen = inspected(&there.data_dir(), &file);
    assert_eq!((seen["standing"].as_str(), seen["name"].as_str()), (Some("known"), Some("the lab")));
    let listed = command::done(&at(&there.data_dir(), &["keys"]));
    assert!(listed.contains("the lab") && listed.contains(&fingerprint), "{listed}");
    let missing = command::failed(&at(&there.data_dir(), &["keys", "--revoke", "nobody"]), 1);
    assert!(missing.contains("`nobody`"), "{missing}");
    command::done(&at(&there.data_dir(), &["keys", "--revoke", "the lab"]));
    for words in [&[][..], &["--once"], &["--unsigned"]] {
        let said = command::failed(&import(&there, &file, words), 1);
        assert!(said.contains("revoked") && said.contains("the lab"), "{words:?}: {said}");
    }
    command::done(&import(&there, &file, &["--trust", "the lab"]));
    command::done(&import(&there, &file, &[]));
    // A name is one key's.
    let other = Proxy::start(&alyx.url()).await;
    other.get("/labs").await.expect(200);
    let second = file.with_file_name("second.tar.zst");
    command::done(&command::run_for(&other, &["export", text(&second)]));
    let said = command::failed(&import(&there, &second, &["--trust", "the lab"]), 1);
    assert!(said.contains("another key"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_is_nobodys() {
    let Case { folder, alyx, maker, file } = case().await;
    let there = Proxy::start(&alyx.url()).await;
    command::done(&import(&there, &file, &["--trust", "lab"]));
    let bytes = fs::read(&file).unwrap();
    let signature = &bytes[bytes.len() - CHECKSUM - SIGNATURE..bytes.len() - CHECKSUM];
    let archive = &bytes[..bytes.len() - CHECKSUM - SIGNATURE];
    let written = |bytes: Vec<u8>| {
        let file = folder.path().join("other.tar.zst");
        fs::write(&file, bytes).unwrap();
        file
    };
    // Signed by nobody: what an earlier revision has written, or somebody else.
    let mut others = members(&file);
    let unsigned = packed(&others, tar::EntryType::Regular);
    let said = command::failed(&import(&there, &written(unsigned.clone()), &[]), 1);
    assert!(said.contains("nobody has signed it") && said.contains("--unsigned"), "{said}");
    for words in [&["--once"][..], &["--trust", "x"]] {
        command::failed(&import(&there, &written(unsigned.clone()), words), 1);
    }
    assert_eq!(inspected(&there.data_dir(), &written(unsigned.clone()))["standing"], "unsigned");
    let told = command::done(&import(&there, &written(unsigned.clone()), &["--unsigned"]));
    assert!(told.contains("Nobody has signed it"), "{told}");

    // Another text under the maker's signature, and another name.
    let answers = others.iter_mut().find(|(name, _)| name.starts_with("answers/")).unwrap();
    answers.1 = String::from_utf8(answers.1.clone()).unwrap().replace("lab", "bal").into_bytes();
    let changed = packed(&others, tar::EntryType::Regular);
    let changed = closed([&changed[..changed.len() - CHECKSUM], signature].concat());
    let mut renamed = signature.to_vec();
    renamed[SIGNATURE - 64] ^= 1;
    let renamed = closed([archive, &renamed].concat());
    // A signature that another has made of it is not the maker's.
    let twice = closed([archive, signature, signature].concat());
    for (what, bytes) in [("a text", changed), ("a name", renamed), ("twice", twice)] {
        let file = written(bytes);
        for words in [&[][..], &["--once", "--unsigned", "--trust", "x"]] {
            let said = command::failed(&import(&there, &file, words), 1);
            assert!(said.contains("signature is wrong"), "{what}: {said}");
        }
        command::failed(&at(&there.data_dir(), &["inspect", text(&file)]), 1);
        Setup::of_snapshot(&file).with_the_word(&["--unsigned"]).refusal().await;
    }
    drop(maker);
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_told_by_their_settings_and_served_snapshots_ask_too() {
    let Case { folder: _folder, alyx, maker, file } = case().await;
    let own = keys(&maker.data_dir())["own"]["key"].as_str().unwrap().to_owned();
    let there =
        Setup::new(&alyx.url()).set("snapshot.trusted_keys", &format!("{own} lab-server")).start().await;
    let told = command::done(&import(&there, &file, &[]));
    assert!(told.contains("lab-server"), "{told}");
    let refused = Setup::new(&alyx.url()).set("snapshot.trusted_keys", "ed25519:short").refusal().await;
    assert!(refused.contains("snapshot.trusted_keys"), "{refused}");

    let served = || Setup::of_snapshot_of_a_friend(&file);
    let said = served().refusal().await;
    assert!(said.contains("--trust NAME"), "{said}");
    let setup = served();
    let known = setup.clone().with_the_word(&["--trust", "the lab"]).start().await;
    assert!(known.output().contains("the lab"), "{}", known.output());
    drop(known);
    let known = setup.start().await;
    known.get("/labs?limit=2").await.expect(200);
    drop(known);
    served().set("snapshot.trusted_keys", &own).start().await;

    // Over HTTP, without the program's own command.
    let token = fs::read_to_string(maker.data_dir().join("admin-token")).unwrap();
    drop(maker);
    let elsewhere = Proxy::start(&alyx.url()).await;
    let token_there = fs::read_to_string(elsewhere.data_dir().join("admin-token")).unwrap();
    assert_ne!(token, token_there);
    let post = async |query: &str| {
        let client = elsewhere.client().with_authorization(&format!("Bearer {}", token_there.trim()));
        let ask = client.ask("POST", &format!("/-/api/import{query}"));
        ask.body("application/zstd", fs::read(&file).unwrap()).send().await
    };
    let refused = post("").await.expect(409).json();
    assert!(refused["detail"].as_str().unwrap().contains("--once"), "{refused}");
    post("?nonsense").await.expect(400);
    let report = post("?once").await.expect(200).json();
    assert_eq!(
        (&report["maker"]["standing"], &report["maker"]["key"]),
        (&"unknown".into(), &own.clone().into())
    );
}

/// Where no proxy runs the commands do the work themselves, with the same keys.
#[tokio::test(flavor = "multi_thread")]
async fn commands_without_a_proxy_keep_to_the_same_keys() {
    let Case { folder, alyx, mut maker, file } = case().await;
    maker.terminate().await;
    let upstream = format!("upstream.url={}", alyx.url());
    let own = maker.data_dir();
    let alone =
        |data_dir: &Path, arguments: &[&str]| at(data_dir, &[arguments, &["--set", &upstream]].concat());
    command::done(&alone(&own, &["import", text(&file)]));
    let other = folder.path().join("data");
    let said = command::failed(&alone(&other, &["import", text(&file)]), 1);
    assert!(said.contains("not known here"), "{said}");
    command::done(&alone(&other, &["import", text(&file), "--trust", "lab"]));
    command::done(&alone(&other, &["import", text(&file)]));
    let second = folder.path().join("second.tar.zst");
    let told = command::done(&alone(&other, &["export", text(&second), "--json"]));
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["maker"]["key"], keys(&other)["own"]["key"]);
    assert_ne!(told["maker"]["key"], keys(&own)["own"]["key"], "each machine has its own");
    // A key that others can read is none.
    let key = other.join("snapshot.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let third = folder.path().join("third.tar.zst");
    let said = command::failed(&alone(&other, &["export", text(&third)]), 1);
    assert!(said.contains("snapshot.key") && !third.exists(), "{said}");
}
