//! When records of an endpoint were last written, by the marks that writes have left.

use std::collections::HashMap;

use crate::{
    alyx::{ENDPOINTS, Endpoint, invalidates::Scope},
    clock::Millis,
};

/// A write to any record of an endpoint marks its lists too; so these, the details and everything suffice.
pub(super) fn by_endpoint(at: &HashMap<String, Millis>) -> HashMap<&'static str, Millis> {
    last_by_endpoint(at, &[Scope::Everything, Scope::Doubted])
}

/// The same, where also these scopes are of all endpoints.
pub(super) fn last_by_endpoint(
    at: &HashMap<String, Millis>,
    of_all: &[Scope],
) -> HashMap<&'static str, Millis> {
    let last = |endpoint: &Endpoint| {
        let own = [Scope::Lists(endpoint.name), Scope::Details(endpoint.name)];
        of_all.iter().chain(&own).filter_map(|scope| at.get(&scope.name())).copied().max()
    };
    ENDPOINTS.iter().filter_map(|endpoint| Some((endpoint.name, last(endpoint)?))).collect()
}
