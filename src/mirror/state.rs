//! What the mirror holds, table by table: since when, how whole, within which scope.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use rusqlite::Connection;

use super::{
    faults::Faults,
    kept::KeptLists,
    schema::{EndpointTables, Schema, TableColumn},
    shown,
    sql_functions::{COLLATION_KEY, TEXT_ORDER},
    unreadable::UnreadableRecords,
};
use crate::{
    alyx::{
        AlyxSpec, ENDPOINTS, Endpoint,
        collation::Collations,
        model::{ColumnKind, Join, Model},
    },
    clock::Millis,
};

/// The state of one endpoint's table: a generation of it that is whole within its scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableState {
    /// When the synchronisation that last covered all of it began; earlier where a record is due since then.
    pub synced_at: Millis,
    /// When its records were last counted, and Alyx had as many: of a table that is seldom read as a whole.
    pub counted_at: Millis,
    /// How many records it has.
    pub rows: u64,
    /// Whether the detail of every record is here, where details are other than the records of the list.
    pub details: bool,
    /// The parameters that every one of its records fulfils; empty where the whole table is here.
    pub scope: Vec<(String, String)>,
    /// Columns that relations use as keys and whose values are not unique here (nicknames, for instance).
    pub ambiguous: BTreeSet<String>,
    /// Parameters whose answers were found to differ from Alyx's since the last synchronisation.
    pub distrusted: BTreeSet<String>,
    /// Records that could not be read.
    pub unreadable: UnreadableRecords,
}

/// How the details of a table are named beside its list, where it is noted which writes are held.
pub(super) fn details_of(endpoint: &str) -> String {
    format!("{endpoint}/")
}

/// The states of all tables that are here, in one state of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct States {
    version: i64,
    spec: Arc<AlyxSpec>,
    at_fault: Faults,
    tables: HashMap<&'static str, TableState>,
    collations: Collations,
    /// The last write through the proxy of which each table holds all that it has changed.
    holds: HashMap<String, Millis>,
    /// When marks of writes were last taken over from elsewhere.
    imported_at: Millis,
    /// How often each table has changed, where that is noted ([`super::change_log`]).
    changes: HashMap<String, i64>,
    /// What was found in these tables, and in those of the states before; none where nothing is kept.
    kept: Option<KeptLists>,
}

/// What the keys begin with by which is noted which writes a table holds.
pub(super) const HOLDS: &str = "holds:";
/// When marks of writes were last taken over from elsewhere.
pub(super) const IMPORTED: &str = "imported";

/// What is noted of which writes the tables hold, and of marks that were taken over.
pub(super) fn own_writes(connection: &Connection) -> rusqlite::Result<(HashMap<String, Millis>, Millis)> {
    let sql = "SELECT key, value FROM meta WHERE key >= 'holds:' AND key < 'holds;' OR key = 'imported'";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let (mut holds, mut imported_at) = (HashMap::new(), Millis::MIN);
    while let Some(row) = rows.next()? {
        let (key, at): (String, Millis) = (row.get(0)?, row.get(1)?);
        match key.strip_prefix(HOLDS) {
            Some(table) => drop(holds.insert(table.to_owned(), at)),
            None => imported_at = at,
        }
    }
    Ok((holds, imported_at))
}

impl States {
    /// The states of these tables, which are those of the newest Alyx.
    pub fn new(version: i64, tables: HashMap<&'static str, TableState>) -> Self {
        let shown = |one: &Collations| {
            let noted = not_in_order_of(*one);
            tables.values().any(|state| state.ambiguous.contains(&noted))
        };
        let collations =
            Collations::KNOWN.into_iter().filter(shown).fold(Collations::ANY, Collations::without);
        let (spec, at_fault) = (Arc::new(AlyxSpec::newest()), Faults::new());
        let (holds, imported_at) = (HashMap::new(), Millis::MIN);
        let (changes, kept) = <_>::default();
        Self { version, spec, at_fault, tables, collations, holds, imported_at, changes, kept }
    }

    /// The same of another Alyx.
    #[must_use]
    pub fn behind(self, spec: Arc<AlyxSpec>) -> Self {
        Self { spec, ..self }
    }

    /// The same with these rules at fault.
    pub(super) fn with_faults(self, at_fault: Faults) -> Self {
        Self { at_fault, ..self }
    }

    /// The parameters of an endpoint whose answers differ from Alyx's though the records do not; the empty one stands for the
    /// list itself.
    pub fn at_fault(&self, endpoint: &str) -> impl Iterator<Item = &str> {
        self.at_fault.iter().filter(move |(of, _)| of == endpoint).map(|(_, parameter)| parameter.as_str())
    }

    /// What the Alyx is whose tables these are.
    pub fn spec(&self) -> &Arc<AlyxSpec> {
        &self.spec
    }

