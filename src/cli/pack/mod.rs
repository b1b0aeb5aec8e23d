//! `pack`: has a running proxy fetch what will be asked on a journey, and says what will work there without Alyx.
//!
//! It asks as ONE asks, with the traveller's own token: what the proxy knows already costs Alyx nothing.

mod fetch;
mod meant;
mod report;
mod session;
mod wishes;

use std::{collections::HashSet, time::Duration};

use alyx_proxy::settings::{Sources, load};
use anyhow::anyhow;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, header};
use serde_json::Value;

use super::{
    CliError, CommandResult,
    args::PackFlags,
    client::{self, ProxyClient},
    print, print_json,
    progress_bar::StepBar,
};
use fetch::{Item, Packer};
use report::Report;
use wishes::PackRequest;

/// Wishes that are filled at a time: a person's own share of what Alyx takes.
const AT_A_TIME: usize = 4;

/// The proxy itself ends a request long before.
const PATIENCE: Duration = Duration::from_mins(10);

pub(super) async fn run(sources: &Sources, flags: &PackFlags) -> CommandResult {
    let place = flags.proxy.place(&load(sources)?.settings);
    let token = client::token_for(&place, &flags.token, flags.user.as_deref())?;
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, client::authorization(&token)?);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let asker = ProxyClient::new(place.clone(), headers, PATIENCE)?;

    let mut wishes = wishes::given(flags)?;
    if let Some(days) = flags.from_log {
        wishes.extend(past(&asker, days).await?);
    }
    if wishes.is_empty() {
        return Err(CliError::Usage(match flags.from_log {
            Some(days) => format!("you asked nothing in the last {days} days through {place}"),
            None => "nothing is wanted: name queries and sessions, or give --from-log DAYS".to_owned(),
        }));
    }
    wishes.insert(0, PackRequest::Beginning);
    // What is named and was asked lately is wanted once.
    let mut known = HashSet::new();
    wishes.retain(|wish| {
        let same = match wish {
            PackRequest::Past(question) => PackRequest::Question(question.clone()),
            wish => wish.clone(),
        };
        known.insert(same)
    });

    let bar = StepBar::new();
    let packer = Packer::new(&asker, flags.pages, flags.sessions);
    let mut filled = fill(&packer, &wishes, &bar, "packing").await?;
    let mut found: Vec<PackRequest> = packer.found().into_iter().map(PackRequest::Session).collect();
    found.retain(|wish| !wishes.contains(wish));
    filled.extend(fill(&packer, &found, &bar, "packing sessions").await?);
    drop(bar);

    let me = answered(&asker, "/-/history?days=0").await?;
    let report = Report {
        place: place.url,
        items: filled,
        requests: packer.requests(),
        from_alyx: packer.put_to_alyx(),
        token_counts_until: me["token_counts_until"].as_str().map(str::to_owned),
        is_away: packer.is_away(),
    };
    if flags.proxy.json {
        print_json(&report.json())?;
    } else {
        print(&report.readable())?;
    }
    match report.missing() {
        0 => Ok(()),
        missing => Err(anyhow!("{missing} of what was wanted will not work without Alyx").into()),
    }
}

/// Fills wishes, several at a time; what came of them, in their order.
async fn fill(
    packer: &Packer<'_>,
    wishes: &[PackRequest],
    bar: &StepBar,
    what: &str,
) -> Result<Vec<Item>, CliError> {
    let mut filled = Vec::new();
    let mut under_way =
        stream::iter(wishes.iter().cloned().map(|wish| packer.fill(wish))).buffered(AT_A_TIME);
    while let Some(item) = under_way.next().await {
        filled.push(item?);
        bar.step(what, filled.len() as u64, wishes.len() as u64);
    }
    Ok(filled)
}

/// What was asked in the last days, the last first.
async fn past(asker: &ProxyClient, days: u32) -> Result<Vec<PackRequest>, CliError> {
    let past = answered(asker, &format!("/-/history?days={days}")).await?;
    let questions = past["questions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |past: &Value| past["question"].as_str().map(|text| PackRequest::Past(text.to_owned()));
    Ok(questions.iter().filter_map(text).collect())
}

/// One of the proxy's own answers.
async fn answered(asker: &ProxyClient, path: &str) -> Result<Value, CliError> {
    let reply = asker.get(path, HeaderMap::new()).await?;
    client::granted(reply.status, reply.body, path)
}
