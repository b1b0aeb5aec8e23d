//! What is kept: once fetched, given to all, bounded, also while the data server is away.

use http::header;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{ALICE, BLOCK, BOB, DataServer, Manner, alice, blocks, bytes, setup, until_kept};
use crate::support::{
    command::{done, run_for},
    until,
};

const PATH: &str = "/lab/Subjects/KS001/2021-03-01/001/raw.bin";

fn here(path: &str) -> String {
    format!("/-/data{path}")
}

#[tokio::test]
async fn a_file_is_fetched_once_and_given_to_all() {
    let origin = DataServer::start().await;
    let file = bytes(2 * BLOCK + 12_345, 1);
    origin.put(PATH, &file);
    let proxy = setup(origin.url()).start().await;
    let first = alice(&proxy).get(&here(PATH)).await.expect(200);
    assert!(first.body == file, "the bytes differ");
    assert_eq!(first.header("content-length").unwrap(), file.len().to_string());
    assert_eq!(first.header("accept-ranges"), Some("bytes"));
    assert_eq!(first.cache().fwd(), Some("uri-miss"));
    assert_eq!(origin.downloads(), 3);
    until_kept(&proxy, 3).await;
    // The same client asks nobody, another's credentials are judged once, and no byte is asked for again.
    let asked = origin.asked().len();
    let again = alice(&proxy).get(&here(PATH)).await.expect(200);
    assert!(again.body == file && again.cache().hit(), "{}", again.cache().text);
    assert_eq!(origin.asked().len(), asked);
    for _ in 0..2 {
        let other = proxy.client().with_authorization(BOB).get(&here(PATH)).await.expect(200);
        assert!(other.body == file);
    }
    assert_eq!((origin.asked().len(), origin.downloads()), (asked + 1, 3));
    let files = &proxy.status().await["files"];
    assert_eq!((&files["files"], &files["requests"], &files["hits"]), (&1.into(), &4.into(), &3.into()));
    assert_eq!(files["fetched"], file.len());
    assert_eq!(files["given"], 4 * file.len());
}

#[tokio::test]
async fn a_range_fetches_no_more_than_its_blocks() {
    let origin = DataServer::start().await;
    let file = bytes(5 * BLOCK + 7, 2);
    origin.put(PATH, &file);
    let proxy = setup(origin.url()).start().await;
    let part = alice(&proxy).ask("GET", &here(PATH)).header("range", "bytes=17000000-17000099").send().await;
    assert_eq!(part.expect(206).body, file[17_000_000..17_000_100]);
    until_kept(&proxy, 1).await;
    let ranges: Vec<_> = origin.asked().into_iter().filter_map(|asked| asked.range).collect();
    assert_eq!(ranges, [format!("bytes={}-{}", 2 * BLOCK, 3 * BLOCK - 1)]);
    let tail = alice(&proxy).ask("GET", &here(PATH)).header("range", "bytes=-9").send().await.expect(206);
    assert_eq!(tail.body, file[file.len() - 9..]);
    let over = alice(&proxy).ask("GET", &here(PATH)).header("range", "bytes=8388600-8388620").send().await;
    assert_eq!(over.expect(206).body, file[8_388_600..8_388_621]);
}

#[tokio::test]
async fn fifty_at_once_are_one_download() {
    let origin = DataServer::start().await;
    let file = bytes(2 * BLOCK + 99, 3);
    origin.put(PATH, &file);
    origin.put("/small", &bytes(10, 4));
    let proxy = setup(origin.url()).set("files.max_age", "1h").start().await;
    // Known from here on: whoever is not has few places.
    alice(&proxy).get("/-/data/small").await.expect(200);
    origin.behave(Manner::Held(100_000));
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let client = alice(&proxy);
            tokio::spawn(async move { client.get(&here(PATH)).await.expect(200).body })
        })
        .collect();
    until("all are waiting", async || {
        let metrics = proxy.get("/-/metrics").await;
        metrics.text().lines().any(|line| line == "alyx_proxy_requests_in_flight 50")
    })
    .await;
    origin.release();
    for body in asking {
        assert!(body.await.unwrap() == file, "the bytes differ");
    }
    let of_file = |method: &str| {
        let asked = origin.asked().into_iter().filter(|asked| asked.path == PATH && asked.method == method);
        asked.count()
    };
    assert_eq!((of_file("GET"), of_file("HEAD")), (3, 1));
}

