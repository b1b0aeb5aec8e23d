//! `fetch`: files are here before somebody asks for them.

use std::process::{Command, Output};

use reqwest::Method;
use serde_json::{Value, json};

use super::{ALICE, BLOCK, DataServer, alice, alyx::Lab, bytes, setup, until_kept};
use crate::support::{
    Proxy,
    command::{done, failed},
    kept::send,
};

/// `fetch` as alice, who is `demo` in Alyx.
fn fetch(proxy: &Proxy, arguments: &[&str]) -> Output {
    let token = &alyx_proxy::miniature::Options::default().users[0].token;
    let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
    command.arg("fetch").args(arguments).args(["--url", &proxy.url(), "--login", "alice"]).env_clear();
    command.env("ALYX_PROXY_TOKEN", token).env("HTTP_DATA_SERVER_PWD", "wonder-land-1");
    command.env("HOME", proxy.data_dir()).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_fetched_ahead_and_an_interrupted_fetch_goes_on() {
    let (lab, mut origin) = (Lab::start().await, DataServer::start().await);
    let place = format!("/data-repository/{}", lab.repository);
    let url = format!("{}/{}/Subjects/", origin.url(), lab.name);
    send(&lab.alyx, Method::PATCH, &place, Some(json!({ "data_url": url }))).await;
    let (large, small) = (bytes(2 * BLOCK + 77, 1), bytes(500, 2));
    let path = lab.put(&origin, "alf/probe07/spikes.times.npy", &large).await;
    let other = lab.put(&origin, "alf/probe07/spikes.clusters.npy", &small).await;
    let unwanted = lab.put(&origin, "alf/probe07/spikes.depths.npy", &small).await;
    let proxy =
        lab.proxy(setup(origin.url()).set("files.max_age", "1h").set("files.credentials_ttl", "1h")).await;
    let query = format!("sessions?django=id,{}", lab.eid);
    let wanted = ["--datasets", "alf/probe07/*times*", "--datasets", "alf/probe07/*clusters*"];
    let arguments = |more: &[&'static str]| -> Vec<String> {
        std::iter::once(query.as_str()).chain(wanted).chain(more.iter().copied()).map(str::to_owned).collect()
    };
    let run = |more: &[&'static str]| {
        let arguments = arguments(more);
        fetch(&proxy, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let told = done(&run(&["--dry-run"]));
    assert!(told.contains("2 files of 1 sessions, 16.00 MiB"), "{told}");
    assert_eq!(origin.downloads(), 0);
    // A part of it is here, as after a fetch that was interrupted.
    let here = format!("/-/data{path}");
    alice(&proxy).ask("GET", &here).header("range", "bytes=9000000-9000000").send().await.expect(206);
    until_kept(&proxy, 1).await;
    let told: Value = serde_json::from_str(&done(&run(&["--json", "--rate", "1 GiB"]))).unwrap();
    let all = large.len() + small.len();
    assert_eq!((&told["files"], &told["bytes"]), (&2.into(), &all.into()), "{told:#}");
    assert_eq!((&told["fetched"], &told["here_before"]), (&(all - BLOCK).into(), &BLOCK.into()), "{told:#}");
    until_kept(&proxy, 4).await;
    assert_eq!(origin.downloads(), 4);
    let again: Value = serde_json::from_str(&done(&run(&["--json"]))).unwrap();
    assert_eq!((&again["fetched"], &again["here_before"]), (&0.into(), &all.into()), "{again:#}");
    assert_eq!(origin.downloads(), 4);
    assert!(origin.asked().iter().all(|asked| asked.path != unwanted));
    assert!(origin.asked().iter().all(|asked| asked.authorization.as_deref() == Some(ALICE)));
    origin.stop().await;
    assert!(alice(&proxy).get(&here).await.expect(200).body == large);
    assert!(alice(&proxy).get(&format!("/-/data{other}")).await.expect(200).body == small);
    // What can't be had is named, and why.
    let output = fetch(&proxy, &[&query, "--datasets", "alf/probe07/*depths*"]);
    let told = failed(&output, 1);
    assert!(told.contains("1 of 1 files are not here"), "{told}");
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains(&format!("{unwanted}: The data server (")), "{shown}");
    assert!(failed(&fetch(&proxy, &["datasets?x=1"]), 2).contains("not a question for sessions"));
}
