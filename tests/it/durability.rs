//! Acceptance 7: whatever happens to the process or to its files, it starts again, and never says anything wrong.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::support::{Answer, Client, Fault, Lab, Proxy, Setup, lab, until, users};

const ROUNDS: u64 = 20;
const LIST: &str = "/sessions?limit=3";

fn targets() -> Vec<String> {
    let mut targets: Vec<String> =
        (0..40).map(|n| format!("/sessions?subject=s{n}&limit={}", n % 5 + 1)).collect();
    targets.extend((0..lab::SESSIONS).map(|n| format!("/sessions/{}", lab::session_id(n))));
    targets.extend(
        ["/labs", "/labs/one", "/subjects", "/subjects/KS004", "/projects/p", "/api/schema"]
            .map(str::to_owned),
    );
    targets
}

/// What is wrong with an answer, given what Alyx says now; it may be of an earlier version, whole.
fn wrong(answer: &Answer, right: &Answer, proxy: &Proxy, lab: &Lab) -> Option<String> {
    if answer.status != 200 {
        return Some(answer.describe());
    }
    let (is, now) = (lab::version(&answer.json()), lab::version(&right.json()));
    // The lookalikes of links are Alyx's own text; only what follows `"url":` and `"next":` is moved.
    let of_then = right.text().replace(&format!("\"version\":{now}"), &format!("\"version\":{is}"));
    let unmoved = |text: &str| text.replace(&proxy.url(), &lab.url());
    (is > now || unmoved(answer.text()) != of_then).then(|| answer.describe())
}

fn integrity(database: &Path) -> String {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_twenty_times_under_load_it_is_intact_and_right() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url()).set("freshness.records", "1s").set("health.timeout", "1s");
    let answered = Arc::new(AtomicUsize::new(0));
    for round in 0..ROUNDS {
        let mut proxy = setup.clone().start().await;
        let stop = Arc::new(AtomicBool::new(false));
        let load: Vec<_> =
            (0..4).map(|n| tokio::spawn(load(n, proxy.client(), stop.clone(), answered.clone()))).collect();
        let before = answered.load(Ordering::SeqCst);
        until("it answers", async || answered.load(Ordering::SeqCst) >= before + 20).await;
        // At another moment of its work each time.
        tokio::time::sleep(Duration::from_millis(round * 13)).await;
        proxy.kill();
        stop.store(true, Ordering::SeqCst);
        for task in load {
            task.await.unwrap();
        }
        assert_eq!(integrity(&proxy.database()), "ok", "round {round}");
        lab.renew();

        let proxy = setup.clone().start().await;
        let direct = Client::new(lab.upstream.address());
        for target in targets() {
            let (answer, right) = (proxy.get(&target).await, direct.get(&target).await);
            assert_eq!(wrong(&answer, &right, &proxy, &lab), None, "round {round}: {target}");
        }
    }
    let proxy = setup.clone().start().await;
    assert!(!proxy.output().contains("set aside"), "nothing was damaged:\n{}", proxy.output());
    // What it had before the last kill, it has offline too.
    lab.upstream.cut().await;
    let direct_later = targets();
    let mut offline = Vec::new();
    for target in &direct_later {
        offline.push((target, proxy.get(target).await.expect(200)));
    }
    lab.upstream.restore().await;
    let direct = Client::new(lab.upstream.address());
    for (target, answer) in offline {
        let right = direct.get(target).await;
        assert_eq!(wrong(&answer, &right, &proxy, &lab), None, "offline: {target}");
    }
}

