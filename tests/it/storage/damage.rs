//! What happens to the database under a running proxy, or to its log.

use serde_json::Value;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_deleted_under_it_is_written_out_again() {
    let lab = Lab::open().await;
    let mut proxy = Proxy::start(&lab.url()).await;
    ask(&proxy, 30).await;
    let database = proxy.database();
    for round in 0..2 {
        // With its log, and without.
        let names: &[&str] =
            if round == 0 { &["proxy.db"] } else { &["proxy.db", "proxy.db-wal", "proxy.db-shm"] };
        for name in names {
            std::fs::remove_file(database.with_file_name(name)).unwrap();
        }
        let told = || proxy.output().matches("was deleted; a fresh one goes on").count();
        until("it is there again", async || told() > round).await;
        assert!(database.exists() && trouble(&proxy).await.is_none(), "{}", proxy.output());
        // Nothing is lost, so nothing is in doubt.
        assert!(!proxy.output().contains("asked anew"), "{}", proxy.output());
        for answer in ask(&proxy, 30).await {
            assert!(answer.cache().hit(), "{}", answer.cache().text);
        }
        // New answers and marks go into the new file.
        write(&proxy).await.expect(200);
        ask(&proxy, 40 + round).await;
        until("it is stored", async || {
            proxy.status().await["cache"]["entries"].as_u64() >= Some(40 + round as u64)
        })
        .await;
        proxy.kill();
        lab.upstream.cut().await;
        proxy = proxy.restart().await;
        for answer in ask(&proxy, 40 + round).await {
            assert_right(&answer.expect(200), 1, "after a crash");
        }
        assert!(!proxy.output().contains("damaged"), "{}", proxy.output());
        lab.upstream.restore().await;
        proxy.until_upstream_is("up").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_change_under_it_are_noticed_and_the_rest_is_carried_over() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url()).set("storage.max_memory", "0 B").set("health.idle_interval", "100ms");
    let mut proxy = setup.start().await;
    ask(&proxy, 200).await;
    // All of it in the file itself.
    proxy = proxy.restart().await;
    lab.upstream.cut().await;
    proxy.until_upstream_is("down").await;
    let database = proxy.database();
    let length = std::fs::metadata(&database).unwrap().len();
    let file = std::fs::File::options().write(true).open(&database).unwrap();
    // Some pages in the middle: those of answers, most likely; and not what SQLite knows the file by.
    let page = 16384;
    for at in (length / page / 3..length / page * 2 / 3).step_by(2) {
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![0x5a; 16384], at * page).unwrap();
    }
    let before = std::fs::read(&database).unwrap();
    // It may take a few: pages that were read lately are in memory.
    let start = std::time::Instant::now();
    while proxy.status().await["quarantined_file"] == Value::Null {
        assert!(start.elapsed() < Duration::from_secs(30), "never noticed:\n{}", proxy.output());
        for answer in ask(&proxy, 200).await {
            assert_right(&answer, 1, "damaged");
        }
    }
    let aside = proxy.status().await["quarantined_file"].as_str().unwrap().to_owned();
    assert_eq!(std::fs::read(&aside).unwrap().len(), before.len(), "the damaged file is kept");
    let kept = ask(&proxy, 200).await;
    for answer in &kept {
        assert_right(answer, 1, "carried over");
    }
    let kept = kept.iter().filter(|answer| answer.status == 200).count();
    println!("{kept} of 200 answers were carried over from {length} bytes");
    assert!(kept >= 20, "only {kept} of 200 were carried over");
    // Alyx is back: everything is asked anew, as marks of writes may be gone, and stored in the new file.
    let version = lab.renew();
    lab.upstream.restore().await;
    proxy.until_upstream_is("up").await;
    for answer in ask(&proxy, 200).await {
        assert_right(&answer.expect(200), version, "afterwards");
    }
    let proxy = proxy.restart().await;
    lab.upstream.cut().await;
    for answer in ask(&proxy, 200).await {
        assert_right(&answer.expect(200), version, "after a restart");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_log_nothing_counts_as_fresh() {
    let lab = Lab::open().await;
    let mut proxy = Proxy::start(&lab.url()).await;
    proxy.get("/subjects/one").await.expect(200);
    // In the file itself, as fresh as can be.
    proxy = proxy.restart().await;
    assert!(proxy.get("/subjects/one").await.expect(200).cache().hit());
    // A write makes it stale; what says so is in the log, which goes with the crash.
    write(&proxy).await.expect(200);
    let version = lab.renew();
    let database = proxy.database();
    proxy.kill();
    for name in ["proxy.db-wal", "proxy.db-shm"] {
        std::fs::remove_file(database.with_file_name(name)).unwrap();
    }
    // Without Alyx it is given, as all else.
    lab.upstream.cut().await;
    proxy = proxy.restart().await;
    assert_right(&proxy.get("/subjects/one").await.expect(200), 1, "offline");
    assert!(proxy.output().contains("asked anew"), "it says so:\n{}", proxy.output());
    lab.upstream.restore().await;
    proxy.until_upstream_is("up").await;
    assert_right(&proxy.get("/subjects/one").await.expect(200), version, "online");
}
