//! What was likely meant by a question that finds nothing.

use alyx_proxy::{alyx::belonging::RecordOwner, spelling};
use http::HeaderMap;
use serde_json::Value;

use super::fetch::{self, Packer};
use crate::cli::CliError;

/// Pages of names that are looked through.
const MOST_PAGES: usize = 20;

impl Packer<'_> {
    /// Why a question that somebody has named finds nothing, with the name that was likely meant; none where it was asked for
    /// nothing in particular.
    pub(super) async fn nothing_found(&self, question: &str) -> Result<Option<String>, CliError> {
        let Some((_, query)) = question.split_once('?') else { return Ok(None) };
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        if pairs.iter().all(|(name, _)| matches!(name.as_str(), "limit" | "offset" | "format")) {
            return Ok(None);
        }
        for owner in [RecordOwner::Lab, RecordOwner::Project, RecordOwner::Subject] {
            let Some((_, typed)) = pairs.iter().find(|(name, _)| owner.parameters().contains(&name.as_str()))
            else {
                continue;
            };
            let names = self.names(owner).await?;
            if !names.is_empty() && names.iter().all(|known| known != typed) {
                let (kind, meant) =
                    (owner.name(), spelling::did_you_mean(typed, names.iter().map(String::as_str)));
                return Ok(Some(format!("it finds nothing: there is no {kind} `{typed}`{meant}")));
            }
        }
        Ok(Some("it finds nothing: is a name or a value mistyped?".to_owned()))
    }

    /// The names of all labs, projects or subjects, as far as the first pages have them.
    async fn names(&self, owner: RecordOwner) -> Result<Vec<String>, CliError> {
        let (mut names, mut next) = (Vec::new(), Some(format!("/{}?limit=1000", owner.listed())));
        for _ in 0..MOST_PAGES {
            let Some(question) = next.take() else { break };
            let body = self.asker.get(&question, HeaderMap::new()).await?.body.unwrap_or_default();
            let records =
                body["results"].as_array().or(body.as_array()).map(Vec::as_slice).unwrap_or_default();
            let name = |record: &Value| record[owner.field()].as_str().map(str::to_owned);
            names.extend(records.iter().filter_map(name));
            next = body["next"].as_str().and_then(fetch::path_of);
        }
        Ok(names)
    }
}
