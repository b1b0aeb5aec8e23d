//! The audit log: who logged in, what an administrator did, what was imported and exported, which tokens were refused. In
//! files of its own in the data directory, for the administrator alone.
//!
//! Whoever notes something waits for no disk. What can't be written is lost: it is counted, told in the log and, once there
//! is room again, by a line of its own; requests go on. Passwords and tokens never come here: a token is named by the
//! beginning of its keyed hash.

mod entry;
mod file;
mod read;
mod writer;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread,
};

use arc_swap::ArcSwap;
use serde_json::Value;
use tokio::sync::oneshot;

pub(crate) use entry::{AuditEntry, AuditStream};

use crate::{
    clock::{Millis, SharedClock},
    settings::Settings,
    storage::types::TokenHash,
};
use writer::AuditWriter;

/// Counts lines that could not be written.
pub(super) const LOST: &str = "alyx_proxy_audit_lines_lost_total";

/// Lines that wait for the disk; of more, those that come are lost.
const WAITING: usize = 1_024;

/// Makes a name's keyed hash.
pub(crate) type HashName = Box<dyn Fn(&str) -> String + Send + Sync>;

/// What the thread that writes is sent.
enum Message {
    Line(AuditStream, String),
    /// Tell when all before this is written.
    Flush(oneshot::Sender<()>),
}

/// Lines that could not be written.
#[derive(Debug, Default)]
struct LostLines {
    all: AtomicU64,
    /// Those of which no line tells yet.
    untold: AtomicU64,
}

impl LostLines {
    fn count(&self, lines: u64) {
        self.all.fetch_add(lines, Ordering::Relaxed);
        self.untold.fetch_add(lines, Ordering::Relaxed);
        metrics::counter!(LOST).increment(lines);
    }
}

/// The audit log of a data directory.
pub(crate) struct AuditLog {
    folder: PathBuf,
    sender: SyncSender<Message>,
    lost: Arc<LostLines>,
    settings: Arc<ArcSwap<Settings>>,
    clock: SharedClock,
    hash: HashName,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Starts the thread that writes; the files are made when there is something to write.
    pub(crate) fn start(
        data_dir: &Path,
        settings: Arc<ArcSwap<Settings>>,
        clock: SharedClock,
        hash: HashName,
    ) -> io::Result<Self> {
        let folder = data_dir.join("audit");
        let lost = Arc::<LostLines>::default();
        let (sender, receiver) = sync_channel(WAITING);
        let mut writer = AuditWriter::new(&folder, settings.clone(), clock.clone(), lost.clone());
        let work = move || receiver.into_iter().for_each(|message| writer.take(message));
        thread::Builder::new().name("audit".to_owned()).spawn(work)?;
        Ok(Self { folder, sender, lost, settings, clock, hash })
    }

    /// Has a line written.
    pub(crate) fn note(&self, entry: AuditEntry) {
        let settings = self.settings.load();
        if settings.audit.max_size.0 == 0 {
            return;
        }
        let stream = entry.stream;
        let line = entry.line(time(self.clock.now()), settings.audit.hash_names, &*self.hash);
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.sender.try_send(Message::Line(stream, line))
        {
            self.lost.count(1);
        }
    }

    /// The newest lines, the last first, when all that was noted so far is written.
    pub(crate) async fn newest(&self, count: usize) -> io::Result<Vec<Value>> {
        self.written().await;
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || read::newest(&folder, count)).await.map_err(io::Error::other)?
    }

    /// Lines that could not be written since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.all.load(Ordering::Relaxed)
    }

    /// Completes when all that was noted so far is written, or lost.
    async fn written(&self) {
        let (tell, told) = oneshot::channel();
        let sender = self.sender.clone();
        // It may have to wait for its turn.
        let sent = tokio::task::spawn_blocking(move || sender.send(Message::Flush(tell)).is_ok()).await;
        if sent.unwrap_or(false) {
            let _ = told.await;
        }
    }

    /// Waits until all that was noted is written. Blocks.
    pub(crate) fn close(&self) {
        let (tell, told) = oneshot::channel();
        if self.sender.send(Message::Flush(tell)).is_ok() {
            let _ = told.blocking_recv();
        }
    }
}

/// A time as lines have it: in the order of their letters.
fn time(at: Millis) -> String {
    jiff::Timestamp::from_millisecond(at).map(|at| format!("{at:.3}")).unwrap_or_default()
}

/// How a token is called where it must not be told: the beginning of its keyed hash.
pub(crate) fn fingerprint(token: TokenHash) -> String {
    format!("token-{}", &blake3::Hash::from_bytes(token.0).to_hex()[..12])
}
