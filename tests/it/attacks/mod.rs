//! What guests and users have tried to stop the proxy, or to have it say what is not so: each as a request over sockets,
//! while somebody else goes on with their work.

mod costly;
mod history;
mod host_names;
mod keys;
mod names;
mod random;
mod response_fields;
mod snapshots;
mod spelling;
mod strangers;
mod strangers_writes;

use std::{sync::Arc, time::Duration};

use alyx_proxy::miniature::{Miniature, Options};

use crate::support::{Answer, Client, Proxy, Setup, miniature, users};

/// The proxy's own paths that show something of what is here, or may.
const OWN: &[&str] = &[
    "/-/",
    "/-",
    "/-/status",
    "/-/status.json",
    "/-/mirror",
    "/-/mirror.json",
    "/-/answers",
    "/-/answers.json",
    "/-/audit",
    "/-/audit.json",
    "/-/metrics",
    "/-/docs",
    "/-/login",
    "/-/admin",
    "/-/explore",
    "/-/history",
    "/-/style.css",
    "/-/nothing",
];

/// Somebody at work, whose token Alyx accepts.
const WORKER: users::User = users::ONEUSER;

async fn miniature() -> Arc<Miniature> {
    Arc::new(miniature::start(Options { complete: true, ..Options::default() }).await)
}

/// A proxy that mirrors all, and has done so.
async fn mirroring(alyx: &Miniature, settings: &[(&str, &str)]) -> Proxy {
    let mut setup =
        Setup::new(&alyx.url()).set("mirror.token", users::ADMIN.token).set("mirror.verify_per_minute", "0");
    for (name, value) in settings {
        setup = setup.set(name, value);
    }
    let proxy = setup.start().await;
    let start = std::time::Instant::now();
    loop {
        let status = proxy.status().await;
        let tables = status["mirror"]["tables"].as_array().unwrap().clone();
        let whole = |name: &str, details: bool| {
            tables.iter().any(|table| table["endpoint"] == name && (!details || table["details"] == true))
        };
        if ["datasets", "labs", "projects"].iter().all(|name| whole(name, false))
            && ["sessions", "subjects", "insertions"].iter().all(|name| whole(name, true))
        {
            break;
        }
        assert!(start.elapsed() < Duration::from_mins(2), "not mirrored: {status:#}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for user in users::ALL {
        proxy
            .client()
            .with(user)
            .ask("GET", "/labs")
            .header("cache-control", "no-cache")
            .send()
            .await
            .expect(200);
    }
    proxy
}

fn is_mirrored(answer: &Answer) -> bool {
    answer.cache().get("detail").is_some_and(|detail| detail.starts_with("mirror"))
}

/// A question of this client that nobody asked before, answered from the mirror.
async fn works(client: &Client, path: &str) {
    let answer = client.get(path).await.expect(200);
    assert!(is_mirrored(&answer), "{path}: {}", answer.describe());
}
