//! A file and Alyx's record of it: what is not what Alyx says is passed on, named and not kept.

use std::fs;

use alyx_proxy::{
    alyx::record,
    miniature::{self as demo, Miniature, Options},
};
use bytes::Bytes;
use md5::{Digest, Md5};
use reqwest::Method;
use serde_json::{Value, json};

use super::{BLOCK, DataServer, alice, blocks, bytes, setup, until_kept};
use crate::support::{
    Proxy, Setup,
    command::{done, run, run_for},
    kept::{list, send},
    until,
};

pub(super) fn md5(bytes: &[u8]) -> String {
    format!("{:x}", Md5::digest(bytes))
}

/// A lab with one session that files are registered for.
pub(super) struct Lab {
    pub(super) alyx: Miniature,
    /// subject/date/number
    session: String,
    pub(super) eid: String,
    /// Its lab's name.
    pub(super) name: String,
    pub(super) repository: String,
}

impl Lab {
    pub(super) async fn start() -> Self {
        let alyx = demo::start(Options::default()).await.unwrap();
        let records = async |endpoint: &str| -> Vec<Value> {
            list(&alyx.url(), endpoint).await.iter().map(|text| record::parse(text)).collect()
        };
        let sessions = records("sessions").await;
        let session = sessions.iter().find(|one| one["start_time"].is_string()).unwrap();
        let path = format!(
            "{}/{}/{:03}",
            session["subject"].as_str().unwrap(),
            &session["start_time"].as_str().unwrap()[..10],
            session["number"].as_i64().unwrap()
        );
        let repositories = records("data-repository").await;
        let server = repositories.iter().find(|one| one["globus_is_personal"] == false).unwrap();
        let [eid, name] = ["id", "lab"].map(|field| text(&session[field]));
        Self { alyx, session: path, eid, name, repository: text(&server["name"]) }
    }

    /// Registers a file of this content, again if it is there already: its dataset's id.
    pub(super) async fn register(&self, name: &str, hash: &str, size: usize) -> String {
        let body = json!({
            "path": self.session, "name": self.repository, "filenames": [name], "hashes": [hash],
            "filesizes": [size],
        });
        let (status, shown) = send(&self.alyx, Method::POST, "/register-file", Some(body)).await;
        assert_eq!(status, 201, "{shown}");
        let url = text(&record::parse(&shown)[0]["url"]);
        let id = text(&record::parse(&shown)[0]["id"]);
        if id.is_empty() { url.rsplit('/').next().unwrap().to_owned() } else { id }
    }

    /// The same as Alyx's own data servers have it: where it lies there.
    pub(super) async fn put(&self, origin: &DataServer, name: &str, bytes: &Bytes) -> String {
        let id = self.register(name, &md5(bytes), bytes.len()).await;
        let path = self.path(name, &id);
        origin.put(&path, bytes);
        path
    }

    /// Where a data server has a file.
    pub(super) fn path(&self, name: &str, id: &str) -> String {
        let (stem, extension) = name.rsplit_once('.').unwrap();
        format!("/{}/Subjects/{}/{stem}.{id}.{extension}", self.name, self.session)
    }

    /// A proxy of this lab that has mirrored its datasets.
    pub(super) async fn proxy(&self, setup: Setup) -> Proxy {
        let token = &Options::default().users[0].token;
        let setup = setup.upstream(&self.alyx.url()).set("mirror.token", token);
        let proxy = setup.set("mirror.endpoints", "datasets").start().await;
        proxy.until_mirrored(1).await;
        proxy
    }

