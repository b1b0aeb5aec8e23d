//! The evaluation record by record as the tests of the mirror use it: tables made from texts, and what they
//! say to a question.

use std::{borrow::Cow, cmp::Ordering, collections::HashMap, sync::Arc};

use serde_json::Value;

use super::{
    path::{Leads, PathValue},
    rows,
    scalar::{order, scalar},
};
use crate::{
    alyx::{
        DetailShape, ENDPOINTS, Endpoint,
        filterset::{
            QueryError,
            path::Path,
            scalar::{Scalar, Transform},
        },
        query_string::Pairs,
        record::Record,
    },
    miniature::{
        data::{Data, ListTable},
        sample,
    },
    oracle::list,
};

/// The day at which the clock stands here.
pub(crate) const TODAY: jiff::civil::Date = sample::TODAY;

/// A record and its detail, where that is another.
#[derive(Debug, Clone)]
pub(crate) struct Texts {
    pub(crate) list: String,
    pub(crate) detail: Option<String>,
}

/// The tables, and the answers that a look at every record of them gives.
pub(crate) struct Naive(Data);

/// The whole sample lab.
pub(crate) fn sample_lab() -> HashMap<&'static str, Vec<Texts>> {
    let data = sample::load(true, false).expect("the sample lab is whole");
    ENDPOINTS.iter().map(|endpoint| (endpoint.name, texts(&data, endpoint))).collect()
}

fn texts(data: &Data, endpoint: &Endpoint) -> Vec<Texts> {
    let table = data.table(endpoint);
    let own = endpoint.detail.is_some_and(|detail| detail.shape == DetailShape::Own);
    let text = |(place, record): (usize, &Arc<Record>)| Texts {
        list: record.text().to_owned(),
        detail: table.detail(place).filter(|_| own).map(|detail| detail.text().to_owned()),
    };
    table.records().iter().enumerate().map(text).collect()
}

impl Naive {
    /// The tables of these records. Of two records with one key the detail of the last is that of both.
    pub(crate) fn new(tables: &HashMap<&'static str, Vec<Texts>>) -> Self {
        let mut data = Data::default();
        for endpoint in ENDPOINTS {
            let texts = tables.get(endpoint.name).map(Vec::as_slice).unwrap_or_default();
            let records = texts.iter().map(|one| Arc::new(Record::new(one.list.as_str()))).collect();
            let mut table = ListTable::new(endpoint, records, HashMap::new());
            for (place, one) in texts.iter().enumerate() {
                let key = table.key_of(&table.records()[place]);
                if let (Some(key), Some(detail)) = (key, &one.detail) {
                    table.details_mut().insert(key, Arc::new(Record::new(detail.as_str())));
                }
            }
            data.insert(endpoint, table);
        }
        Self(data)
    }

    /// The records of a list and their details.
    pub(crate) fn texts(&self, endpoint: &Endpoint) -> Vec<Texts> {
        texts(&self.0, endpoint)
    }

    /// The count and the records of a whole list.
    pub(crate) fn list(
        &self,
        endpoint: &'static Endpoint,
        pairs: &Pairs,
    ) -> Result<(u64, Vec<String>), QueryError> {
        let rows = rows(&self.0, endpoint, pairs)?;
        let records = self.0.table(endpoint).records();
        let text = |row| list::text(endpoint, records, row).into_owned();
        Ok((list::count(endpoint, records, &rows), rows.iter().map(|row| text(*row)).collect()))
    }

    /// How many records a list has.
    pub(crate) fn len(&self, endpoint: &str) -> usize {
        self.0.named(endpoint).records().len()
    }

    /// What stands at the end of a path from a record; nothing for null.
    pub(crate) fn values(&self, endpoint: &'static str, place: usize, path: &str) -> Vec<Value> {
        let Ok(path) = Path::resolve(endpoint, path) else { return Vec::new() };
        let cells = path.cells(&self.0, place).unwrap_or_default();
        let value = |cell| match cell {
            PathValue::Value(value) => Some(Cow::into_owned(value)),
            PathValue::Null | PathValue::Exists => None,
        };
        cells.into_iter().filter_map(value).collect()
    }

    /// What a list is ordered by: for each record's text the values, none for null.
    pub(crate) fn order(&self, endpoint: &'static Endpoint) -> HashMap<String, Vec<Option<Scalar>>> {
        let value = |place: usize, path: &str| {
            let path = Path::resolve(endpoint.name, path).ok()?;
            match path.cells(&self.0, place).ok()?.first()? {
                PathValue::Value(value) => scalar(path.leaf, value, Transform::None).ok()?,
                _ => None,
            }
        };
        let key = |place| endpoint.order.iter().map(|order| value(place, order.path)).collect();
        let records = self.0.table(endpoint).records().iter().enumerate();
        records.map(|(place, record)| (record.text().to_owned(), key(place))).collect()
    }
}

/// The order of two records: nulls last where values ascend, first where they descend.
pub(crate) fn rank(endpoint: &Endpoint, one: &[Option<Scalar>], two: &[Option<Scalar>]) -> Ordering {
    let each = endpoint.order.iter().zip(one.iter().zip(two)).map(|(by, (one, two))| {
        let ascending = match (one, two) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(two)) => order(one, two).unwrap_or(Ordering::Equal),
        };
        if by.descending { ascending.reverse() } else { ascending }
    });
    each.fold(Ordering::Equal, Ordering::then)
}
