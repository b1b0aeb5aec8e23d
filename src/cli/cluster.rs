//! `cluster`: makes the tables of a cluster, its key, and shows who is in. Asks PostgreSQL itself, no proxy.

use std::{sync::Arc, time::Duration};

use alyx_proxy::{
    cluster::{
        engine::{ClusterEngine, ClusterEngineError},
        postgres::PostgresEngine,
        seal::{self, ClusterSeal},
    },
    settings::Sources,
};
use anyhow::anyhow;
use serde_json::json;

use super::{
    CliError, CommandResult,
    args::{ClusterFlags, ClusterWish},
    prepare, print, print_json,
};

/// PostgreSQL answers sooner, or not.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(sources: &Sources, flags: &ClusterFlags) -> CommandResult {
    match flags.wish {
        ClusterWish::Key => print(&seal::new_key()),
        ClusterWish::Init => {
            let engine = engine(sources)?;
            let made = in_time(engine.init()).await?;
            print(&format!("The tables are there: {made}."))
        }
        ClusterWish::Status => status(&engine(sources)?, flags.json).await,
        ClusterWish::Forget => forget(&engine(sources)?, flags.name.as_deref().unwrap_or_default()).await,
    }
}

fn engine(sources: &Sources) -> Result<PostgresEngine, CliError> {
    let (loaded, _log) = prepare(sources)?;
    let settings = loaded.settings;
    if !settings.cluster.is_set() {
        return Err(CliError::Usage("`cluster.url` (or `cluster.url_file`) is not set".to_owned()));
    }
    let seal = ClusterSeal::read(&settings.cluster.key_file).map_err(anyhow::Error::from)?;
    PostgresEngine::new(&settings.cluster, &settings.upstream.url, Arc::new(seal))
        .map_err(|error| anyhow::Error::from(error).into())
}

async fn in_time<T>(call: impl Future<Output = Result<T, ClusterEngineError>>) -> Result<T, CliError> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(done) => done.map_err(|error| anyhow::Error::from(error).into()),
        Err(_) => Err(anyhow!("PostgreSQL has not answered within ten seconds").into()),
    }
}

async fn status(engine: &PostgresEngine, as_json: bool) -> CommandResult {
    let pulse = in_time(engine.survey()).await?;
    let lag = |seen: i64| (pulse.seq - seen).max(0);
    if as_json {
        let members = pulse.members.iter().map(|member| {
            json!({ "id": member.id.to_string(), "name": member.name, "version": member.version, "lag": lag(member.seen) })
        });
        let members: Vec<_> = members.collect();
        return print_json(&json!({
            "engine": engine.address(), "life": pulse.life.to_string(), "seq": pulse.seq, "members": members,
        }));
    }
    let mut lines = vec![format!("{:<11} {}", "engine", engine.address())];
    lines.push(format!("{:<11} {} in", "members", pulse.members.len()));
    lines.extend(pulse.members.iter().map(|member| {
        let id = &member.id.simple().to_string()[..8];
        format!("  {} {id}, {}, {} events yet to apply", member.name, member.version, lag(member.seen))
    }));
    print(&lines.join("\n"))
}

/// Takes out proxies of this name, or the one whose id begins so. One that still runs joins again.
async fn forget(engine: &PostgresEngine, name: &str) -> CommandResult {
    let members = in_time(engine.survey()).await?.members;
    let is_meant = |id: &str| name.len() >= 8 && id.starts_with(name);
    let meant =
        members.iter().filter(|member| member.name == name || is_meant(&member.id.simple().to_string()));
    let mut gone = 0;
    for member in meant {
        in_time(engine.remove(member.id, member.beat)).await?;
        gone += 1;
    }
    if gone == 0 {
        return Err(anyhow!("no proxy of this cluster is called {name}").into());
    }
    print(&format!("Taken out: {gone}. One that still runs joins again by itself."))
}
