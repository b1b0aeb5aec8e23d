//! In how many ways a record fulfils the pairs of `django=`.

use super::{Ways, compare::Compares, path::Leads};
use crate::{
    alyx::filterset::{QueryError, django::LookupPair},
    miniature::data::Data,
};

/// In how many ways the record fulfils a pair; an exclusion has one way or none.
pub(super) fn ways(pair: &LookupPair, data: &Data, place: usize) -> Result<Ways, QueryError> {
    let cells = pair.path.cells(data, place)?;
    if pair.excludes && pair.path.many() {
        // Django looks for any that does, in a query of its own.
        for cell in &cells {
            if pair.comparison.holds(pair.path.leaf, cell)? {
                return Ok(Ways(0));
            }
        }
        return Ok(Ways(1));
    }
    if pair.excludes {
        return Ok(Ways(usize::from(pair.comparison.leaves(pair.path.leaf, &cells)?)));
    }
    let mut matching = 0;
    for cell in &cells {
        matching += usize::from(pair.comparison.holds(pair.path.leaf, cell)?);
    }
    Ok(Ways(matching))
}
