//! What the page of answers says that a filter needs is what its plan needs.

use std::collections::BTreeSet;

use super::{dice::Dice, lab, queries, tables::Tables};
use crate::{
    alyx::{ENDPOINTS, query_string::Pairs, reads::Reads},
    mirror::{
        capabilities::{self, Answered},
        plan::{self, PlanError},
    },
    oracle::ask::naive::{Naive, TODAY},
};

#[test]
fn plans_need_the_tables_that_are_said_to_be_needed() {
    let numbers: Vec<u16> = (0..2 * ENDPOINTS.len()).map(|n| u16::try_from(n * 97 % 1009).unwrap()).collect();
    let naive = Naive::new(&lab::pick(&mut Dice::new(&numbers)));
    let tables = Tables::of(&naive);
    let (mut planned, mut wrong) = (0, Vec::new());
    for (endpoint, said) in ENDPOINTS.iter().zip(capabilities::all(&|_, _| true)) {
        for (filter, parameter) in endpoint.filters.iter().zip(&said.parameters) {
            if parameter.answered == Answered::ByPath {
                continue;
            }
            let needs: BTreeSet<_> =
                parameter.needs.iter().map(|need| (need.endpoint, need.details)).collect();
            // Some values make no question, or one that Alyx refuses.
            for attempt in 0..12 {
                let numbers = [attempt, attempt * 7, attempt + 3, attempt, attempt];
                let value = queries::plausible(&naive, endpoint, filter, &mut Dice::new(&numbers));
                let pairs: Pairs = vec![(filter.name.to_owned(), value.clone())];
                let plan = plan::list(&tables.connection, &tables.states, endpoint, &pairs, TODAY);
                let plan = match plan {
                    Ok(plan) if !plan.used.is_empty() => plan,
                    Ok(_) | Err(PlanError::Unanswered(_)) => continue,
                    Err(error) => panic!("/{}?{}={value}: {error:?}", endpoint.name, filter.name),
                };
                planned += 1;
                let mut used = plan.needs;
                // Details come with their records.
                let detailed: Vec<_> =
                    used.iter().filter(|(_, details)| *details).map(|(name, _)| *name).collect();
                used.retain(|(name, details)| *details || !detailed.contains(name));
                if used != needs {
                    let name = filter.name;
                    wrong.push(format!("/{}?{name}={value} needs {used:?}, said: {needs:?}", endpoint.name));
                }
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(planned > 100, "only {planned} plans");
}

/// A stored answer goes stale with the tables that its question is said to read: they are no fewer than those that a plan
/// of it needs.
#[test]
fn a_question_is_said_to_read_what_its_plan_needs() {
    let numbers: Vec<u16> = (0..2 * ENDPOINTS.len()).map(|n| u16::try_from(n * 97 % 1009).unwrap()).collect();
    let naive = Naive::new(&lab::pick(&mut Dice::new(&numbers)));
    let tables = Tables::of(&naive);
    let mut joined = 0;
    for endpoint in ENDPOINTS {
        for attempt in 0..200_u16 {
            let numbers: Vec<u16> =
                (1..16_u16).map(|n| attempt.wrapping_mul(331 * n).wrapping_add(n * n)).collect();
            let pairs = queries::pairs(&naive, endpoint, &mut Dice::new(&numbers));
            let planned = plan::list(&tables.connection, &tables.states, endpoint, &pairs, TODAY);
            let Ok(plan) = planned else { continue };
            let reads = Reads::of(endpoint, &pairs);
            for (table, _) in plan.needs.iter().filter(|(table, _)| *table != endpoint.name) {
                joined += 1;
                assert!(reads.any || reads.tables.contains(table), "/{} {pairs:?}: {table}", endpoint.name);
            }
        }
    }
    assert!(joined > 300, "only {joined} tables were joined");
}
