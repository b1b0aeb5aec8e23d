//! A random walk over the protocol: four proxies, an engine that is cut off, restarts, fails over to a standby that lags;
//! proxies are paused, killed, cut off; their clocks drift by four parts of a hundred. A judge who knows what Alyx has looks
//! for one thing: an answer without a notice that misses a write which was acknowledged without one before it was asked for.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use tokio::task::{JoinHandle, JoinSet};

use super::{
    ALL_RULES, Cluster, ClusterEvent, ClusterFollower, ProtocolRules,
    fake::{FakeEngine, FakeServer},
    notes::ClusterNotes,
    seal::ClusterSeal,
};
use crate::clock::{Clock, ManualClock, Millis};

/// A clock that is slow or fast in measuring spans.
#[derive(Debug)]
struct DriftingClock(Arc<ManualClock>, f64);

impl Clock for DriftingClock {
    fn now(&self) -> Millis {
        self.0.now()
    }
    fn instant(&self) -> Instant {
        self.0.instant()
    }
    fn awake(&self) -> Duration {
        self.0.awake().mul_f64(self.1)
    }
    fn stamp(&self) -> Millis {
        self.0.stamp()
    }
    fn stamps_continue_after(&self, last: Millis) {
        self.0.stamps_continue_after(last);
    }
    fn latest_stamp(&self) -> Millis {
        self.0.latest_stamp()
    }
}

/// What one proxy remembers: one record's value, and when it was struck last.
#[derive(Debug, Default)]
struct WalkMemory {
    tick: AtomicI64,
    mark: AtomicI64,
    /// The value, and the tick at which it was asked for.
    entry: Mutex<Option<(u64, i64)>>,
}

impl WalkMemory {
    fn strike(&self) {
        self.mark.store(self.tick.fetch_add(1, Ordering::AcqRel) + 1, Ordering::Release);
    }

    fn fresh(&self) -> Option<u64> {
        let entry = *self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        entry.filter(|(_, asked)| *asked >= self.mark.load(Ordering::Acquire)).map(|(value, _)| value)
    }

    fn keep(&self, value: u64, asked: i64) {
        let mut entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        if entry.is_none_or(|(known, _)| value >= known) {
            *entry = Some((value, asked));
        }
    }
}

impl ClusterFollower for WalkMemory {
    fn apply(&self, _: ClusterEvent) {
        self.strike();
    }
}

/// What the judge knows.
#[derive(Debug, Default)]
struct Judge {
    /// What Alyx has.
    value: AtomicU64,
    /// The newest that was acknowledged without a notice.
    acknowledged: AtomicU64,
    acknowledgements: AtomicU64,
    with_notice: AtomicU64,
    from_memory: AtomicU64,
    misses: AtomicU64,
}

#[derive(Debug, Clone)]
struct WalkedProxy {
    cluster: Arc<Cluster>,
    memory: Arc<WalkMemory>,
    judge: Arc<Judge>,
    /// Until when it stands still, in milliseconds of the walk.
    paused: Arc<AtomicU64>,
    start: tokio::time::Instant,
    quiet: bool,
}

async fn pass(millis: u64) {
    tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_millis(millis)).await;
}

fn one_of(random: &mut StdRng, among: &[u64]) -> u64 {
    among[random.random_range(0..among.len())]
}

impl WalkedProxy {
    /// Stands still where it was stopped.
    async fn stand(&self) {
        let until = self.paused.load(Ordering::Acquire);
        tokio::time::sleep_until(self.start + Duration::from_millis(until)).await;
    }

    async fn clients(self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        // What is under way goes with the proxy.
        let mut under_way = JoinSet::new();
        loop {
            while under_way.try_join_next().is_some() {}
            self.stand().await;
            if random.random_bool(if self.quiet { 0.01 } else { 0.12 }) {
                let (writer, seed) = (self.clone(), random.next_u64());
                under_way.spawn(async move { writer.write(seed).await });
            } else if let Some((reader, asked, [there, back])) = self.read(&mut random) {
                under_way.spawn(async move {
                    pass(there).await;
                    let value = reader.judge.value.load(Ordering::Acquire);
                    pass(back).await;
                    reader.stand().await;
                    reader.memory.keep(value, asked);
                });
            }
            pass(one_of(&mut random, &[5, 20, 100])).await;
        }
    }

