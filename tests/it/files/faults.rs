//! Data servers, disks and processes that fail: never a byte that is not the file's.

use std::{fs, os::unix::fs::PermissionsExt};

use super::{BLOCK, DataServer, Manner, alice, all_files, blocks, bytes, setup, until_kept};
use crate::support::until;

const HERE: &str = "/-/data/lab/raw.bin";
const PATH: &str = "/lab/raw.bin";

#[tokio::test]
async fn a_download_that_breaks_off_in_every_block_goes_on_where_it_was() {
    let origin = DataServer::start().await;
    let file = bytes(3 * BLOCK + 1000, 1);
    origin.put(PATH, &file);
    let proxy = setup(origin.url()).start().await;
    origin.behave(Manner::CutBlocks(3_000_001));
    assert!(alice(&proxy).get(HERE).await.expect(200).body == file);
    // Each of the three whole blocks was asked for twice, the second time for its rest; the last one is shorter than that.
    assert_eq!(origin.downloads(), 7);
    until_kept(&proxy, 4).await;
    assert!(alice(&proxy).get(HERE).await.expect(200).body == file);
    assert_eq!(origin.downloads(), 7);
}

#[tokio::test]
async fn two_versions_are_never_mixed() {
    let origin = DataServer::start().await;
    let (old, new) = (bytes(3 * BLOCK, 2), bytes(3 * BLOCK, 3));
    origin.put(PATH, &old);
    let proxy = setup(origin.url()).set("files.max_age", "1h").start().await;
    // Changed between two ranges: what comes second is the new one, or nothing.
    let range = |from: usize| format!("bytes={from}-{}", from + 999);
    let first = alice(&proxy).ask("GET", HERE).header("range", &range(0)).send().await.expect(206);
    assert_eq!(first.body, old[..1000]);
    until_kept(&proxy, 1).await;
    origin.put(PATH, &new);
    let tag = first.header("etag").unwrap();
    let second = alice(&proxy).ask("GET", HERE).header("range", &range(2 * BLOCK)).header("if-range", tag);
    let second = second.send().await.expect(200);
    assert!(second.body == new, "a part of the new one as if it were of the old");
    let third = alice(&proxy).ask("GET", HERE).header("range", &range(0)).send().await.expect(206);
    assert_eq!(third.body, new[..1000]);
    assert!(third.header("etag").unwrap() != tag);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_given_is_cut_off() {
    let origin = DataServer::start().await;
    let (old, new) = (bytes(3 * BLOCK, 4), bytes(3 * BLOCK, 5));
    origin.put(PATH, &old);
    let proxy = setup(origin.url()).start().await;
    origin.behave(Manner::Held(1_000_000));
    let client = alice(&proxy);
    let reading = tokio::spawn(async move { client.ask("GET", HERE).try_send().await });
    until("the first blocks are being fetched", async || origin.downloads() == 2).await;
    origin.put(PATH, &new);
    origin.release();
    origin.behave(Manner::Plain);
    assert!(reading.await.unwrap().is_err(), "a file of two versions was given");
    assert!(alice(&proxy).get(HERE).await.expect(200).body == new);
}

#[tokio::test]
async fn what_is_shorter_or_longer_than_said_is_neither_given_whole_nor_kept() {
    let origin = DataServer::start().await;
    let file = bytes(BLOCK + 70_000, 6);
    origin.put(PATH, &file);
    let proxy = setup(origin.url()).start().await;
    for manner in [Manner::Shorter, Manner::Longer] {
        origin.behave(manner);
        let given = alice(&proxy).ask("GET", HERE).try_send().await;
        assert!(given.is_err() || given.is_ok_and(|answer| answer.status.is_server_error()), "{manner:?}");
        assert_eq!(blocks(&proxy).len(), 0, "{manner:?}");
    }
    origin.behave(Manner::Plain);
    assert!(alice(&proxy).get(HERE).await.expect(200).body == file);
}

#[tokio::test]
async fn a_killed_proxy_believes_in_nothing_half_written_and_loses_nothing_whole() {
    let origin = DataServer::start().await;
    let file = bytes(3 * BLOCK, 7);
    origin.put(PATH, &file);
    let mut proxy = setup(origin.url()).set("files.max_age", "1h").start().await;
    alice(&proxy).ask("GET", HERE).header("range", "bytes=20000000-").send().await.expect(206);
    until_kept(&proxy, 1).await;
    for held in [0, 1, 70_000, 5_000_000] {
        origin.behave(Manner::Held(held));
        let before = origin.downloads();
        let client = alice(&proxy);
        let reading = tokio::spawn(async move { client.ask("GET", HERE).try_send().await });
        until("blocks are being fetched", async || origin.downloads() >= before + 2).await;
        proxy.kill();
        assert!(reading.await.unwrap().is_err());
        proxy = proxy.restart().await;
        assert_eq!(blocks(&proxy).len(), 1);
        let partial = all_files(&proxy.data_dir().join("data-files"));
        assert!(!partial.iter().any(|path| path.to_string_lossy().contains("partial")), "{partial:?}");
    }
    origin.behave(Manner::Plain);
    let before = origin.downloads();
    assert!(alice(&proxy).get(HERE).await.expect(200).body == file);
    assert_eq!(origin.downloads(), before + 2, "what was whole is here");
}

#[tokio::test]
async fn a_byte_that_the_disk_has_flipped_is_never_given() {
    let origin = DataServer::start().await;
    let file = bytes(2 * BLOCK + 5, 8);
    origin.put(PATH, &file);
    let proxy = setup(origin.url()).set("files.max_age", "1h").start().await;
    alice(&proxy).get(HERE).await.expect(200);
    until_kept(&proxy, 3).await;
    for (block, at) in [(0, 0), (1, BLOCK / 2 + 3), (1, BLOCK - 1), (2, 4)] {
        let before = origin.downloads();
        let path = blocks(&proxy)[block].clone();
        let mut damaged = fs::read(&path).unwrap();
        damaged[at] ^= 0x10;
        fs::write(&path, damaged).unwrap();
        assert!(alice(&proxy).get(HERE).await.expect(200).body == file, "block {block}");
        assert_eq!(origin.downloads(), before + 1, "only the damaged block is fetched again");
        until_kept(&proxy, 3).await;
    }
    // One that is shorter, or gone.
    fs::write(&blocks(&proxy)[0], b"short").unwrap();
    fs::remove_file(&blocks(&proxy)[1]).unwrap();
    assert!(alice(&proxy).get(HERE).await.expect(200).body == file);
}

#[tokio::test]
async fn a_damaged_index_is_begun_anew() {
    let origin = DataServer::start().await;
    let file = bytes(BLOCK, 9);
    origin.put(PATH, &file);
    let mut proxy = setup(origin.url()).start().await;
    alice(&proxy).get(HERE).await.expect(200);
    until_kept(&proxy, 1).await;
    proxy.terminate().await;
    // Its log, too: all of it may be there yet.
    for path in all_files(&proxy.data_dir().join("data-files")) {
        if path.file_name().unwrap().to_string_lossy().starts_with("index.db") {
            fs::write(path, vec![7; 50_000]).unwrap();
        }
    }
    let proxy = proxy.restart().await;
    assert_eq!(blocks(&proxy).len(), 0);
    assert!(alice(&proxy).get(HERE).await.expect(200).body == file);
}

#[tokio::test]
async fn files_are_their_owners_alone() {
    let origin = DataServer::start().await;
    origin.put(PATH, &bytes(100, 10));
    let proxy = setup(origin.url()).start().await;
    alice(&proxy).get(HERE).await.expect(200);
    until_kept(&proxy, 1).await;
    for path in all_files(&proxy.data_dir().join("data-files")) {
        for place in path.ancestors().take_while(|place| *place != proxy.data_dir()) {
            let mode = fs::metadata(place).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, if place.is_dir() { 0o700 } else { 0o600 }, "{}", place.display());
        }
    }
}
