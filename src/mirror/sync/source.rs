//! What synchronising asks of Alyx: pages of lists, and details.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode};

use super::{
    SyncError,
    budget::BackgroundBudget,
    holes::{self, Ranged},
};
use crate::{
    alyx::{
        Endpoint, query_string,
        record::{self, Record},
        redact,
    },
    mirror::{generation::TableScope, schema::EndpointTables},
    storage::seal::SecretSeal,
    upstream::{Account, Upstream, UpstreamRequest, UpstreamResponse},
};

/// The most records that Alyx puts on a page.
pub(super) const PAGE: usize = 1000;
/// The records that a range of keys ought to have, so that it hardly ever has more than a page.
const AIM: u64 = 920;

/// Alyx, asked under the account's name.
#[derive(Debug)]
pub(super) struct AlyxSource {
    /// Where each request is counted.
    pub(super) budget: Arc<BackgroundBudget>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) account: Account,
    /// How long a list may take,
    pub(super) timeout: Duration,
    /// and how long a detail.
    pub(super) detail_timeout: Duration,
    /// What seals secrets in what comes.
    pub(super) seal: Option<Arc<SecretSeal>>,
}

/// A page of a list.
#[derive(Debug)]
pub(super) struct ListPage {
    pub(super) count: u64,
    pub(super) records: Vec<String>,
}

/// A range of keys: from the first, up to the other, which is outside.
pub(super) type Range = (u128, Option<u128>);

/// All keys in so many ranges.
pub(super) fn split(total: u64) -> Vec<Range> {
    let parts = u128::from(total.div_ceil(AIM).max(1));
    let step = u128::MAX / parts;
    (0..parts).map(|at| (at * step, (at + 1 < parts).then(|| (at + 1) * step))).collect()
}

/// Requests that a whole list of so many records costs.
pub(super) fn requests_for_all(table: &EndpointTables, rows: u64) -> u64 {
    let pages = rows.div_ceil(PAGE as u64).max(1);
    // The first page has told that there are more.
    if by_ranges(table) && pages > 1 { 1 + split(rows).len() as u64 } else { pages }
}

fn halves((first, after): Range) -> [Range; 2] {
    let middle = first + (after.unwrap_or(u128::MAX) - first) / 2;
    [(first, Some(middle)), (middle, after)]
}

/// Whether an endpoint's list can be asked for by ranges of keys (ALYX.md 6.4).
pub(super) fn by_ranges(table: &EndpointTables) -> bool {
    let id = table.column("id").filter(|id| !id.detail);
    table.endpoint.filter("django").is_some()
        && id.is_some_and(|id| matches!(id.kind, crate::alyx::model::ColumnKind::Uuid))
        && !table.ranked
}

impl AlyxSource {
    pub(super) async fn get(&self, path_and_query: String) -> Result<UpstreamResponse, SyncError> {
        self.get_within(path_and_query, self.timeout).await
    }

    pub(super) async fn get_within(
        &self,
        path_and_query: String,
        timeout: Duration,
    ) -> Result<UpstreamResponse, SyncError> {
        self.get_as(path_and_query, HeaderValue::from_static("application/json"), timeout).await
    }

    pub(super) async fn get_as(
        &self,
        path_and_query: String,
        accept: HeaderValue,
        timeout: Duration,
    ) -> Result<UpstreamResponse, SyncError> {
        let name = path_and_query.trim_start_matches('/').split(['/', '?']).next().unwrap_or_default();
        let seal = self.seal.as_ref().filter(|_| redact::ENDPOINTS.contains(&name)).cloned();
        let ask = UpstreamRequest {
            path_and_query,
            accept: Some(accept),
            authorization: None,
            who: None,
            extra: HeaderMap::new(),
            timeout,
            retries: 2,
            max_body: 1 << 30,
        };
        self.budget.count();
        let mut answer = self.account.fetch(&self.upstream, &ask).await?;
        if let Some(seal) = seal
            && let Some(sealed) = std::str::from_utf8(&answer.body).ok().and_then(|text| seal.seal_text(text))
        {
            answer.body = sealed.into();
        }
        Ok(answer)
    }

    /// One page of a list.
    pub(super) async fn page(
        &self,
        endpoint: &'static Endpoint,
        parameters: &[(String, String)],
        limit: usize,
        offset: usize,
    ) -> Result<ListPage, SyncError> {
        let mut pairs = parameters.to_vec();
        pairs.push(("limit".to_owned(), limit.to_string()));
        if offset > 0 {
            pairs.push(("offset".to_owned(), offset.to_string()));
        }
        let path = format!("/{}?{}", endpoint.name, query_string::encode_sorted(&pairs));
        let answer = self.get(path.clone()).await?;
        let text = String::from_utf8_lossy(&answer.body);
        let strange = || SyncError::Strange(path.clone(), answer.status.as_u16());
        if answer.status != StatusCode::OK {
            return Err(strange());
        }
        let field = |name: &str| record::fields(&text).find(|(key, _)| *key == name).map(|(_, text)| text);
        let count = field("count").and_then(|count| count.parse().ok()).ok_or_else(strange)?;
        let records: Vec<String> =
            record::members(field("results").ok_or_else(strange)?).map(str::to_owned).collect();
        metrics::counter!("alyx_proxy_mirror_records_total").increment(records.len() as u64);
        Ok(ListPage { count, records })
    }

