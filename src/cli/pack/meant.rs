//! What was likely meant by a question that finds nothing.

use alyx_proxy::{alyx::belonging::RecordOwner, spelling};
use http::HeaderMap;
use serde_json::Value;

use super::fetch::Packer;
use crate::cli::CliError;

impl Packer<'_> {
    /// Why a question that somebody has named finds nothing, with the name that was likely meant; none where it was asked for
    /// nothing in particular.
    pub(super) async fn nothing_found(&self, question: &str) -> Result<Option<String>, CliError> {
        let Some((_, query)) = question.split_once('?') else { return Ok(None) };
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        if pairs.iter().all(|(name, _)| matches!(name.as_str(), "limit" | "offset" | "format")) {
            return Ok(None);
        }
        for owner in [RecordOwner::Lab, RecordOwner::Project] {
            let Some((name, typed)) =
                pairs.iter().find(|(name, _)| owner.parameters().contains(&name.as_str()))
            else {
                continue;
            };
            let names = self.names(owner).await?;
            if !names.is_empty() && names.iter().all(|known| known != typed) {
                let meant = spelling::did_you_mean(typed, names.iter().map(String::as_str));
                return Ok(Some(format!("it finds nothing: there is no {name} `{typed}`{meant}")));
            }
        }
        Ok(Some("it finds nothing: is a name or a value mistyped?".to_owned()))
    }

    /// The names of all labs or projects, as far as the first page has them.
    async fn names(&self, owner: RecordOwner) -> Result<Vec<String>, CliError> {
        let reply = self.asker.get(&format!("/{}?limit=1000", owner.listed()), HeaderMap::new()).await?;
        let body = reply.body.unwrap_or_default();
        let records = body["results"].as_array().or(body.as_array()).cloned().unwrap_or_default();
        Ok(records.iter().filter_map(|record: &Value| record["name"].as_str().map(str::to_owned)).collect())
    }
}