    /// The collations that Alyx's database may have: none that some list of its own shows it has not.
    pub(super) fn collations(&self) -> Collations {
        self.collations
    }

    /// The same with what is known of writes through the proxy.
    #[must_use]
    pub(super) fn with_own_writes(self, holds: HashMap<String, Millis>, imported_at: Millis) -> Self {
        Self { holds, imported_at, ..self }
    }

    /// The same where tables have changed so often.
    #[must_use]
    pub(super) fn changed(self, changes: HashMap<String, i64>) -> Self {
        Self { changes, ..self }
    }

    /// The same that goes on with what was found in the states before.
    #[must_use]
    pub(super) fn after(self, before: &Self) -> Self {
        Self { kept: before.kept.clone(), ..self }
    }

    /// The same that keeps there what is found.
    #[must_use]
    pub(super) fn keeping(self, kept: KeptLists) -> Self {
        Self { kept: Some(kept), ..self }
    }

    /// The lists that were found lately.
    pub(super) fn kept(&self) -> Option<&KeptLists> {
        self.kept.as_ref()
    }

    /// How often a table has changed.
    pub(super) fn change_of(&self, endpoint: &str) -> i64 {
        self.changes.get(endpoint).copied().unwrap_or_default()
    }

    /// Whether a table holds all that a write of that time has changed in it, `details` included.
    pub fn holds_write(&self, endpoint: &str, details: bool, written: Millis) -> bool {
        let holds = |key: &str| self.holds.get(key).is_some_and(|at| written <= *at);
        holds(endpoint) && (!details || holds(&details_of(endpoint)))
    }

    /// Marks of writes that are not later were taken over from elsewhere.
    pub fn imported_at(&self) -> Millis {
        self.imported_at
    }

    /// A number that is another after each change of any table.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The state of an endpoint's table; none where it has never been synchronised as a whole.
    pub fn of(&self, endpoint: &str) -> Option<&TableState> {
        self.tables.get(endpoint)
    }

    /// Where in the records of a list the values stand that it is ordered by, as far as the records themselves show them.
    pub fn ordered_by(&self, endpoint: &Endpoint) -> Vec<&'static str> {
        let Some(table) = Schema::get().table(endpoint.name) else { return Vec::new() };
        let order = self.spec.rules().map_or(&[][..], |rules| rules.order(endpoint));
        order.iter().map_while(|order| Some(table.column(order.path)?.at)).collect()
    }

    /// Every table that is here.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &TableState)> {
        self.tables.iter().map(|(endpoint, state)| (*endpoint, state))
    }

    /// Whether the whole table is here, and with `details` the details of all its records.
    pub fn whole(&self, endpoint: &str, details: bool) -> bool {
        self.of(endpoint).is_some_and(|state| state.scope.is_empty() && (state.details || !details))
    }
}

/// Noted beside columns: the list stands in the same order whatever the collation of Alyx's database is.
pub const IN_ONE_ORDER: &str = "order:certain";

/// Noted beside columns: the same if the collation is this one.
pub(super) fn in_order_of(collation: Collations) -> String {
    format!("{IN_ONE_ORDER}:{}", collation.number())
}

/// Noted beside columns: Alyx lists this table in another order of text than this collation has.
pub(super) fn not_in_order_of(collation: Collations) -> String {
    format!("order:not:{}", collation.number())
}

/// Whether the list of a table stands in the same order whichever of these collations is that of Alyx's database, as far as
/// its own columns tell.
fn is_in_one_order(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
    collations: Collations,
) -> rusqlite::Result<bool> {
    let is_text = |(_, column): &(_, TableColumn)| matches!(column.kind, ColumnKind::Text);
    let Some(text) = table.order.iter().position(is_text) else {
        // Of what other records tell, each question is looked at.
        return Ok(!table.order.is_empty() || table.endpoint.order.is_empty() || table.ranked);
    };
    let before: Vec<String> = (1..=text).map(|number| format!("order_{number}")).collect();
    let [head, tail] = uncertain(&format!("order_{}", text + 1), &before, collations);
    let sql = format!("SELECT NOT EXISTS({head} \"{prefix}{}\"{tail})", table.name);
    connection.query_row(&sql, [], |row| row.get(0))
}

/// What orders a text in SQL as these collations do.
pub(super) fn text_key(text: &str, collations: Collations) -> String {
    if collations.has_keys() {
        format!("{COLLATION_KEY}({text}, {})", collations.number())
    } else {
        text.to_owned()
    }
}

/// SQL around the rows of a list, which finds something where their order is not certain: that of a text, among rows that
/// are alike in the keys before it.
pub(super) fn uncertain(text: &str, before: &[String], collations: Collations) -> [String; 2] {
    let alike =
        if before.is_empty() { String::new() } else { format!("PARTITION BY {} ", before.join(", ")) };
    let key = text_key(text, collations);
    [
        format!(
            "SELECT 1 FROM (SELECT {text} AS own, lag({text}) OVER ({alike}ORDER BY {key}) AS before FROM"
        ),
        format!(
            ") WHERE typeof(before) = 'text' AND typeof(own) = 'text' \
             AND coalesce({TEXT_ORDER}(before, own, {}), 1) > 0",
            collations.number()
        ),
    ]
}

