//! How old an answer may be, by what is asked and how Alyx is: the table in `offline.md` is made of the program's own
//! classes, and each of its cells is tried.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use alyx_proxy::{
    alyx::{ENDPOINTS, Endpoint},
    cache::freshness,
    settings::Settings,
};
use futures_util::future::join_all;

use crate::support::{Fault, Lab, Setup, lab};

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
        "| what somebody has written through the proxy | current | current | current: waits for it | any age, marked |"
    );
    let _ = writeln!(
        text,
        "| with `no-cache`, `max-age`, `min-fresh` | as it says | as it says | as it says: waits for it | any age, marked |"
    );
    text
}

/// Asks every endpoint at once; which version each answer is of, whether it was stored, and whether it is marked.
async fn ask_all(proxy: &crate::support::Proxy) -> Vec<(&'static Endpoint, usize, bool, bool)> {
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

async fn ask_version(proxy: &crate::support::Proxy) -> usize {
    lab::version(&proxy.get("/labs").await.expect(200).json())
}
