//! Conditions on datasets and their files in SQL (ALYX.md 2.7.1, 2.7.2, 2.7.11).

use rusqlite::{OptionalExtension, types::Value};

use super::{
    condition::{BASE, Condition, wished},
    context::Context,
    link::JoinLink,
    sql::{Sql, quoted},
};
use crate::{
    alyx::{
        filter::{Filter, Predicate},
        filterset::{
            QueryError, QueryResult,
            form::{ActiveFilter, CleanedValue},
            lookups,
        },
        model::Model,
    },
    mirror::schema::EndpointTables,
};

/// The quality that datasets may have at worst, where nothing is said.
const FAIL: i64 = 40;

/// The condition of a filter on datasets.
pub(super) fn of(
    context: &Context<'_>,
    filter: &'static Filter,
    asked: &CleanedValue,
    used: &[ActiveFilter],
) -> QueryResult<Vec<Condition>> {
    let one = |condition| Ok(vec![condition]);
    let exist = context.reading.rules.session_datasets_exist;
    match (filter.test, asked) {
        (Predicate::DatasetTypes(relation), CleanedValue::Text(text)) => {
            let names = Names::of(text);
            let passes = |x: &str, names: &Names<'_>| Ok(among(x, "dataset_type", names));
            one(several(context, relation, &passes, &names, "dataset_type", true)?)
        }
        (Predicate::SessionDatasets, CleanedValue::Text(text)) if exist => {
            let (names, worst) = (Names::of(text), quality(context)?);
            let passes = |x: &str, names: &Names<'_>| {
                let servers = on_server(context, x, true)?;
                Ok(among(x, "name", names).text(" AND ").sql(no_worse(x, worst)).text(" AND ").sql(servers))
            };
            one(several(context, "data_dataset_session_related", &passes, &names, "name", false)?)
        }
        (Predicate::SessionDatasets | Predicate::Datasets { .. }, CleanedValue::Text(text)) => {
            let (relation, qc) = match filter.test {
                Predicate::Datasets { relation, qc } => (relation, qc),
                _ => ("data_dataset_session_related", true),
            };
            let names = Names::of(text);
            let worst = if qc { Some(quality(context)?) } else { None };
            let passes = |x: &str, names: &Names<'_>| {
                let by_name = among(x, "name", names);
                Ok(match worst {
                    Some(worst) => by_name.text(" AND ").sql(no_worse(x, worst)),
                    None => by_name,
                })
            };
            one(several(context, relation, &passes, &names, "id", true)?)
        }
        // The presence of `datasets` is enough, with whatever value.
        (Predicate::DatasetQc(_), _) if context.raw("datasets").is_some() => Ok(Vec::new()),
        (Predicate::DatasetQc(relation), CleanedValue::Text(text)) => {
            let worst = lookups::quality(text)?;
            let passes = |x: &str, _: &Names<'_>| Ok(no_worse(x, worst));
            one(several(context, relation, &passes, &Names::any(), "id", true)?)
        }
        (Predicate::ExistsOnServer, CleanedValue::Bool(exists)) => with_files(context, *exists, used),
        (Predicate::OfInsertion, CleanedValue::Uuid(id)) => one(of_insertion(context, id)?),
        (Predicate::Tagged(flag), CleanedValue::Bool(wanted)) => one(tagged(context, flag, *wanted)?),
        (Predicate::AnyDataset, CleanedValue::Keys(ids)) => one(any(context, ids)?),
        _ => Err(lookups::beyond(context.endpoint.name, filter)),
    }
}

/// A file exists, or does not, on a server, where there is one.
fn with_files(context: &Context<'_>, exists: bool, used: &[ActiveFilter]) -> QueryResult<Vec<Condition>> {
    if !has_servers(context)? {
        return Ok(Vec::new());
    }
    // Of all datasets each is looked up at once; of those that something else asks for each alone.
    let holds = match used {
        [_] => Sql::new(format!("{BASE}.n IN (")).sql(files_on_server(context, "f.n", exists)?).text(")"),
        _ => on_server(context, BASE, exists)?,
    };
    Ok(vec![Condition::plain(holds)])
}

/// A list of names between commas.
struct Names<'t> {
    names: Vec<&'t str>,
    /// How many different ones there must be; a name that stands twice can't be fulfilled.
    least: usize,
}

impl<'t> Names<'t> {
    fn of(text: &'t str) -> Self {
        let names: Vec<&str> = text.split(',').collect();
        Self { least: names.len(), names }
    }

