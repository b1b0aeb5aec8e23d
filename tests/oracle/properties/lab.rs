//! Labs: a part of the sample lab that is whole in itself, with changes.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{LazyLock, Mutex},
};

use super::dice::Dice;
use crate::{
    alyx::{
        DetailKey, ENDPOINTS, json_path,
        model::{ColumnKind, Join, Model},
        record::{Record, members},
    },
    oracle::ask::naive::{Texts, sample_lab},
};

/// A record and its detail.
struct Whole {
    list: Record,
    detail: Option<Record>,
}

static SAMPLE: LazyLock<HashMap<&'static str, Vec<Whole>>> = LazyLock::new(|| {
    let whole = |one: Texts| Whole { list: Record::new(one.list), detail: one.detail.map(Record::new) };
    sample_lab().into_iter().map(|(name, records)| (name, records.into_iter().map(whole).collect())).collect()
});

type Index = HashMap<String, Vec<usize>>;

static INDEXES: LazyLock<Mutex<HashMap<(&'static str, &'static str), &'static Index>>> =
    LazyLock::new(Mutex::default);

/// Where the records of the sample are by what stands at a place of them.
fn index(endpoint: &'static str, at: &'static str, detail: bool) -> &'static Index {
    let mut indexes = INDEXES.lock().unwrap();
    indexes.entry((endpoint, at)).or_insert_with(|| {
        let mut index = Index::new();
        for place in 0..SAMPLE[endpoint].len() {
            for key in keys(endpoint, place, at, detail) {
                index.entry(key).or_default().push(place);
            }
        }
        Box::leak(Box::new(index))
    })
}

fn keys(endpoint: &str, place: usize, at: &str, detail: bool) -> Vec<String> {
    let whole = &SAMPLE[endpoint][place];
    let record = if detail { whole.detail.as_ref() } else { Some(&whole.list) };
    let values = record.map(|record| json_path::values(record.value(), at)).unwrap_or_default();
    values.iter().map(|key| key.as_str().map_or_else(|| key.to_string(), str::to_owned)).collect()
}

