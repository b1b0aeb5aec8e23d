//! A mirror that a test keeps up with the miniature in its own process, and what it has to be.

use std::{path::Path, sync::Arc};

use alyx_proxy::{
    alyx::record,
    clock::{SharedClock, SystemClock},
    miniature::{self as demo, Miniature, Options},
    mirror::{
        Mirror,
        schema::Schema,
        sync::{Cycle, Synchroniser},
    },
    settings::Settings,
    upstream::Upstream,
};
use arc_swap::ArcSwap;
use serde_json::Value;

use super::{lens::Lens, miniature};

pub fn settings(url: &str) -> Settings {
    let mut settings = Settings::default();
    url.clone_into(&mut settings.upstream.url);
    settings.upstream.requests_per_minute = 0;
    settings.mirror.background_per_day = 0;
    settings.mirror.endpoints = vec!["all".to_owned(), "tasks".to_owned()];
    "demo".clone_into(&mut settings.mirror.username);
    "demo".clone_into(&mut settings.mirror.password);
    settings
}

/// A mirror and what keeps it, as a process would have them.
pub struct Kept {
    pub mirror: Arc<Mirror>,
    pub synchroniser: Arc<Synchroniser>,
}

impl Kept {
    pub fn open(folder: &Path, settings: Settings) -> Self {
        Self::open_by(folder, settings, Arc::new(SystemClock))
    }

    pub fn open_by(folder: &Path, settings: Settings, clock: SharedClock) -> Self {
        let mirror = Mirror::open_by(folder, &clock, 1 << 20).unwrap();
        let upstream = Upstream::new(&settings, clock).unwrap();
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let synchroniser = Synchroniser::new(mirror.clone(), upstream, &settings).unwrap().unwrap();
        Self { mirror, synchroniser }
    }

    pub async fn now(&self) {
        let errors = self.synchroniser.cycle(Cycle::Now(&[])).await;
        assert!(errors.is_empty(), "{errors:?}");
    }
}

/// A miniature, and a mirror that has all of it, in this folder.
pub async fn mirrored() -> (Miniature, tempfile::TempDir, Kept) {
    let alyx = demo::start(Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), settings(&alyx.url()));
    kept.now().await;
    (alyx, folder, kept)
}

/// The same with a lens between the two.
pub async fn mirrored_behind_a_lens() -> (Miniature, Lens, tempfile::TempDir, Kept) {
    let alyx = demo::start(Options::default()).await.unwrap();
    let lens = Lens::before(&alyx.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(folder.path(), settings(&lens.url()));
    kept.now().await;
    (alyx, lens, folder, kept)
}

/// The same where a cycle reads all tables as a whole that it reads by and by: as many ranges as there are.
pub async fn mirrored_in_one_sweep() -> (Miniature, Lens, tempfile::TempDir, Kept) {
    let alyx = demo::start(Options::default()).await.unwrap();
    let lens = Lens::before(&alyx.url()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&lens.url());
    settings.mirror.interval = "12h".parse().unwrap();
    let kept = Kept::open(folder.path(), settings);
    kept.now().await;
    (alyx, lens, folder, kept)
}

pub async fn send(
    alyx: &Miniature,
    method: reqwest::Method,
    path: &str,
    body: Option<Value>,
) -> (u16, String) {
    let token = &Options::default().users[0].token;
    let mut request = miniature::client()
        .request(method, format!("{}{path}", alyx.url()))
        .header("Accept", "application/json")
        .header("Authorization", format!("Token {token}"));
    if let Some(body) = body {
        request = request.header("Content-Type", "application/json").body(body.to_string());
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// The whole list as Alyx serves it, each record once.
pub async fn list(url: &str, endpoint: &str) -> Vec<String> {
    let mut found = miniature::list_at(url, endpoint).await;
    found.sort();
    if endpoint == "imaging-stack" {
        found.dedup();
    }
    found
}

async fn kept(mirror: &Mirror, endpoint: &str) -> Vec<String> {
    let name = Schema::get().table(endpoint).unwrap().name.clone();
    mirror
        .read(move |connection, _| {
            let mut statement =
                connection.prepare(&format!("SELECT list FROM \"{name}__body\" ORDER BY list"))?;
            statement.query_map([], |row| row.get(0))?.collect()
        })
        .await
        .unwrap()
}

/// Every table that is here equals Alyx's list, and every detail that is here Alyx's detail.
pub async fn equal(url: &str, mirror: &Mirror) {
    let all: Vec<_> = Schema::get().tables().iter().map(|table| table.endpoint.name).collect();
    equal_of(url, mirror, &all).await;
}

/// The same of these tables.
pub async fn equal_of(url: &str, mirror: &Mirror, tables: &[&str]) {
    for endpoint in tables {
        assert!(mirror.states().of(endpoint).is_some(), "{endpoint} is not here");
        let (ours, theirs) = (kept(mirror, endpoint).await, list(url, endpoint).await);
        let different = ours.iter().find(|text| theirs.binary_search(text).is_err());
        assert_eq!(different, None, "{endpoint}: {} here, {} there", ours.len(), theirs.len());
        assert_eq!(ours.len(), theirs.len(), "{endpoint}");
        assert_eq!(mirror.states().of(endpoint).unwrap().rows, theirs.len() as u64, "{endpoint}");
    }
}

pub async fn details_equal(url: &str, mirror: &Mirror, endpoint: &'static str, field: &str) {
    let name = Schema::get().table(endpoint).unwrap().name.clone();
    let details: Vec<(String, String)> = mirror
        .read(move |connection, _| {
            let sql = format!("SELECT list, detail FROM \"{name}__body\" WHERE detail <> ''");
            connection.prepare(&sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
        .await
        .unwrap();
    assert!(!details.is_empty());
    for (list, detail) in details {
        let list: Value = record::parse(&list);
        let key = list[field].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        assert_eq!(detail, miniature::get_at(url, &format!("/{endpoint}/{key}")).await, "{endpoint}/{key}");
    }
}

/// All lists are Alyx's, and all details are here and Alyx's.
pub async fn whole(url: &str, mirror: &Mirror) {
    equal(url, mirror).await;
    for (endpoint, field) in [("sessions", "url"), ("insertions", "id"), ("subjects", "nickname")] {
        details_equal(url, mirror, endpoint, field).await;
    }
}
