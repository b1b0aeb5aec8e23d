//! Nothing that is empty, elsewhere or mistyped says that it succeeded.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, fs::chown, process::CommandExt},
};

use serde_json::Value;

use super::{Home, text};
use crate::support::{Lab, Proxy, Setup, command, miniature, users};
use alyx_proxy::miniature::Options;

/// Somebody else on this machine.
const NOBODY: u32 = 65_534;

#[tokio::test(flavor = "multi_thread")]
async fn point_1_an_export_of_nothing_fails_and_leaves_nothing() {
    let lab = Lab::open().await;
    let home = Home::new().set("upstream.url", &lab.url()).set("server.listen", "127.0.0.1:9");
    let (file, folder) = (home.path("lab.tar.zst"), home.path("data"));
    // A folder that never existed.
    let export = ["export", text(&file), "--data-dir", text(&folder)];
    let said = command::failed(&home.run(&export), 1);
    assert!(said.contains(text(&folder)) && said.contains(&lab.url()), "{said}");
    assert!(!file.exists() && !folder.exists());

    // One in which a proxy has stood before another Alyx, which is named.
    let mut other = Setup::new("http://127.0.0.1:9").start().await;
    other.terminate().await;
    let folder = other.data_dir();
    let said = command::failed(&home.run(&["export", text(&file), "--data-dir", text(&folder)]), 1);
    assert!(said.contains("127.0.0.1_9-") && said.contains("upstream.url"), "{said}");

    // One of a proxy that knows nothing yet, running and not.
    let mut proxy = Proxy::start(&lab.url()).await;
    let said = command::failed(&command::run_for(&proxy, &["export", text(&file)]), 1);
    assert!(said.contains("nothing of it is here"), "{said}");
    proxy.terminate().await;
    let folder = proxy.data_dir();
    let said = command::failed(&home.run(&["export", text(&file), "--data-dir", text(&folder)]), 1);
    assert!(said.contains("nothing of it is here") && said.contains(text(&folder)), "{said}");
    assert!(!file.exists());

    // And where there is something it is told.
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    command::done(&command::run_for(&proxy, &["export", text(&file)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn point_2_no_command_works_on_another_folder_than_the_proxy_that_runs() {
    let alyx = miniature::start(Options::default()).await;
    let proxy = Proxy::start(&alyx.url()).await;
    proxy.get("/labs").await.expect(200);
    let home = Home::beside(&proxy, &alyx.url()).set("mirror.token", users::ADMIN.token);
    let file = home.path("lab.tar.zst");
    command::done(&command::run_for(&proxy, &["export", text(&file)]));
    let (other, tables) = (home.path("other.tar.zst"), home.path("cache.zip"));
    for arguments in [
        &["export", text(&other)][..],
        &["import", text(&file), "--once"],
        &["sync", "labs"],
        &["tables", text(&tables)],
    ] {
        let said = command::failed(&home.run(arguments), 1);
        assert!(said.contains(&format!("a proxy runs at {}", proxy.url())), "{arguments:?}: {said}");
        assert!(said.contains(".local/share/alyx-proxy") && said.contains("--data-dir"), "{said}");
    }
    assert!(!other.exists() && !tables.exists() && !home.path(".local").exists());
    // A folder that is named is meant.
    let own = home.path("own");
    let said = command::done(&home.run(&["import", text(&file), "--once", "--data-dir", text(&own)]));
    assert!(said.contains(text(&own)), "it says where they are: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_2_the_proxy_that_runs_on_a_folder_knows_its_alyx() {
    let alyx = miniature::start(Options::default()).await;
    let proxy = Proxy::start(&alyx.url()).await;
    proxy.get("/labs").await.expect(200);
    // `serve --upstream` was told the URL by a flag, so the settings don't say it.
    let home = Home::new().set("server.listen", &proxy.address().to_string());
    let (file, folder) = (home.path("lab.tar.zst"), proxy.data_dir());
    let said = command::done(&home.run(&["export", text(&file), "--data-dir", text(&folder)]));
    assert!(said.contains(&alyx.url()) && file.exists(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_2_in_a_folder_of_another_user_the_proxy_does_it_or_the_command_says_as_whom() {
    let alyx = miniature::start(Options::default()).await;
    let proxy = Proxy::start(&alyx.url()).await;
    proxy.get("/labs").await.expect(200);
    let home = Home::new().set("upstream.url", &alyx.url()).set("server.listen", "127.0.0.1:9");
    let (folder, file) = (home.path("data"), home.path("lab.tar.zst"));
    // As a package has made it, and nobody has started its service yet.
    let (empty, whole) = (home.path("empty"), home.path("whole.tar.zst"));
    fs::create_dir(&empty).unwrap();
    chown(&empty, Some(NOBODY), Some(NOBODY)).expect("only root can give files away: run this test as root");
    command::done(&command::run_for(&proxy, &["export", text(&whole)]));
    let import = ["import", text(&whole), "--once", "--data-dir", text(&empty)];
    let said = command::failed(&home.run(&import), 1);
    assert!(said.contains("sudo -u '#65534'"), "{said}");
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0, "nothing that its user could not read");
    fs::create_dir_all(folder.join("upstreams")).unwrap();
    fs::copy(proxy.data_dir().join("admin-token"), folder.join("admin-token")).unwrap();
    for path in [folder.clone(), folder.join("upstreams"), folder.join("admin-token")] {
        chown(&path, Some(NOBODY), Some(NOBODY))
            .expect("only root can give files away: run this test as root");
    }
    for arguments in [&["export", text(&file)][..], &["sync"], &["import", text(&file)]] {
        let said = command::failed(&home.run(&[arguments, &["--data-dir", text(&folder)]].concat()), 1);
        assert!(said.contains("sudo -u '#65534'"), "{said}");
    }
    // As the one that runs on it has noted.
    fs::write(folder.join("listening"), proxy.url()).unwrap();
    command::done(&home.run(&["export", text(&file), "--data-dir", text(&folder)]));
    assert!(file.exists());
    let said = command::failed(&home.run(&["keys", "--revoke", "x", "--data-dir", text(&folder)]), 1);
    assert!(said.contains("sudo -u '#65534'"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_3_what_needs_no_secret_goes_on_without_the_machines_settings() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let home = Home::new();
    let open = |path: &std::path::Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let (settings, program) = (home.path("settings.toml"), home.path("alyx-proxy"));
    fs::write(&settings, "[mirror]\ntoken = \"secret\"\n").unwrap();
    fs::copy(env!("CARGO_BIN_EXE_alyx-proxy"), &program).unwrap();
    open(&settings, 0o600);
    open(home.folder.path(), 0o755);
    fs::create_dir(home.path("own")).unwrap();
    chown(home.path("own"), Some(NOBODY), Some(NOBODY)).expect("run this test as root");
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.args(arguments).env_clear().env("HOME", home.path("own"));
        command.env("ALYX_PROXY_CONFIG", &settings).uid(NOBODY).gid(NOBODY).output().unwrap()
    };
    let url = proxy.url();
    for arguments in [
        &["status", "--url", &url][..],
        &["one-setup", "--url", &url, "--dry-run"],
        &["explain", "/labs", "--url", &url, "--token", users::ADMIN.token],
    ] {
        let output = run(arguments);
        command::done(&output);
        let noted = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(noted.contains("settings.toml: can't be read") && noted.contains("without it"), "{noted}");
    }
    // What is to work by them, or names them, does not.
    let named = [&["status", "--url", &url, "--config", text(&settings)][..], &["sync"], &["check-config"]];
    for arguments in named {
        let said = command::failed(&run(arguments), 2);
        assert!(said.contains("can't be read"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_6_a_name_that_nobody_has_fails_with_the_one_that_was_meant() {
    let alyx = miniature::start(Options::default()).await;
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", "labs,projects,sessions,subjects")
        .set("mirror.details", "")
        .set("mirror.verify_per_minute", "0")
        .start()
        .await;
    proxy.until_mirrored(4).await;
    let home = Home::new();
    let file = home.path("lab.tar.zst");
    for (owner, name, said_of_it) in [
        ("--lab", "cortexlabb", "there is no lab `cortexlabb`; did you mean `cortexlab`?"),
        ("--lab", "nosuch", "there is no lab `nosuch`"),
        ("--project", "nosuchproject", "there is no project `nosuchproject`"),
    ] {
        let output = command::run_for(&proxy, &["export", text(&file), owner, name]);
        let said = command::failed(&output, 1);
        assert!(said.contains(said_of_it), "{said}");
        assert!(!file.exists());
    }
    let wrong =
        command::failed(&command::run_for(&proxy, &["export", text(&file), "--endpoint", "sesions"]), 2);
    assert!(wrong.contains("did you mean `sessions`?"), "{wrong}");
    let wrong = command::failed(&command::run_for(&proxy, &["purge", "--endpoint", "session"]), 2);
    assert!(wrong.contains("did you mean `sessions`?"), "{wrong}");
    let wrong = command::failed(&home.run(&["sync", "sesions"]), 2);
    assert!(wrong.contains("did you mean `sessions`?"), "{wrong}");
    let wrong =
        command::failed(&command::run_for(&proxy, &["purge", "--question", "/sessions?lab=nolab"]), 1);
    assert!(wrong.contains("nothing was stored of that"), "{wrong}");
}

/// What `pack` says and reports for the questions.
fn pack(proxy: &Proxy, arguments: &[&str]) -> (std::process::Output, Value) {
    let home = Home::new();
    let mut command = home.command(&[&["pack"], arguments, &["--json", "--url", &proxy.url()]].concat());
    let output = command.env("ALYX_PROXY_TOKEN", users::ONEUSER.token).output().unwrap();
    let told = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn point_6_what_is_packed_and_finds_nothing_fails() {
    let alyx = miniature::start(Options::default()).await;
    let proxy = Proxy::start(&alyx.url()).await;
    for (question, why) in [
        ("sessions?lab=cortexlabb", "there is no lab `cortexlabb`; did you mean `cortexlab`?"),
        ("sessions?task_protocol=nosuchtask", "it finds nothing"),
        ("sessions?subject=ks04", "there is no subject `ks04`; did you mean `KS004`?"),
        ("weighings?nickname=CSH-ZAD-0011", "there is no subject `CSH-ZAD-0011`; did you mean `CSH_ZAD_0"),
    ] {
        let (output, told) = pack(&proxy, &[question, "--sessions"]);
        command::failed(&output, 1);
        let missing = &told["wanted"][1]["missing"][0]["why"];
        assert!(missing.as_str().unwrap().contains(why), "{told:#}");
    }
    let (output, _) = pack(&proxy, &["sessions?lab=cortexlab&limit=1", "--pages", "1000000", "labs"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("finds nothing"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_29_what_alyx_refuses_anyway_spoils_no_journey() {
    let alyx = miniature::start(Options::default()).await;
    let proxy = Proxy::start(&alyx.url()).await;
    proxy.get("/labs").await.expect(200);
    proxy.get("/subjects?sex=X").await.expect(400);
    let (output, told) = pack(&proxy, &["--from-log", "1"]);
    command::done(&output);
    assert!(told["wanted"].as_array().unwrap().iter().all(|item| item["works_offline"] == true), "{told:#}");
    // Who names it is told.
    let (output, _) = pack(&proxy, &["/subjects?sex=X"]);
    command::failed(&output, 1);
}

#[test]
fn point_29_an_error_says_what_it_was_for() {
    let home = Home::new();
    let file = home.path("a-file");
    fs::write(&file, "").unwrap();
    let said = command::failed(&home.run(&["tables", text(&file)]), 2);
    assert!(said.contains("is a file: name a folder for the tables"), "{said}");
    let said =
        command::failed(&home.run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", text(&file)]), 1);
    assert!(said.contains("the data directory can't be used") && said.contains(text(&file)), "{said}");
}
