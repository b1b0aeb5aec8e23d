//! What of a request asks anything of this Alyx, and whether that is answered from here.

use std::borrow::Cow;

use crate::{
    alyx::{
        Endpoint,
        filter::{Filter, Predicate},
        filterset::{Undecidable, django, form::ActiveFilter},
        model::Model,
        pagination,
        query_string::Pairs,
        spec::{Difference, ParameterUse},
    },
    mirror::state::States,
};

/// The parameters without those that this Alyx ignores.
pub(super) fn taken<'p>(
    states: &States,
    endpoint: &'static Endpoint,
    pairs: &'p Pairs,
) -> Result<Cow<'p, Pairs>, Undecidable> {
    let mut ignored = false;
    for (name, _) in pairs.iter().filter(|(name, _)| !pagination::is_paging(name) && name != "format") {
        match states.spec().parameter(endpoint, name) {
            ParameterUse::Asks => {}
            ParameterUse::Ignored => ignored |= endpoint.filter(name).is_some(),
            ParameterUse::Unknown => {
                let what = format!("know what `{name}` asks of /{}", endpoint.name);
                return Err(Undecidable::unsupported(what));
            }
        }
    }
    if !ignored {
        return Ok(Cow::Borrowed(pairs));
    }
    let asks = |(name, _): &&(String, String)| states.spec().parameter(endpoint, name) == ParameterUse::Asks;
    Ok(Cow::Owned(pairs.iter().filter(asks).cloned().collect()))
}

/// Refuses pairs that lead over a list that this Alyx does not have: whether its records have such a relation is not known, and
/// so not what it says to them.
pub(super) fn related(
    states: &States,
    endpoint: &'static Endpoint,
    pairs: &Pairs,
) -> Result<(), Undecidable> {
    let spec = states.spec();
    if spec.differences().is_empty() {
        return Ok(());
    }
    let is_pairs = |name: &str| matches!(endpoint.filter(name), Some(Filter { test: Predicate::Django, .. }));
    for field in pairs.iter().filter(|(name, _)| is_pairs(name)).flat_map(|(_, text)| django::fields(text)) {
        let mut model = Model::of(endpoint.name);
        for name in field.trim_start_matches('~').split("__") {
            let Some(relation) = model.and_then(|model| model.relation(name)) else { break };
            if !spec.has_list(relation.to) {
                return Err(Undecidable::OtherAlyx {
                    difference: Difference::NoList(relation.to).to_string(),
                });
            }
            model = Model::of(relation.to);
        }
    }
    Ok(())
}

/// Refuses what lately was answered here in another way than by Alyx.
pub(super) fn trusted(
    states: &States,
    endpoint: &'static Endpoint,
    used: &[ActiveFilter],
) -> Result<(), Undecidable> {
    let Some(state) = states.of(endpoint.name) else { return Ok(()) };
    let mut names = used.iter().map(|(filter, _)| filter.name).chain([""]);
    if let Some(name) = states.at_fault(endpoint.name).find(|name| names.clone().any(|used| used == *name)) {
        return Err(Undecidable::AtFault { endpoint: endpoint.name, parameter: name.to_owned() });
    }
    match names.find(|name| state.distrusted.contains(*name)) {
        Some(name) => Err(Undecidable::Distrusted { endpoint: endpoint.name, parameter: name.to_owned() }),
        None => Ok(()),
    }
}
