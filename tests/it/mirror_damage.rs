//! What a disk gets wrong in the mirror is never given for Alyx's word, and is fetched anew when Alyx can be asked.

use std::time::Duration;

use crate::support::{Answer, Client, Proxy, Setup, command, miniature, until, users};
use alyx_proxy::miniature::{Miniature, Options};

const TABLES: &str = "labs,sessions,subjects,datasets";
const QUESTIONS: &[&str] = &[
    "/sessions?lab=cortexlab&limit=20",
    "/sessions?number=1&limit=20",
    "/sessions?limit=30&offset=30",
    "/subjects?sex=F&limit=10",
    "/datasets?limit=50",
    "/labs/cortexlab",
];

fn setup(alyx: &Miniature) -> Setup {
    Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", TABLES)
        .set("mirror.details", "")
        .set("mirror.interval", "500ms")
        .set("mirror.verify_per_minute", "0")
        .set("health.idle_interval", "100ms")
        // Nothing but the mirror answers.
        .set("storage.max_disk", "0 B")
        .set("storage.max_memory", "0 B")
}

async fn mirrored(proxy: &Proxy) {
    let start = std::time::Instant::now();
    while proxy.status().await["mirror"]["tables"].as_array().map_or(0, Vec::len) < 4 {
        assert!(start.elapsed() < Duration::from_mins(2), "not mirrored:\n{}", proxy.output());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
}

fn is_mirrored(answer: &Answer) -> bool {
    answer.cache().get("detail").is_some_and(|detail| detail.starts_with("mirror"))
}

/// Whether each answer is Alyx's own, or none; how many there were.
fn judge(answers: &[Answer], right: &[String], proxy: &Proxy, alyx: &Miniature, about: &str) -> usize {
    let mut given = 0;
    for ((answer, right), question) in answers.iter().zip(right).zip(QUESTIONS) {
        match answer.status.as_u16() {
            200 => {
                given += 1;
                assert_eq!(answer.text().replace(&proxy.url(), &alyx.url()), *right, "{about}: {question}");
            }
            504 => {}
            _ => panic!("{about}: {question}: {}", answer.describe()),
        }
    }
    given
}

async fn ask(client: Client) -> Vec<Answer> {
    let mut answers = Vec::new();
    for question in QUESTIONS {
        answers.push(client.get(question).await);
    }
    answers
}

/// Waits until the mirror answers every question; what is answered meanwhile is right.
async fn whole_again(proxy: &Proxy, right: &[String], alyx: &Miniature, about: &str) {
    let start = std::time::Instant::now();
    loop {
        let answers = ask(proxy.client()).await;
        judge(&answers, right, proxy, alyx, about);
        if answers.iter().all(is_mirrored) {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "{about}: not whole again:\n{:#}\n{}\n{}",
            proxy.status().await["mirror"],
            answers.iter().map(Answer::describe).collect::<Vec<_>>().join("\n"),
            proxy.output()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Damages the mirror of a proxy that has ended, looks at it without Alyx, and with Alyx until it is whole again. How
/// many answers there were without.
async fn survives(
    alyx: &Miniature,
    mut proxy: Proxy,
    about: &str,
    damage: impl FnOnce(&std::path::Path),
) -> usize {
    let right: Vec<String> =
        ask(Client::new(alyx.addr())).await.iter().map(|answer| answer.text().to_owned()).collect();
    proxy.terminate().await;
    let file = proxy.database().with_file_name("mirror.db");
    damage(&file);
    alyx.cut();
    let proxy = proxy.restart().await;
    proxy.until_upstream_is("down").await;
    let given = judge(&ask(proxy.client()).await, &right, &proxy, alyx, about);
    if given < QUESTIONS.len() {
        says_so(&proxy, about).await;
    }
    alyx.restore().await.unwrap();
    proxy.until_upstream_is("up").await;
    until(&format!("{about}: it says so"), async || proxy.output().contains("anew")).await;
    whole_again(&proxy, &right, alyx, about).await;
    until(&format!("{about}: nothing is wrong any more"), async || {
        proxy.status().await["mirror"]["degraded"].is_null()
    })
    .await;
    given
}

/// Both the page for people and that for programs tell of the damage, or of the file that was put aside for it.
async fn says_so(proxy: &Proxy, about: &str) {
    let mirror = proxy.status().await["mirror"].take();
    let told = if let Some(path) = mirror["quarantined_file"].as_str() {
        assert!(std::path::Path::new(path).exists(), "{about}: {path}");
        path
    } else {
        mirror["degraded"]["what"].as_str().unwrap_or_else(|| panic!("{about}: not a word: {mirror}"))
    };
    assert!(told.contains("damaged"), "{about}: {told}");
    let page = proxy.client().get("/-/status").await.expect(200);
    assert!(page.text().contains(told), "{about}: the page does not tell: {told}");
    let metrics = proxy.client().get("/-/metrics").await.expect(200);
    let trouble = u8::from(!mirror["degraded"].is_null());
    assert!(metrics.text().contains(&format!("alyx_proxy_mirror_degraded {trouble}\n")), "{about}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_disk_got_wrong_is_neither_given_nor_kept() {
    let alyx = miniature::start(Options::default()).await;
    let open = async || {
        let proxy = setup(&alyx).start().await;
        mirrored(&proxy).await;
        proxy
    };
    // One byte in the text of some records: sessions of one lab, wherever they stand.
    let text = |file: &std::path::Path| {
        let mut bytes = std::fs::read(file).unwrap();
        let (from, to) = (br#""lab":"cortexlab""#, br#""lab":"cortexlaB""#);
        let places: Vec<usize> = memchr::memmem::find_iter(&bytes, from).step_by(3).collect();
        assert!(places.len() > 5, "there is something to damage");
        for at in places {
            bytes[at..at + from.len()].copy_from_slice(to);
        }
        std::fs::write(file, bytes).unwrap();
    };
    let given = survives(&alyx, open().await, "text", text).await;
    assert!((1..QUESTIONS.len()).contains(&given), "what is damaged is refused, the rest is given: {given}");

    // What questions are decided by, and not the text: found when the whole is looked through.
    let proxy = open().await;
    until("it is noted", async || {
        let connection = rusqlite::Connection::open(proxy.database().with_file_name("mirror.db")).unwrap();
        connection
            .query_row("SELECT count(*) FROM meta WHERE key = 'scrubbed_at'", [], |row| row.get::<_, i64>(0))
            == Ok(1)
    })
    .await;
    survives(&alyx, proxy, "column", |file| {
        // The number of a session, as it stands in the table and in no text.
        let connection = rusqlite::Connection::open(file).unwrap();
        connection.execute("UPDATE meta SET value = 0 WHERE key = 'scrubbed_at'", []).unwrap();
        connection.execute("UPDATE sessions__wide SET json = '{\"wrong\":1}' WHERE n = 3", []).unwrap();
    })
    .await;

    // Whole pages.
    survives(&alyx, open().await, "pages", |file| {
        let mut bytes = std::fs::read(file).unwrap();
        let third = bytes.len() / 3 / 16384 * 16384;
        bytes[third..2 * third].fill(0x5a);
        std::fs::write(file, bytes).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_change_under_it_are_noticed() {
    let alyx = miniature::start(Options::default()).await;
    let proxy = setup(&alyx).start().await;
    mirrored(&proxy).await;
    // All in the file itself, and none of it in memory.
    let proxy = proxy.restart().await;
    mirrored(&proxy).await;
    let right: Vec<String> =
        ask(Client::new(alyx.addr())).await.iter().map(|answer| answer.text().to_owned()).collect();
    let file =
        std::fs::File::options().write(true).open(proxy.database().with_file_name("mirror.db")).unwrap();
    let length = file.metadata().unwrap().len() / 16384;
    for page in length / 4..length {
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![0x5a; 16384], page * 16384).unwrap();
    }
    let start = std::time::Instant::now();
    while !proxy.output().contains("anew") {
        judge(&ask(proxy.client()).await, &right, &proxy, &alyx, "under it");
        assert!(start.elapsed() < Duration::from_mins(1), "never noticed:\n{}", proxy.output());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    whole_again(&proxy, &right, &alyx, "under it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_disk_got_wrong_is_in_no_snapshot() {
    let alyx = miniature::start(Options::default()).await;
    let mut proxy = setup(&alyx).start().await;
    mirrored(&proxy).await;
    proxy.terminate().await;
    alyx.cut();
    let file = proxy.database().with_file_name("mirror.db");
    let connection = rusqlite::Connection::open(file).unwrap();
    let wrong = "UPDATE sessions__body SET list = replace(list, '\"lab\":\"', '\"lab\":\"x') WHERE n = 3";
    assert_eq!(connection.execute(wrong, []).unwrap(), 1);
    drop(connection);
    let proxy = proxy.restart().await;
    proxy.until_upstream_is("down").await;
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder.path().join("lab.tar.zst");
    let export = |more: &[&str]| {
        command::run_for(&proxy, &[&["export", snapshot.to_str().unwrap(), "--force"], more].concat())
    };
    let said = command::failed(&export(&[]), 1);
    assert!(said.contains("/sessions is damaged"), "{said}");
    assert!(!snapshot.exists(), "nor a part of one");
    // It is on the status page, and mended as all damage is.
    says_so(&proxy, "exported").await;
    command::done(&export(&["--endpoint", "subjects", "--endpoint", "datasets"]));
    alyx.restore().await.unwrap();
    proxy.until_upstream_is("up").await;
    let start = std::time::Instant::now();
    while !export(&[]).status.success() {
        assert!(start.elapsed() < Duration::from_mins(1), "not whole again:\n{}", proxy.output());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
