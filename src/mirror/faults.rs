//! Rules at fault: parameters whose answers differ from Alyx's although all records are as Alyx has them.
//!
//! What was found to differ is not answered from here until its tables have been read as a whole ([`super::quarantine`]). If it
//! differs again after that, it is not the records that are wrong but what this program makes of the question; reading them
//! again and again would only have right and wrong answers take turns. So it goes to Alyx from then on: until Alyx or this
//! program is another, or an administrator says that it is to be trusted again.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};

use super::{Mirror, MirrorError, connection_clock, generation, quarantine};
use crate::clock::Millis;

/// What was found to differ, and when; by endpoint and parameter.
const FOUND: &str = "differs:";
/// The same that differed again, and by which version of this program.
const AT_FAULT: &str = "rule:";

/// What is at fault, by endpoint and parameter.
pub(super) type Faults = BTreeSet<(String, String)>;

fn key(kind: &str, endpoint: &str, parameter: &str) -> String {
    format!("{kind}{endpoint}:{parameter}")
}

/// Notes that answers to a parameter differ. `settled` is when the tables had last been read as a whole for such a reason.
pub(super) fn note(
    connection: &Connection,
    endpoint: &str,
    parameter: &str,
    settled: Option<Millis>,
) -> rusqlite::Result<()> {
    let sql = "SELECT value FROM meta WHERE key = ?1";
    let found_key = key(FOUND, endpoint, parameter);
    let found: Option<Millis> = connection.query_row(sql, [&found_key], |row| row.get(0)).optional()?;
    let put = "INSERT OR REPLACE INTO meta VALUES(?1, ?2)";
    if found.zip(settled).is_some_and(|(found, settled)| settled > found) {
        tracing::warn!(
            endpoint,
            parameter,
            "answers differ from Alyx's though the records are the same: what is asked so goes to Alyx from now on"
        );
        connection.execute(put, (key(AT_FAULT, endpoint, parameter), env!("CARGO_PKG_VERSION")))?;
    }
    connection.execute(put, (found_key, connection_clock::now(connection)?)).map(drop)
}

/// What is at fault.
pub(super) fn all(connection: &Connection) -> rusqlite::Result<Faults> {
    let sql = "SELECT substr(key, length(?1) + 1) FROM meta WHERE key >= ?1 AND key < ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let after = format!("{};", AT_FAULT.trim_end_matches(':'));
    let names = statement.query_map([AT_FAULT, &after], |row| row.get::<_, String>(0))?;
    names
        .map(|name| {
            let name = name?;
            let (endpoint, parameter) = name.split_once(':').unwrap_or((&name, ""));
            Ok((endpoint.to_owned(), parameter.to_owned()))
        })
        .collect()
}

/// Forgets what was at fault by another version of this program: this one may do better.
pub(super) fn drop_of_other_versions(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "DELETE FROM meta WHERE key LIKE 'rule:%' AND value <> ?1";
    connection.execute(sql, [env!("CARGO_PKG_VERSION")]).map(drop)
}

/// Forgets all that was found.
pub(super) fn drop_all(connection: &Connection) -> rusqlite::Result<usize> {
    connection.execute("DELETE FROM meta WHERE key LIKE 'differs:%'", [])?;
    let dropped = connection.execute("DELETE FROM meta WHERE key LIKE 'rule:%'", [])?;
    generation::bump(connection)?;
    Ok(dropped)
}

impl Mirror {
    /// Has everything answered from the tables again that was found to be at fault; how many parameters that were.
    pub async fn trust_again(&self) -> Result<usize, MirrorError> {
        let trust = |connection: &Connection| {
            // A whole table is in doubt for other reasons, too.
            for (endpoint, parameter) in
                all(connection)?.iter().filter(|(_, parameter)| !parameter.is_empty())
            {
                quarantine::lift(connection, endpoint, parameter)?;
            }
            Ok(drop_all(connection)?)
        };
        self.write(trust).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_again_after_its_tables_were_read_anew_is_at_fault() {
        let connection = Connection::open_in_memory().unwrap();
        super::super::create_tables(&connection).unwrap();
        super::super::sql_functions::register(&connection).unwrap();
        let faults = || all(&connection).unwrap();
        note(&connection, "sessions", "tag", None).unwrap();
        assert!(faults().is_empty());
        // Not yet read anew since.
        note(&connection, "sessions", "tag", Some(0)).unwrap();
        assert!(faults().is_empty());
        note(&connection, "sessions", "tag", Some(Millis::MAX)).unwrap();
        note(&connection, "sessions", "lab", Some(Millis::MAX)).unwrap();
        note(&connection, "labs", "", None).unwrap();
        note(&connection, "labs", "", Some(Millis::MAX)).unwrap();
        let named = |endpoint: &str, parameter: &str| (endpoint.to_owned(), parameter.to_owned());
        assert_eq!(faults(), Faults::from([named("labs", ""), named("sessions", "tag")]));
        drop_of_other_versions(&connection).unwrap();
        assert_eq!(faults().len(), 2);
        connection.execute("UPDATE meta SET value = '0.0.1' WHERE key = 'rule:labs:'", []).unwrap();
        drop_of_other_versions(&connection).unwrap();
        assert_eq!(faults(), Faults::from([named("sessions", "tag")]));
        assert_eq!(drop_all(&connection).unwrap(), 1);
        assert!(faults().is_empty());
    }
}