    /// Reads; what Alyx is to be asked where nothing is remembered, since which tick, and how long either way takes.
    fn read(&self, random: &mut StdRng) -> Option<(Self, i64, [u64; 2])> {
        let must_have = self.judge.acknowledged.load(Ordering::Acquire);
        let is_together = self.cluster.together();
        if let Some(value) = self.memory.fresh().filter(|_| is_together) {
            self.judge.from_memory.fetch_add(1, Ordering::AcqRel);
            if value < must_have {
                self.judge.misses.fetch_add(1, Ordering::AcqRel);
            }
            return None;
        }
        let ways = [one_of(random, &[1, 50, 500]), one_of(random, &[1, 50, 500])];
        Some((self.clone(), self.memory.tick.load(Ordering::Acquire), ways))
    }

    async fn write(&self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let Ok(write) = self.cluster.begin(vec!["lists subjects".to_owned()]).await else { return };
        pass(one_of(&mut random, &[5, 100])).await;
        let value = self.judge.value.fetch_add(1, Ordering::AcqRel) + 1;
        pass(one_of(&mut random, &[1, 50])).await;
        self.stand().await;
        let telling = self.cluster.end(write, true).await;
        self.stand().await;
        self.memory.strike();
        let Some(telling) = telling else {
            self.judge.with_notice.fetch_add(1, Ordering::AcqRel);
            return;
        };
        self.cluster.wait_for_others(&telling).await;
        self.judge.acknowledged.fetch_max(value, Ordering::AcqRel);
        self.judge.acknowledgements.fetch_add(1, Ordering::AcqRel);
    }
}

/// One proxy of the walk, which can be killed.
struct Walked {
    proxy: WalkedProxy,
    wire: Arc<FakeEngine>,
    notes: Arc<ClusterNotes>,
    clock: Arc<DriftingClock>,
    rules: ProtocolRules,
    tasks: Vec<JoinHandle<()>>,
}

impl Walked {
    /// Starts it, as new or after it was killed.
    fn start(&mut self, seed: u64) {
        for task in self.tasks.drain(..) {
            task.abort();
        }
        self.wire.break_off();
        let (wire, notes) = (self.wire.clone(), self.notes.clone());
        let seal = Arc::new(ClusterSeal::of_tests());
        let mut cluster = Cluster::with(wire, seal, self.clock.clone(), "walk".to_owned(), false, notes);
        cluster.rules = self.rules;
        self.proxy.cluster = Arc::new(cluster);
        let (cluster, memory) = (self.proxy.cluster.clone(), self.proxy.memory.clone());
        self.tasks.push(tokio::spawn(cluster.run(memory)));
        self.tasks.push(tokio::spawn(self.proxy.clone().clients(seed)));
    }
}

const DELAYS: [u64; 5] = [1, 2, 5, 30, 400];

fn break_off_all(proxies: &[Walked]) {
    for proxy in proxies {
        proxy.wire.break_off();
    }
}

/// Something goes wrong, at random.
async fn fault(server: &Arc<FakeServer>, proxies: &mut [Walked], random: &mut StdRng, quiet: bool) {
    let chosen = random.random_range(0..proxies.len());
    let bounds = if quiet { [0.45, 0.47, 0.75, 0.85, 0.9] } else { [0.25, 0.35, 0.55, 0.7, 0.8] };
    let kind: f64 = random.random();
    let which = bounds.iter().position(|bound| kind < *bound);
    match which {
        Some(0) => {
            let (wire, span) = (proxies[chosen].wire.clone(), one_of(random, &[200, 1500, 4000, 9000]));
            wire.set_cut(true);
            tokio::spawn(async move {
                pass(span).await;
                wire.set_cut(false);
            });
        }
        Some(1) => {
            server.set_up(false);
            break_off_all(proxies);
            let (server, span) = (server.clone(), one_of(random, &[100, 2000, 5000]));
            tokio::spawn(async move {
                pass(span).await;
                server.set_up(true);
            });
        }
        Some(2) => {
            server.fail_over();
            break_off_all(proxies);
        }
        Some(3) => {
            let proxy = &proxies[chosen].proxy;
            let walked = u64::try_from(proxy.start.elapsed().as_millis()).unwrap();
            let until = walked + one_of(random, &[500, 4000, 8000]);
            proxy.paused.store(until, Ordering::Release);
        }
        Some(4) => {
            proxies[chosen].tasks.drain(..).for_each(|task| task.abort());
            pass(one_of(random, &[100, 3000])).await;
            proxies[chosen].start(random.next_u64());
        }
        _ => {}
    }
    pass(one_of(random, &[300, 2000, 6000])).await;
}