#[tokio::test]
async fn bytes_come_as_they_are_fetched_and_a_slow_client_holds_up_nobody() {
    let origin = DataServer::start().await;
    let file = bytes(3 * BLOCK, 5);
    origin.put(PATH, &file);
    let proxy = setup(origin.url()).start().await;
    origin.behave(Manner::Held(200_000));
    // Takes the first bytes while the rest of the block is not even there, and then nothing more.
    let mut slow = TcpStream::connect(proxy.address()).await.unwrap();
    let target = here(PATH);
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: {ALICE}\r\nConnection: close\r\n\r\n",
        proxy.address()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut got = vec![0; 100_000];
    slow.read_exact(&mut got).await.unwrap();
    origin.release();
    let other = alice(&proxy).get(&target).await.expect(200);
    assert!(other.body == file);
    slow.read_to_end(&mut got).await.ok();
    let begin = got.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(got[begin..] == file[..got.len() - begin]);
}

#[tokio::test]
async fn what_is_here_is_given_while_the_data_server_is_away_to_whom_it_gave_it() {
    let mut origin = DataServer::start().await;
    let file = bytes(BLOCK + 5, 6);
    origin.put(PATH, &file);
    origin.put("/half", &bytes(2 * BLOCK, 7));
    let proxy = setup(origin.url()).set("files.max_age", "0s").start().await;
    alice(&proxy).get(&here(PATH)).await.expect(200);
    alice(&proxy).ask("GET", "/-/data/half").header("range", "bytes=0-9").send().await.expect(206);
    until_kept(&proxy, 3).await;
    origin.stop().await;
    let proxy = proxy.restart().await;
    let kept = alice(&proxy).get(&here(PATH)).await.expect(200);
    assert!(kept.body == file);
    assert!(kept.header("warning").unwrap().starts_with("111 "));
    assert!(kept.header("alyx-api-notice").unwrap().contains("out of reach"));
    assert_eq!(kept.cache().get("detail"), Some("offline, disk"));
    proxy.client().with_authorization(BOB).get(&here(PATH)).await.expect(504);
    // Nobody, and whoever shows a token of Alyx's, is asked for a name.
    for client in [proxy.client().anonymous(), proxy.client()] {
        client.get(&here(PATH)).await.expect(401);
    }
    alice(&proxy).get("/-/data/half").await.expect(504);
    alice(&proxy).ask("GET", "/-/data/half").header("range", "bytes=5-6").send().await.expect(206);
    alice(&proxy).get("/-/data/never").await.expect(504);
}

#[tokio::test]
async fn what_nobody_has_asked_for_longest_goes_first() {
    let origin = DataServer::start().await;
    let proxy = setup(origin.url()).set("files.max_size", "17 MiB").start().await;
    for (path, seed) in [("/a", 1), ("/b", 2), ("/c", 3)] {
        origin.put(path, &bytes(BLOCK, seed));
    }
    for (path, kept) in [("/a", 1), ("/b", 2), ("/a", 2), ("/c", 2)] {
        alice(&proxy).get(&here(path)).await.expect(200);
        until_kept(&proxy, kept).await;
        until("it is counted", async || proxy.status().await["files"]["files"] == kept).await;
    }
    let hit = async |path: &str| alice(&proxy).get(&here(path)).await.expect(200).cache().hit();
    assert!(hit("/a").await && hit("/c").await);
    assert!(!hit("/b").await);
    // What never fits whole is given all the same.
    let large = bytes(3 * BLOCK, 4);
    origin.put("/large", &large);
    assert!(alice(&proxy).get("/-/data/large").await.expect(200).body == large);
}

#[tokio::test]
async fn where_nothing_is_said_of_it_half_of_the_disk_stays_free() {
    let origin = DataServer::start().await;
    let proxy = setup(origin.url()).on_a_disk_of("48m").start().await;
    for (path, seed) in [("/a", 1), ("/b", 2), ("/c", 3), ("/d", 4)] {
        let file = bytes(BLOCK, seed);
        origin.put(path, &file);
        assert!(alice(&proxy).get(&here(path)).await.expect(200).body == file);
        until("its room is counted", async || {
            let files = proxy.status().await["files"].clone();
            files["files"].as_u64().unwrap() + files["evicted"].as_u64().unwrap() == seed
        })
        .await;
    }
    let kept = proxy.status().await["files"]["bytes"].as_u64().unwrap();
    assert!((8 << 20..=24 << 20).contains(&kept), "{kept}");
}

