//! The real ONE, set up by `one-setup --data`, with files of a real nginx.

use std::{fs, path::Path, process::Command, time::Duration};

use bytes::Bytes;
use md5::{Digest, Md5};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

use super::{
    ALICE, Client, alice,
    alyx::{Lab, md5},
    bytes,
    nginx::Nginx,
    setup, until_kept,
};
use crate::{
    one::One,
    support::{Proxy, command::done, kept::send, until},
};

const COLLECTION: &str = "alf/probe07";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/one/data.py");

/// An array as NumPy stores it.
fn npy(values: &[f64]) -> Bytes {
    let mut header =
        format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({},), }}", values.len()).into_bytes();
    header.resize((header.len() + 11).next_multiple_of(64) - 11, b' ');
    header.push(b'\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    file.extend(header);
    file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    file.into()
}

/// The home of somebody who has used Alyx itself until now, with the data server's name and password.
fn home(alyx: &str, data: &str, (login, password): (&str, &str)) -> TempDir {
    let home = TempDir::with_prefix("one-data-home-").unwrap();
    let folder = home.path().join(".one");
    fs::create_dir(&folder).unwrap();
    let key = alyx_proxy::one::key(alyx);
    let caches = json!({ "DEFAULT": key, "CLIENT_MAP": { &key: home.path().join("data") } });
    fs::write(folder.join(".caches"), caches.to_string()).unwrap();
    let parameters = json!({
        "ALYX_LOGIN": "demo", "ALYX_URL": alyx, "HTTP_DATA_SERVER": data, "HTTP_DATA_SERVER_LOGIN": login,
        "HTTP_DATA_SERVER_PWD": password,
    });
    fs::write(folder.join(format!(".{key}")), parameters.to_string()).unwrap();
    home
}

fn one_setup(home: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
    done(&command.arg("one-setup").args(arguments).env_clear().env("HOME", home).output().unwrap())
}

/// What ONE loads in this home.
async fn loaded(home: &Path, lab: &Lab, dataset: &str) -> Value {
    let mut python = Command::new(One::newest().python());
    python.arg(SCRIPT).args(["demo", "demo", &lab.eid, COLLECTION, dataset]).env_clear();
    // No S3 but one that is not there.
    python.env("HOME", home).env("NO_PROXY", "*").env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9");
    let output = tokio::task::spawn_blocking(move || python.output().unwrap()).await.unwrap();
    let said = done(&output);
    serde_json::from_str(said.lines().last().unwrap()).unwrap()
}

