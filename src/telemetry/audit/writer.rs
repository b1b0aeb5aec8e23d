//! The thread that writes the audit log.

use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use arc_swap::ArcSwap;

use super::{AuditEntry, AuditStream, LostLines, Message, file::RotatingFile, time};
use crate::{
    clock::{Millis, SharedClock},
    settings::Settings,
};

/// Refusals that are written a minute; of more only how many they were.
const REFUSALS: u64 = 600;
const MINUTE: Millis = 60_000;

pub(super) struct AuditWriter {
    files: [RotatingFile; AuditStream::ALL.len()],
    settings: Arc<ArcSwap<Settings>>,
    clock: SharedClock,
    lost: Arc<LostLines>,
    /// Whether the last line could not be written.
    failing: bool,
    /// The minute, and the refusals that came in it.
    refusals: (Millis, u64),
}

impl AuditWriter {
    pub(super) fn new(
        folder: &Path,
        settings: Arc<ArcSwap<Settings>>,
        clock: SharedClock,
        lost: Arc<LostLines>,
    ) -> Self {
        let files = AuditStream::ALL.map(|stream| RotatingFile::new(folder, stream.name()));
        Self { files, settings, clock, lost, failing: false, refusals: (0, 0) }
    }

    pub(super) fn take(&mut self, message: Message) {
        match message {
            Message::Line(stream, line) => {
                if stream == AuditStream::Refusals && !self.has_room_for_a_refusal() {
                    return;
                }
                self.write(stream, &line);
            }
            Message::Flush(tell) => {
                // Whoever asked may have gone.
                let _ = tell.send(());
            }
        }
    }

    fn write(&mut self, stream: AuditStream, line: &str) {
        match self.append(stream, line) {
            Ok(()) => {
                self.failing = false;
                self.tell_lost();
            }
            Err(error) => {
                self.lost.count(1);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "the audit log can't be written; what it should tell is lost until it can");
                }
            }
        }
    }

    fn append(&mut self, stream: AuditStream, line: &str) -> io::Result<()> {
        let most = self.settings.load().audit.max_size.0 / AuditStream::ALL.len() as u64;
        let file = &mut self.files[stream as usize];
        file.append(line, most)?;
        // What an administrator does is rare, and the last thing to be missing.
        if stream == AuditStream::Acts { file.sync() } else { Ok(()) }
    }

    /// Says how many lines are missing, now that one could be written.
    fn tell_lost(&mut self) {
        let count = self.lost.untold.swap(0, Ordering::Relaxed);
        if count == 0 {
            return;
        }
        let entry = AuditEntry::new(AuditStream::Acts, "audit", "lines-lost").plain("count", count);
        if self.append(AuditStream::Acts, &self.line(entry)).is_err() {
            self.lost.untold.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Whether this minute has room for one more.
    fn has_room_for_a_refusal(&mut self) -> bool {
        let minute = self.clock.now().div_euclid(MINUTE);
        if self.refusals.0 != minute {
            let (_, before) = std::mem::replace(&mut self.refusals, (minute, 0));
            if before > REFUSALS {
                let left_out = before - REFUSALS;
                let entry =
                    AuditEntry::new(AuditStream::Refusals, "audit", "left-out").plain("count", left_out);
                let line = self.line(entry);
                self.write(AuditStream::Refusals, &line);
            }
        }
        self.refusals.1 += 1;
        self.refusals.1 <= REFUSALS
    }

    fn line(&self, entry: AuditEntry) -> String {
        entry.line(time(self.clock.now()), false, &str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{clock::ManualClock, settings::value::Size, telemetry::audit::read};

    fn refusal(n: u32) -> Message {
        Message::Line(AuditStream::Refusals, format!("{{\"at\":\"{n:09}\",\"outcome\":\"refused\"}}\n"))
    }

    #[test]
    fn what_can_not_be_written_is_counted_and_told_when_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let lost = Arc::<LostLines>::default();
        let mut writer = AuditWriter::new(dir.path(), Arc::default(), ManualClock::at(0), lost.clone());
        // Where a file should be is none.
        let stands_in_the_way = dir.path().join("refusals.jsonl");
        fs::create_dir(&stands_in_the_way).unwrap();
        (0..3).for_each(|n| writer.take(refusal(n)));
        assert_eq!(lost.all.load(Ordering::Relaxed), 3);
        fs::remove_dir(&stands_in_the_way).unwrap();
        writer.take(refusal(3));
        let told = read::newest(dir.path(), 10).unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().any(|line| line["outcome"] == "lines-lost" && line["count"] == 3), "{told:?}");
        assert_eq!(lost.all.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_flood_of_refusals_is_counted_and_pushes_out_no_act() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.audit.max_size = Size(300_000);
        let clock = ManualClock::at(0);
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let mut writer = AuditWriter::new(dir.path(), settings, clock.clone(), Arc::default());
        writer.take(Message::Line(AuditStream::Acts, "{\"at\":\"0\",\"act\":\"purge\"}\n".to_owned()));
        for minute in 0..3 {
            (0..2_000).for_each(|n| writer.take(refusal(minute * 2_000 + n)));
            clock.advance(MINUTE);
        }
        let told = read::newest(dir.path(), 10_000).unwrap();
        assert!(told.iter().any(|line| line["act"] == "purge"));
        let left_out: Vec<_> = told.iter().filter(|line| line["outcome"] == "left-out").collect();
        assert!(!left_out.is_empty() && left_out.iter().all(|line| line["count"] == 2_000 - REFUSALS));
        let size: u64 =
            fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().metadata().unwrap().len()).sum();
        assert!(size <= 300_000, "{size}");
    }
}
