//! What the Alyx is whose tables these are: kept beside them, so that it is known without Alyx and after a restart.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension};

use super::{Mirror, MirrorError, faults, generation, quarantine};
use crate::alyx::{
    AlyxSpec, ENDPOINTS,
    spec::{Description, Findings},
};

/// Where it is kept.
const KEY: &str = "alyx:description";

/// What became of a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Described {
    /// It is the one that is known.
    Same,
    /// None was known.
    First,
    /// Another one was: Alyx has changed its version. All tables are in doubt until they have been read as a whole.
    Changed,
}

/// Where it is kept what that Alyx has shown of itself, if it is none that is known.
const FINDINGS: &str = "alyx:findings";

/// The last description that was read with what was shown, and what they tell: it is asked for after every change of a table.
static LAST: Mutex<Option<(Kept, Arc<AlyxSpec>)>> = Mutex::new(None);

/// The texts of what is kept of an Alyx.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    description: String,
    findings: Option<String>,
}

/// What the Alyx of these tables is.
pub(super) fn spec(connection: &Connection) -> rusqlite::Result<Arc<AlyxSpec>> {
    let Some(description) = noted(connection, KEY)? else { return Ok(Arc::new(AlyxSpec::undescribed())) };
    let kept = Kept { description, findings: noted(connection, FINDINGS)? };
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, spec)) = last.as_ref().filter(|(of, _)| *of == kept) {
        return Ok(spec.clone());
    }
    let spec = serde_json::from_str(&kept.description).map_or_else(|_| AlyxSpec::undescribed(), AlyxSpec::of);
    let spec = Arc::new(spec.having_shown(findings(kept.findings.as_deref())));
    *last = Some((kept, spec.clone()));
    Ok(spec)
}

fn noted(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT value FROM meta WHERE key = ?1";
    connection.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()
}

/// What was kept; nothing where that can't be read.
fn findings(text: Option<&str>) -> Findings {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// A record of a table came with other fields than it had: its neighbours, which look unchanged, would have them too. So all of
/// the table is read anew.
pub(super) fn form_changed(connection: &Connection, endpoint: &'static str) -> rusqlite::Result<()> {
    if quarantine::of(connection, endpoint)?.is_none() {
        tracing::warn!(endpoint, "records have another form than before: the table is read anew");
        quarantine::open(connection, endpoint, String::new(), &[endpoint])?;
    }
    Ok(())
}

impl Mirror {
    /// Takes note of how Alyx describes itself. Where that is otherwise than before, nothing is answered from the tables until
    /// each has been read as a whole: records that look unchanged may have another form.
    pub async fn describe(&self, description: Description) -> Result<Described, MirrorError> {
        self.write(move |connection| {
            let text = generation::json(&description);
            let before = noted(connection, KEY)?;
            if before.as_ref() == Some(&text) {
                return Ok(Described::Same);
            }
            connection.execute("INSERT OR REPLACE INTO meta VALUES(?1, ?2)", (KEY, &text))?;
            generation::bump(connection)?;
            if before.is_none() {
                return Ok(Described::First);
            }
            // Another Alyx may mean what this program makes of its questions, and what the last one has shown says nothing of it.
            connection.execute("DELETE FROM meta WHERE key = ?1", [FINDINGS])?;
            faults::drop_all(connection)?;
            // At once, however lately they were read as a whole.
            connection.execute("DELETE FROM meta WHERE key LIKE 'settled:%'", [])?;
            let tables: Vec<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.name).collect();
            for endpoint in &tables {
                quarantine::open(connection, endpoint, String::new(), &tables)?;
            }
            Ok(Described::Changed)
        })
        .await
    }
}

impl Mirror {
    /// Adds to what an Alyx that nobody knows has shown of itself.
    pub async fn note_findings(&self, found: Findings) -> Result<(), MirrorError> {
        self.write(move |connection| {
            let mut known = findings(noted(connection, FINDINGS)?.as_deref());
            known.extend(found);
            let text = generation::json(&known);
            connection.execute("INSERT OR REPLACE INTO meta VALUES(?1, ?2)", (FINDINGS, &text))?;
            Ok(generation::bump(connection)?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::schema::Schema;

    #[tokio::test]
    async fn what_alyx_is_outlives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mirror = Mirror::open(folder.path()).unwrap();
        assert_eq!(mirror.states().spec().description(), None);
        let newest = Description::newest().clone();
        assert_eq!(mirror.describe(newest.clone()).await.unwrap(), Described::First);
        assert_eq!(mirror.describe(newest.clone()).await.unwrap(), Described::Same);
        mirror.close();
        let mirror = Mirror::open(folder.path()).unwrap();
        assert_eq!(mirror.states().spec().description(), Some(&newest));
        assert!(mirror.states().spec().rules().is_ok());
        assert_eq!(mirror.describe(Description::none()).await.unwrap(), Described::Changed);
        let reason = mirror.states().spec().rules().unwrap_err().to_string();
        assert!(reason.starts_with("This Alyx gives no description of itself"), "{reason}");
        mirror.close();
    }

    #[test]
    fn a_doubt_about_a_table_puts_no_rule_at_fault() {
        let connection = Connection::open_in_memory().unwrap();
        super::super::create_tables(&connection).unwrap();
        super::super::sql_functions::register(&connection).unwrap();
        let table = Schema::get().table("labs").unwrap();
        generation::begin(&connection, table, 0, &Vec::new(), 0, 0).unwrap();
        generation::publish(&connection, table).unwrap();
        for _ in 0..3 {
            form_changed(&connection, "labs").unwrap();
            let doubt = quarantine::of(&connection, "labs").unwrap().unwrap();
            assert!(generation::state(&connection, "labs").unwrap().unwrap().distrusted.contains(""));
            quarantine::close(&connection, table, doubt).unwrap();
        }
        assert!(faults::all(&connection).unwrap().is_empty());
    }
}
