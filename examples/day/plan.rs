//! What a lab does in a day, and when.

use alyx_proxy::clock::Millis;
use rand::{RngExt, rngs::StdRng};

pub(crate) const MINUTE: Millis = 60_000;
pub(crate) const HOUR: Millis = 60 * MINUTE;
/// Midnight before the day that is played.
pub(crate) const MIDNIGHT: Millis = 20_787 * 24 * HOUR;
/// Others change something at Alyx so often.
const OTHERS: Millis = 5 * MINUTE;
/// What a script reads, and one work of a person, in the mean.
const READS_OF_SCRIPT: f64 = 92.0;
const READS_OF_WORK: f64 = 3.6;
/// People sit down so often a day, for so many hours.
const SITTINGS: usize = 4;
const SITTING: f64 = 0.5;

/// What a lab is like.
pub(crate) struct LabSize {
    pub(crate) people: usize,
    pub(crate) rigs: usize,
    /// Of the people's work, what scripts do that go through sessions one after the other.
    pub(crate) loaders: f64,
}

impl LabSize {
    /// Of a lab that reads so much in a day.
    pub(crate) fn of(reads: usize) -> Self {
        match reads {
            ..5_000 => Self { people: 5, rigs: 1, loaders: 0.2 },
            5_000..50_000 => Self { people: 20, rigs: 2, loaders: 0.4 },
            _ => Self { people: 40, rigs: 4, loaders: 0.7 },
        }
    }
}

/// Something that somebody does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// A person looks at a session that others look at too, and loads from it.
    Load,
    /// A script goes through sessions, one after the other.
    Script,
    /// A search, as others make it,
    Search,
    /// or one that nobody has made before.
    NewSearch,
    /// Subjects and what was weighed and given.
    Colony,
    /// What names mean.
    Names,
    /// Changes a record after having read it.
    Edit,
    /// A rig weighs an animal, runs a session, and registers it.
    Rig,
    /// A rig's server looks for tasks.
    Poll,
    /// Somebody else changes something at Alyx.
    Other,
}

/// What is done in the day, and when.
pub(crate) fn plan(reads: usize, size: &LabSize, chance: &mut StdRng) -> Vec<(Millis, usize, Work)> {
    let mut plan = Vec::new();
    let at = |hour: f64| MIDNIGHT + (hour * HOUR as f64) as Millis;
    let rig = size.people + 1;
    for _ in 0..size.rigs {
        plan.extend((0..72).map(|n| (at(8.0) + n * 10 * MINUTE, rig, Work::Poll)));
        let starts = (0..6).map(|n| (at(9.0 + 1.4 * f64::from(n) + chance.random::<f64>()), rig, Work::Rig));
        plan.extend(starts);
    }
    let left = reads.saturating_sub(plan.len()) as f64;
    plan.extend((0..14 * HOUR / OTHERS).map(|n| (at(7.0) + n * OTHERS, 0, Work::Other)));
    let scripts = (left * size.loaders / READS_OF_SCRIPT).round() as usize;
    let of_script = |chance: &mut StdRng| 1 + chance.random_range(0..size.people);
    plan.extend((0..scripts).map(|_| {
        let hour = 6.0 + 17.0 * chance.random::<f64>();
        (at(hour), of_script(chance), Work::Script)
    }));
    let sittings: Vec<(usize, f64)> = (0..size.people * SITTINGS)
        .map(|n| (1 + n % size.people, 8.0 + 5.7 * (chance.random::<f64>() + chance.random::<f64>())))
        .collect();
    let works = (left * (1.0 - size.loaders) / READS_OF_WORK).round() as usize;
    for _ in 0..works {
        let (user, sits_down) = sittings[chance.random_range(0..sittings.len())];
        let hour = sits_down + SITTING * chance.random::<f64>();
        let work = match chance.random_range(0..100) {
            0..45 => Work::Load,
            45..70 => Work::Search,
            70..80 => Work::NewSearch,
            80..88 => Work::Colony,
            88..97 => Work::Names,
            _ => Work::Edit,
        };
        plan.push((at(hour), user, work));
    }
    plan.sort_by_key(|(at, ..)| *at);
    plan
}
