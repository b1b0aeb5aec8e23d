//! The script and the real ONE.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{in_file, miniature, pipe, python, script_of, tree};
use crate::one::{FOLDERS, One};
use crate::support::{Lab, Proxy, Setup, users};

#[tokio::test(flavor = "multi_thread")]
async fn on_each_system_it_takes_ones_own_folders() {
    let lab = Lab::open().await;
    let script = script_of(&Proxy::start(&lab.url()).await).await;
    let told = tokio::task::spawn_blocking(move || {
        let (folder, file) = in_file(&script);
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        let output = python(One::newest().python(), &home, &[FOLDERS, file.to_str().unwrap()]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    });
    let told = told.await.unwrap();
    let told: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    let roaming = |system| format!("{system}/AppData/Roaming/.one");
    let folders =
        json!({"linux": ".one", "darwin": ".one", "win32": roaming("win32"), "cygwin": roaming("cygwin")});
    assert_eq!(told, folders);
}

/// What ONE has been set up with, as ONE itself tells.
const TELL: &str = "
import json
print(json.dumps({'url': one.alyx.base_url, 'cache_dir': str(one.cache_dir), 'user': one.alyx._par.ALYX_LOGIN,
                  'sessions': len(one.search(lab='cortexlab', query_type='remote'))}))
";

/// What ONE says after this code.
fn one(home: &Path, code: &str) -> Value {
    let output =
        python(One::newest().python(), home, &["-c", &format!("from one.api import ONE\n{code}{TELL}")]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_one_asks_the_proxy_with_the_folder_it_had_and_undo_restores_every_byte() {
    let alyx = miniature().await;
    let proxy = Proxy::start(&alyx.url()).await;
    let (script, url, alyx_url) = (script_of(&proxy).await, proxy.url(), alyx.url());
    tokio::task::spawn_blocking(move || {
        let user = users::ONEUSER;
        let home = TempDir::with_prefix("one-script-").unwrap();
        let run = |arguments: &[&str]| {
            let output = pipe(Path::new("python3"), script.as_bytes(), home.path(), arguments);
            assert!(output.status.success(), "{output:?}");
        };
        // Somebody who has never used ONE.
        run(&["--username", user.name]);
        let log_in = format!("one = ONE(password='{}', silent=True)", user.password);
        let fresh = one(home.path(), &log_in);
        assert_eq!(fresh["url"], json!(url));
        run(&["--undo"]);
        assert!(!home.path().join(".one").exists());
        // The same person with Alyx itself.
        let folder = home.path().join("my data");
        let setup = format!(
            "ONE.setup(base_url='{alyx_url}', silent=True, make_default=True, username='{}', cache_dir='{}')\n",
            user.name,
            folder.display()
        );
        let before = one(home.path(), &format!("{setup}{log_in}"));
        let original = tree(&home.path().join(".one"));
        run(&[]);
        one(home.path(), &log_in);
        let after = one(home.path(), "one = ONE()");
        assert_eq!(after["url"], json!(url));
        assert_eq!((&after["cache_dir"], &after["sessions"]), (&json!(folder), &before["sessions"]));
        run(&["--undo"]);
        assert_eq!(tree(&home.path().join(".one")), original);
        assert_eq!(one(home.path(), "one = ONE()"), before);
    })
    .await
    .unwrap();
}

/// A lab's own authority, and a certificate of it for 127.0.0.1.
fn authority(folder: &Path) -> Setting {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    parameters.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let authority = parameters.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(parameters, key);
    let mut parameters = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    parameters.use_authority_key_identifier_extension = true;
    // By another name than the authority's: OpenSSL would take it for its own authority otherwise.
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "lab-server");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.signed_by(&key, &issuer).unwrap();
    let files = [
        ("ca.pem", authority.pem()),
        ("certificate.pem", certificate.pem()),
        ("key.pem", key.serialize_pem()),
    ];
    files.map(|(name, text)| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    })
}

/// The files of the authority, the certificate and its key.
type Setting = [String; 3];

#[tokio::test(flavor = "multi_thread")]
async fn a_labs_own_authority_is_trusted_where_it_is_named_only() {
    let alyx = miniature().await;
    let folder = TempDir::with_prefix("one-script-tls-").unwrap();
    let [ca, certificate, key] = authority(folder.path());
    let setup = Setup::new(&alyx.url()).set("server.tls_certificate", &certificate);
    let proxy = setup.set("server.tls_key", &key).start().await;
    let url = format!("https://{}", proxy.address());
    let user = users::ONEUSER;
    tokio::task::spawn_blocking(move || {
        let home = folder.path().join("home");
        let shell = |line: &str| {
            let mut command = Command::new("bash");
            command
                .args(["-o", "pipefail", "-c", line])
                .env_clear()
                .env("HOME", &home)
                .env("CA", &ca)
                .env("URL", &url);
            command.env("PATH", std::env::var_os("PATH").unwrap()).output().unwrap()
        };
        let program = env!("CARGO_BIN_EXE_alyx-proxy");
        let script = "curl -fsSL --cacert $CA $URL/-/one-setup.py | python3 -";
        let mut trees = Vec::new();
        for line in [script, &format!("{program} one-setup --url $URL")] {
            fs::create_dir(&home).unwrap();
            let output = shell(line);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(String::from_utf8_lossy(&output.stderr).contains("can't be trusted: "), "{output:?}");
            assert!(tree(&home).is_empty());
            let output = shell(&format!("{line} --ca $CA --username {}", user.name));
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && said.contains("REQUESTS_CA_BUNDLE"), "{output:?}");
            trees.push(tree(&home));
            let bundle = format!("import os; os.environ['REQUESTS_CA_BUNDLE'] = '{ca}'");
            let told = one(&home, &format!("{bundle}\none = ONE(password='{}', silent=True)", user.password));
            assert_eq!(told["url"], json!(url));
            fs::remove_dir_all(&home).unwrap();
        }
        assert_eq!(trees[0], trees[1]);
        // The wrong scheme is no proxy that is away.
        let plain =
            "curl -fsSL --cacert $CA $URL/-/one-setup.py | python3 - --home . --url ${URL/https/http}";
        let output = shell(plain);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    })
    .await
    .unwrap();
}
