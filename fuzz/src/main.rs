//! Runs the targets for a bounded time on inputs made from the corpus by mutation; for machines without
//! cargo-fuzz.
//!
//! ```sh
//! cargo run --package alyx-proxy-fuzz -- [SECONDS] [SEED]
//! ```
//!
//! `SECONDS` (20) are shared by the targets. The same seed (1) gives the same inputs. An input that breaks a
//! promise, or takes longer than a second, is written to `fuzz/artifacts/<target>/`, and the run fails.

#![allow(clippy::disallowed_methods, reason = "it runs for so long")]

use std::{
    fs, panic,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use alyx_proxy_fuzz::{TARGETS, Target};

/// No input may take longer.
const LONGEST: Duration = Duration::from_secs(1);
/// No input is longer, but for some that repeat a piece very often.
const LENGTH: usize = 4096;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seconds: f64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(20.0);
    let seed: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(1);
    #[expect(clippy::cast_precision_loss, reason = "a handful of targets")]
    let share = Duration::from_secs_f64(seconds).div_f64(TARGETS.len() as f64);
    let mut sound = true;
    for target in TARGETS {
        sound &= run(target, share, seed);
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a target on its corpus, then on mutations of it until the time is over.
fn run((name, target): &Target, time: Duration, seed: u64) -> bool {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = corpus(&folder.join("corpus").join(name));
    // What a target opens once is no input's time.
    let _ = panic::catch_unwind(|| target(&[]));
    let (start, mut tried, mut slowest) = (Instant::now(), 0_u64, Duration::ZERO);
    let mut random = Random(seed);
    let mut next = corpus.clone().into_iter();
    while start.elapsed() < time || next.len() > 0 {
        let input = next.next().unwrap_or_else(|| random.mutation(&corpus));
        let begun = Instant::now();
        let outcome = panic::catch_unwind(|| target(&input));
        let took = begun.elapsed();
        tried += 1;
        slowest = slowest.max(took);
        if outcome.is_err() || took > LONGEST {
            let file = keep(&folder.join("artifacts").join(name), tried, &input);
            eprintln!(
                "{name}: {} after {took:?}: {}",
                if outcome.is_err() { "panic" } else { "slow" },
                file.display()
            );
            return false;
        }
    }
    println!("{name}: {tried} inputs in {:.1?}, the slowest took {slowest:.1?}", start.elapsed());
    true
}

/// The inputs to begin with: each line of each file.
fn corpus(folder: &Path) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = files.map(|file| file.path()).collect();
    files.sort();
    let texts = files.iter().filter_map(|file| fs::read(file).ok());
    let mut lines: Vec<Vec<u8>> = texts
        .flat_map(|text| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>())
        .collect();
    lines.retain(|line| !line.is_empty());
    lines.push(Vec::new());
    lines
}

fn keep(folder: &Path, number: u64, input: &[u8]) -> PathBuf {
    let file = folder.join(format!("input-{number}"));
    if let Err(error) = fs::create_dir_all(folder).and_then(|()| fs::write(&file, input)) {
        eprintln!("{}: {error}", file.display());
    }
    file
}

/// Pseudo-random numbers (xorshift64*), the same on every machine.
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() >> 33).unwrap_or_default() % limit.max(1)
    }

    /// An input of the corpus, changed in a few places.
    fn mutation(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        const PIECES: &[&str] = &[
            ",",
            "__",
            "~",
            "[",
            "]",
            "(",
            ")",
            "{",
            "}",
            "'",
            "\"",
            "\\",
            "%",
            "%25",
            "&",
            "=",
            "+",
            "\0",
            "é",
            "²",
            "None",
            "True",
            "1e999",
            "-1",
            "isnull",
            "__in",
            "NaN",
            "http://alyx/",
            ":",
            "?",
            "/",
            "limit=",
            "\u{85}",
        ];
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(6) {
            let at = self.below(input.len() + 1);
            let end = at + self.below(input.len() + 1 - at);
            match self.below(8) {
                0 => drop(input.drain(at..end)),
                1 => input.insert(at, u8::try_from(self.below(256)).unwrap_or_default()),
                2 if at < input.len() => input[at] ^= 1 << self.below(8),
                3 => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len() + 1);
                    input.splice(at..end, other[from..].iter().copied());
                }
                4 => {
                    let piece = input[at..end].to_vec();
                    input.splice(at..at, piece);
                }
                5 if self.below(40) == 0 => {
                    let piece = PIECES[self.below(PIECES.len())].repeat(20_000);
                    input.splice(at..at, piece.into_bytes());
                    return input;
                }
                _ => {
                    let piece = PIECES[self.below(PIECES.len())];
                    input.splice(at..at, piece.bytes());
                }
            }
        }
        input.truncate(LENGTH);
        input
    }
}
