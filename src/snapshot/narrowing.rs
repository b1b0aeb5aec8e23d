//! The records of a table that belong to what was chosen.

use std::collections::BTreeSet;

use super::{Selection, SnapshotError, choice::Narrowed};
use crate::{
    alyx::{Endpoint, query_string::Pairs},
    mirror::{
        export::{Head, ReadSnapshot},
        schema::Schema,
    },
    spelling,
};

/// What of a table goes in.
pub(super) enum Chosen {
    /// All of it.
    Whole,
    /// The records of these numbers, in ascending order.
    Records(Vec<i64>),
    /// Nothing, because of this.
    Not(String),
}

/// Refuses names that nobody has, with the one that was likely meant. Those of the chosen that no other name holds.
pub(super) fn plain_names(mirror: &ReadSnapshot, choice: &Selection) -> Result<Vec<String>, SnapshotError> {
    let mut plain = Vec::new();
    for (owner, name) in choice.owners() {
        let state = mirror.states.of(owner.listed()).filter(|state| state.scope.is_empty());
        let (Some(_), Some(table)) = (state, Schema::get().table(owner.listed())) else { continue };
        let mut names = BTreeSet::new();
        mirror.for_each(table, |record| {
            names.extend(owner.name_in(&record.list));
            Ok::<_, SnapshotError>(())
        })?;
        if !names.contains(name) {
            let meant = spelling::did_you_mean(name, names.iter().map(String::as_str));
            return Err(SnapshotError::Choice(format!("there is no {} `{name}`{meant}", owner.name())));
        }
        let folded = name.to_lowercase();
        if names.iter().filter(|other| other.to_lowercase().contains(&folded)).count() == 1 {
            plain.push(name.to_owned());
        }
    }
    Ok(plain)
}

/// The records of a table that were chosen. What all of them fulfil is noted in its head.
pub(super) fn chosen(
    choice: &Selection,
    plain: &[String],
    mirror: &ReadSnapshot,
    endpoint: &'static Endpoint,
    head: &mut Head,
) -> Result<Chosen, SnapshotError> {
    let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
    let owners = match choice.narrowed(endpoint, &plain) {
        Narrowed::Whole => return Ok(Chosen::Whole),
        Narrowed::To(owners) => owners,
        Narrowed::Not(why) => return Ok(Chosen::Not(why)),
    };
    let own = head.scope.clone();
    let mut chosen: Option<BTreeSet<i64>> = None;
    for (owner, ways) in owners {
        let found = match found_by(mirror, endpoint, &own, &ways)? {
            Ok(found) => found,
            Err(why) => {
                let name = choice.owners().find(|(other, _)| *other == owner).map_or("", |(_, name)| name);
                match found_by_names(mirror, endpoint, owner.naming(endpoint, name, &plain))? {
                    Some(found) => found,
                    None => return Ok(Chosen::Not(why)),
                }
            }
        };
        if let Some(way) = ways.into_iter().next().filter(|way| !head.scope.contains(way)) {
            head.scope.push(way);
        }
        chosen = Some(chosen.map_or_else(|| found.clone(), |before| &before & &found));
    }
    Ok(Chosen::Records(chosen.unwrap_or_default().into_iter().collect()))
}

/// The records that one of these parameters finds; why the first can't tell. A way by tables that are not here leads to nothing.
fn found_by(
    mirror: &ReadSnapshot,
    endpoint: &'static Endpoint,
    own: &Pairs,
    ways: &Pairs,
) -> Result<Result<BTreeSet<i64>, String>, SnapshotError> {
    let mut found = BTreeSet::new();
    for (at, way) in ways.iter().enumerate() {
        let asked = own.iter().cloned().chain([way.clone()]).collect();
        match mirror.numbers(endpoint, &asked)? {
            Ok(numbers) => found.extend(numbers),
            Err(_) if at > 0 => {}
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(Ok(found))
}

/// The records that name one of those chosen, where two of one name keep it from being decided which is meant: rather both
/// than none.
fn found_by_names(
    mirror: &ReadSnapshot,
    endpoint: &'static Endpoint,
    named: Option<(&'static str, &'static Endpoint, &'static str, Pairs)>,
) -> Result<Option<BTreeSet<i64>>, SnapshotError> {
    let Some((column, to, key, ways)) = named else { return Ok(None) };
    let (Some(table), Some(other)) = (Schema::get().table(endpoint.name), Schema::get().table(to.name))
    else {
        return Ok(None);
    };
    let own = mirror.states.of(to.name).map(|state| state.scope.clone()).unwrap_or_default();
    let Ok(others) = found_by(mirror, to, &own, &ways)? else { return Ok(None) };
    let others: Vec<String> = others.iter().map(ToString::to_string).collect();
    let sql = format!(
        "SELECT n FROM \"{}\" WHERE \"{column}\" IN (SELECT \"{key}\" FROM \"{}\" WHERE n IN ({}))",
        table.name,
        other.name,
        others.join(",")
    );
    let mut found = BTreeSet::new();
    mirror.rows(&sql, |row| {
        found.insert(row.get(0)?);
        Ok::<_, SnapshotError>(())
    })?;
    Ok(Some(found))
}
