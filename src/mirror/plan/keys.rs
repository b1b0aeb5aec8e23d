//! Records whose secrets were left out of the snapshot that they came with: they are less than Alyx's and are not given,
//! nor is what was found by what is left of them.

use super::{
    condition::Result,
    context::Context,
    sql::{Sql, quoted},
};
use crate::{
    alyx::{
        Endpoint,
        ask::{
            Undecided,
            path::{Leaf, Path},
        },
        model::Kind,
        secrets,
    },
    mirror::shape::Shape,
};

/// Refuses a text that is less than Alyx's.
pub(super) fn whole(endpoint: &'static Endpoint, text: &str) -> std::result::Result<(), Undecided> {
    if secrets::ENDPOINTS.contains(&endpoint.name) && secrets::is_cut(text.as_bytes()) {
        return Err(Undecided::KeysLeftOut { endpoint: endpoint.name });
    }
    Ok(())
}

/// What looks into the JSON of such records is decided only where all of them are whole.
pub(super) fn guard(context: &Context<'_>, path: &Path) -> Result<()> {
    let end = path.hops.last().map_or(path.endpoint, |hop| hop.to);
    let Some(endpoint) = secrets::ENDPOINTS.into_iter().find(|name| *name == end) else { return Ok(()) };
    let Leaf::Value { kind: Kind::Json, .. } = path.leaf else { return Ok(()) };
    let Some(table) = Shape::get().table(endpoint) else { return Ok(()) };
    context.table(endpoint, false)?;
    let body = quoted(&format!("{}__body", table.name));
    let left_out = rusqlite::types::Value::Text(secrets::LEFT_OUT.to_owned());
    let sql = Sql::new(format!("SELECT 1 FROM {body} WHERE instr(list, ")).bind(left_out).text(") > 0");
    context.guard(sql, Undecided::KeysLeftOut { endpoint });
    Ok(())
}