    /// Whatever they are called, one is enough.
    fn any() -> Self {
        Self { names: Vec::new(), least: 1 }
    }

    /// Each alone, where there must be one of each.
    fn each(&self) -> Option<Vec<Self>> {
        let mut different = self.names.clone();
        different.sort_unstable();
        different.dedup();
        let each = |name: &&'t str| Self { names: vec![*name], least: 1 };
        (different.len() == self.least).then(|| self.names.iter().map(each).collect())
    }
}

fn among(alias: &str, column: &str, names: &Names<'_>) -> Sql {
    let values = names.names.iter().map(|name| Value::Text((*name).to_owned()));
    Sql::new(format!("{alias}.{column} IN (")).sql(Sql::values(values)).text(")")
}

fn no_worse(alias: &str, worst: i64) -> Sql {
    Sql::new(format!("{alias}.qc <= ")).bind(Value::Integer(worst))
}

/// The worst quality that is asked for beside `datasets`, as it stands in the request.
fn quality(context: &Context<'_>) -> QueryResult<i64> {
    context.raw("dataset_qc_lte").map_or(Ok(FAIL), lookups::quality)
}

/// Over a relation to datasets: at least so many different values of a column among those that pass.
fn several(
    context: &Context<'_>,
    relation: &str,
    passes: &dyn Fn(&str, &Names<'_>) -> QueryResult<Sql>,
    names: &Names<'_>,
    counted: &str,
    joined: bool,
) -> QueryResult<Condition> {
    let beyond = || QueryError::beyond("know such datasets");
    let endpoint = context.endpoint.name;
    let own = context.table(endpoint, false)?;
    let relation = Model::of(endpoint).and_then(|model| model.relation(relation)).ok_or_else(beyond)?;
    let datasets = context.table(relation.to, false)?;
    let x = context.alias();
    let link = JoinLink::of(own, relation, datasets, BASE, &x).ok_or_else(beyond)?;
    let found = |names: &Names<'_>| -> QueryResult<Sql> {
        let from = format!("{} IN (SELECT {} FROM {} WHERE ", link.own, link.theirs, link.table);
        Ok(Sql::new(from).sql(passes(&x, names)?))
    };
    let holds = if names.least == 1 {
        found(names)?.text(")")
    } else if let Some(each) = names.each().filter(|_| counted != "id") {
        // As many different ones as there are names is one of each name.
        let each: Vec<Sql> =
            each.iter().map(|name| Ok(found(name)?.text(")"))).collect::<QueryResult<_>>()?;
        Sql::join(each, " AND ")
    } else {
        found(names)?
            .text(&format!(" GROUP BY 1 HAVING count(DISTINCT {x}.{counted}) >= "))
            .bind(Value::Integer(i64::try_from(names.least).unwrap_or(i64::MAX)))
            .text(")")
    };
    if !joined {
        return Ok(Condition::plain(holds));
    }
    let ways = Sql::new(format!("(SELECT count(*) FROM {} WHERE {} AND ", link.table, link.on()))
        .sql(passes(&x, names)?)
        .text(")");
    Ok(Condition::counted(holds, ways))
}

