//! A proxy that is killed at any moment while many load files through it: never a wrong byte, nothing lost that was whole.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{BLOCK, DataServer, Manner, alice, blocks, bytes, setup, until_kept};
use crate::support::{
    Client,
    command::{done, run_for},
    rounds, tried,
};

const READERS: u64 = 8;
/// Blocks of the files of a round.
const BLOCKS: usize = 8;
/// A round's downloads take about so long, in milliseconds.
const LONGEST: u64 = 400;

/// Files of two and three blocks.
fn files_of(round: usize, origin: &DataServer) -> Arc<Vec<(String, Bytes)>> {
    let files = [2 * BLOCK, 2 * BLOCK + 1, 3 * BLOCK].into_iter().zip(0..).map(|(length, n)| {
        let path = format!("/lab/{round}-{n}.bin");
        let file = bytes(length, (round * 3 + n) as u64);
        origin.put(&path, &file);
        (path, file)
    });
    Arc::new(files.collect())
}

/// Reads parts of files until the proxy is gone; how many there were.
async fn read_on(client: Client, files: Arc<Vec<(String, Bytes)>>, seed: u64) -> usize {
    let (mut random, mut given) = (StdRng::seed_from_u64(seed), 0);
    loop {
        let (path, file) = &files[random.random_range(0..files.len())];
        let from = random.random_range(0..file.len());
        let to = (from + random.random_range(0..BLOCK)).min(file.len() - 1);
        let ask = client.ask("GET", &format!("/-/data{path}")).header("range", &format!("bytes={from}-{to}"));
        let Ok(answer) = ask.try_send().await else { return given };
        // Those whom it doesn't know yet have few places.
        if answer.status == 503 {
            continue;
        }
        assert_eq!(answer.status, 206, "{path} {from}-{to}: {}", answer.describe());
        assert!(answer.body == file[from..=to], "{path} {from}-{to} has wrong bytes");
        given += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::disallowed_methods, reason = "it is killed at any moment")]
async fn a_proxy_killed_at_any_moment_gives_no_wrong_byte_and_loses_nothing_whole() {
    let origin = DataServer::start().await;
    let seed = std::env::var("ALYX_PROXY_SEED").map_or(24, |seed| seed.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    let mut proxy = setup(origin.url()).set("files.max_age", "1h").start().await;
    let (count, mut given) = (rounds(5, 50), 0);
    for round in 0..count {
        let about = format!("seed {seed}, round {round}");
        let files = files_of(round, &origin);
        let whole = blocks(&proxy);
        // Each download breaks off and is gone on with, too.
        origin.behave(Manner::CutBlocks(3_000_001));
        let readers: Vec<_> = (0..READERS)
            .map(|_| tokio::spawn(read_on(alice(&proxy), files.clone(), random.random())))
            .collect();
        tokio::time::sleep(Duration::from_millis(random.random_range(0..LONGEST))).await;
        proxy.kill();
        for reader in readers {
            given += reader.await.unwrap_or_else(|error| panic!("{about}: {error}"));
        }
        proxy = proxy.restart().await;
        let here = blocks(&proxy);
        assert!(whole.iter().all(|block| here.contains(block)), "{about}: a whole block is gone");
        origin.behave(Manner::Plain);
        let (before, missing) = (origin.downloads(), whole.len() + BLOCKS - here.len());
        for (path, file) in files.iter() {
            let answer = alice(&proxy).get(&format!("/-/data{path}")).await.expect(200);
            assert!(answer.body == *file, "{about}: {path} has wrong bytes");
        }
        assert_eq!(origin.downloads() - before, missing, "{about}: what was whole is asked for again");
        until_kept(&proxy, whole.len() + BLOCKS).await;
        if round > 0 {
            done(&run_for(&proxy, &["purge", "--files", &format!("/lab/{}-*", round - 1)]));
        }
    }
    assert!(given > 0, "nobody got anything");
    tried("kills under load of data files", count);
}
