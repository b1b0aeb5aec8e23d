//! Records whose secrets were left out of the snapshot that they came with: they are less than Alyx's and are not given,
//! nor is what was found by what is left of them.

use super::{
    context::Context,
    sql::{Sql, quoted},
};
use crate::{
    alyx::{
        Endpoint,
        filterset::{
            QueryResult, Undecidable,
            path::{Leaf, Path},
        },
        model::ColumnKind,
        redact,
    },
    mirror::schema::Schema,
    storage::seal,
};

/// Refuses a text that is less than Alyx's.
pub(super) fn whole(endpoint: &'static Endpoint, text: &str) -> Result<(), Undecidable> {
    if redact::ENDPOINTS.contains(&endpoint.name) && redact::is_cut(text.as_bytes()) {
        return Err(Undecidable::KeysLeftOut { endpoint: endpoint.name });
    }
    Ok(())
}

/// What looks into the JSON of such records is decided only where all of them are whole, and no key in them is sealed.
pub(super) fn guard(context: &Context<'_>, path: &Path) -> QueryResult<()> {
    let end = path.hops.last().map_or(path.endpoint, |hop| hop.to);
    let Some(endpoint) = redact::ENDPOINTS.into_iter().find(|name| *name == end) else { return Ok(()) };
    let Leaf::Value { kind: ColumnKind::Json, .. } = path.leaf else { return Ok(()) };
    let Some(table) = Schema::get().table(endpoint) else { return Ok(()) };
    context.table(endpoint, false)?;
    let body = quoted(&format!("{}__body", table.name));
    let reasons = [
        (redact::LEFT_OUT, Undecidable::KeysLeftOut { endpoint }),
        (seal::MARK, Undecidable::KeysSealed { endpoint }),
    ];
    for (mark, reason) in reasons {
        let mark = rusqlite::types::Value::Text(mark.to_owned());
        let sql = Sql::new(format!("SELECT 1 FROM {body} WHERE instr(list, ")).bind(mark).text(") > 0");
        context.guard(sql, reason);
    }
    Ok(())
}
