//! What a proxy tells its owner.

use std::path::PathBuf;

use serde_json::Value;

use super::Proxy;

impl Proxy {
    /// What `/-/status.json` says to its owner.
    pub async fn status(&self) -> Value {
        let ask = self.client().ask("GET", "/-/status.json");
        ask.header("authorization", &format!("Bearer {}", self.admin_token())).send().await.expect(200).json()
    }

    /// The administrator's token.
    pub fn admin_token(&self) -> String {
        let set = self.setup.settings.iter().rfind(|(name, _)| name == "access.admin_token");
        let file = self.seen_data_dir().join("admin-token");
        set.map_or_else(
            || {
                std::fs::read_to_string(&file)
                    .unwrap_or_else(|e| panic!("{}: {e}", file.display()))
                    .trim()
                    .to_owned()
            },
            |(_, token)| token.clone(),
        )
    }

    /// Its data directory, also where that is a disk of its own; that of a snapshot it serves lies below it.
    fn seen_data_dir(&self) -> PathBuf {
        let own = self.setup.disk.is_some() || self.setup.kept.is_some();
        let data_dir = if own { self.seen(&self.data_dir()) } else { self.data_dir() };
        if self.setup.snapshot.is_none() {
            return data_dir;
        }
        let mut snapshots = std::fs::read_dir(data_dir.join("snapshots")).unwrap();
        snapshots.next().unwrap().unwrap().path()
    }
}
