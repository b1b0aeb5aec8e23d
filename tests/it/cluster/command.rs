//! `alyx-proxy cluster`, the page, and what wrong settings say.

use std::fs;

use serde_json::Value;

use super::{Shared, secret};
use crate::support::{
    Lab, Setup,
    command::{done, failed, run},
};

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_the_page_show_who_is_in() {
    let lab = Lab::open().await;
    let mut shared = Shared::before(&lab.url(), 2).await;
    let url = format!("upstream.url={}", lab.url());
    let (engine, key) = (
        format!("cluster.url_file={}", shared.file("url")),
        format!("cluster.key_file={}", shared.file("key")),
    );
    let command = |words: &[&str]| {
        run(&[&["cluster"], words, &["--set", &url, "--set", &engine, "--set", &key]].concat())
    };
    assert!(done(&command(&["init"])).contains("alyx_proxy_"));
    assert!(done(&command(&["status"])).contains("2 in"));
    let said: Value = serde_json::from_str(&done(&command(&["status", "--json"]))).unwrap();
    assert_eq!(said["members"].as_array().unwrap().len(), 2);
    assert!(failed(&command(&["forget", "nobody"]), 1).contains("nobody"));
    // The page is for whoever has logged in.
    let proxy = &shared.proxies[0];
    proxy.get("/labs").await.expect(200);
    let page = proxy.client().get("/-/cluster.json").await.expect(200).json();
    assert_eq!(page["cluster"]["state"], "together");
    proxy.client().anonymous().get("/-/cluster.json").await.expect(403);
    proxy.client().anonymous().get("/-/cluster").await.expect(303);
    let html = proxy.client().get("/-/cluster").await.expect(200);
    assert!(String::from_utf8_lossy(&html.body).contains("together with the others"));
    let strangers = proxy.client().anonymous().get("/-/status.json").await.expect(200).json();
    assert_eq!(
        (&strangers["cluster"]["engine"], &strangers["cluster"]["members"][0]["name"]),
        (&"".into(), &"".into())
    );
    let status = crate::support::command::run_for(proxy, &["status"]);
    assert!(done(&status).contains("together with one other"));
    // One that is gone is taken out by its id.
    let gone = shared.proxies.pop().unwrap();
    let own = page["cluster"]["members"].as_array().unwrap().iter().find(|member| member["own"] == false);
    let id = own.unwrap()["id"].as_str().unwrap().to_owned();
    drop(gone);
    let forgotten = command(&["forget", &id]);
    assert!(
        forgotten.status.success() || failed(&forgotten, 1).contains(&id),
        "the others may have been quicker"
    );
    // Another key is refused in words, and the password is told nowhere.
    secret(&shared.folder.path().join("other"), &done(&run(&["cluster", "key"])));
    let other = format!("cluster.key_file={}", shared.file("other"));
    let refused = run(&["cluster", "status", "--set", &url, "--set", &engine, "--set", &other]);
    let refused = failed(&refused, 1);
    assert!(refused.contains("no key") && !refused.contains(shared.postgres.password()), "{refused}");
}

#[tokio::test]
async fn wrong_settings_are_refused_in_words_and_secrets_are_for_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    secret(&folder.path().join("key"), "0123");
    secret(&folder.path().join("url"), "postgres://me:a-pass-word@db.example.org/alyx?sslmode=disable");
    fs::write(folder.path().join("open"), "postgres://me:a-pass-word@127.0.0.1/alyx").unwrap();
    fs::set_permissions(folder.path().join("open"), fs::Permissions::from_mode(0o644)).unwrap();
    let setup = || Setup::new("http://127.0.0.1:9");
    for (setup, says) in [
        (setup().set("cluster.url_file", &path("url")), "cluster.key_file is not"),
        (setup().set("cluster.key_file", &path("key")), "cluster.url is not"),
        (
            setup().set("cluster.url_file", &path("url")).set("cluster.key_file", &path("key")),
            "64 hexadecimal",
        ),
        (setup().set("cluster.url_file", &path("open")).set("cluster.key_file", &path("key")), "chmod 600"),
        (
            setup()
                .set("cluster.url", "mysql://me:a-pass-word@db/alyx")
                .set("cluster.key_file", &path("key")),
            "PostgreSQL",
        ),
    ] {
        let said = setup.refusal().await;
        assert!(said.contains(says) && !said.contains("a-pass-word"), "{says}: {said}");
    }
    secret(&folder.path().join("key"), &done(&run(&["cluster", "key"])));
    let said =
        setup().set("cluster.url_file", &path("url")).set("cluster.key_file", &path("key")).refusal().await;
    assert!(said.contains("sslmode=disable") && !said.contains("a-pass-word"), "{said}");
}
