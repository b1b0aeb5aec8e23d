//! Issue "For the people in the lab": before a journey, what will be asked is fetched, and it is said what will work.

use std::process::{Command, Output, Stdio};

use crate::support::{Proxy, Setup, command, miniature, users};
use alyx_proxy::miniature::{self as demo, Miniature, Options};
use serde_json::Value;

async fn miniature() -> Miniature {
    miniature::start(Options::default()).await
}

/// Runs `alyx-proxy pack` for somebody, in a home of their own; `typed` is what stands on its standard input.
async fn pack(proxy: &Proxy, token: &str, arguments: &[&str], typed: &str) -> Output {
    let home = tempfile::tempdir().unwrap();
    let input = home.path().join("input");
    std::fs::write(&input, typed).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"));
    command.arg("pack").args(arguments).args(["--url", &proxy.url()]).env_clear().env("HOME", home.path());
    if token.is_empty() {
        let one = home.path().join(".one");
        std::fs::create_dir(&one).unwrap();
        let name = format!(".{}", proxy.address().to_string().replace(':', "_"));
        let user = users::ONEUSER;
        let parameters = serde_json::json!({
            "ALYX_LOGIN": user.name, "TOKEN": { user.name: { "token": user.token } },
        });
        std::fs::write(one.join(name), parameters.to_string()).unwrap();
    } else {
        command.env("ALYX_PROXY_TOKEN", token);
    }
    command.stdin(Stdio::from(std::fs::File::open(&input).unwrap()));
    tokio::task::spawn_blocking(move || (command.output().unwrap(), home)).await.unwrap().0
}

fn report(output: &Output) -> Value {
    serde_json::from_str(&command::done(output)).unwrap()
}

/// What the miniature was asked, without what looks whether it is there.
fn asked(alyx: &Miniature) -> Vec<String> {
    let gets = |asked: demo::LoggedRequest| (asked.method == "GET").then_some(asked.path_and_query);
    alyx.requests().into_iter().filter_map(gets).filter(|path| path != "/auth-token").collect()
}

const SEARCH: &str = "/sessions?lab=cortexlab";
/// A session with insertions.
const WITH_PROBES: &str = "/insertions?limit=1";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_packed_is_answered_without_alyx() {
    let alyx = miniature().await;
    let proxy = Proxy::start(&alyx.url()).await;
    let first = proxy.get(WITH_PROBES).await.expect(200).json();
    let session = first["results"][0]["session"].as_str().unwrap().to_owned();
    alyx.forget_requests();
    let told = report(&pack(&proxy, users::ONEUSER.token, &[SEARCH, &session, "--json"], "").await);
    assert!(told["from_alyx"].as_u64().unwrap() > 15, "{told:#}");
    let wanted = told["wanted"].as_array().unwrap();
    assert_eq!(wanted.len(), 3, "the beginning, the search, the session: {told:#}");
    assert!(wanted.iter().all(|wanted| wanted["works_offline"] == true), "{told:#}");
    assert!(told["token_counts_until"].is_string(), "{told:#}");
    let fetched = asked(&alyx);
    for some in [
        "/api/schema",
        SEARCH,
        &format!("/sessions/{session}"),
        &format!("/datasets?session={session}"),
        &format!("/insertions?session={session}"),
        "/channels?probe_insertion=",
        "Ephys%20aligned%20histology%20track",
    ] {
        assert!(fetched.iter().any(|path| path.contains(some)), "{some}: {fetched:#?}");
    }

    alyx.cut();
    proxy.get("/weighings").await.expect(504);
    for path in &fetched {
        let ask = proxy.client().ask("GET", path);
        let ask = match path.as_str() {
            "/api/schema" => ask.header("accept", "application/vnd.oai.openapi+json"),
            "/docs/" => ask.header("accept", "application/coreapi+json"),
            _ => ask,
        };
        ask.send().await.expect(200);
    }
    let again = pack(&proxy, users::ONEUSER.token, &[SEARCH, &session, "--json"], "").await;
    let again = report(&again);
    assert_eq!((&again["alyx_is_away"], &again["from_alyx"]), (&true.into(), &0.into()), "{again:#}");
}