#[tokio::test]
async fn a_page_tells_what_is_here_and_strangers_how_much() {
    let origin = DataServer::start().await;
    let proxy = setup(origin.url()).start().await;
    for (path, seed) in [(PATH, 1), ("/lab/Subjects/KS001/2021-03-01/001/a.npy", 2), ("/atlas/a.nrrd", 3)] {
        origin.put(path, &bytes(100_000, seed));
        alice(&proxy).get(&here(path)).await.expect(200);
        until_kept(&proxy, usize::try_from(seed).unwrap()).await;
        until("it is counted", async || proxy.status().await["files"]["files"] == seed).await;
        alice(&proxy).get(&here(path)).await.expect(200);
    }
    until("all are counted", async || proxy.status().await["files"]["files"] == 3).await;
    let owner = proxy.client().with_authorization(&format!("Bearer {}", proxy.admin_token()));
    let told = owner.get("/-/files.json").await.expect(200).json()["files"].clone();
    assert_eq!(
        (&told["saved"], &told["hit_rate"], &told["usage"]["files"]),
        (&300_000.into(), &0.5.into(), &3.into())
    );
    let sessions: Vec<_> =
        told["sessions"].as_array().unwrap().iter().map(|one| (&one["session"], &one["files"])).collect();
    assert_eq!(sessions.len(), 2, "{told:#}");
    assert!(sessions.contains(&(&"KS001/2021-03-01/001".into(), &2.into())), "{told:#}");
    let page = owner.get("/-/files").await.expect(200);
    assert!(page.text().contains("KS001/2021-03-01/001"));
    for target in ["/-/files", "/-/files.json"] {
        let shown = proxy.client().anonymous().get(target).await.expect(200);
        assert!(!shown.text().contains("KS001"), "{}", shown.text());
    }
    let proxy = proxy.restart_with("files.enabled", "false").await;
    assert!(proxy.client().anonymous().get("/-/files").await.expect(200).text().contains("files.enabled"));
    assert_eq!(
        proxy.client().anonymous().get("/-/files.json").await.expect(200).json()["files"],
        serde_json::Value::Null
    );
}

#[tokio::test]
async fn a_full_disk_serves_on_from_the_data_server() {
    let origin = DataServer::start().await;
    let file = bytes(2 * BLOCK, 8);
    origin.put(PATH, &file);
    let proxy = setup(origin.url()).on_a_disk_of("12m").start().await;
    for _ in 0..3 {
        assert!(alice(&proxy).get(&here(PATH)).await.expect(200).body == file);
    }
    proxy.disk().fill(&proxy.data_dir().join("ballast.tmp"));
    let other = bytes(BLOCK + 1, 9);
    origin.put("/other", &other);
    for _ in 0..3 {
        assert!(alice(&proxy).get("/-/data/other").await.expect(200).body == other);
        assert!(alice(&proxy).get(&here(PATH)).await.expect(200).body == file);
    }
}

#[tokio::test]
async fn what_names_no_version_is_passed_on_and_not_kept() {
    let origin = DataServer::start().await;
    let file = bytes(100_000, 10);
    let long_ago = || ("last-modified", "Thu, 18 Aug 2022 02:01:18 GMT".to_owned());
    origin.put_as("/nothing", &file, vec![]);
    origin.put_as("/weak", &file, vec![("etag", "W/\"a\"".to_owned())]);
    origin.put_as("/just-now", &file, vec![("last-modified", "Fri, 02 Jan 2026 00:00:00 GMT".to_owned())]);
    origin.put_as("/private", &file, vec![long_ago(), ("cache-control", "private".to_owned())]);
    origin.put_as("/dated", &file, vec![long_ago(), ("etag", "W/\"a\"".to_owned())]);
    let proxy = setup(origin.url()).start().await;
    for path in ["/nothing", "/weak", "/just-now", "/private"] {
        for _ in 0..2 {
            let answer = alice(&proxy).get(&here(path)).await.expect(200);
            assert!(answer.body == file);
            assert_eq!(answer.cache().get("detail"), Some("not-kept"), "{path}");
        }
    }
    assert_eq!(blocks(&proxy).len(), 0);
    alice(&proxy).get("/-/data/dated").await.expect(200);
    until_kept(&proxy, 1).await;
    let kept = alice(&proxy).get("/-/data/dated").await.expect(200);
    assert!(kept.body == file && kept.cache().hit());
    assert_eq!(kept.header(header::LAST_MODIFIED.as_str()), Some("Thu, 18 Aug 2022 02:01:18 GMT"));
    // One that knows no ranges could not be fetched in blocks.
    origin.behave(Manner::WithoutRanges);
    origin.put("/large", &bytes(BLOCK + 1, 11));
    let large = alice(&proxy).get("/-/data/large").await.expect(200);
    assert_eq!((large.body.len(), large.cache().get("detail")), (BLOCK + 1, Some("not-kept")));
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let origin = DataServer::start().await;
    origin.put("/empty", &bytes(0, 1));
    let proxy = setup(origin.url()).start().await;
    for _ in 0..2 {
        let empty = alice(&proxy).get("/-/data/empty").await.expect(200);
        assert_eq!((empty.body.len(), empty.header("content-length")), (0, Some("0")));
    }
}

