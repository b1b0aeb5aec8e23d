//! Holds the mirror's answers against recordings of a real Alyx.
//!
//! ```sh
//! cargo run --release --example judge -- FOLDER [YYYY-MM-DD [EVERY]]
//! ```
//!
//! `FOLDER` holds the tables and what Alyx said (see `tests/judge/tables.rs` for the two forms); the day is the
//! one at which Alyx's clock stood, for `alive` and the like; with `EVERY` 5, every fifth question is put. Prints for each endpoint how many questions were
//! answered, refused, can't be decided from what Alyx shows (hidden), and answered wrongly. Fails where one is
//! wrong, or fewer than 95 % of those that can be decided are answered. `SHOW_REFUSED=1` lists the refusals.
//!
//! An Alyx that nobody knows is answered as far as it has shown what it means: what was recorded counts as if the proxy had asked
//! it. `TAKEN_FOR=3.6` has a known one judged as if nobody knew it; `HELD_BACK=2` keeps every second recording from being learned
//! from, and judges these alone.

#![allow(clippy::disallowed_methods, reason = "it measures")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/it/judge/mod.rs"]
mod judge;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use judge::tables;

/// Of the questions that can be decided, so many percent must be answered.
const LEAST: f64 = 95.0;
/// A question that takes longer is named at once.
const SLOW: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: judge FOLDER [YYYY-MM-DD]");
        return ExitCode::from(2);
    };
    let today = arguments
        .next()
        .map_or(jiff::civil::date(2026, 11, 23), |day| day.parse().expect("a day such as 2026-11-23"));
    let start = Instant::now();
    let tables = tables::Tables::load(&folder, today);
    println!("tables are here after {:.1} s", start.elapsed().as_secs_f64());
    let every = arguments.next().map_or(1, |every| every.parse().expect("a whole number above zero"));
    let mut recordings: Vec<_> = tables::recordings(&folder).into_iter().step_by(every).collect();
    if std::env::var_os("HELD_BACK").is_some() {
        let held_back = |(at, one)| tables::is_held_back(at).then_some(one);
        recordings = recordings.into_iter().enumerate().filter_map(held_back).collect();
    }
    let mut times = Vec::new();
    match tables.spec().release() {
        Some(release) => println!("an Alyx {}", release.name),
        None => println!("an Alyx that is not known: {:?}", tables.spec().differences()),
    }
    let verdict = judge::judge_of(tables.spec(), &recordings, |path| {
        let start = Instant::now();
        let said = tables.ask(path);
        let took = start.elapsed();
        if took > SLOW {
            println!("SLOW {took:?}: {path}");
        }
        times.push((took, path.to_owned()));
        said
    });
    verdict.print();
    times.sort();
    if let (Some((median, _)), Some((longest, path))) = (times.get(times.len() / 2), times.last()) {
        println!("{} questions, median {median:?}, longest {longest:?}: {path}", times.len());
    }
    for wrong in &verdict.wrong {
        println!("WRONG {wrong}");
    }
    if verdict.wrong.is_empty() && verdict.share() >= LEAST { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
