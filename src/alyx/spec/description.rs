//! What an Alyx says of its lists and records: their parameters and keys, as far as this program knows the endpoint.
//!
//! Since 3.3.1 that is OpenAPI at `/api/schema`; before, a CoreAPI document at `/docs/` (ALYX.md 9.1), which later releases
//! give, too, but as a file that is no longer true, so that it counts only where there is no `/api/schema`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Difference, ENDPOINTS, Endpoint};
use crate::alyx::{DetailKey, pagination, schema};

/// The lists and single records that an Alyx has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The parameters of each list.
    lists: BTreeMap<String, BTreeSet<String>>,
    /// What the single records of an endpoint are asked for by.
    details: BTreeMap<String, String>,
}

impl Description {
    /// That of the newest Alyx known.
    pub fn newest() -> &'static Self {
        static NEWEST: LazyLock<Description> =
            LazyLock::new(|| Description::of_openapi(&schema::document()).unwrap_or_default());
        &NEWEST
    }

    /// That of an Alyx that gives none.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// What a document at `/api/schema` says; none where it is no such document.
    pub fn of_openapi(document: &Value) -> Option<Self> {
        let mut found = Self::default();
        for (path, methods) in document["paths"].as_object()? {
            let Some(get) = methods.get("get") else { continue };
            let parameters = get["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
            let names = parameters.iter().filter(|one| one["in"] == "query").filter_map(name);
            found.note(path, names);
        }
        found.unless_empty()
    }

    /// What a CoreAPI document says; none where it is no such document.
    pub fn of_coreapi(document: &Value) -> Option<Self> {
        if document["_type"] != "document" {
            return None;
        }
        let mut found = Self::default();
        let mut inner: Vec<&Value> = document.as_object()?.values().collect();
        while let Some(value) = inner.pop() {
            let Some(object) = value.as_object() else { continue };
            let Some(url) = object.get("url").and_then(Value::as_str) else {
                inner.extend(object.values());
                continue;
            };
            if object.get("action").is_none_or(|action| action == "get") {
                let fields = object.get("fields").and_then(Value::as_array);
                let fields = fields.map(Vec::as_slice).unwrap_or_default();
                found.note(url, fields.iter().filter(|one| one["location"] == "query").filter_map(name));
            }
        }
        found.unless_empty()
    }

    fn unless_empty(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }

    /// Notes a path and the parameters of its GET. What this program knows no endpoint of does not concern it.
    fn note<'n>(&mut self, path: &str, parameters: impl Iterator<Item = &'n str>) {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let key = |segment: &str| Some(segment.strip_prefix('{')?.strip_suffix('}')?.to_owned());
        match segments.as_slice() {
            [endpoint] if Endpoint::named(endpoint).is_some() => {
                let asked = parameters.filter(|name| !pagination::is_paging(name) && *name != "format");
                self.lists.insert((*endpoint).to_owned(), asked.map(str::to_owned).collect());
            }
            [endpoint, last] if Endpoint::named(endpoint).is_some() => {
                if let Some(key) = key(last) {
                    self.details.insert((*endpoint).to_owned(), key);
                }
            }
            _ => {}
        }
    }

    /// Whether a list has this parameter.
    pub(super) fn has_parameter(&self, endpoint: &str, name: &str) -> bool {
        self.lists.get(endpoint).is_some_and(|parameters| parameters.contains(name))
    }

    /// What it has otherwise than the newest Alyx known, in order.
    pub(super) fn differences(&self) -> Vec<Difference> {
        let newest = Self::newest();
        let mut found = Vec::new();
        for endpoint in ENDPOINTS {
            let name = endpoint.name;
            let Some(parameters) = self.lists.get(name) else {
                found.push(Difference::NoList(name));
                continue;
            };
            for filter in endpoint.filters.iter().filter(|filter| !parameters.contains(filter.name)) {
                found.push(Difference::NoParameter(name, filter.name));
            }
            for new in parameters.iter().filter(|known| endpoint.filter(known).is_none()) {
                found.push(Difference::NewParameter(name, new.clone().into()));
            }
            match (newest.details.get(name), self.details.get(name)) {
                (known, own) if known == own => {}
                (_, None) => found.push(Difference::NoDetail(name)),
                (_, Some(own)) => {
                    let by_name =
                        matches!(endpoint.detail.map(|detail| detail.key), Some(DetailKey::Name(_)));
                    let by_id = own == "id" && by_name;
                    found.push(if by_id {
                        Difference::DetailById(name)
                    } else {
                        Difference::OtherDetail(name)
                    });
                }
            }
        }
        found.sort_unstable();
        found
    }
}

fn name(parameter: &Value) -> Option<&str> {
    parameter["name"].as_str()
}
