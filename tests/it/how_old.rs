//! How old an answer may be, by what is asked and how Alyx is: the table in `offline.md` is made of the program's own
//! classes, and each of its cells is tried.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use alyx_proxy::{
    alyx::{Class, ENDPOINTS, Endpoint},
    cache::freshness,
    miniature::Options,
    settings::Settings,
};
use futures_util::future::join_all;

use crate::support::{Fault, Lab, Proxy, Setup, lab, miniature, slow_alyx::SlowAlyx, tried};

/// How old what is asked of an endpoint may be while Alyx answers; zero: it is asked each time.
fn fresh_for(endpoint: &Endpoint, settings: &Settings) -> Duration {
    freshness::of_endpoint(endpoint, endpoint.asked, settings).0
}

/// The table: endpoints by how old their answers may be.
pub(crate) fn table() -> String {
    let settings = Settings::default();
    let mut groups: BTreeMap<Duration, Vec<&str>> = BTreeMap::new();
    for endpoint in ENDPOINTS {
        groups.entry(fresh_for(endpoint, &settings)).or_default().push(endpoint.name);
    }
    let people = |span: Duration| match humantime::format_duration(span).to_string().as_str() {
        "1day" => "a day".to_owned(),
        text => text.to_owned(),
    };
    let (slow, max_age) = (people(settings.upstream.serve_stale_after.0), settings.mirror.max_age.0);
    let mut text = format!(
        "| asked | Alyx answers | the same, from the mirror | Alyx takes longer than {slow} | Alyx is away |\n|---|---|---|---|---|\n"
    );
    for (span, names) in groups {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let cells = if span.is_zero() {
            ["current: asked each time".to_owned(), "never".to_owned(), "current: waits for it".to_owned()]
        } else {
            [
                people(span),
                format!("{} after its synchronisation", people(span.min(max_age))),
                "any age, marked".to_owned(),
            ]
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | any age, marked |",
            names.join(", "),
            cells[0],
            cells[1],
            cells[2]
        );
    }
    let negative = people(settings.cache.negative_ttl.0);
    let _ = writeln!(
        text,
        "| what was missing: a 404, a list without records | {negative} | {negative}; a 404 never | current: waits for it | any age, marked |"
    );
    let _ = writeln!(
        text,
        "| what somebody has written through the proxy | current | current | current: waits for it | as written, or refused: a list that only the cache has, marked |"
    );
    let _ = writeln!(
        text,
        "| with `no-cache`, `max-age`, `min-fresh` | as it says | as it says | as it says: waits for it | any age, marked |"
    );
    text
}

/// Asks every endpoint at once; which version each answer is of, whether it was stored, and whether it is marked.
async fn ask_all(proxy: &Proxy) -> Vec<(&'static Endpoint, usize, bool, bool)> {
    let ask = |endpoint: &'static Endpoint| async move {
        let answer = proxy.get(&format!("/{}", endpoint.name)).await.expect(200);
        let marked = answer.header("alyx-api-notice").is_some_and(|notice| notice.starts_with("!!!"));
        (endpoint, lab::version(&answer.json()), answer.cache().hit(), marked)
    };
    join_all(ENDPOINTS.iter().filter(|endpoint| endpoint.name != "users").map(ask)).await
}

/// Every cell without the mirror: Alyx answers, takes 4 seconds, takes 20, is away.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_older_than_the_table_says() {
    let lab = Lab::open().await;
    let setup = Setup::new(&lab.url())
        .set("freshness.records", "1s")
        .set("freshness.reference", "1s")
        .set("cache.stale_while_revalidate", "0s")
        .set("upstream.concurrency", "100")
        .set("upstream.requests_per_minute", "0");
    let proxy = setup.start().await;
    // In the table all but the volatile ones count as fresh for a while.
    let settings = Settings::default();
    let is_current = |endpoint: &Endpoint| fresh_for(endpoint, &settings).is_zero();
    proxy.get("/labs").await.expect(200);
    ask_all(&proxy).await;
    for (delay, slow) in [(0, false), (4_000, true), (20_000, true)] {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let before = ask_version(&proxy).await;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let new = lab.renew();
        lab.upstream.behave(if delay == 0 { Fault::None } else { Fault::Slow(delay) });
        for (endpoint, version, hit, marked) in ask_all(&proxy).await {
            let name = endpoint.name;
            if is_current(endpoint) || !slow {
                assert_eq!((version, hit), (new, false), "{name}, {delay} ms");
            } else {
                assert!(hit && marked && version <= before, "{name}, {delay} ms: {version} {hit} {marked}");
            }
        }
        lab.upstream.behave(Fault::None);
        ask_all(&proxy).await;
    }
    lab.upstream.cut().await;
    proxy.get("/weighings").await;
    proxy.until_upstream_is("down").await;
    for (endpoint, _, hit, marked) in ask_all(&proxy).await {
        assert!(hit && marked, "{} while Alyx is away", endpoint.name);
    }
}

async fn ask_version(proxy: &Proxy) -> usize {
    lab::version(&proxy.get("/labs").await.expect(200).json())
}