    /// How many records a list has.
    pub(super) async fn count(
        &self,
        endpoint: &'static Endpoint,
        parameters: &[(String, String)],
    ) -> Result<u64, SyncError> {
        match self.page(endpoint, parameters, 1, 0).await {
            Ok(page) => Ok(page.count),
            // It may be the one record on that page.
            Err(error) if error.of_one_record().is_some() => {
                self.count_beyond(endpoint, parameters).await.map_err(|_| error)
            }
            Err(error) => Err(error),
        }
    }

    /// The records of a range of keys, with further pairs of `django=`. Of a range that has a little more
    /// than a page the rest is asked for by offset: that all are distinct proves that none was lost.
    pub(super) async fn range(
        &self,
        table: &EndpointTables,
        scope: &TableScope,
        pairs: &str,
        range: Range,
    ) -> Result<Ranged, SyncError> {
        let mut found = Ranged::default();
        let mut ranges = vec![range];
        while let Some(range) = ranges.pop() {
            let parameters = with_django(scope, &within(pairs, range));
            let mut page = match self.page(table.endpoint, &parameters, PAGE, 0).await {
                Ok(page) => page,
                Err(error) => {
                    let Some(why) = error.of_one_record() else { return Err(error) };
                    match self.count_beyond(table.endpoint, &parameters).await {
                        Ok(1) if found.holes.len() < holes::MOST => {
                            if !self.lists_another(table, scope).await {
                                return Err(error);
                            }
                            found.holes.push((range, why));
                        }
                        Ok(2..) if range.1.is_none_or(|after| after - range.0 > 1) => {
                            ranges.extend(halves(range));
                        }
                        _ => return Err(error),
                    }
                    continue;
                }
            };
            if page.count > PAGE as u64 && page.count <= 2 * PAGE as u64 {
                let rest = self.page(table.endpoint, &parameters, PAGE, PAGE).await?;
                page.records.extend(rest.records);
            }
            if distinct(table, &page.records) == page.count {
                found.records.extend(page.records);
            } else if page.count > 1 && range.1.is_none_or(|after| after - range.0 > 1) {
                ranges.extend(halves(range));
            } else {
                return Err(SyncError::Unsteady(table.endpoint.name));
            }
        }
        Ok(found)
    }

    /// All records of a list in the order in which it is served; the first page may be here already.
    pub(super) async fn all(
        &self,
        table: &EndpointTables,
        parameters: &[(String, String)],
        first: Option<ListPage>,
    ) -> Result<Vec<String>, SyncError> {
        let mut first = first;
        for _ in 0..4 {
            let page = match first.take() {
                Some(page) => page,
                None => self.page(table.endpoint, parameters, PAGE, 0).await?,
            };
            let (count, mut records) = (page.count, page.records);
            let (mut last, mut steady) = (records.len(), true);
            // Pages may be smaller than is asked for.
            while last == PAGE || last > 0 && (records.len() as u64) < count {
                let page = self.page(table.endpoint, parameters, PAGE, records.len()).await?;
                steady &= page.count == count;
                last = page.records.len();
                records.extend(page.records);
            }
            // A stack is listed once for each of its slices.
            let mut seen = std::collections::HashSet::new();
            records.retain(|text| identity(table, text).is_none_or(|id| seen.insert(id)));
            if steady && records.len() as u64 == count {
                return Ok(records);
            }
        }
        Err(SyncError::Unsteady(table.endpoint.name))
    }
}

fn distinct(table: &EndpointTables, records: &[String]) -> u64 {
    let ids: std::collections::HashSet<_> = records.iter().map(|text| identity(table, text)).collect();
    ids.len() as u64
}

/// The primary key of a record, as text.
pub(super) fn identity(table: &EndpointTables, text: &str) -> Option<String> {
    let at = table.column("id").filter(|id| !id.detail)?.at;
    let record = Record::new(text);
    match at.strip_suffix('#') {
        Some(field) => record.plain(field).and_then(|link| link.rsplit('/').next()).map(str::to_owned),
        None => record.plain(at).map(str::to_owned),
    }
}

/// Pairs for `django=` that hold for a range of keys, and these.
pub(super) fn within(pairs: &str, (first, after): Range) -> String {
    let mut all = vec![pairs.to_owned()];
    if first > 0 {
        all.push(format!("id__gte,{}", uuid::Uuid::from_u128(first)));
    }
    if let Some(after) = after {
        all.push(format!("id__lt,{}", uuid::Uuid::from_u128(after)));
    }
    all.retain(|pairs| !pairs.is_empty());
    all.join(",")
}

/// The scope's parameters and `django=`, which the scope may have itself.
pub(super) fn with_django(scope: &TableScope, pairs: &str) -> TableScope {
    let mut parameters = scope.clone();
    if pairs.is_empty() {
        return parameters;
    }
    match parameters.iter_mut().find(|(name, _)| name == "django") {
        Some((_, own)) => *own = format!("{own},{pairs}"),
        None => parameters.push(("django".to_owned(), pairs.to_owned())),
    }
    parameters
}