/// Where files are, and which places are servers.
fn repositories(context: &Context<'_>) -> QueryResult<&'static EndpointTables> {
    let beyond = || QueryError::beyond("know where files lie");
    let files = Model::of(context.endpoint.name)
        .filter(|model| model.relation("file_records").is_some())
        .or_else(|| Model::of(crate::alyx::endpoint::DATASETS))
        .and_then(|model| model.relation("file_records"))
        .ok_or_else(beyond)?;
    let repository = Model::of(files.to).and_then(|model| model.relation("data_repository"));
    context.table(repository.ok_or_else(beyond)?.to, false)
}

fn has_servers(context: &Context<'_>) -> QueryResult<bool> {
    let table = repositories(context)?;
    let sql = format!("SELECT EXISTS(SELECT 1 FROM {} WHERE globus_is_personal = 0)", quoted(&table.name));
    let read =
        context.connection.prepare_cached(&sql).and_then(|mut one| one.query_row([], |row| row.get(0)));
    read.map_err(|error| QueryError::beyond(&format!("read its tables ({error})")))
}

/// A file of the dataset `alias` exists, or does not, on a server.
fn on_server(context: &Context<'_>, alias: &str, exists: bool) -> QueryResult<Sql> {
    let files = files_on_server(context, "1", exists)?;
    Ok(Sql::new("EXISTS (").sql(files).text(&format!(" AND f.n = {alias}.n)")))
}

/// Something of each file `f` of a dataset that exists, or does not, on a server.
fn files_on_server(context: &Context<'_>, what: &str, exists: bool) -> QueryResult<Sql> {
    let servers = repositories(context)?;
    let datasets = context.table(crate::alyx::endpoint::DATASETS, false)?;
    let files = datasets.many("file_records").ok_or_else(|| QueryError::beyond("know where files lie"))?;
    // A dataset has few files, and there may be many servers: an index would be asked for each of these.
    Ok(Sql::new(format!(
        "SELECT {what} FROM {} f WHERE f.\"exists\" = {} AND +f.data_repository IN \
         (SELECT name FROM {} WHERE globus_is_personal = 0)",
        quoted(&files.table),
        i32::from(exists),
        quoted(&servers.name)
    )))
}

/// Of the insertion's session, its name in the collection.
fn of_insertion(context: &Context<'_>, id: &str) -> QueryResult<Condition> {
    let endpoint = Model::of(context.endpoint.name)
        .and_then(|model| model.relation("probe_insertion"))
        .ok_or_else(|| QueryError::beyond("know the datasets of an insertion"))?
        .to;
    let table = context.table(endpoint, false)?;
    let id = uuid::Uuid::parse_str(id).map_err(|_| QueryError::beyond("read such an id"))?;
    let sql = format!("SELECT session, name FROM {} WHERE id = ?1", quoted(&table.name));
    let found: Option<(Value, Option<String>)> = context
        .connection
        .prepare_cached(&sql)
        .and_then(|mut one| one.query_row([id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(|error| QueryError::beyond(&format!("read its tables ({error})")))?;
    match found {
        None => Err(QueryError::failed("ProbeInsertion matching query does not exist.")),
        Some((session @ Value::Blob(_), Some(name))) => {
            let name = Value::Text(crate::alyx::filterset::compare::upper(&name));
            Ok(Condition::plain(
                Sql::new(format!("{BASE}.session = "))
                    .bind(session)
                    .text(&format!(" AND upper_contains({BASE}.collection, "))
                    .bind(name)
                    .text(")"),
            ))
        }
        Some(_) => Err(QueryError::beyond("know the datasets of an insertion without a session")),
    }
}

/// A tag of the dataset has this flag, or none has.
fn tagged(context: &Context<'_>, flag: &str, wanted: bool) -> QueryResult<Condition> {
    let beyond = || QueryError::beyond("know such tags");
    let own = context.table(context.endpoint.name, false)?;
    let relation =
        Model::of(context.endpoint.name).and_then(|model| model.relation("tags")).ok_or_else(beyond)?;
    let tags = context.table(relation.to, false)?;
    let rows = own.many("tags").ok_or_else(beyond)?;
    let flagged = format!(
        "FROM {} m WHERE m.key IN (SELECT name FROM {} WHERE {} = 1)",
        quoted(&rows.table),
        quoted(&tags.name),
        quoted(flag)
    );
    let holds = Sql::new(format!("{BASE}.n IN (SELECT m.n {flagged})"));
    if !wanted {
        return Ok(Condition::plain(wished(holds, false)));
    }
    let ways = Sql::new(format!("(SELECT count(*) {flagged} AND m.n = {BASE}.n)"));
    Ok(Condition::counted(holds, ways))
}

/// Any of these datasets.
fn any(context: &Context<'_>, ids: &[String]) -> QueryResult<Condition> {
    let own = context.table(context.endpoint.name, false)?;
    let rows = own.many("datasets").ok_or_else(|| QueryError::beyond("know such datasets"))?;
    let ids = ids.iter().filter_map(|id| uuid::Uuid::parse_str(id).ok());
    let ids = Sql::values(ids.map(|id| Value::Blob(id.as_bytes().to_vec())));
    let from = format!("FROM {} m WHERE m.key IN (", quoted(&rows.table));
    let holds = Sql::new(format!("{BASE}.n IN (SELECT m.n {from}")).sql(ids.clone()).text("))");
    let ways = Sql::new(format!("(SELECT count(*) {from}")).sql(ids).text(&format!(") AND m.n = {BASE}.n)"));
    Ok(Condition::counted(holds, ways))
}
