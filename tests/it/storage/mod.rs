//! Whatever happens to the disk: the proxy goes on serving what it can, says what is wrong in its log and on its
//! status page, recovers without hands, and never gives a wrong answer.
//!
//! The disks are real ones (tmpfs in a mount namespace of the proxy's own), the clock is set with libfaketime.

mod damage;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::support::{Answer, Lab, Proxy, Setup, lab, until, users};
use serde_json::json;

const LIST: &str = "/sessions?limit=3";

fn target(n: usize) -> String {
    format!("/sessions?subject=s{n}&limit={}", n % 5 + 1)
}

/// Asks for so many pages, from the first on.
async fn ask(proxy: &Proxy, count: usize) -> Vec<Answer> {
    let mut answers = Vec::new();
    for n in 0..count {
        answers.push(proxy.get(&target(n)).await);
    }
    answers
}

async fn trouble(proxy: &Proxy) -> Option<String> {
    proxy.status().await["degraded"]["what"].as_str().map(str::to_owned)
}

async fn write(proxy: &Proxy) -> Answer {
    proxy.client().ask("PATCH", "/subjects/one").json(&json!({"nickname": "x"})).send().await
}

/// An answer is of this version, or none is given.
fn assert_right(answer: &Answer, version: usize, about: &str) {
    match answer.status.as_u16() {
        200 => assert_eq!(lab::version(&answer.json()), version, "{about}: {}", answer.describe()),
        504 => {}
        _ => panic!("{about}: {}", answer.describe()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_proxy_on_one_directory_names_the_first() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get(LIST).await.expect(200);
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_alyx-proxy"))
        .args(["serve", "--listen", "127.0.0.1:0", "--upstream", &lab.url(), "--data-dir"])
        .arg(proxy.data_dir())
        .output()
        .unwrap();
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&format!("process {}", proxy.pid())), "{said}");
    assert!(said.contains(&*proxy.data_dir().to_string_lossy()), "{said}");
    // The first notices nothing, and the folder is free when it has gone, however it went.
    lab.upstream.cut().await;
    proxy.get(LIST).await.expect(200);
    let mut proxy = proxy;
    proxy.kill();
    proxy.restart().await.get(LIST).await.expect(200);
}

