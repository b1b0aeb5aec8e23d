//! The SQL that makes the mirror's tables and their indexes.

use std::fmt::Write;

use super::schema::EndpointTables;

/// Columns that are asked for together so often that an index holds them all: which sessions have such datasets,
/// where a dataset's files are, and how many trials of a session were correct.
const COVERING_INDEXES: &[(&str, &[&str])] = &[
    ("datasets", &["name", "session", "qc"]),
    ("datasets", &["dataset_type", "session", "qc"]),
    ("datasets__file_records", &["n", "exists", "data_repository"]),
    ("sessions", &["n_trials", "n_correct_trials"]),
];

impl EndpointTables {
    /// SQL that makes its tables, without indexes, under names with this prefix.
    pub fn create(&self, prefix: &str) -> String {
        let name = &self.name;
        let mut sql = format!("CREATE TABLE \"{prefix}{name}\"(n INTEGER PRIMARY KEY");
        for column in &self.columns {
            let _ = write!(sql, ", \"{}\"", column.name);
        }
        for number in 1..=self.order.len() {
            let _ = write!(sql, ", order_{number}");
        }
        let _ = write!(
            sql,
            ");\nCREATE TABLE \"{prefix}{name}__body\"(n INTEGER PRIMARY KEY, list TEXT NOT NULL, detail TEXT,\n                list_sum INTEGER NOT NULL, detail_sum INTEGER);\n"
        );
        if !self.wide.is_empty() {
            let _ = write!(sql, "CREATE TABLE \"{prefix}{name}__wide\"(n INTEGER PRIMARY KEY");
            for column in &self.wide {
                let _ = write!(sql, ", \"{}\"", column.name);
            }
            sql.push_str(");\n");
        }
        for many in &self.many {
            let _ = write!(sql, "CREATE TABLE \"{prefix}{}\"(n INTEGER NOT NULL, key", many.table);
            for column in &many.columns {
                let _ = write!(sql, ", \"{}\"", column.name);
            }
            sql.push_str(");\n");
        }
        sql
    }

    /// SQL that makes the indexes of its tables. The indexes of a generation of the table have its number in
    /// their names, so that the next generation can be made beside it.
    pub fn index(&self, prefix: &str, generation: i64) -> String {
        let mut sql = String::new();
        let name = &self.name;
        // Truth and labels have few values; but an index has all that counting them needs.
        for column in &self.columns {
            let column = &column.name;
            let _ = writeln!(
                sql,
                "CREATE INDEX \"{name}.{column}.{generation}\" ON \"{prefix}{name}\"(\"{column}\");"
            );
        }
        for column in &self.folded {
            let _ = writeln!(
                sql,
                "CREATE INDEX \"{name}.upper.{column}.{generation}\" ON \"{prefix}{name}\"(upper_of(\"{column}\"));"
            );
        }
        let tables: Vec<&str> = std::iter::once(name)
            .chain(self.many.iter().map(|many| &many.table))
            .map(String::as_str)
            .collect();
        for (table, columns) in COVERING_INDEXES.iter().filter(|(table, _)| tables.contains(table)) {
            let (index, columns) = (columns.join("."), columns.join("\", \""));
            let _ = writeln!(
                sql,
                "CREATE INDEX \"{table}.{index}.{generation}\" ON \"{prefix}{table}\"(\"{columns}\");"
            );
        }
        if !self.order.is_empty() {
            let keys: Vec<String> = (1..=self.order.len()).map(|number| format!("order_{number}")).collect();
            let keys = keys.join(", ");
            let _ =
                writeln!(sql, "CREATE INDEX \"{name}.order.{generation}\" ON \"{prefix}{name}\"({keys});");
        }
        for many in &self.many {
            let table = &many.table;
            let _ = writeln!(sql, "CREATE INDEX \"{table}.n.{generation}\" ON \"{prefix}{table}\"(n, key);");
            let _ =
                writeln!(sql, "CREATE INDEX \"{table}.key.{generation}\" ON \"{prefix}{table}\"(key, n);");
        }
        sql
    }
}