fn column_at(endpoint: &str, column: &'static str) -> &'static str {
    Model::of(endpoint).and_then(|model| model.column(column)).map_or(column, |column| column.at)
}

/// The tables of a lab: some records of each list, some that lead to them, and all that they lead to.
pub(super) fn pick(dice: &mut Dice<'_>) -> HashMap<&'static str, Vec<Texts>> {
    const ROOTS: usize = 6;
    let mut picked: BTreeMap<&'static str, BTreeSet<usize>> = BTreeMap::new();
    let mut open = Vec::new();
    for endpoint in ENDPOINTS {
        let all = SAMPLE[endpoint.name].len();
        let (start, step) = (dice.below(all), 1 + dice.below(all / ROOTS + 1));
        let roots = (0..ROOTS.min(all)).map(|root| (endpoint.name, (start + root * step) % all));
        for (name, place) in roots {
            open.push((name, place));
            open.extend(holders(name, place, 3));
        }
    }
    while let Some((name, place)) = open.pop() {
        if picked.entry(name).or_default().insert(place) {
            open.extend(held(name, place));
        }
    }
    let texts = |(name, places): (&'static str, BTreeSet<usize>)| {
        let text = |place: usize| {
            let Whole { list, detail } = &SAMPLE[name][place];
            let detail = detail.as_ref().map(|detail| detail.text().to_owned());
            Texts { list: list.text().to_owned(), detail }
        };
        // A stack stands in its list once for each slice, and here once.
        let mut seen = BTreeSet::new();
        let once = places
            .into_iter()
            .map(text)
            .filter(|one| seen.insert(one.list.clone()) || name != "imaging-stack");
        (name, once.collect())
    };
    picked.into_iter().map(texts).collect()
}

/// Some records that hold the key of this one.
fn holders(name: &'static str, place: usize, most: usize) -> Vec<(&'static str, usize)> {
    let mut found = Vec::new();
    let Some(model) = Model::of(name) else { return found };
    for relation in model.relations {
        let Join::HeldAs(by) = relation.join else { continue };
        let Some(held) = Model::of(relation.to).and_then(|model| model.relation(by)) else { continue };
        let Join::Holds { at, key, detail } = held.join else { continue };
        for key in keys(name, place, column_at(name, key), false) {
            let places = index(relation.to, at, detail).get(&key).into_iter().flatten();
            found.extend(places.take(most).map(|place| (relation.to, *place)));
        }
    }
    found
}

/// All records whose keys this one holds.
fn held(name: &'static str, place: usize) -> Vec<(&'static str, usize)> {
    let mut found = Vec::new();
    let Some(model) = Model::of(name) else { return found };
    for relation in model.relations {
        let Join::Holds { at, key, detail } = relation.join else { continue };
        let others = index(relation.to, column_at(relation.to, key), false);
        for key in keys(name, place, at, detail) {
            found.extend(others.get(&key).into_iter().flatten().map(|place| (relation.to, *place)));
        }
    }
    found
}

/// Changes one field of one record, or gives one record the name of another.
pub(super) fn change(tables: &mut HashMap<&'static str, Vec<Texts>>, dice: &mut Dice<'_>) {
    let Some(endpoint) = dice.pick(ENDPOINTS) else { return };
    let Some(model) = Model::of(endpoint.name) else { return };
    let records = tables.get(endpoint.name).map(Vec::as_slice).unwrap_or_default();
    let (Some(one), Some(other)) = (dice.pick(records), dice.pick(records)) else { return };
    let name = match endpoint.detail.map(|detail| detail.key) {
        Some(DetailKey::Name(field)) => field,
        _ => "id",
    };
    if endpoint.name == "subjects" && dice.once_in(2) {
        let named = |texts: &Texts| Record::new(texts.list.as_str()).field(name).map(str::to_owned);
        if let (Some(old), Some(new)) = (named(one), named(other)) {
            rename(tables, &old, &new);
        }
        return;
    }
    let columns = model.columns.iter().map(|column| (column.at, column.detail, Some(column.kind)));
    let relations = model.relations.iter().filter_map(|relation| match relation.join {
        Join::Holds { at, detail, .. } => Some((at, detail, None)),
        Join::HeldAs(_) => None,
    });
    let field = |at: &'static str| at.trim_end_matches("[]").trim_end_matches('#');
    let plain = |at: &&'static str| {
        let at = field(at);
        !at.contains(['.', '[', '<', '>', '#']) && at != name && at != "id" && at != "url" && at != "name"
    };
    let fields: Vec<_> = columns.chain(relations).filter(|(at, _, _)| plain(at)).collect();
    let Some((at, detail, kind)) = dice.pick(&fields).copied() else { return };
    let text = |texts: &Texts| {
        let record = if detail { texts.detail.as_deref()? } else { texts.list.as_str() };
        Record::new(record).field(field(at)).map(str::to_owned)
    };
    let (Some(old), Some(others)) = (text(one), text(other)) else { return };
    let new = match kind {
        Some(kind) => odd(kind, &old, others, dice),
        None if at.contains("[]") => match dice.below(3) {
            0 => "[]".to_owned(),
            1 => others,
            // Related twice.
            _ => format!("[{}]", members(&old).chain(members(&old).take(1)).collect::<Vec<_>>().join(",")),
        },
        None if dice.once_in(3) => "null".to_owned(),
        None => others,
    };
    let place = records.iter().position(|record| std::ptr::eq(record, one)).unwrap();
    let texts = &mut tables.get_mut(endpoint.name).unwrap()[place];
    let changed = |text: &str| Record::new(text).with(field(at), &new).text().to_owned();
    if detail {
        texts.detail = texts.detail.as_deref().map(changed);
    } else {
        texts.list = changed(&texts.list);
    }
}

/// Another value of a column: of another record, or an odd one.
fn odd(kind: ColumnKind, old: &str, others: String, dice: &mut Dice<'_>) -> String {
    let words: &[&str] = match kind {
        ColumnKind::Text => {
            &["null", "\"\"", "\"None\"", "\"12.0\"", "\"Ärger_50%\"", "\"a,b\"", "\"straße\"", "\" x\""]
        }
        ColumnKind::Integer => &["null", "0", "-1", "1", "2147483647"],
        ColumnKind::Float => &["null", "NaN", "Infinity", "-Infinity", "0.0", "-0.0", "-1.5", "100.0"],
        ColumnKind::Boolean => &["true", "false"],
        ColumnKind::Json => &[
            "null",
            "{}",
            "[]",
            "\"text\"",
            "3",
            "{\"a\":1,\"b\":null,\"c\":[1,\"x\"]}",
            "{\"a\":1.0,\"b\":{\"k\":\"v\"}}",
            "{\"a\":\"1\",\"c\":true}",
            "{\"a\":NaN}",
        ],
        ColumnKind::Array => &["null", "[]", "[1.0,2.0]", "[0.5]"],
        ColumnKind::DateTime => &["null", "\"2020-02-29T23:59:59.999999\"", "\"2024-01-01T00:00:00\""],
        ColumnKind::Date => &["null", "\"2020-02-29\"", "\"2026-11-23\"", "\"2026-11-24\""],
        ColumnKind::Uuid | ColumnKind::Labels(_) => &[],
    };
    if words.is_empty() || dice.once_in(3) {
        return others;
    }
    // Arrays of another length than the others' are not what the column holds.
    if matches!(kind, ColumnKind::Array) && old == "null" {
        others
    } else {
        dice.pick(words).copied().unwrap_or_default().to_owned()
    }
}

/// Gives whatever has this name, and all that leads to it, another name.
fn rename(tables: &mut HashMap<&'static str, Vec<Texts>>, old: &str, new: &str) {
    for texts in tables.values_mut().flatten() {
        texts.list = texts.list.replace(old, new);
        texts.detail = texts.detail.as_deref().map(|text| text.replace(old, new));
    }
}