/// Files of one collection at nginx, as Alyx has them; the ids of their datasets.
async fn put(lab: &Lab, nginx: &Nginx, files: &[(&str, &Bytes)]) -> Vec<String> {
    let place = format!("/data-repository/{}", lab.repository);
    let url = format!("{}/{}/Subjects/", nginx.url(), lab.name);
    let (status, shown) = send(&lab.alyx, Method::PATCH, &place, Some(json!({ "data_url": url }))).await;
    assert_eq!(status, 200, "{shown}");
    let mut ids = Vec::new();
    for (name, bytes) in files {
        let name = format!("{COLLECTION}/{name}");
        let id = lab.register(&name, &md5(bytes), bytes.len()).await;
        nginx.put(&lab.path(&name, &id), bytes);
        ids.push(id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn one_loads_through_the_proxy_and_a_second_one_costs_nothing() {
    let (lab, nginx) = (Lab::start().await, Nginx::start().await);
    let times: Vec<f64> = (0..200_000).map(f64::from).collect();
    let clusters: Vec<f64> = (0..200_000).map(|n| f64::from(n % 7)).collect();
    let files = [("spikes.times.npy", npy(&times)), ("spikes.clusters.npy", npy(&clusters))];
    let ids = put(&lab, &nginx, &files.each_ref().map(|(name, bytes)| (*name, bytes))).await;
    let proxy = lab.proxy(setup(&nginx.url())).await;
    let (url, data) = (proxy.url(), format!("{}/-/data", proxy.url()));

    // As it was: Alyx and the data server, without a proxy.
    let homes = [("alice", "wonder-land-1"), ("bob", "build-er-2"), ("alice", "wonder-land-1")]
        .map(|who| home(&lab.alyx.url(), &nginx.url(), who));
    let direct = loaded(homes[0].path(), &lab, &ids[0]).await;
    assert_eq!(
        direct["collection"],
        json!([["spikes.clusters.npy", md5(&files[1].1)], ["spikes.times.npy", md5(&files[0].1)]])
    );
    let before = nginx.asked().len();
    for (at, home) in homes[1..].iter().enumerate() {
        let said = one_setup(home.path(), &["--url", &url, "--data"]);
        assert!(said.contains(&format!("{url}/-/one")), "{said}");
        let through = loaded(home.path(), &lab, &ids[0]).await;
        assert_eq!(through["base_url"], format!("{url}/-/one"));
        assert_eq!(through["server"], data);
        assert!(through["urls"][0].as_str().unwrap().starts_with(&format!("{data}/")), "{through}");
        for same in ["sum", "dataset", "object", "collection", "by_url"] {
            assert_eq!(through[same], direct[same], "{same}");
        }
        let downloads = nginx.asked()[before..].iter().filter(|line| line.starts_with("GET 20")).count();
        assert_eq!(downloads, 2, "after {} of them: {:#?}", at + 1, &nginx.asked()[before..]);
        until_kept(&proxy, 2).await;
    }
    // Nothing was marked in Alyx.
    let writes = lab.alyx.requests().into_iter().filter(|asked| asked.path_and_query.contains("/files/"));
    assert_eq!(writes.count(), 0);
    // A client that was not set up has Alyx's own addresses.
    let plain = home(&proxy.url(), &nginx.url(), ("alice", "wonder-land-1"));
    let plain = loaded(plain.path(), &lab, &ids[0]).await;
    assert_eq!(plain["urls"], direct["urls"]);
    assert_eq!(plain["collection"], direct["collection"]);
    // While the data server is away the proxy gives what that gave to this name, which ONE tells when it is asked for it.
    let late = home(&lab.alyx.url(), &nginx.url(), ("alice", "wonder-land-1"));
    one_setup(late.path(), &["--url", &url, "--data"]);
    drop(nginx);
    let offline = loaded(late.path(), &lab, &ids[0]).await;
    for same in ["sum", "dataset", "object", "collection", "by_url"] {
        assert_eq!(offline[same], direct[same], "{same}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn undoing_leads_back_to_the_data_server() {
    let (lab, nginx) = (Lab::start().await, Nginx::start().await);
    let proxy = lab.proxy(setup(&nginx.url())).await;
    let server = format!("{}/public", nginx.url());
    let home = home(&lab.alyx.url(), &server, ("alice", "wonder-land-1"));
    let shown = |name: &str| fs::read(home.path().join(".one").join(name)).ok();
    let key = alyx_proxy::one::key(&format!("{}/-/one", proxy.url()));
    let original = shown(".caches");
    let url = proxy.url();
    for _ in 0..2 {
        one_setup(home.path(), &["--url", &url, "--data"]);
        let parameters: Value = serde_json::from_slice(&shown(&format!(".{key}")).unwrap()).unwrap();
        assert_eq!(parameters["ALYX_URL"], format!("{url}/-/one"));
        assert_eq!(parameters["HTTP_DATA_SERVER"], format!("{url}/-/data/public"));
        assert_eq!(parameters["HTTP_DATA_SERVER_LOGIN"], "alice");
    }
    one_setup(home.path(), &["--undo", "--url", &url]);
    assert_eq!((shown(".caches"), shown(&format!(".{key}"))), (original.clone(), None));
    // One that gives no data files can't be set up for them.
    let proxy = proxy.restart_with("files.enabled", "false").await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
    command.args(["one-setup", "--data", "--url", &proxy.url()]).env_clear().env("HOME", home.path());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("files.enabled"), "{output:?}");
    assert_eq!(shown(".caches"), original);
}

/// Reads a file and says its MD5; a slow one takes little at a time until it is told to go on.
#[allow(clippy::disallowed_methods, reason = "a client that is slow")]
async fn download(client: Client, path: String, slow: Option<watch::Receiver<bool>>) -> String {
    let address = client.address();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {ALICE}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut buffer, mut got, mut sum, mut in_body) = (vec![0; 256 << 10], Vec::new(), Md5::new(), false);
    loop {
        let is_slow = slow.as_ref().is_some_and(|slow| *slow.borrow());
        if is_slow {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let most = if is_slow { 4 << 10 } else { buffer.len() };
        let count = stream.read(&mut buffer[..most]).await.unwrap();
        if count == 0 {
            return format!("{:x}", sum.finalize());
        }
        if in_body {
            sum.update(&buffer[..count]);
            continue;
        }
        got.extend_from_slice(&buffer[..count]);
        if let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") {
            assert!(got.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&got[..end]));
            sum.update(&got[end + 4..]);
            in_body = true;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_one_of_them_slow_are_one_download() {
    let (lab, nginx) = (Lab::start().await, Nginx::start().await);
    let file = bytes(64 << 20, 1);
    let ids = put(&lab, &nginx, &[("spikes.times.npy", &file)]).await;
    let path = lab.path(&format!("{COLLECTION}/spikes.times.npy"), &ids[0]);
    nginx.put("/lab/small", b"small");
    let long = setup(&nginx.url()).set("files.max_age", "1h").set("files.credentials_ttl", "1h");
    // A slow one has much in its system's buffers: for a while nothing moves.
    let proxy = lab.proxy(long.set("server.client_timeout", "10m")).await;
    // Known from here on: whoever is not has few places.
    alice(&proxy).get("/-/data/lab/small").await.expect(200);
    let here = format!("/-/data{path}");
    let is_slow = watch::Sender::new(true);
    let slow = tokio::spawn(download(alice(&proxy), here.clone(), Some(is_slow.subscribe())));
    let others: Vec<_> = (1..50).map(|_| tokio::spawn(download(alice(&proxy), here.clone(), None))).collect();
    for other in others {
        assert_eq!(other.await.unwrap(), md5(&file));
    }
    is_slow.send_replace(false);
    assert_eq!(slow.await.unwrap(), md5(&file));
    let of_file =
        |how: &str| nginx.asked().iter().filter(|line| line.starts_with(how) && line.contains(&path)).count();
    assert_eq!((of_file("GET 206"), of_file("GET"), of_file("HEAD")), (8, 8, 1), "eight blocks, once each");
    until("it is compared", async || compared(&proxy).await == 1).await;
}

/// How many files are here that are what Alyx says.
async fn compared(proxy: &Proxy) -> u64 {
    let ask = proxy.client().anonymous().ask("GET", "/-/files.json");
    let shown =
        ask.header("authorization", &format!("Bearer {}", proxy.admin_token())).send().await.expect(200);
    let sessions = shown.json()["files"]["sessions"].clone();
    sessions.as_array().unwrap().iter().map(|session| session["compared"].as_u64().unwrap()).sum()
}
