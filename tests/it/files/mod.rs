//! The lab's data files through the proxy: every byte is the data server's, each is fetched once, and nobody gets what that
//! server would not give.

mod ahead;
mod alyx;
mod data_server;
mod faults;
mod kept;
mod killed;
mod nginx;
mod rights;
mod view;
mod with_one;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::support::{Client, Proxy, Setup};
use data_server::{DataServer, Manner};

/// The size of the blocks in which files are kept.
const BLOCK: usize = 8 << 20;
/// `Authorization` of `alice`, whose password is `wonder-land-1`.
const ALICE: &str = "Basic YWxpY2U6d29uZGVyLWxhbmQtMQ==";
/// And of `bob`, whose password is `build-er-2`.
const BOB: &str = "Basic Ym9iOmJ1aWxkLWVyLTI=";

/// Bytes of which no two pieces are alike.
fn bytes(length: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes.into()
}

/// A proxy that gives files of this data server, before an Alyx that nobody needs.
fn setup(data_server: &str) -> Setup {
    Setup::new("http://127.0.0.1:9")
        .set("files.enabled", "true")
        .set("files.origin", data_server)
        .set("files.min_free", "0 B")
}

fn alice(proxy: &Proxy) -> Client {
    proxy.client().with_authorization(ALICE)
}

/// Every file below a folder.
fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(all_files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// The files of blocks that a proxy keeps.
fn blocks(proxy: &Proxy) -> Vec<PathBuf> {
    let all = all_files(&proxy.data_dir().join("data-files"));
    let of_blocks = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "blocks");
    all.into_iter().filter(of_blocks).collect()
}

/// Waits until so many blocks are kept.
async fn until_kept(proxy: &Proxy, count: usize) {
    crate::support::until(&format!("{count} blocks are kept"), async || blocks(proxy).len() == count).await;
}
