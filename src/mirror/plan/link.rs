//! How records and those that they are related to find each other in SQL.

use super::sql::quoted;
use crate::{
    alyx::model::{Join, Model, Relation},
    mirror::schema::{EndpointTables, Many},
};

/// The records that hold this record's key.
pub(super) struct ReverseKey {
    pub(super) other: &'static EndpointTables,
    /// The own column that they hold.
    pub(super) key: &'static str,
    /// The table of the relation, where one of them holds many keys.
    pub(super) many: Option<&'static Many>,
}

/// A relation that is followed.
pub(super) struct JoinLink {
    /// The table that it leads to, in SQL.
    pub(super) table: String,
    /// What stands there for the record that it comes from,
    pub(super) theirs: String,
    /// and what that record itself has.
    pub(super) own: String,
}

impl JoinLink {
    /// From the record `alias` of the table `own` to records of `target`, which are called `x`.
    pub(super) fn of(
        own: &EndpointTables,
        relation: &Relation,
        target: &EndpointTables,
        alias: &str,
        x: &str,
    ) -> Option<Self> {
        let rows = quoted(&target.name);
        match relation.join {
            Join::HeldAs(by) => {
                let held = Model::of(relation.to)?.relation(by)?;
                let Join::Holds { key, .. } = held.join else { return None };
                Some(Self {
                    table: format!("{rows} {x}"),
                    theirs: format!("{x}.{}", quoted(by)),
                    own: format!("{alias}.{}", quoted(key)),
                })
            }
            Join::Holds { key, .. } => {
                let many = own.many(relation.name)?;
                let table = format!(
                    "(SELECT m.n AS of_n, r.* FROM {} m JOIN {rows} r ON r.{} = m.key) {x}",
                    quoted(&many.table),
                    quoted(key)
                );
                Some(Self { table, theirs: format!("{x}.of_n"), own: format!("{alias}.n") })
            }
        }
    }

    /// How both hang together.
    pub(super) fn on(&self) -> String {
        format!("{} = {}", self.theirs, self.own)
    }
}