#[tokio::test]
async fn an_administrator_sees_what_is_here_and_has_it_forgotten() {
    let origin = DataServer::start().await;
    for (path, seed) in [("/lab/KS001/a", 1), ("/lab/KS001/b", 2), ("/lab/KS002/a", 3)] {
        origin.put(path, &bytes(100_000, seed));
    }
    let proxy = setup(origin.url()).start().await;
    for path in ["/lab/KS001/a", "/lab/KS001/b", "/lab/KS002/a"] {
        alice(&proxy).get(&here(path)).await.expect(200);
    }
    until_kept(&proxy, 3).await;
    until("all are counted", async || proxy.status().await["files"]["files"] == 3).await;
    alice(&proxy).get(&here("/lab/KS002/a")).await.expect(200);
    let metrics = proxy.get("/-/metrics").await;
    for line in [
        "alyx_proxy_files_entries 3",
        "alyx_proxy_files_bytes 307200",
        "alyx_proxy_files_answers_total 4",
        "alyx_proxy_files_hits_total 1",
        "alyx_proxy_files_given_bytes_total 400000",
        "alyx_proxy_files_fetched_bytes_total 300000",
    ] {
        assert!(metrics.text().lines().any(|shown| shown == line), "{line}:\n{}", metrics.text());
    }
    assert!(proxy.client().anonymous().get("/-/status").await.text().contains("Data files"));
    let told = done(&run_for(&proxy, &["status"]));
    assert!(told.contains("3 kept"), "{told}");
    let told = done(&run_for(&proxy, &["purge", "--files", "*/KS001/*"]));
    assert!(told.contains("2 data files are forgotten"), "{told}");
    assert_eq!(blocks(&proxy).len(), 1);
    let again = alice(&proxy).get("/-/data/lab/KS001/a").await.expect(200);
    assert!(again.body == bytes(100_000, 1) && !again.cache().hit());
}

#[tokio::test]
async fn a_proxy_that_is_held_offline_asks_the_data_server_nothing() {
    let origin = DataServer::start().await;
    origin.put("/whole", &bytes(1000, 1));
    origin.put("/half", &bytes(2 * BLOCK, 2));
    let proxy = setup(origin.url()).start().await;
    alice(&proxy).get("/-/data/whole").await.expect(200);
    alice(&proxy).ask("GET", "/-/data/half").header("range", "bytes=0-9").send().await.expect(206);
    until_kept(&proxy, 2).await;
    done(&run_for(&proxy, &["offline"]));
    let asked = origin.asked().len();
    assert!(alice(&proxy).get("/-/data/whole").await.expect(200).body == bytes(1000, 1));
    alice(&proxy).ask("GET", "/-/data/half").header("range", "bytes=-9").send().await.expect(504);
    alice(&proxy).get("/-/data/never").await.expect(504);
    let nameless = proxy.client().anonymous().get("/-/data/whole").await.expect(401);
    assert!(nameless.header("www-authenticate").is_some_and(|scheme| scheme.starts_with("Basic ")));
    assert_eq!(origin.asked().len(), asked);
    done(&run_for(&proxy, &["online"]));
    alice(&proxy).ask("GET", "/-/data/half").header("range", "bytes=-9").send().await.expect(206);
}
