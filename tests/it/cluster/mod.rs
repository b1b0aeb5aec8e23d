//! Several proxies, one service: three real ones, a real PostgreSQL, and an Alyx that knows the truth.

mod away;
mod command;
mod mirrored;
mod pace;
mod together;

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Answer, Lab, Proxy, Setup, lab, postgres::Postgres, until, users};

/// Proxies of one Alyx, with what they share.
struct Shared {
    postgres: Postgres,
    folder: TempDir,
    proxies: Vec<Proxy>,
}

/// A file for its owner alone.
fn secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

impl Shared {
    /// So many proxies in front of this Alyx, together.
    async fn before(upstream: &str, count: usize) -> Self {
        Self::with(upstream, count, |setup| setup).await
    }

    async fn with(upstream: &str, count: usize, set: impl Fn(Setup) -> Setup) -> Self {
        let (postgres, folder) = (Postgres::start(), TempDir::new().unwrap());
        secret(&folder.path().join("url"), &postgres.url());
        secret(&folder.path().join("key"), &alyx_proxy::cluster::seal::new_key());
        let mut shared = Self { postgres, folder, proxies: Vec::new() };
        for _ in 0..count {
            let proxy = set(shared.setup(upstream)).start().await;
            shared.proxies.push(proxy);
        }
        shared.until_together().await;
        shared
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// One more.
    fn setup(&self, upstream: &str) -> Setup {
        Setup::new(upstream)
            .set("cluster.url_file", &self.file("url"))
            .set("cluster.key_file", &self.file("key"))
    }

    /// Waits until each proxy is together with all others.
    async fn until_together(&self) {
        for proxy in &self.proxies {
            until("all are together", async || {
                let cluster = cluster(proxy).await;
                let members = cluster["members"].as_array().map_or(0, Vec::len);
                cluster["state"] == "together" && members == self.proxies.len()
            })
            .await;
        }
    }
}

/// What a proxy says of its cluster.
async fn cluster(proxy: &Proxy) -> Value {
    proxy.status().await["cluster"].clone()
}

fn notice(answer: &Answer) -> Option<&str> {
    answer.header("alyx-api-notice")
}

/// A counter of a proxy's.
async fn counted(proxy: &Proxy, name: &str) -> f64 {
    let text = proxy.client().get("/-/metrics").await.expect(200);
    let text = String::from_utf8_lossy(&text.body).into_owned();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{name} is not counted"))
}

fn session() -> String {
    format!("/sessions/{}", lab::session_id(0))
}

/// Reads it until it comes from the hot cache.
async fn prime(proxy: &Proxy, path: &str) -> usize {
    let mut version = 0;
    for _ in 0..3 {
        version = lab::version(&proxy.get(path).await.expect(200).json());
    }
    version
}

async fn write(proxy: &Proxy) -> Answer {
    let body = serde_json::json!({"narrative": "written"});
    // Another than the one who reads: who writes gets what is current anyway.
    let answer = proxy.client().with(users::ADMIN).ask("PATCH", &session()).json(&body).send().await;
    assert!(answer.status.is_success(), "{}", answer.describe());
    answer
}

/// A lab, with proxies before it.
async fn three() -> (Lab, Shared) {
    let lab = Lab::open().await;
    let shared = Shared::before(&lab.url(), 3).await;
    (lab, shared)
}
