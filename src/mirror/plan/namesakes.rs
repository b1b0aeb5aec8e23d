//! Records that go by the same name: who names one of them may mean either, so that they must not differ in what is asked.

use super::{
    condition::BASE,
    path::Walk,
    sql::{Sql, quoted},
};
use crate::{
    alyx::{
        filterset::{QueryResult, Undecidable},
        model::Relation,
    },
    mirror::schema::EndpointTables,
};

impl Walk<'_, '_> {
    /// Records name another by `key`, which several may share: they must not differ in what is asked.
    pub(super) fn same_for_namesakes(
        &self,
        (alias, endpoint): (&str, &'static str),
        hop: &'static Relation,
        target: &EndpointTables,
        key: &str,
        rest: &[&'static Relation],
    ) -> QueryResult<()> {
        if !self.context.is_ambiguous(hop.to, key) {
            return Ok(());
        }
        let inner = self.context.alias();
        let within = self.holds(&inner, hop.to, rest)?;
        let holders = self.context.table(endpoint, false)?;
        let (name, key_name) = (quoted(&target.name), quoted(key));
        let sql = Sql::new(format!(
            "SELECT {inner}.{key_name} FROM {name} {inner} WHERE {inner}.{key_name} IN (SELECT "
        ))
        .text(&format!("{key_name} FROM {name} GROUP BY 1 HAVING count(*) > 1) AND EXISTS (SELECT 1 FROM "))
        .text(&format!(
            "{} h WHERE h.{} = {inner}.{key_name}) GROUP BY {inner}.{key_name} HAVING count(DISTINCT (",
            quoted(&holders.name),
            quoted(hop.name)
        ))
        .sql(within)
        .text(") IS TRUE) > 1");
        let own = (alias == BASE).then_some(hop.name);
        self.context.guard_records(sql, namesakes(hop.to, key), own);
        Ok(())
    }

    /// Others name this record by `key`, which several may share: no other may, where it matters.
    pub(super) fn one_holder(
        &self,
        alias: &str,
        endpoint: &'static str,
        key: &'static str,
        holders: Sql,
    ) -> QueryResult<()> {
        if !self.context.is_ambiguous(endpoint, key) {
            return Ok(());
        }
        let own = self.context.table(endpoint, false)?;
        let (name, key_name) = (quoted(&own.name), quoted(key));
        let sql = Sql::new(format!("SELECT {key_name} FROM {name} WHERE {key_name} IN ("))
            .sql(holders)
            .text(") GROUP BY 1 HAVING count(*) > 1");
        self.context.guard_records(sql, namesakes(endpoint, key), (alias == BASE).then_some(key));
        Ok(())
    }
}

pub(super) fn namesakes(endpoint: &str, key: &str) -> Undecidable {
    Undecidable::unsupported(format!("tell apart the {endpoint} that have the same {key}"))
}
