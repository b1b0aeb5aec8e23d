//! The records of a table that belong to what was chosen.

use std::collections::{BTreeMap, BTreeSet};

use super::{Selection, SnapshotError, choice::Narrowed};
use crate::{
    alyx::{Endpoint, belonging::RecordOwner, query_string::Pairs},
    mirror::{
        export::{Head, ReadSnapshot},
        schema::Schema,
    },
    spelling,
};

/// What of a table goes in: all of it, or the records of these numbers, in ascending order; why nothing does.
pub(super) type Chosen = Result<Option<Vec<i64>>, String>;

/// Refuses names that nobody has, with the one that was likely meant. Those of the chosen that no other name holds.
pub(super) fn plain_names(mirror: &ReadSnapshot, choice: &Selection) -> Result<Vec<String>, SnapshotError> {
    let mut plain = Vec::new();
    for (owner, chosen) in choice.owners() {
        let state = mirror.states.of(owner.listed()).filter(|state| state.scope.is_empty());
        let (Some(_), Some(table)) = (state, Schema::get().table(owner.listed())) else { continue };
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        mirror.for_each(table, |record| {
            if let Some((name, lab)) = owner.name_in(&record.list) {
                names.entry(name).or_default().push(lab);
            }
            Ok::<_, SnapshotError>(())
        })?;
        for name in chosen {
            let Some(labs) = names.get(name) else {
                let meant = spelling::did_you_mean(name, names.keys().map(String::as_str));
                return Err(SnapshotError::Choice(format!("there is no {} `{name}`{meant}", owner.name())));
            };
            if labs.len() > 1 && choice.lab.is_none() {
                return Err(SnapshotError::Choice(namesakes(owner, name, labs)));
            }
            let folded = name.to_lowercase();
            if names.keys().filter(|other| other.to_lowercase().contains(&folded)).count() == 1 {
                plain.push(name.to_owned());
            }
        }
    }
    Ok(plain)
}

/// That a name may mean either.
fn namesakes(owner: RecordOwner, name: &str, labs: &[String]) -> String {
    let count = labs.len();
    format!(
        "{count} {}s are called `{name}`, of the labs {}: say which by --lab",
        owner.name(),
        labs.join(", ")
    )
}

/// The records of a table that were chosen. What all of them fulfil is noted in its head, and why there are more in the remarks.
pub(super) fn chosen(
    (choice, plain): (&Selection, &[String]),
    mirror: &ReadSnapshot,
    endpoint: &'static Endpoint,
    head: &mut Head,
    remarks: &mut BTreeMap<String, String>,
) -> Result<Chosen, SnapshotError> {
    let plain: Vec<&str> = plain.iter().map(String::as_str).collect();
    let owners = match choice.narrowed(endpoint, &plain) {
        Narrowed::Whole => return Ok(Ok(None)),
        Narrowed::To(owners) => owners,
        Narrowed::Not(why) => return Ok(Err(why)),
    };
    let own = head.scope.clone();
    let mut chosen: Option<BTreeSet<i64>> = None;
    for (owner, ways) in owners {
        let found = match found_by(mirror, endpoint, &own, &ways)? {
            Ok(found) => found,
            Err(why) => {
                let names = choice.owners().find(|(other, _)| *other == owner).map(|(_, names)| names);
                let names = names.unwrap_or_default();
                match found_by_names(mirror, endpoint, (owner, &names, &plain))? {
                    Some(found) => {
                        remarks.insert(endpoint.name.to_owned(), MORE.to_owned());
                        found
                    }
                    None => return Ok(Err(why)),
                }
            }
        };
        if let Some(way) = ways.into_iter().next().filter(|way| !head.scope.contains(way)) {
            head.scope.push(way);
        }
        chosen = Some(chosen.map_or_else(|| found.clone(), |before| &before & &found));
    }
    Ok(Ok(Some(chosen.unwrap_or_default().into_iter().collect())))
}

/// Why a table holds records of others too.
const MORE: &str =
    "its records name subjects by nicknames that others may have too; what is of these is in it as well";

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
    (owner, names, plain): (RecordOwner, &[&str], &[&str]),
) -> Result<Option<BTreeSet<i64>>, SnapshotError> {
    let Some((column, to, key, ways)) = owner.naming(endpoint, names, plain) else { return Ok(None) };
    let (Some(table), Some(other)) = (Schema::get().table(endpoint.name), Schema::get().table(to.name))
    else {
        return Ok(None);
    };
    let own = mirror.states.of(to.name).map(|state| state.scope.clone()).unwrap_or_default();
    let others = match found_by(mirror, to, &own, &ways)? {
        Ok(others) => others,
        Err(_) => match found_by_names(mirror, to, (owner, names, plain))? {
            Some(others) => others,
            None => return Ok(None),
        },
    };
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