/// The collations that Alyx's database does not have, as the list of a table shows that it orders by a text.
fn refuted(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
) -> rusqlite::Result<Vec<Collations>> {
    let by = table.endpoint.order.first().filter(|order| table.ranked && !order.descending);
    let column = table.columns.iter().find(|column| Some(column.name.as_str()) == by.map(|order| order.path));
    let Some(column) = column else { return Ok(Vec::new()) };
    let (key, name) = (&column.name, &table.name);
    let sql = format!("SELECT \"{key}\" FROM \"{prefix}{name}\" WHERE \"{key}\" IS NOT NULL ORDER BY n");
    let mut statement = connection.prepare(&sql)?;
    let listed: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(Collations::refuted(listed.iter().map(String::as_str)))
}

/// The columns of a table that relations use as keys and in which a value stands twice.
pub fn ambiguous(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
) -> rusqlite::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for key in keys_of(table.endpoint.name) {
        if table.columns.iter().all(|column| column.name != key) {
            continue;
        }
        let name = &table.name;
        let sql = format!(
            "SELECT EXISTS(SELECT 1 FROM \"{prefix}{name}\" WHERE \"{key}\" IS NOT NULL \
             GROUP BY \"{key}\" HAVING count(*) > 1)"
        );
        if connection.query_row(&sql, [], |row| row.get(0))? {
            found.insert(key.to_owned());
        }
    }
    found.extend(shown::not_shown(connection, table, prefix)?);
    let unknown = shown::unknown_labels(connection, table, prefix)?;
    if !unknown.is_empty() {
        let endpoint = table.endpoint.name;
        tracing::warn!(
            endpoint,
            ?unknown,
            "records have labels that are not known: what asks for their numbers goes to Alyx"
        );
    }
    found.extend(unknown);
    if is_in_one_order(connection, table, prefix, Collations::ANY)? {
        found.insert(IN_ONE_ORDER.to_owned());
    } else {
        for one in Collations::KNOWN.into_iter().filter(|one| one.has_keys()) {
            if is_in_one_order(connection, table, prefix, one)? {
                found.insert(in_order_of(one));
            }
        }
    }
    found.extend(refuted(connection, table, prefix)?.into_iter().map(not_in_order_of));
    Ok(found)
}

/// The columns of an endpoint's records by which other records refer to them.
fn keys_of(endpoint: &str) -> BTreeSet<&'static str> {
    ENDPOINTS
        .iter()
        .filter_map(|endpoint| Model::of(endpoint.name))
        .flat_map(|model| model.relations)
        .filter(|relation| relation.to == endpoint)
        .filter_map(|relation| match relation.join {
            Join::Holds { key, .. } => Some(key),
            Join::HeldAs(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::sql_functions;

    /// Rows of a table in the order in which Alyx lists them.
    fn listed(table: &EndpointTables, columns: &str, rows: &[&str]) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        sql_functions::register(&connection).unwrap();
        connection.execute_batch(&table.create("")).unwrap();
        for (n, row) in rows.iter().enumerate() {
            let sql = format!("INSERT INTO \"{}\"(n, {columns}) VALUES({n}, {row})", table.name);
            connection.execute(&sql, []).unwrap();
        }
        connection
    }

    #[test]
    fn a_list_by_text_tells_whose_order_it_is_not() {
        let table = Schema::get().table("tags").unwrap();
        let refuted = |names: &[&str]| {
            let rows: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
            let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
            refuted(&listed(table, "name", &rows), table, "").unwrap()
        };
        assert_eq!(refuted(&["B", "_x", "a"]), [Collations::ICU, Collations::GLIBC]);
        assert_eq!(refuted(&["a", "B"]), [Collations::C]);
        assert!(refuted(&["A", "b"]).is_empty() && refuted(&[]).is_empty());
    }

    #[test]
    fn texts_of_one_rank_tell_whether_a_list_stands_in_one_order() {
        let table = Schema::get().table("insertions").unwrap();
        let in_one = |rows: &[&str], collations| {
            is_in_one_order(&listed(table, "order_1, order_2", rows), table, "", collations).unwrap()
        };
        assert!(in_one(&["1, 'probe00'", "1, 'probe01'", "2, 'Probe00'"], Collations::ANY));
        let mixed = ["1, 'Probe01'", "1, 'probe00'"];
        assert!(!in_one(&mixed, Collations::ANY));
        assert!(in_one(&mixed, Collations::GLIBC));
        assert!(!in_one(&["1, 'a_b'", "1, 'ab'"], Collations::GLIBC));
    }
}
