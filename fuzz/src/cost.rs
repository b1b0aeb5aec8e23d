//! What a question costs: the steps of the plan that the mirror makes of it.

use std::sync::LazyLock;

use alyx_proxy::miniature::CostedLab;

/// No question is longer, in bytes.
const LONGEST: usize = 32 << 10;
/// Steps that a question may take here: an eightieth of those in the proxy, so that one that takes all of them is no slow input.
/// The time is the runner's business.
const STEPS: u64 = 2_500_000;
/// SQLite looks only every so many steps, for each statement of a plan.
const SLACK: u64 = 100_000;

/// A question over the sample lab: it ends within its steps, and each of those is short (the runner gives an input a second: a
/// function that SQLite calls, or a plan that takes long to be made, shows there).
pub fn cost(data: &[u8]) {
    static LAB: LazyLock<CostedLab> = LazyLock::new(|| CostedLab::open(STEPS).expect("the sample lab"));
    let text = String::from_utf8_lossy(&data[..data.len().min(LONGEST)]);
    let asked = format!("/{}", text.trim_start_matches('/'));
    let Some(spent) = LAB.ask(&asked) else { return };
    assert!(spent.steps <= STEPS + SLACK, "{} steps: {asked}", spent.steps);
    assert!(!spent.ended || spent.steps + SLACK >= STEPS, "ended after {} steps: {asked}", spent.steps);
}
