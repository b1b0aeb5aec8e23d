//! Attacks at random against the real program with the miniature Alyx behind it: costly paths of relations, parameters,
//! methods, half requests, slow bodies, header fields, snapshots with one member altered under a checksum that is right.
//!
//! While they go on, health answers and a user's cheap question is answered each time; memory and disk stay within the
//! settings, and nothing panics. The same seed makes the same attacks (`ALYX_PROXY_SEED`); `ALYX_PROXY_ATTACK_SECONDS` goes on
//! for so long with further seeds. How long the cheap question took is told, not asserted: `bench/run attack` measures it.

mod requests;
mod snapshots;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use rand::{SeedableRng, rngs::StdRng};

use super::{WORKER, miniature, mirroring};
use crate::support::{Client, Proxy, tried, users};
use requests::Attack;
use snapshots::Gift;

/// Attacks at the same time.
const AT_ONCE: usize = 12;
/// Rounds of them, where no time is set.
const ROUNDS: u64 = 20;

/// What the settings allow: stored answers, copies of what was given, and as many answers of Alyx's as may be under way at
/// once, each as long as may be.
const MEMORY: u64 = (32 + 1 + 8 * 8) << 20;
const DISK: u64 = 64 << 20;
/// What the program itself takes besides its settings, in bytes.
const PROGRAM: u64 = 120 << 20;
/// What may lie on the disk besides stored answers: the history of all users, logs of the database, the audit log.
const BESIDES: u64 = 80 << 20;

/// What `mirroring` is set to: small, so that bounds are reached.
const SETTINGS: &[(&str, &str)] = &[
    ("storage.max_memory", "32 MiB"),
    ("storage.max_disk", "64 MiB"),
    ("cache.given_copies", "1 MiB"),
    ("cache.max_response", "8 MiB"),
    ("cache.max_file", "8 MiB"),
    ("audit.max_size", "1 MiB"),
    ("server.client_timeout", "5s"),
    ("upstream.timeout", "5s"),
];

/// Goes on while attacks are made.
struct Bystander {
    health: Client,
    worker: Client,
    /// How long each cheap question took.
    took: Vec<Duration>,
}

impl Bystander {
    async fn works(&mut self, about: &str) {
        self.health.get("/-/health").await.expect(200);
        let (n, start) = (self.took.len(), Instant::now());
        let (endpoint, limit) = (["subjects", "labs", "projects"][n % 3], 1 + n % 200);
        let answer = self.worker.get(&format!("/{endpoint}?limit={limit}&offset={}", n / 600)).await;
        self.took.push(start.elapsed());
        assert_eq!(answer.status, 200, "{about}: {}", answer.describe());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_tried_users_go_on_within_the_settings() {
    let time = std::env::var("ALYX_PROXY_ATTACK_SECONDS").ok().map(|text| text.parse().unwrap());
    let time = time.map(Duration::from_secs);
    let first = std::env::var("ALYX_PROXY_SEED").map_or(19, |seed| seed.parse().unwrap());
    let alyx = miniature().await;
    let proxy = mirroring(&alyx, SETTINGS).await;
    let gift = Gift::of(&proxy);
    let (health, worker) = (proxy.client().anonymous(), proxy.client().with(WORKER));
    let mut bystander = Bystander { health, worker, took: Vec::new() };
    let (start, mut seed, mut attacks) = (Instant::now(), first, 0);
    while time.map_or(seed < first + ROUNDS, |time| start.elapsed() < time) {
        let mut random = StdRng::seed_from_u64(seed);
        let about = format!("ALYX_PROXY_SEED={seed}");
        let made: Vec<_> = (0..AT_ONCE).map(|_| Attack::at_random(&mut random, &gift)).collect();
        attacks += made.len();
        let under_way = join_all(made.into_iter().map(|attack| {
            let (proxy, token) = (proxy.address(), proxy.admin_token());
            tokio::spawn(async move { attack.make(proxy, &token).await })
        }));
        tokio::pin!(under_way);
        loop {
            bystander.works(&about).await;
            if let Ok(ended) = tokio::time::timeout(Duration::from_millis(20), &mut under_way).await {
                for attack in ended {
                    attack.expect("an attack is made");
                }
                break;
            }
        }
        holds(&proxy, &about);
        seed += 1;
    }
    // All who were attacked with are served as before.
    for user in users::ALL {
        proxy.client().with(user).get("/labs?limit=9").await.expect(200);
    }
    assert_eq!(proxy.client().anonymous().get("/-/ready").await.expect(200).text(), "ready\n");
    tried("attacks at random", attacks);
    tell(&mut bystander.took, attacks, memory(&proxy, "VmHWM"), used(&proxy.data_dir()));
}

/// What must hold whenever attacks have been made.
fn holds(proxy: &Proxy, about: &str) {
    let output = proxy.output();
    let panicked = output.lines().find(|line| line.contains("panicked"));
    assert_eq!(panicked, None, "{about}");
    let (peak, most) = (memory(proxy, "VmHWM"), MEMORY + PROGRAM);
    assert!(peak <= most, "{about}: {peak} bytes of memory, {most} are allowed");
    let disk = used(&proxy.data_dir());
    assert!(disk <= DISK + BESIDES, "{about}: {disk} bytes on the disk");
}

/// What the proxy takes of the machine's memory, in bytes.
fn memory(proxy: &Proxy, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// What lies in the data directory, but for the mirror's tables, which are as large as Alyx.
fn used(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(about) if about.is_dir() => used(&entry.path()),
        Ok(about) if !entry.file_name().to_string_lossy().starts_with("mirror.db") => about.len(),
        // It has gone meanwhile.
        _ => 0,
    };
    entries.map(size).sum()
}

/// What was measured meanwhile, for whoever runs it for that (`bench/run attack`).
fn tell(took: &mut [Duration], attacks: usize, memory: u64, disk: u64) {
    took.sort_unstable();
    let at = |part: usize| took[(took.len() - 1) * part / 100].as_secs_f64() * 1000.0;
    println!(
        "attacks at random: {{\"attacks\": {attacks}, \"questions\": {}, \"median_ms\": {:.1}, \"p99_ms\": {:.1}, \
         \"longest_ms\": {:.1}, \"memory_bytes\": {memory}, \"disk_bytes\": {disk}}}",
        took.len(),
        at(50),
        at(99),
        at(100)
    );
}