async fn load(n: usize, client: Client, stop: Arc<AtomicBool>, answered: Arc<AtomicUsize>) {
    let targets = targets();
    for i in (n * 11).. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let ask = client.with(users::ALL[i % 3]).ask("GET", &targets[i % targets.len()]);
        // Everything is stored again and again.
        if ask.header("cache-control", "no-cache").try_send().await.is_ok_and(|answer| answer.status == 200) {
            answered.fetch_add(1, Ordering::SeqCst);
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_write_has_made_stale_is_stale_after_a_crash() {
    let lab = Lab::open().await;
    let mut proxy = Proxy::start(&lab.url()).await;
    for round in 1..=5 {
        assert_eq!(lab::version(&proxy.get(LIST).await.expect(200).json()), round);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let new = lab.renew();
        proxy
            .client()
            .ask("POST", "/sessions")
            .json(&serde_json::json!({"n": round}))
            .send()
            .await
            .expect(201);
        // Alyx has accepted it, and whoever wrote knows that. Nothing of it may be lost now.
        proxy.kill();
        proxy = proxy.restart().await;
        assert_eq!(lab::version(&proxy.get(LIST).await.expect(200).json()), new, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_under_way_at_a_crash_counts_as_made() {
    let lab = Lab::open().await;
    let mut proxy = Proxy::start(&lab.url()).await;
    assert_eq!(lab::version(&proxy.get(LIST).await.expect(200).json()), 1);
    tokio::time::sleep(Duration::from_millis(100)).await;
    lab.upstream.behave(Fault::Slow(20_000));
    let ask = proxy.client().ask("PATCH", &format!("/sessions/{}", lab::session_id(0)));
    let writing = tokio::spawn(ask.json(&serde_json::json!({"n": 1})).try_send());
    let sent = async || lab.upstream.asked().iter().any(|asked| asked.method == "PATCH");
    until("the write is upstream", sent).await;
    // Alyx has carried it out, and neither the proxy nor the writer has heard so.
    let new = lab.renew();
    proxy.kill();
    writing.await.unwrap().expect_err("the proxy is gone");
    lab.upstream.behave(Fault::None);
    let proxy = proxy.restart().await;
    assert_eq!(lab::version(&proxy.get(LIST).await.expect(200).json()), new);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_refused_is_refused_after_a_crash() {
    let lab = Lab::open().await;
    let mut proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    proxy.client().with(users::ADMIN).get("/labs").await.expect(200);
    // All of that is on disk.
    proxy = proxy.restart().await;
    lab.revoke(users::ONEUSER);
    proxy.get("/projects").await.expect(403);
    proxy.kill();
    lab.upstream.cut().await;
    let proxy = proxy.restart().await;
    proxy.get("/labs").await.expect(403);
    proxy.client().with(users::ADMIN).get("/labs").await.expect(200);
}

/// A proxy that has stored all [`targets`], ended well.
async fn filled(lab: &Lab) -> Proxy {
    let mut proxy = Proxy::start(&lab.url()).await;
    for target in targets() {
        proxy.get(&target).await.expect(200);
    }
    proxy.terminate().await;
    proxy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_set_aside_and_said_so() {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 5] = [
        ("cut off", |bytes| bytes.truncate(bytes.len() / 2)),
        ("zeroed", |bytes| bytes.fill(0)),
        ("its head overwritten", |bytes| bytes[..100].fill(0xa5)),
        ("all pages but the first overwritten", |bytes| bytes[4096..].fill(0x5a)),
        ("another kind of file", |bytes| *bytes = b"%PDF-1.7 nothing to see here".repeat(1000)),
    ];
    let lab = Lab::open().await;
    for (what, damage) in damages {
        let proxy = filled(&lab).await;
        let database = proxy.database();
        for name in ["proxy.db-wal", "proxy.db-shm"] {
            let _ = std::fs::remove_file(database.with_file_name(name));
        }
        let mut bytes = std::fs::read(&database).unwrap();
        assert!(bytes.len() > 3 * 4096, "there is something to damage");
        damage(&mut bytes);
        std::fs::write(&database, &bytes).unwrap();

        let proxy = proxy.restart().await;
        let output = proxy.output();
        assert!(
            output.contains("damaged") && output.contains("proxy.db"),
            "{what}: a clear message:\n{output}"
        );
        let kept = std::fs::read_dir(database.parent().unwrap()).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            path != database && std::fs::read(path).is_ok_and(|kept| kept == bytes)
        });
        assert!(kept, "{what}: the damaged file is kept beside the new one");
        for target in targets() {
            proxy.get(&target).await.expect(200);
        }
        let mut proxy = proxy;
        proxy.terminate().await;
        assert_eq!(integrity(&database), "ok", "{what}");
        // The next start has nothing to complain about.
        lab.upstream.cut().await;
        let proxy = proxy.restart().await;
        proxy.get(LIST.replace("limit=3", "subject=s0&limit=1").as_str()).await.expect(200);
        lab.upstream.restore().await;
    }
}

/// Bytes that the disk got wrong may be where SQLite can't check them: an answer is right or it is not given.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_the_disk_got_wrong_never_show() {
    let lab = Lab::open().await;
    let mut proxy = filled(&lab).await;
    let (database, client) = (proxy.database(), Client::new(lab.upstream.address()));
    let mut right = Vec::new();
    for target in targets() {
        right.push((target.clone(), client.get(&target).await));
    }
    lab.upstream.cut().await;
    let intact = std::fs::read(&database).unwrap();
    // One byte, somewhere in the file; and one byte of each stored body, which are compressed.
    let bodies: Vec<usize> = memchr::memmem::find_iter(&intact, b"\x28\xb5\x2f\xfd").collect();
    assert!(bodies.len() >= right.len(), "{} bodies", bodies.len());
    let somewhere = (0..16).map(|n| vec![intact.len() * n / 16 + (n * 379) % 1024]);
    let everywhere = [11, 16, 23, 31, 47, 60]
        .map(|at| bodies.iter().map(|body| (body + at).min(intact.len() - 1)).collect());
    let (mut given, mut withheld) = (0, 0);
    for places in somewhere.chain(everywhere) {
        let mut bytes = intact.clone();
        for at in &places {
            bytes[*at] ^= 0x01;
        }
        for name in ["proxy.db-wal", "proxy.db-shm"] {
            let _ = std::fs::remove_file(database.with_file_name(name));
        }
        std::fs::write(&database, &bytes).unwrap();
        proxy = proxy.restart().await;
        for (target, right) in &right {
            let answer = proxy.get(target).await;
            match answer.status.as_u16() {
                200 => {
                    given += 1;
                    assert_eq!(wrong(&answer, right, &proxy, &lab), None, "{} bytes: {target}", places.len());
                }
                // Gone with the answer or with the token.
                403 | 504 => withheld += 1,
                _ => panic!("{} bytes: {target}: {}", places.len(), answer.describe()),
            }
        }
        proxy.kill();
    }
    assert!(given >= 8 * right.len(), "one byte costs little: {given} were given");
    assert!(withheld >= 3 * right.len(), "bodies that were damaged were noticed: {withheld} were withheld");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_being_answered_is_answered_before_it_ends() {
    let lab = Lab::open().await;
    let mut proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    lab.upstream.break_down(Fault::Slow(800)).await;
    let client = proxy.client();
    let waiting = tokio::spawn(async move { client.get(LIST).await });
    until("it is upstream", async || lab.count("/sessions") == 1).await;
    proxy.terminate().await;
    waiting.await.unwrap().expect(200);
    // And what it has heard last is not lost.
    lab.upstream.cut().await;
    let proxy = proxy.restart().await;
    proxy.get(LIST).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_memory_keeps_to_its_limit_and_to_what_is_used() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url()).set("storage.max_disk", "128 KiB").set("storage.max_memory", "8 KiB");
    let proxy = setup.start().await;
    let of = |n: usize| format!("/sessions?subject=mouse_{n}");
    for n in 0..600 {
        proxy.get(&of(n)).await.expect(200);
        if n % 10 == 0 {
            assert!(proxy.get(&of(0)).await.expect(200).cache().hit(), "used all the time, after {n}");
        }
    }
    let status = proxy.status().await;
    assert_eq!(status["cache"]["limit"], 128 * 1024, "{status}");
    until("it keeps to its limit", async || {
        proxy.status().await["cache"]["bytes"].as_u64().unwrap() <= 128 * 1024
    })
    .await;
    lab.upstream.cut().await;
    let proxy = proxy.restart().await;
    for used in [0, 599] {
        proxy.get(&of(used)).await.expect(200);
    }
    proxy.get(&of(1)).await.expect(504);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_of_cache_tables_goes_and_hinders_nobody() {
    let lab = Lab::open().await;
    let mut proxy = Proxy::start(&lab.url()).await;
    proxy.get("/cache.zip").await.expect(200);
    proxy.kill();
    let files = proxy.database().with_file_name("files");
    let (part, stray) = (files.join(".alyx-proxy-part"), files.join("stray"));
    std::fs::create_dir(&part).unwrap();
    std::fs::write(part.join("sessions.pqt"), "half of it").unwrap();
    std::fs::write(&stray, "a download").unwrap();
    let proxy = proxy.restart().await;
    assert!(!part.exists() && !stray.exists());
    assert!(proxy.get("/cache.zip").await.expect(200).cache().hit());
}