/// Walks for so many seconds of the walk's own time.
fn walk(seed: u64, seconds: u64, rules: ProtocolRules) -> Arc<Judge> {
    let quiet = seed % 2 == 1;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let judge = Arc::new(Judge::default());
    let walking = async {
        let mut random = StdRng::seed_from_u64(seed);
        let (server, clock) = (FakeServer::new(seed), ManualClock::with_tokio(1_000));
        let start = tokio::time::Instant::now();
        let mut proxies = Vec::new();
        for _ in 0..4 {
            let clock = Arc::new(DriftingClock(clock.clone(), random.random_range(0.96..1.04)));
            let (wire, notes) = (server.wire(&DELAYS), Arc::new(ClusterNotes::default()));
            let seal = Arc::new(ClusterSeal::of_tests());
            let cluster =
                Cluster::with(wire.clone(), seal, clock.clone(), "walk".to_owned(), false, notes.clone());
            let proxy = WalkedProxy {
                cluster: Arc::new(cluster),
                memory: Arc::default(),
                judge: judge.clone(),
                paused: Arc::default(),
                start,
                quiet,
            };
            let mut walked = Walked { proxy, wire, notes, clock, rules, tasks: Vec::new() };
            walked.start(random.next_u64());
            proxies.push(walked);
        }
        let (standby, lag, mut of_standby) = (
            server.clone(),
            if quiet { [20, 1500, 4000, 4000] } else { [5, 20, 200, 1500] },
            StdRng::seed_from_u64(seed ^ 0x5eed),
        );
        tokio::spawn(async move {
            loop {
                pass(one_of(&mut of_standby, &lag)).await;
                if of_standby.random_bool(0.6) {
                    standby.replicate();
                }
            }
        });
        while start.elapsed() < Duration::from_secs(seconds) {
            fault(&server, &mut proxies, &mut random, quiet).await;
        }
    };
    runtime.block_on(walking);
    drop(runtime);
    judge
}

/// The seeds whose walk shows a miss, of so many; and what all of them did.
fn misses(seeds: std::ops::Range<u64>, seconds: u64, rules: ProtocolRules) -> (Vec<u64>, [u64; 3]) {
    let (mut bad, mut sums) = (Vec::new(), [0; 3]);
    for seed in seeds {
        let judge = walk(seed, seconds, rules);
        let counts = [&judge.from_memory, &judge.acknowledgements, &judge.with_notice];
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum += count.load(Ordering::Acquire);
        }
        if judge.misses.load(Ordering::Acquire) > 0 {
            bad.push(seed);
        }
    }
    (bad, sums)
}

#[test]
fn no_answer_without_a_notice_misses_a_write_that_was_acknowledged_without_one() {
    let seeds = if std::env::var_os("CHECK_LONG").is_some() { 20_000 } else { 500 };
    let (bad, [read, written, with_notice]) = misses(0..seeds, 15, ALL_RULES);
    println!(
        "{seeds} walks: {read} answers from memory, {written} writes acknowledged, {with_notice} with a notice"
    );
    assert_eq!(bad, Vec::<u64>::new(), "walks that show a miss");
    assert!(
        read > 100 * seeds && written > seeds,
        "the judge has seen little: {read} answers, {written} writes"
    );
}

#[test]
fn the_judge_sees_each_step_that_is_left_out() {
    let shows = |rules: ProtocolRules, seeds, seconds| {
        (0..seeds).any(|seed| !misses(seed..seed + 1, seconds, rules).0.is_empty())
    };
    assert!(shows(ProtocolRules { barrier: false, ..ALL_RULES }, 20, 15), "no barrier");
    assert!(shows(ProtocolRules { doubt: false, ..ALL_RULES }, 300, 30), "no doubt in another life");
    assert!(shows(ProtocolRules { full_wait: false, ..ALL_RULES }, 1_000, 30), "no full wait after joining");
}
