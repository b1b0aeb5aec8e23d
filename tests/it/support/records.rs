//! An Alyx that keeps records and changes them as it is told: details and lists of a few endpoints, PATCH and PUT of whole
//! columns. It is told of no token, so that there may be as many users as a test likes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Map, Value, json};

use super::{Asked, Reply, Upstream};

/// A record of each endpoint whose JSON columns ONE changes, by its path: the key, and the column.
pub const CHANGED: [(&str, &str, &str); 5] = [
    ("sessions", "00000000-0000-4000-8000-000000000001", "json"),
    ("subjects", "KS 004", "json"),
    ("insertions", "00000000-0000-4000-8000-000000000002", "json"),
    ("surgeries", "00000000-0000-4000-8000-000000000003", "json"),
    ("data-repository", "lab_repo.1", "json"),
];

/// The records, and the upstream that serves them.
pub struct Records {
    pub upstream: Upstream,
    data: Arc<Mutex<Data>>,
}

#[derive(Default)]
struct Data {
    records: BTreeMap<(String, String), Map<String, Value>>,
    /// How many writes were carried out.
    writes: usize,
    /// The status of every read, where it is not answered.
    failing: Option<u16>,
}

impl Records {
    pub async fn open() -> Self {
        let mut data = Data::default();
        for (endpoint, key, column) in CHANGED {
            let mut record = Map::new();
            record.insert(key_field(endpoint).to_owned(), json!(key));
            record.insert(column.to_owned(), json!({}));
            let columns = [("qc", json!("NOT_SET")), ("narrative", json!("")), ("lab", json!("a lab"))];
            record.extend(columns.map(|(name, value)| (name.to_owned(), value)));
            record.insert("users".to_owned(), json!(["one", "two"]));
            data.records.insert((endpoint.to_owned(), key.to_owned()), record);
        }
        let data = Arc::new(Mutex::new(data));
        let answering = data.clone();
        let upstream = Upstream::start(Arc::new(move |asked| answering.lock().unwrap().answer(asked))).await;
        Self { upstream, data }
    }

    /// A record as it is now.
    pub fn now(&self, endpoint: &str, key: &str) -> Map<String, Value> {
        self.data.lock().unwrap().records[&(endpoint.to_owned(), key.to_owned())].clone()
    }

    /// Somebody changes a column elsewhere.
    pub fn change(&self, endpoint: &str, key: &str, column: &str, value: Value) {
        let mut data = self.data.lock().unwrap();
        let record = data.records.get_mut(&(endpoint.to_owned(), key.to_owned())).unwrap();
        record.insert(column.to_owned(), value);
    }

    /// How many writes were carried out.
    pub fn writes(&self) -> usize {
        self.data.lock().unwrap().writes
    }

    /// Answers every read with this status from now on, or no longer.
    pub fn fail(&self, status: Option<u16>) {
        self.data.lock().unwrap().failing = status;
    }

    /// How often details and lists of an endpoint were read.
    pub fn reads(&self, endpoint: &str) -> usize {
        let of = |asked: &&Asked| asked.path().split('/').nth(1) == Some(endpoint);
        self.upstream.asked().iter().filter(of).filter(|asked| asked.method == "GET").count()
    }
}

fn key_field(endpoint: &str) -> &'static str {
    match endpoint {
        "subjects" => "nickname",
        "data-repository" => "name",
        _ => "id",
    }
}

impl Data {
    fn answer(&mut self, asked: &Asked) -> Reply {
        let path = asked.path();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let read = asked.method == "GET";
        if read && let Some(status) = self.failing {
            return reply(status, &json!({"detail": "an exception", "status_code": status}));
        }
        match segments[..] {
            ["api", "schema"] if read => reply(200, &alyx_proxy::alyx::schema::document()),
            [endpoint] if read => self.list(endpoint, asked),
            [endpoint, key] => {
                let Some(record) = self.records.get_mut(&(endpoint.to_owned(), key.to_owned())) else {
                    return reply(
                        404,
                        &json!({"detail": "No record matches the given query.", "status_code": 404}),
                    );
                };
                if read {
                    return reply(200, &Value::Object(record.clone()));
                }
                self.writes += 1;
                if let Ok(Value::Object(columns)) = serde_json::from_slice(&asked.body) {
                    record.extend(columns);
                }
                reply(200, &Value::Object(record.clone()))
            }
            _ => reply(200, &json!({"count": 0, "next": null, "previous": null, "results": []})),
        }
    }

    /// Lists show the lab in another form than details do, and so do some of Alyx's.
    fn list(&self, endpoint: &str, asked: &Asked) -> Reply {
        let wanted = asked.parameter(key_field(endpoint));
        let of = |(known, key): &(String, String)| {
            known == endpoint && wanted.as_ref().is_none_or(|wanted| wanted == key)
        };
        let listed: Vec<Value> = self
            .records
            .iter()
            .filter(|(name, _)| of(name))
            .map(|(_, record)| {
                let mut record = record.clone();
                if ["sessions", "subjects", "insertions"].contains(&endpoint) {
                    let lab = record["lab"].clone();
                    record.insert("lab".to_owned(), json!({"name": lab}));
                }
                Value::Object(record)
            })
            .collect();
        reply(200, &json!({"count": listed.len(), "next": null, "previous": null, "results": listed}))
    }
}

fn reply(status: u16, body: &Value) -> Reply {
    Reply::new(status, "application/json", body.to_string()).header("vary", "Accept, Cookie")
}