/// As in a container of the image: SQLite has no folder for temporary files.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_learned_is_kept_where_nothing_but_the_home_can_be_written() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url()).with_a_read_only_root().set("storage.max_memory", "0 B").start().await;
    for answer in ask(&proxy, 10).await {
        answer.expect(200);
    }
    until("they are on disk", async || proxy.status().await["cache"]["entries"] == 10).await;
    assert_eq!(trouble(&proxy).await, None);
    write(&proxy).await.expect(200);
    let proxy = proxy.restart().await;
    lab.upstream.cut().await;
    proxy.get(&target(0)).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_once_and_serving_goes_on_until_there_is_room() {
    let lab = Lab::open().await;
    // Nothing in memory: what is given again comes from the disk.
    let setup = Setup::new(&lab.url())
        .on_a_disk_of("6m")
        .set("storage.max_memory", "0 B")
        .set("health.idle_interval", "100ms");
    let proxy = setup.start().await;
    for answer in ask(&proxy, 10).await {
        answer.expect(200);
    }
    until("they are on disk", async || proxy.status().await["cache"]["entries"] == 10).await;
    let filler = proxy.seen(&proxy.data_dir().join("filler"));
    let mut size = 8 << 20;
    while size >= 4096 {
        // A file that grows until nothing more fits.
        let more = vec![0; size];
        let mut file = std::fs::File::options().create(true).append(true).open(&filler).unwrap();
        if std::io::Write::write_all(&mut file, &more).is_err() {
            size /= 2;
        }
    }
    for n in 0..300 {
        let answer = proxy.get(&target(n)).await.expect(200);
        assert_eq!(lab::version(&answer.json()), 1, "{n}");
    }
    let said = trouble(&proxy).await.expect("the status says so");
    assert!(said.contains("disk is full"), "{said}");
    let page = proxy.client().anonymous().ask("GET", "/-/status").header("accept", "text/html").send().await;
    assert!(page.text().contains("The disk is full"), "the page says so");
    let lines = proxy.output().lines().filter(|line| line.contains("The disk is full")).count();
    assert_eq!(lines, 1, "once, and not for each answer:\n{}", proxy.output());
    // What is stored is given, also without Alyx; a write that could not be noted is not passed on.
    write(&proxy).await.expect(507);
    assert!(lab.upstream.asked().iter().all(|asked| asked.method == "GET"), "it was not passed on");
    lab.upstream.cut().await;
    for answer in ask(&proxy, 10).await {
        answer.expect(200);
    }
    lab.upstream.restore().await;
    proxy.until_upstream_is("up").await;

    std::fs::remove_file(&filler).unwrap();
    until("all is well again", async || trouble(&proxy).await.is_none()).await;
    write(&proxy).await.expect(200);
    let version = lab.renew();
    proxy.client().ask("GET", &target(500)).send().await.expect(200);
    until("it is stored", async || {
        lab.upstream.cut().await;
        proxy.until_upstream_is("down").await;
        let answer = proxy.get(&target(500)).await;
        lab.upstream.restore().await;
        proxy.until_upstream_is("up").await;
        answer.status == 200 && lab::version(&answer.json()) == version
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_starts_while_the_disk_is_full_gives_what_it_has() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url()).on_a_disk_of("12m").set("health.idle_interval", "100ms");
    let mut proxy = setup.clone().start().await;
    let disk = proxy.disk();
    let has_reserve = |proxy: &Proxy| proxy.database().with_file_name("reserve").exists();
    let filler = proxy.data_dir().join("filler");
    for (round, killed) in [false, true, false].into_iter().enumerate() {
        let about = if killed { "killed" } else { "stopped" };
        let count = 10 + round;
        for answer in ask(&proxy, count).await {
            answer.expect(200);
        }
        let kept = async || {
            proxy.status().await["cache"]["entries"].as_u64() >= Some(count as u64) && has_reserve(&proxy)
        };
        until("they are on disk, and room for a start", kept).await;
        if killed {
            proxy.kill();
        } else {
            proxy.terminate().await;
        }
        disk.fill(&filler);
        lab.upstream.cut().await;
        proxy = setup.clone().on_the_disk(&disk).start().await;
        proxy.until_upstream_is("down").await;
        for answer in ask(&proxy, count).await {
            assert_right(&answer.expect(200), 1, about);
        }
        lab.upstream.restore().await;
        proxy.until_upstream_is("up").await;
        // What can't be kept is given all the same.
        proxy.get(&target(100 + round)).await.expect(200);
        until("it says so", async || trouble(&proxy).await.is_some_and(|it| it.contains("disk is full")))
            .await;

        std::fs::remove_file(proxy.seen(&filler)).unwrap();
        until("all is well again", async || trouble(&proxy).await.is_none()).await;
        assert!(has_reserve(&proxy), "{about}: there is room for another start");
        write(&proxy).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_can_t_be_written_to_is_named_at_the_start() {
    let lab = Lab::open().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    for folder in [file.path().join("data"), Path::new("/proc/alyx-proxy").to_owned()] {
        let refused = std::process::Command::new(env!("CARGO_BIN_EXE_alyx-proxy"))
            .args(["serve", "--listen", "127.0.0.1:0", "--upstream", &lab.url(), "--data-dir"])
            .arg(&folder)
            .output()
            .unwrap();
        assert!(!refused.status.success());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(&*folder.to_string_lossy()), "{said}");
    }
    let setup = Setup::new(&lab.url()).on_a_disk_of("8m,ro");
    let said = setup.clone().refusal().await;
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(said.contains(&*setup.data_dir().to_string_lossy()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_makes_a_fresh_database_it_loses_nothing_of_the_damaged_one() {
    let lab = Lab::open().await;
    let mut proxy = Proxy::start(&lab.url()).await;
    ask(&proxy, 20).await;
    proxy.terminate().await;
    let (database, setup) = (proxy.database(), proxy.setup().clone());
    // So much that it takes a while to carry it over.
    let connection = rusqlite::Connection::open(&database).unwrap();
    let filler = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 4000)
                  INSERT INTO responses (key, family, page_offset, path, query, status, headers, body, length,
                                         checksum, asked_at, received_at, used_at, size)
                  SELECT randomblob(32), x'00', 0, '/filler', n, 200, '[]', randomblob(20000), 1, x'00', 1, 1, 1, 20000
                  FROM number";
    connection.execute_batch(filler).unwrap();
    drop(connection);
    // A page of an index: nothing of the tables is lost with it.
    let mut bytes = std::fs::read(&database).unwrap();
    let page = (3..bytes.len() / 16384).map(|page| page * 16384).find(|page| bytes[*page] == 0x0a).unwrap();
    bytes[page + 3..page + 5].fill(0xff);
    std::fs::write(&database, bytes).unwrap();

    for round in 0..3_u64 {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_alyx-proxy"))
            .args(["serve", "--listen", "127.0.0.1:0", "--upstream", &lab.url(), "--data-dir"])
            .arg(setup.data_dir())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // The fresh one is being made, or the damaged one was moved.
        let begun = || {
            let names = std::fs::read_dir(database.parent().unwrap()).unwrap();
            let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
            names.into_iter().any(|name| name.starts_with("damaged-") || name == "proxy.part")
        };
        let start = std::time::Instant::now();
        while !begun() {
            assert!(start.elapsed() < Duration::from_mins(1), "it does not notice");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(300 * round));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    lab.upstream.cut().await;
    let proxy = setup.start().await;
    for answer in ask(&proxy, 20).await {
        assert_right(&answer.expect(200), 1, "afterwards");
    }
    assert!(proxy.status().await["cache"]["entries"].as_u64() >= Some(4020), "{}", proxy.output());
}

/// Killed at any moment of storing, of dropping what was not used, and of writing: the file is sound, and whoever has
/// written never again gets what was before it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_loses_no_mark_and_says_nothing_wrong() {
    let rounds = crate::support::rounds(40, 200);
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url()).set("storage.max_disk", "64 KiB").set("storage.max_memory", "0 B");
    let written = Arc::new(AtomicUsize::new(1));
    let (mut answers, mut writes) = (0, 0);
    for round in 0..rounds {
        let mut proxy = setup.clone().start().await;
        // Nothing from before what was written, in whatever way the last run ended.
        let subject = proxy.get("/subjects/one").await.expect(200);
        let (is, least) = (lab::version(&subject.json()), written.load(Ordering::SeqCst));
        assert!(is >= least, "round {round}: {is} after {least} was written");
        let reading = tokio::spawn({
            let client = proxy.client();
            async move {
                for n in 0.. {
                    let ask = client.ask("GET", &target((round * 37 + n) % 400));
                    match ask.header("cache-control", "no-cache").try_send().await {
                        Ok(answer) => {
                            assert_eq!(answer.json()["count"], lab::SESSIONS, "{}", answer.describe());
                        }
                        Err(_) => return n,
                    }
                }
                0
            }
        });
        let writing = tokio::spawn({
            let (client, written) = (proxy.client(), written.clone());
            // The version that Alyx has when the write comes is what whoever wrote must see.
            let renew = {
                let lab = lab.handle();
                move || lab.renew()
            };
            async move {
                for n in 0.. {
                    let version = renew();
                    let write = client.ask("PATCH", "/subjects/one").json(&json!({"nickname": "x"}));
                    match write.try_send().await {
                        Ok(answer) if answer.status == 200 => written.store(version, Ordering::SeqCst),
                        _ => return n,
                    }
                }
                0
            }
        });
        tokio::time::sleep(Duration::from_millis(20 + (round as u64 * 7) % 90)).await;
        proxy.kill();
        answers += reading.await.unwrap();
        writes += writing.await.unwrap();
        let connection = rusqlite::Connection::open(proxy.database()).unwrap();
        let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(integrity, "ok", "round {round}");
    }
    println!("killed {rounds} times within {answers} answers and {writes} writes");
    crate::support::tried("kills", rounds);
    assert!(
        answers > rounds && writes > rounds / 2,
        "{answers} answers, {writes} writes: too little to be killed in"
    );
    let proxy = setup.start().await;
    assert!(!proxy.output().contains("set aside"), "{}", proxy.output());
    assert!(proxy.status().await["cache"]["bytes"].as_u64() <= Some(64 << 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_or_on_makes_nothing_fresh_that_is_not() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url()).with_a_clock().set("health.idle_interval", "100ms");
    let mut proxy = setup.clone().start().await;
    proxy.get(LIST).await.expect(200);
    assert!(proxy.get(LIST).await.expect(200).cache().hit());
    let mut version = 1;
    for (shift, restart) in [("-1h", false), ("-2h", true), ("+0s", false), ("+3d", false), ("+0s", true)] {
        let was = version;
        version = lab.renew();
        proxy.setup().set_clock(shift);
        if restart {
            proxy = proxy.restart().await;
        }
        let answer = proxy.get(LIST).await.expect(200);
        let is = lab::version(&answer.json());
        // Back from the future or long ago: it is asked anew. To be given, an answer must have been fresh by any clock.
        assert!(
            is == version || shift == "+0s" && is == was,
            "{shift}: {is} of {version}: {}",
            answer.describe()
        );
        version = is;
        proxy.client().with(users::ADMIN).get("/labs").await.expect(200);
        // Offline it is given, by whatever clock.
        lab.upstream.cut().await;
        proxy.until_upstream_is("down").await;
        let offline = proxy.get(LIST).await.expect(200);
        assert_eq!(lab::version(&offline.json()), is, "{shift}");
        lab.upstream.restore().await;
        proxy.until_upstream_is("up").await;
    }
}
