//! `explain`: asks a running proxy how it would answer a question, and why.

use alyx_proxy::settings::{Sources, load};
use anyhow::anyhow;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

use super::{CommandResult, args, client, print, print_json};

/// What is shown of the explanation; `--json` passes all of it on.
#[derive(Debug, Deserialize)]
struct ExplanationView {
    path: String,
    decision: String,
    why: String,
    remedy: Option<String>,
    offline: String,
    upstream: String,
    #[serde(default)]
    ignored: Vec<String>,
    plan: Option<PlanView>,
    stored: Option<StoredEntryView>,
}

#[derive(Debug, Deserialize)]
struct PlanView {
    tables: Vec<PlanTableView>,
    parameters: Vec<String>,
    count: Option<String>,
    page: Option<String>,
    refusal: Option<RefusalView>,
}

#[derive(Debug, Deserialize)]
struct RefusalView {
    status: u16,
    body: Value,
}

#[derive(Debug, Deserialize)]
struct PlanTableView {
    endpoint: String,
    details: bool,
    rows: u64,
    age_seconds: u64,
    scope: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct StoredEntryView {
    age_seconds: u64,
    fresh: bool,
}

pub(super) async fn run(sources: &Sources, args: &args::ExplainFlags) -> CommandResult {
    let base = args.proxy.place(&load(sources)?.settings);
    // A whole URL may be pasted, too.
    let path = args.path.strip_prefix(base.url.as_str()).unwrap_or(&args.path);
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut headers = HeaderMap::new();
    headers.insert("x-alyx-proxy-explain", HeaderValue::from_static("1"));
    // Who has logged in with ONE needs to name no token; where nobody has, the proxy says whether one is needed.
    if let Ok(token) = client::token_for(&base, &args.token, None) {
        headers.insert(header::AUTHORIZATION, client::authorization(&token)?);
    }
    let (code, raw) = client::json(&base, &path, &headers).await?;
    let raw = raw.ok_or_else(|| anyhow!("{base}{path} answers {code}, and not with an explanation"))?;
    let Ok(explanation) = serde_json::from_value::<ExplanationView>(raw.clone()) else {
        let detail = raw["detail"].as_str().unwrap_or("not with an explanation");
        if matches!(code, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(anyhow!(
                "{base}{path} answers {code}: {detail} Show a token of yours by --token or ${}, or log in once with \
                 ONE(base_url='{base}'), whose token is taken then",
                alyx_proxy::settings::TOKEN_VARIABLE
            )
            .into());
        }
        return Err(anyhow!("{base}{path} answers {code}: {detail}").into());
    };
    if args.proxy.json { print_json(&raw) } else { print(&readable(&explanation)) }
}

fn readable(explanation: &ExplanationView) -> String {
    let ExplanationView { path, decision, why, remedy, offline, upstream, ignored, plan, stored } =
        explanation;
    let decision = match decision.as_str() {
        "mirror" => "answered from the mirror",
        "stored" => "answered with what is stored",
        "forwarded" => "forwarded to Alyx",
        "refused" => "refused: Alyx is out of reach",
        other => other,
    };
    let mut lines = vec![line("question", path), line("decision", decision), line("why", why)];
    lines.extend(remedy.as_ref().map(|remedy| line("remedy", remedy)));
    let offline = match offline.as_str() {
        "mirror" => "answered from the mirror",
        "stored" => "answered with what is stored",
        "refused" => "refused: only Alyx can answer it",
        other => other,
    };
    lines.push(line("offline", offline));
    lines.push(line("upstream", upstream));
    if !ignored.is_empty() {
        let names = ignored.join(", ");
        lines.push(line("ignored", &format!("{names}: Alyx has no such parameter here, and disregards it")));
    }
    if let Some(plan) = plan {
        lines.extend(plan.tables.iter().map(|table| line("table", &readable_table(table))));
        if !plan.parameters.is_empty() {
            lines.push(line("parameters", &plan.parameters.join(", ")));
        }
        let refusal = plan
            .refusal
            .as_ref()
            .map(|RefusalView { status, body }| format!("Alyx refuses with {status}: {body}"));
        lines.extend(refusal.map(|text| line("answer", &text)));
        lines.extend(plan.count.as_ref().map(|sql| line("count", sql)));
        lines.extend(plan.page.as_ref().map(|sql| line("page", sql)));
    }
    if let Some(StoredEntryView { age_seconds, fresh }) = stored {
        let fresh = if *fresh { "fresh" } else { "not fresh" };
        lines.push(line("stored", &format!("{fresh}, {} old", ago(*age_seconds))));
    }
    lines.join("\n")
}

fn readable_table(table: &PlanTableView) -> String {
    let PlanTableView { endpoint, details, rows, age_seconds, scope } = table;
    let details = if *details { " with details" } else { "" };
    let scope = if scope.is_empty() { String::new() } else { format!(", only {}", scope.join("&")) };
    format!("/{endpoint}{details}: {rows} rows{scope}, {} old", ago(*age_seconds))
}

fn ago(seconds: u64) -> String {
    alyx_proxy::clock::span_for_people(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000))
}

fn line(name: &str, text: &str) -> String {
    format!("{name:<11} {text}")
}
