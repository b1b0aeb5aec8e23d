//! What there is to be asked about: the records of the miniature Alyx.

use alyx_proxy::miniature::Miniature;
use serde_json::Value;

/// What is there to be asked about.
pub(crate) struct World {
    pub(crate) sessions: Vec<Value>,
    pub(crate) subjects: Vec<Value>,
    pub(crate) labs: Vec<Value>,
}

impl World {
    /// That of this Alyx.
    pub(crate) async fn of(alyx: &Miniature, direct: &reqwest::Client) -> Self {
        let mut sessions = records(alyx, direct, "/sessions?limit=1000").await;
        sessions.retain(|session| session["lab"].is_string());
        let mut subjects = records(alyx, direct, "/subjects?limit=1000").await;
        subjects.retain(|subject| {
            let name = subject["nickname"].as_str().unwrap_or_default();
            name.is_ascii() && !name.contains([' ', '/', '.']) && !name.starts_with("dup")
        });
        let labs = records(alyx, direct, "/labs?limit=1000").await;
        Self { sessions, subjects, labs }
    }
}

async fn records(alyx: &Miniature, client: &reqwest::Client, target: &str) -> Vec<Value> {
    let url = format!("{}{target}", alyx.url());
    let asked = client.get(url).header("authorization", format!("Token {}", token(0))).send().await.unwrap();
    let answer: Value = serde_json::from_slice(&asked.bytes().await.unwrap()).unwrap();
    answer["results"].as_array().unwrap().clone()
}

/// The token of the user of this number.
pub(crate) fn token(user: usize) -> String {
    format!("{user:040}")
}

/// The id of a record, as it stands in it or at the end of its link.
pub(crate) fn id(record: &Value) -> String {
    let link = record["id"].as_str().or(record["url"].as_str()).unwrap();
    link.rsplit('/').next().unwrap().to_owned()
}
