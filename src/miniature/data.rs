//! The tables of the miniature: a snapshot that readers share and a write replaces.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use serde_json::Value;

use crate::{
    alyx::{DetailKey, Endpoint, endpoint::DetailShape, json_path, record::Record},
    clock::SharedClock,
};

/// Every table. A clone shares all records; a write changes a clone and puts it in place.
#[derive(Debug, Default)]
pub(crate) struct Data {
    /// The server's clock, where it is not the computer's.
    pub(crate) clock: Option<SharedClock>,
    tables: HashMap<&'static str, Arc<ListTable>>,
    indexes: Mutex<HashMap<(&'static str, &'static str), Arc<PathIndex>>>,
}

/// Where records are, by what stands at a place of them.
pub(crate) type PathIndex = HashMap<String, Vec<usize>>;

impl Clone for Data {
    /// The copy is made to be changed, so it begins without indexes.
    fn clone(&self) -> Self {
        Self { clock: self.clock.clone(), tables: self.tables.clone(), indexes: Mutex::default() }
    }
}

impl Data {
    pub(crate) fn insert(&mut self, endpoint: &'static Endpoint, table: ListTable) {
        self.tables.insert(endpoint.name, Arc::new(table));
    }

    pub(crate) fn table(&self, endpoint: &Endpoint) -> &ListTable {
        self.named(endpoint.name)
    }

    /// The table of the endpoint of this name; an empty one for a name that is none.
    pub(crate) fn named(&self, name: &str) -> &ListTable {
        static EMPTY: OnceLock<ListTable> = OnceLock::new();
        self.tables.get(name).map_or_else(|| EMPTY.get_or_init(ListTable::default), Arc::as_ref)
    }

    /// Whether the table of an endpoint is one and the same in both.
    pub(crate) fn shares(&self, other: &Self, endpoint: &str) -> bool {
        match (self.tables.get(endpoint), other.tables.get(endpoint)) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            (None, None) => true,
            _ => false,
        }
    }

    /// Where the records of an endpoint are by the keys at a place of them, or of their details.
    pub(crate) fn index(&self, endpoint: &'static str, at: &'static str, detail: bool) -> Arc<PathIndex> {
        let known = self.indexes.lock().unwrap_or_else(PoisonError::into_inner).get(&(endpoint, at)).cloned();
        known.unwrap_or_else(|| {
            let table = self.named(endpoint);
            let mut index = PathIndex::new();
            for (place, record) in table.records().iter().enumerate() {
                let detailed = if detail { table.detail(place) } else { None };
                for key in keys(detailed.as_ref().unwrap_or(record).value(), at) {
                    index.entry(key).or_default().push(place);
                }
            }
            let index = Arc::new(index);
            let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
            indexes.insert((endpoint, at), Arc::clone(&index));
            index
        })
    }

    /// The table for a change; it is copied where a reader still holds it.
    pub(crate) fn change(&mut self, endpoint: &'static Endpoint) -> &mut ListTable {
        self.indexes = Mutex::default();
        let table = Arc::make_mut(self.tables.entry(endpoint.name).or_default());
        table.by_key = OnceLock::new();
        table
    }
}

/// The records of one list in its order, and the details that differ from them.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListTable {
    key: Option<DetailKey>,
    shape: Option<DetailShape>,
    records: Vec<Arc<Record>>,
    details: HashMap<String, Arc<Record>>,
    by_key: OnceLock<HashMap<String, Vec<usize>>>,
}

impl ListTable {
    /// `details` are used only where the endpoint's details have a shape of their own.
    pub(crate) fn new(
        endpoint: &Endpoint,
        records: Vec<Arc<Record>>,
        details: HashMap<String, Arc<Record>>,
    ) -> Self {
        let detail = endpoint.detail;
        let own = detail.is_some_and(|detail| detail.shape == DetailShape::Own);
        Self {
            key: detail.map(|detail| detail.key),
            shape: detail.map(|detail| detail.shape),
            records,
            details: if own { details } else { HashMap::new() },
            by_key: OnceLock::new(),
        }
    }

    pub(crate) fn records(&self) -> &[Arc<Record>] {
        &self.records
    }

    pub(crate) fn records_mut(&mut self) -> &mut Vec<Arc<Record>> {
        &mut self.records
    }

    pub(crate) fn details_mut(&mut self) -> &mut HashMap<String, Arc<Record>> {
        &mut self.details
    }

    /// What a record is addressed by: its name, its `id`, or the id at the end of its `url`.
    pub(crate) fn key_of(&self, record: &Record) -> Option<String> {
        match self.key {
            Some(DetailKey::Name(field)) => serde_json::from_str(record.field(field)?)
                .ok()
                .or_else(|| record.plain(field).map(str::to_owned)),
            _ => id(record).map(str::to_owned),
        }
    }

    /// Where the records of this key are. Nicknames and the names of locations are not unique.
    pub(crate) fn find(&self, key: &str) -> &[usize] {
        let by_key = self.by_key.get_or_init(|| {
            let mut by_key: HashMap<String, Vec<usize>> = HashMap::new();
            for (at, record) in self.records.iter().enumerate() {
                if let Some(key) = self.key_of(record) {
                    let places = by_key.entry(key).or_default();
                    // A stack is listed once for each of its slices.
                    if !places.iter().any(|place| self.records[*place].text() == record.text()) {
                        places.push(at);
                    }
                }
            }
            by_key
        });
        by_key.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// The detail of the record at this place; none if the sample has no such detail.
    pub(crate) fn detail(&self, at: usize) -> Option<Arc<Record>> {
        let record = &self.records[at];
        match self.shape? {
            DetailShape::AsListed => Some(Arc::clone(record)),
            DetailShape::Without(names) => Some(Arc::new(record.without(names))),
            DetailShape::Own => self.details.get(&self.key_of(record)?).cloned(),
        }
    }
}

/// The primary key of a record: its `id`, or the end of its `url`.
pub(crate) fn id(record: &Record) -> Option<&str> {
    record.plain("id").or_else(|| record.plain("url")?.rsplit('/').next())
}

/// The keys at a place of a record; an empty name is none.
pub(crate) fn keys(record: &Value, at: &str) -> Vec<String> {
    let values = json_path::values(record, at);
    let text = |value: &Value| match value {
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    values.iter().filter_map(|value| text(value)).collect()
}
