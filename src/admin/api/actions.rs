//! The actions of an administrator, and what is said when they are done.

use std::{collections::BTreeSet, sync::Arc};

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use crate::{
    admin::{acts::ActDetails, router::AdminSite},
    alyx::Endpoint,
    cache::Purge,
    mirror::sync::Cycle,
    proxy::together,
    store::StoreError,
};

/// Why an action was not done, and the status that says so.
#[derive(Debug)]
pub(crate) struct ActionError {
    pub(crate) status: StatusCode,
    pub(crate) why: String,
}

impl ActionError {
    pub(crate) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into() }
    }
}

/// What is to be forgotten: exactly one of these.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PurgeRequest {
    all: bool,
    endpoint: Option<String>,
    prefix: Option<String>,
    question: Option<String>,
    files: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SyncRequest {
    endpoints: BTreeSet<String>,
    /// Whether to answer only when it is done.
    wait: bool,
}

/// Tables that were not synchronised, and why.
type FailedTables = Map<String, Value>;

/// A body without particulars.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plain {}

impl AdminSite {
    /// Carries out an action, and says what was done.
    pub(super) async fn execute(
        self: &Arc<Self>,
        action: &str,
        request: Value,
    ) -> Result<Value, ActionError> {
        if let Some(frozen) = self.core.mode.snapshot() {
            let why = format!("This is {}: it stays as it is.", frozen.for_people());
            return Err(ActionError::new(StatusCode::CONFLICT, why));
        }
        match action {
            "purge" => self.purge(&read::<PurgeRequest>(request)?).await,
            "sync" => self.synchronise(&read(request)?).await,
            "verify" => {
                let Plain {} = read(request)?;
                self.verify_now()
            }
            "trust" => {
                let Plain {} = read(request)?;
                self.trust_again()
            }
            "offline" => {
                let Plain {} = read(request)?;
                Ok(self.hold_offline())
            }
            "online" => {
                let Plain {} = read(request)?;
                Ok(self.release_online())
            }
            _ => Err(ActionError::new(
                StatusCode::NOT_FOUND,
                "There is no such action. There are: purge, sync, verify, trust, offline, online, export, import.",
            )),
        }
    }