    /// One that has mirrored its sessions as well.
    async fn proxy_with_sessions(&self, setup: Setup) -> Proxy {
        let token = &Options::default().users[0].token;
        let setup = setup.upstream(&self.alyx.url()).set("mirror.token", token);
        let proxy = setup.set("mirror.endpoints", "datasets,sessions").start().await;
        proxy.until_mirrored(2).await;
        proxy
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn here(path: &str) -> String {
    format!("/-/data{path}")
}

fn synchronise(proxy: &Proxy) {
    done(&run(&["sync", "datasets", "--data-dir", proxy.data_dir().to_str().unwrap()]));
}

/// Waits until a file is given without the data server.
async fn until_given_offline(proxy: &Proxy, path: &str, bytes: &Bytes) {
    until("it is whole and what Alyx says", async || {
        let answer = alice(proxy).get(&here(path)).await;
        answer.status == 200 && answer.body == *bytes
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_a_file_is_given_while_its_record_says_that_it_is_the_same() {
    let (lab, mut origin) = (Lab::start().await, DataServer::start().await);
    let (file, other) = (bytes(BLOCK + 999, 1), bytes(1000, 2));
    let path = lab.put(&origin, "alf/spikes.times.npy", &file).await;
    let stranger = lab.path("alf/spikes.clusters.npy", "0f5a9c9e-2b5a-4b6a-9a53-2f7f2c2f3c11");
    origin.put(&stranger, &other);
    let half = lab.put(&origin, "alf/spikes.depths.npy", &bytes(2 * BLOCK, 3)).await;
    let proxy = lab.proxy(setup(origin.url())).await;
    assert!(alice(&proxy).get(&here(&path)).await.expect(200).body == file);
    assert!(alice(&proxy).get(&here(&stranger)).await.expect(200).body == other);
    alice(&proxy).ask("GET", &here(&half)).header("range", "bytes=0-9").send().await.expect(206);
    until_kept(&proxy, 4).await;
    origin.stop().await;
    let proxy = proxy.restart_with("files.max_age", "0s").await;
    until_given_offline(&proxy, &path, &file).await;
    // Of which Alyx says nothing, and of which not all is here that Alyx speaks of.
    alice(&proxy).get(&here(&stranger)).await.expect(504);
    alice(&proxy).ask("GET", &here(&half)).header("range", "bytes=0-9").send().await.expect(504);
    lab.register("alf/spikes.times.npy", &md5(&other), file.len()).await;
    synchronise(&proxy);
    alice(&proxy).get(&here(&path)).await.expect(504);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_alyx_says_is_passed_on_and_named() {
    let (lab, origin) = (Lab::start().await, DataServer::start().await);
    let file = bytes(BLOCK + 5, 1);
    let path = lab.put(&origin, "alf/spikes.times.npy", &file).await;
    lab.register("alf/spikes.times.npy", &md5(b"other"), file.len()).await;
    let proxy = lab.proxy(setup(origin.url()).set("files.max_age", "1h")).await;
    let differing = async |count: u64| {
        let what = format!("{count} files differ");
        until(&what, async || proxy.status().await["files"]["differing"] == count).await;
    };
    assert!(alice(&proxy).get(&here(&path)).await.expect(200).body == file);
    differing(1).await;
    assert_eq!(blocks(&proxy).len(), 0);
    for _ in 0..2 {
        let again = alice(&proxy).get(&here(&path)).await.expect(200);
        assert!(again.body == file);
        assert_eq!(again.cache().get("detail"), Some("not-kept"));
    }
    assert!(proxy.output().contains(&path), "it is not named");
    assert!(done(&run_for(&proxy, &["status"])).contains("1 not what Alyx says"));
    let page = proxy.client().anonymous().get("/-/status").await;
    assert!(page.text().contains("1 are not what Alyx says") && !page.text().contains(&path));
    done(&run_for(&proxy, &["offline"]));
    alice(&proxy).get(&here(&path)).await.expect(504);
    done(&run_for(&proxy, &["online"]));
    // Alyx is put right.
    lab.register("alf/spikes.times.npy", &md5(&file), file.len()).await;
    synchronise(&proxy);
    assert!(alice(&proxy).get(&here(&path)).await.expect(200).body == file);
    until_kept(&proxy, 2).await;
    differing(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_length_is_not_kept_for_a_moment() {
    let (lab, origin) = (Lab::start().await, DataServer::start().await);
    let file = bytes(5000, 1);
    let path = lab.put(&origin, "alf/spikes.times.npy", &file).await;
    lab.register("alf/spikes.times.npy", "", file.len() + 1).await;
    let proxy = lab.proxy(setup(origin.url())).await;
    let answer = alice(&proxy).get(&here(&path)).await.expect(200);
    assert!(answer.body == file);
    assert_eq!(answer.cache().get("detail"), Some("not-kept"));
    assert_eq!((blocks(&proxy).len(), &proxy.status().await["files"]["differing"]), (0, &1.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dataset_that_is_registered_anew_is_fetched_anew() {
    let (lab, origin) = (Lab::start().await, DataServer::start().await);
    let (old, new) = (bytes(5000, 1), bytes(5000, 2));
    let path = lab.put(&origin, "alf/spikes.times.npy", &old).await;
    let long = setup(origin.url()).set("files.max_age", "1h").set("files.credentials_ttl", "1h");
    let proxy = lab.proxy(long).await;
    alice(&proxy).get(&here(&path)).await.expect(200);
    done(&run_for(&proxy, &["offline"]));
    until_given_offline(&proxy, &path, &old).await;
    done(&run_for(&proxy, &["online"]));
    assert_eq!(lab.put(&origin, "alf/spikes.times.npy", &new).await, path);
    synchronise(&proxy);
    assert!(alice(&proxy).get(&here(&path)).await.expect(200).body == new, "the old one is given");
    done(&run_for(&proxy, &["offline"]));
    until_given_offline(&proxy, &path, &new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_damages_is_found_before_somebody_asks() {
    let (lab, origin) = (Lab::start().await, DataServer::start().await);
    let file = bytes(BLOCK + 70_000, 1);
    let path = lab.put(&origin, "alf/spikes.times.npy", &file).await;
    let plain = bytes(3000, 2);
    origin.put("/plain.bin", &plain);
    let proxy = lab.proxy(setup(origin.url()).set("files.check_every", "1s")).await;
    alice(&proxy).get(&here(&path)).await.expect(200);
    alice(&proxy).get("/-/data/plain.bin").await.expect(200);
    until_kept(&proxy, 3).await;
    let before = origin.asked().len();
    for damaged in blocks(&proxy) {
        let mut bytes = fs::read(&damaged).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&damaged, bytes).unwrap();
    }
    until("all three are found", async || proxy.status().await["files"]["damaged"] == 3).await;
    until_kept(&proxy, 0).await;
    assert_eq!(origin.asked().len(), before, "nobody's credentials were used");
    for (name, bytes) in [(path.as_str(), &file), ("/plain.bin", &plain)] {
        assert!(proxy.output().contains(name), "{name} is not named");
        assert!(alice(&proxy).get(&here(name)).await.expect(200).body == *bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_forgotten_by_session_and_by_dataset() {
    let (lab, origin) = (Lab::start().await, DataServer::start().await);
    let names = ["alf/spikes.times.npy", "alf/spikes.depths.npy", "alf/spikes.amps.npy"];
    let mut paths = Vec::new();
    for (name, seed) in names.into_iter().zip(1..) {
        paths.push(lab.put(&origin, name, &bytes(1000, seed)).await);
    }
    let other = "/lab/Subjects/KS001/2021-03-01/001/alf/a.npy".to_owned();
    origin.put(&other, &bytes(1000, 9));
    let proxy = lab.proxy_with_sessions(setup(origin.url())).await;
    let purged = async |which: &str| {
        let told = done(&run_for(&proxy, &["purge", "--files", which, "--json"]));
        serde_json::from_str::<Value>(&told).unwrap()["purged"].as_u64().unwrap()
    };
    let fetched = async || {
        for path in paths.iter().chain([&other]) {
            alice(&proxy).get(&here(path)).await.expect(200);
        }
        until_kept(&proxy, 4).await;
    };
    fetched().await;
    let dataset = alyx_proxy::alyx::dataset_files::dataset_of(&paths[0]).unwrap().to_string();
    assert_eq!(purged(&dataset).await, 1);
    fetched().await;
    assert_eq!(purged(&lab.eid).await, 3);
    fetched().await;
    assert_eq!(purged(&lab.session).await, 3);
    assert_eq!(blocks(&proxy).len(), 1);
    assert_eq!(purged("KS001/2021-03-01/1").await, 1);
    assert_eq!(proxy.status().await["files"]["files"], 0);
}
