//! A lab's day by a clock that is moved on: what Alyx is asked, beside what it would be asked without the proxy.
//!
//! ```sh
//! cargo run --release --example day -- READS [mirror | cache [FRESH]]
//! ```
//!
//! The real proxy, led by hand, before a miniature Alyx: 24 hours from midnight on, after the first fill and one night. The mix
//! is told in `bench/README.md`. `FRESH` is another `freshness.records` than the default. Prints a line of JSON; with
//! `DAY_REQUESTS` set, each request that Alyx got before.
#![allow(clippy::disallowed_methods, reason = "it measures")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#![allow(clippy::cast_precision_loss)]

mod plan;
mod played;
mod works;
mod world;

use std::collections::BTreeMap;

use alyx_proxy::{
    app::{App, AppByHand},
    miniature::{self, Miniature, Options, User},
    mirror::sync::budget::Purpose,
    proxy::Mode,
    settings::Settings,
};
use http::Method;
use rand::{SeedableRng, rngs::StdRng};
use serde_json::json;

use plan::{HOUR, LabSize, MIDNIGHT, MINUTE};
use played::{Day, DayClock};
use world::{World, token};

#[tokio::main]
async fn main() {
    if std::env::var_os("DAY_LOG").is_some() {
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(std::io::stderr).init();
    }
    let mut arguments = std::env::args().skip(1);
    let Some(reads) = arguments.next().and_then(|reads| reads.parse::<usize>().ok()) else {
        eprintln!("usage: day READS [mirror | cache [FRESH]]");
        std::process::exit(2);
    };
    let mirrored = arguments.next().is_none_or(|word| word == "mirror");
    let size = LabSize::of(reads);
    let users = (0..=size.people + 1).map(|n| User {
        name: if n == size.people + 1 { "zoltan".to_owned() } else { format!("user{n}") },
        password: "x".to_owned(),
        token: token(n),
        public: false,
    });
    let clock = DayClock::at(MIDNIGHT - 32 * HOUR);
    let options =
        Options { users: users.collect(), complete: true, clock: Some(clock.clone()), ..Options::default() };
    let alyx = miniature::start(options).await.unwrap();
    let direct = reqwest::Client::new();
    let world = World::of(&alyx, &direct).await;
    let mut chance = StdRng::seed_from_u64(20);
    let plan = plan::plan(reads, &size, &mut chance);
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.upstream.url = alyx.url();
    settings.upstream.requests_per_minute = 0;
    settings.storage.data_dir = folder.path().join("data");
    if let Some(fresh) = arguments.next() {
        settings.freshness.records = fresh.parse().expect("a span such as 15m");
    }
    if mirrored {
        settings.mirror.token = token(0);
    }
    let app = App::open_by(settings, Mode::Live, clock.clone()).await.unwrap();
    let proxy = AppByHand::of(app.clone());
    alyx.forget_requests();
    let mut day = Day::new(proxy, clock, (alyx, direct), chance, world);
    // The first fill, and a night.
    day.proxy.background().await;
    let fill = gets(&day.alyx);
    day.until(MIDNIGHT).await;
    day.alyx.forget_requests();
    for (at, user, work) in plan {
        day.until(at).await;
        day.work(user, work).await;
    }
    day.until(MIDNIGHT + 24 * HOUR).await;
    let (at_alyx, came) = (gets(&day.alyx), &day.came);
    let used = app.synchroniser().map(|synchroniser| synchroniser.budget.used()).unwrap_or_default();
    let by_mirror: BTreeMap<&str, u64> =
        Purpose::ALL.into_iter().map(|purpose| (purpose.name(), used.of(purpose))).collect();
    println!(
        "{}",
        json!({
            "reads": came.reads, "writes": came.writes, "mirror": mirrored, "first_fill": fill, "gets_at_alyx": at_alyx,
            "percent": (at_alyx * 10_000 / came.reads) as f64 / 100.0, "by_mirror": by_mirror, "answers": came.by,
            "background": used.background(), "allowed": used.allowed,
            "oldest_minutes": came.oldest as f64 / MINUTE as f64, "looked_at": came.looked,
        })
    );
    if std::env::var_os("DAY_REQUESTS").is_some() {
        for asked in day.alyx.requests() {
            eprintln!("{} {}", asked.method, asked.path_and_query);
        }
    }
    app.close().await;
}

fn gets(alyx: &Miniature) -> usize {
    alyx.requests().iter().filter(|asked| asked.method == Method::GET).count()
}