    async fn purge(&self, request: &PurgeRequest) -> Result<Value, ActionError> {
        let PurgeRequest { all, endpoint: name, prefix, question, files } = request;
        let what = match (all, name, prefix, question, files) {
            (true, None, None, None, None) => Purge::All,
            (false, Some(name), None, None, None) => Purge::below(endpoint(name)?.name),
            (false, None, Some(prefix), None, None) => Purge::below(prefix),
            (false, None, None, Some(question), None) => Purge::question(question),
            (false, None, None, None, Some(pattern)) => return self.purge_files(pattern).await,
            _ => {
                let why = "Name exactly one of `all`, `endpoint`, `prefix`, `question` and `files`.";
                return Err(ActionError::new(StatusCode::BAD_REQUEST, why));
            }
        };
        let purging = async {
            let files =
                self.floors.tables.files.forget(|tag| what.takes_tables(tag), &self.core.store).await?;
            Ok(files + self.core.responses.purge(what.clone()).await?)
        };
        let purged = purging.await.map_err(|error: StoreError| {
            tracing::error!(%error, "stored answers can't be purged");
            ActionError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("The stored answers can't be purged: {error}."),
            )
        })?;
        together::purged(&self.core, &what).await;
        tracing::info!(purged, "an administrator has stored answers forgotten");
        tracing::debug!(?what, "purged");
        Ok(json!({ "purged": purged }))
    }

    /// Has data files forgotten whose path is like this.
    async fn purge_files(&self, pattern: &str) -> Result<Value, ActionError> {
        let Some(files) = &self.core.data_files else {
            let why = "This proxy gives no data files (`files.enabled`).";
            return Err(ActionError::new(StatusCode::CONFLICT, why));
        };
        let purged = files.purge(pattern).await.map_err(|error| {
            tracing::error!(%error, "data files can't be purged");
            ActionError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("The data files can't be purged: {error}."),
            )
        })?;
        tracing::info!(purged, "an administrator has data files forgotten");
        Ok(json!({ "purged": purged }))
    }

    async fn synchronise(&self, request: &SyncRequest) -> Result<Value, ActionError> {
        let (chosen, cycle) = self.synchronise_now(&request.endpoints)?;
        let mut done = json!({ "synchronising": chosen });
        if request.wait {
            done["errors"] = cycle
                .await
                .map_err(|error| ActionError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?
                .into();
        }
        Ok(done)
    }

    /// Synchronises these endpoints now, or all that are kept, whoever waits for it or not: their names, and in
    /// the end what failed.
    pub(crate) fn synchronise_now(
        &self,
        names: &BTreeSet<String>,
    ) -> Result<(Vec<&'static str>, JoinHandle<FailedTables>), ActionError> {
        let synchroniser = self.core.synchroniser.clone().ok_or_else(|| {
            let why = "Nothing is mirrored: [mirror] names no account to synchronise by.";
            ActionError::new(StatusCode::CONFLICT, why)
        })?;
        if self.core.upstream.health.is_down() {
            return Err(ActionError::new(
                StatusCode::CONFLICT,
                "Alyx is out of reach; it is synchronised when it is back.",
            ));
        }
        let asked_for = names.iter().map(|name| endpoint(name)).collect::<Result<Vec<_>, _>>()?;
        let settings = self.core.settings.load();
        if let Some(other) = asked_for.iter().find(|endpoint| !settings.mirror.keeps(endpoint)) {
            let why = format!("/{} is not among `mirror.endpoints`.", other.name);
            return Err(ActionError::new(StatusCode::CONFLICT, why));
        }
        let chosen: Vec<_> = match asked_for.as_slice() {
            [] => settings.mirror.kept().map(|endpoint| endpoint.name).collect(),
            asked_for => asked_for.iter().map(|endpoint| endpoint.name).collect(),
        };
        drop(settings);
        let cycle = tokio::spawn(async move {
            let errors = synchroniser.cycle(Cycle::Now(&asked_for)).await.into_iter();
            errors.map(|(endpoint, error)| (endpoint.to_owned(), error.to_string().into())).collect()
        });
        Ok((chosen, cycle))
    }

    /// Compares an answer of the mirror with Alyx's as soon as may be.
    pub(crate) fn verify_now(&self) -> Result<Value, ActionError> {
        if self.core.synchroniser.is_none() {
            let why = "Nothing is mirrored: [mirror] names no account to ask by.";
            return Err(ActionError::new(StatusCode::CONFLICT, why));
        }
        let waiting = self.floors.mirror.samples.hurry();
        Ok(json!({ "comparing": waiting }))
    }

    /// Has answers from the tables given again that were found to differ from Alyx's.
    pub(crate) fn trust_again(&self) -> Result<Value, ActionError> {
        let Some(mirror) = self.core.mirror.clone() else {
            return Err(ActionError::new(StatusCode::CONFLICT, "Nothing is mirrored."));
        };
        tokio::spawn(async move {
            match mirror.trust_again().await {
                Ok(parameters) => {
                    tracing::info!(parameters, "an administrator has what differed trusted again");
                }
                Err(error) => tracing::error!(%error, "what differed is not trusted again"),
            }
        });
        Ok(json!({ "trusting": true }))
    }

    /// Keeps away from Alyx.
    pub(crate) fn hold_offline(&self) -> Value {
        self.core.upstream.health.force_offline();
        json!({ "state": "down", "forced_offline": true })
    }

    /// Asks Alyx again.
    pub(crate) fn release_online(&self) -> Value {
        self.core.upstream.health.resume();
        json!({ "state": self.core.upstream.health.state().name(), "forced_offline": false })
    }
}

/// What an action is about, for the audit log.
pub(super) fn details(action: &str, request: &Value) -> ActDetails {
    let mut details = ActDetails::default();
    for (field, value) in request.as_object().into_iter().flatten() {
        match (action, field.as_str(), value) {
            ("purge", "all", all) => details.plain.push(("all", all.as_bool().into())),
            ("purge", "endpoint", Value::String(name)) => {
                details.plain.push(("endpoint", name.as_str().into()));
            }
            // These may name records.
            ("purge", "prefix", Value::String(prefix)) => details.names.push(("prefix", prefix.clone())),
            ("purge", "files", Value::String(pattern)) => details.names.push(("files", pattern.clone())),
            ("purge", "question", Value::String(asked)) => details.names.push(("question", asked.clone())),
            ("sync", "endpoints", Value::Array(names)) => {
                let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
                details.plain.push(("endpoints", names.join(",").into()));
            }
            _ => {}
        }
    }
    details
}

pub(super) fn read<T: serde::de::DeserializeOwned>(request: Value) -> Result<T, ActionError> {
    serde_json::from_value(request).map_err(|error| {
        ActionError::new(StatusCode::BAD_REQUEST, format!("The body of this action can't be read: {error}."))
    })
}

fn endpoint(name: &str) -> Result<&'static Endpoint, ActionError> {
    Endpoint::named(name).ok_or_else(|| {
        let why = format!("Nothing is done: {}", Endpoint::unknown(name));
        ActionError::new(StatusCode::BAD_REQUEST, why)
    })
}