/// What is asked for sessions, and what their details show.
const KEPT: &str = "sessions,datasets,insertions,subjects,data-repository,\
                    trajectories,fields-of-view,water-administrations,notes";

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_a_query_finds_come_with_it_and_the_mirror_saves_alyx_the_work() {
    let alyx = miniature().await;
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", KEPT)
        .set("mirror.details", "sessions,insertions,subjects")
        .set("mirror.verify_per_minute", "0")
        .start()
        .await;
    proxy.until_mirrored(KEPT.split(',').count()).await;
    proxy.get("/labs").await.expect(200);
    alyx.forget_requests();
    let query = "/sessions?lab=cortexlab&limit=2";
    let output =
        pack(&proxy, "", &["--sessions", "--pages", "2", "--json"], &format!("# mine\n{query}\n")).await;
    let said = command::failed(&output, 1);
    assert!(said.contains("1 of what was wanted"), "the third page is left out: {said}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let wanted = told["wanted"].as_array().unwrap();
    assert_eq!(wanted.len(), 2 + 4, "two pages of two sessions: {told:#}");
    assert!(wanted[1]["missing"][0]["why"].as_str().unwrap().contains("--pages"), "{told:#}");
    for session in &wanted[2..] {
        assert!(session["wanted"].as_str().unwrap().starts_with("session "), "{told:#}");
        assert!(session["mirror"].as_u64() > session["stored"].as_u64(), "{told:#}");
    }
    let of_mirrored = |path: &&String| path.starts_with("/sessions") || path.starts_with("/datasets?");
    assert_eq!(asked(&alyx).iter().filter(of_mirrored).count(), 0, "{:#?}", asked(&alyx));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_lately_is_packed_for_whoever_asked_it() {
    let alyx = miniature().await;
    let proxy = Proxy::start(&alyx.url()).await;
    let (mine, theirs) = (["/subjects?lab=cortexlab", "/labs", "/sessions?lab=%63ortexlab"], "/projects");
    for path in mine {
        proxy.get(path).await.expect(200);
        proxy.get(path).await.expect(200);
    }
    proxy.client().with(users::ADMIN).get(theirs).await.expect(200);
    let history = |answer: crate::support::Answer| -> Vec<String> {
        let questions = answer.expect(200).json()["questions"].clone();
        questions.as_array().unwrap().iter().map(|q| q["question"].as_str().unwrap().to_owned()).collect()
    };
    let mut had = history(proxy.get("/-/history?days=1").await);
    had.sort_unstable();
    let mut expected = mine.map(str::to_owned);
    expected.sort_unstable();
    assert_eq!(had, expected, "each once");
    assert_eq!(history(proxy.client().with(users::ADMIN).get("/-/history").await), [theirs]);
    for nobody in [proxy.client().anonymous(), proxy.client().with_authorization("Token nobodys")] {
        nobody.get("/-/history").await.expect(403);
    }
    proxy.get("/-/history?days=many").await.expect(400);

    let proxy = proxy.restart().await;
    let told = report(&pack(&proxy, users::ONEUSER.token, &["--from-log", "1", "--json"], "").await);
    let mut wanted: Vec<&str> =
        told["wanted"].as_array().unwrap()[1..].iter().map(|item| item["wanted"].as_str().unwrap()).collect();
    wanted.sort_unstable();
    assert_eq!(wanted, expected, "{told:#}");

    let proxy = proxy.restart_with("access.query_history", "0s").await;
    proxy.get("/dataset-types").await.expect(200);
    proxy.get("/revisions").await.expect(200);
    assert!(
        !history(proxy.get("/-/history").await).contains(&"/revisions".to_owned()),
        "nothing is written down"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_will_not_work_is_named_and_why() {
    let alyx = miniature().await;
    let proxy = Proxy::start(&alyx.url()).await;
    let unknown = "00000000-0000-4000-8000-000000000001";
    let output = pack(&proxy, users::ONEUSER.token, &["/labs", "/cache.zip", "--session", unknown], "").await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    command::failed(&output, 1);
    let (works, fails) = said.split_once("Will not work").unwrap();
    assert!(works.contains("/labs"), "{said}");
    assert!(fails.contains(unknown) && fails.contains("404"), "{said}");

    for (arguments, why) in [
        (&["/-/status"][..], "/-/status"),
        (&[][..], "nothing is wanted"),
        (&["--session", "x"][..], "x"),
        (&["--from-log", "3"][..], "asked nothing"),
    ] {
        let nobody = pack(&proxy, users::PUBLIC.token, arguments, "").await;
        // Somebody whom the proxy has not seen has no history to look into.
        let status = if why == "asked nothing" { 1 } else { 2 };
        let said = command::failed(&nobody, status);
        assert!(said.contains(why) || status == 1 && said.contains("token"), "{arguments:?}: {said}");
    }
    let elsewhere = Command::new(env!("CARGO_BIN_EXE_alyx-proxy"))
        .args(["pack", "/labs", "--url", "http://127.0.0.1:1"])
        .env_clear()
        .env("HOME", "/nowhere")
        .output()
        .unwrap();
    assert!(command::failed(&elsewhere, 2).contains("log in once with ONE"), "{elsewhere:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_packed_is_pushed_out_by_nobodys_questions() {
    let alyx = miniature().await;
    let proxy = Setup::new(&alyx.url())
        .set("storage.max_disk", "4 MiB")
        .set("storage.max_memory", "100 kB")
        .set("upstream.requests_per_minute", "0")
        .start()
        .await;
    let packed = ["/labs?limit=3", "/projects?limit=3", "/subjects?limit=3"];
    let told = report(&pack(&proxy, users::ONEUSER.token, &[&packed[..], &["--json"]].concat(), "").await);
    assert_eq!(told["from_alyx"].as_u64().map(|asked| asked >= 3), Some(true), "{told:#}");
    let other = proxy.client().with(users::PUBLIC);
    let evicted = async || {
        let metrics = proxy.client().get("/-/metrics").await.expect(200);
        let line = metrics.text().lines().find(|line| line.starts_with("alyx_proxy_cache_evictions_total "));
        line.unwrap().split(' ').nth(1).unwrap().parse::<u64>().unwrap()
    };
    // Others' questions, until far more has been dropped than there was before.
    let mut asked = 0;
    while evicted().await < 200 {
        assert!(asked < 4_000, "nothing is dropped");
        let lists =
            (0..20).map(|n| format!("/datasets?limit={}&offset={}", 100 + asked % 150, 7 * (asked + n)));
        for answer in futures_util::future::join_all(lists.map(|path| {
            let other = &other;
            async move { other.get(&path).await }
        }))
        .await
        {
            answer.expect(200);
        }
        asked += 20;
    }
    let first = other.ask("GET", "/datasets?limit=100&offset=0").header("cache-control", "only-if-cached");
    assert_eq!(first.send().await.status, 504, "what was asked and not packed is gone");
    alyx.cut();
    for question in packed {
        let stored =
            proxy.client().ask("GET", question).header("cache-control", "only-if-cached, max-stale=99999");
        assert_eq!(stored.send().await.status, 200, "{question}");
    }
}