/// What came of a question.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Given {
    endpoint: &'static Endpoint,
    /// None where the list is empty.
    version: Option<u64>,
    hit: bool,
    by_mirror: bool,
    /// Whether Alyx was asked what has changed in the table; of what notes no change, that says nothing.
    caught_up: bool,
    marked: bool,
    /// In seconds.
    age: u64,
}

/// Asks every endpoint at once for so many records.
async fn ask_for(proxy: &Proxy, limit: usize) -> Vec<Given> {
    ask_for_some(proxy, limit, |_| true).await
}

/// The same of those endpoints.
async fn ask_for_some(proxy: &Proxy, limit: usize, some: impl Fn(&Endpoint) -> bool) -> Vec<Given> {
    let ask = |endpoint: &'static Endpoint| async move {
        let answer = proxy.get(&format!("/{}?limit={limit}", endpoint.name)).await.expect(200);
        let status = answer.cache();
        Given {
            endpoint,
            version: answer.json().pointer("/results/0/shown_version").and_then(serde_json::Value::as_u64),
            hit: status.hit(),
            by_mirror: status.get("detail").is_some_and(|detail| detail.starts_with("mirror")),
            caught_up: status.get("detail") == Some("caught-up"),
            marked: answer.header("alyx-api-notice").is_some_and(|notice| notice.starts_with("!!!")),
            age: answer.age().unwrap_or_default(),
        }
    };
    // Of stacks that are alike the miniature does not know which are on a page.
    let is_asked =
        |endpoint: &&Endpoint| !["users", "imaging-stack"].contains(&endpoint.name) && some(endpoint);
    let asked = ENDPOINTS.iter().filter(is_asked);
    join_all(asked.map(ask)).await
}

/// A proxy whose tables and answers count as fresh for so long, with everything mirrored.
async fn mirrored(slow: &SlowAlyx, fresh: &str) -> Proxy {
    let setup = Setup::new(&slow.url())
        .set("mirror.token", crate::support::users::ADMIN.token)
        .set("mirror.details", "")
        .set("mirror.interval", "1h")
        .set("mirror.verify_per_minute", "0")
        .set("freshness.records", fresh)
        .set("freshness.reference", fresh)
        .set("upstream.concurrency", "100")
        .set("cache.stale_while_revalidate", "0s");
    let proxy = setup.start().await;
    let tables = ENDPOINTS.iter().filter(|endpoint| endpoint.class != Class::Volatile).count();
    proxy.until_mirrored(tables).await;
    proxy.get("/labs").await.expect(200);
    proxy
}

/// Every cell with the mirror: its tables are recent, or too old; and Alyx answers, takes 4 seconds, takes 20, is away. Each
/// time a question that nobody has asked before, so that nothing but the mirror has an answer to it.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_the_mirror_is_older_than_the_table_says() {
    let alyx = miniature::start(Options::default()).await;
    let slow = SlowAlyx::before(&alyx.url()).await;
    let first = slow.renew() as u64;
    let settings = Settings::default();
    let is_current = |endpoint: &Endpoint| fresh_for(endpoint, &settings).is_zero();
    let proxy = mirrored(&slow, "1d").await;
    let new = slow.renew() as u64;
    let mut cells = 0;
    for given in ask_for(&proxy, 3).await {
        let name = given.endpoint.name;
        let expected = if is_current(given.endpoint) { (false, new) } else { (true, first) };
        assert_eq!((given.by_mirror, given.version.unwrap_or(expected.1)), expected, "{name}: recent");
        assert!(!given.marked, "{name}: recent");
        cells += 1;
    }
    // Another one, whose tables are too old after a second.
    let (first, proxy) = (new, mirrored(&slow, "1s").await);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    for (limit, delay) in [(4, 0), (5, 4_000), (6, 20_000)] {
        let new = slow.renew() as u64;
        slow.take(Duration::from_millis(delay));
        for given in ask_for(&proxy, limit).await {
            let about = format!("{}, {delay} ms", given.endpoint.name);
            let is_new = given.version.is_none_or(|version| version == new);
            if is_current(given.endpoint) || delay == 0 {
                let is_current = is_new || given.caught_up;
                assert!(is_current && !given.hit && !given.marked, "{about}: {:?}", given.version);
            } else {
                // What another question had begun to catch up with may be here in time.
                let is_told = given.marked || is_new || given.caught_up || given.age <= 1;
                assert!(given.by_mirror && is_told, "{about}: {} {}", given.by_mirror, given.marked);
                let was = first..=new;
                assert!(
                    given.version.is_none_or(|version| was.contains(&version)),
                    "{about}: {:?}",
                    given.version
                );
            }
            cells += 1;
        }
        slow.take(Duration::ZERO);
    }
    alyx.cut();
    drop(slow);
    proxy.get("/weighings?limit=7").await;
    proxy.until_upstream_is("down").await;
    // What has no table was asked before.
    for (limit, has_table) in [(8, true), (4, false)] {
        let with = |endpoint: &Endpoint| (endpoint.class != Class::Volatile) == has_table;
        for given in ask_for_some(&proxy, limit, with).await {
            let name = given.endpoint.name;
            assert!(given.hit && given.marked && given.by_mirror == has_table, "{name} while Alyx is away");
            cells += 1;
        }
    }
    tried("how old", cells);
}
