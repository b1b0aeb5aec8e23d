//! Whether files are what Alyx's records say: each when all of it is here, and again in the background, by and by, with all
//! that is kept.

use std::{sync::Arc, time::Duration};

use md5::{Digest, Md5};

use super::{
    DataFiles,
    block::BlockError,
    fetch::BlockKey,
    index::IndexedFile,
    judged::{DifferingFile, DueFile, JudgedFile},
    look::LookOutcome,
    path::DataPath,
    record::{self, AlyxWord, DatasetRecord},
    version::{BLOCK, FileVersion},
};

/// The background reads no more than so many bytes in a second.
const PACE: u64 = 16 << 20;
/// What has just come is read at no more than this, so that its readers go first.
const BRISK: u64 = 128 << 20;
/// Time between two looks for files that are due.
const PAUSE: Duration = Duration::from_mins(1);

impl DataFiles {
    /// What Alyx says of the file at this path.
    pub(super) async fn word_on(&self, path: &str) -> AlyxWord {
        record::of(self.mirror.as_ref(), path).await
    }

    /// Whether a version that the data server names is one that Alyx does not: by its length, or because it was found so.
    pub(super) async fn is_refuted(&self, path: &DataPath, version: &FileVersion, word: &AlyxWord) -> bool {
        let record = match word {
            AlyxWord::NotAlyxs => return false,
            AlyxWord::Unknown => None,
            AlyxWord::Says(record) => Some(record),
        };
        match self.index.is_differing(path.as_str(), version.clone(), record.cloned()).await {
            Ok((differs, count)) => {
                self.counts.set_differing(count);
                if differs {
                    return true;
                }
            }
            Err(error) => tracing::warn!(%error, "which files are not what Alyx says is not known"),
        }
        let Some(record) = record.filter(|record| !record.allows_length(version.length)) else {
            return false;
        };
        self.differs(path.as_str(), version, None, record.clone()).await;
        true
    }

    /// Compares what is known of a file with what Alyx says by now.
    pub(super) async fn settle(&self, path: &DataPath, file: IndexedFile, word: AlyxWord) -> LookOutcome {
        let (AlyxWord::Says(record), Some(judged)) = (word, &file.judged) else {
            return LookOutcome::File(file);
        };
        if record.names(&judged.md5) == Some(false) {
            self.differs(path.as_str(), &file.version, Some(judged.md5.clone()), record).await;
            return LookOutcome::Pass;
        }
        if judged.record.as_ref() != Some(&record) {
            let judged = JudgedFile { md5: judged.md5.clone(), record: Some(record) };
            self.note(file.id, judged).await;
        }
        LookOutcome::File(file)
    }

    /// Compares a file with Alyx's record, if all of it is here.
    pub(super) async fn judge_if_whole(&self, id: i64, path: &DataPath, version: &FileVersion) {
        if self.word_on(path.as_str()).await == AlyxWord::NotAlyxs {
            return;
        }
        let last = version.length.div_ceil(BLOCK).saturating_sub(1);
        if self.index.count(id, 0, last).await.is_ok_and(|count| count == last + 1) {
            let file = DueFile { id, path: path.as_str().to_owned(), version: version.clone(), md5: None };
            self.judge(&file, BRISK).await;
        }
    }

    /// Reads all that is kept of a file, and compares it with Alyx's record if that is all of it.
    async fn judge(&self, file: &DueFile, pace: u64) {
        let _in_use = self.room.enter(file.id);
        let Some(md5) = self.read_through(file, pace).await else { return };
        if file.md5.as_ref().is_some_and(|known| *known != md5) {
            tracing::error!(path = file.path, "a kept data file is not what it was: it is fetched again");
            self.counts.damaged();
            return self.outdate(file.id).await;
        }
        match self.word_on(&file.path).await {
            AlyxWord::Says(record) if record.names(&md5) == Some(false) => {
                self.differs(&file.path, &file.version, Some(md5), record).await;
            }
            AlyxWord::Says(record) => {
                self.note(file.id, JudgedFile { md5, record: Some(record) }).await;
            }
            AlyxWord::NotAlyxs | AlyxWord::Unknown => {
                self.note(file.id, JudgedFile { md5, record: None }).await;
            }
        }
    }

    /// Reads the kept blocks of a file; those that are damaged are thrown away. Its MD5, if all of it is here.
    async fn read_through(&self, file: &DueFile, pace: u64) -> Option<String> {
        let (mut sum, mut is_whole) = (Md5::new(), true);
        for number in 0..file.version.length.div_ceil(BLOCK) {
            let (_, size) = file.version.span_of(number);
            is_whole &= self.read_block((file.id, number), size, &mut sum, &file.path).await;
            pause(Duration::from_millis(size * 1000 / pace)).await;
        }
        is_whole.then(|| format!("{:x}", sum.finalize()))
    }

    /// Adds a kept block to the sum; whether it is here and as it was written.
    async fn read_block(&self, key: BlockKey, size: u64, sum: &mut Md5, path: &str) -> bool {
        let Some(block) = self.kept_block(key, size).await else { return false };
        let mut at = 0;
        while at < size {
            match block.read(at, size).await {
                Ok(bytes) => {
                    sum.update(&bytes);
                    at += bytes.len() as u64;
                }
                Err(BlockError::Damaged) => {
                    self.drop_damaged(key, path).await;
                    return false;
                }
                Err(_) => return false,
            }
        }
        true
    }

    /// Throws a block away that the disk has damaged.
    pub(super) async fn drop_damaged(&self, key: BlockKey, path: &str) {
        tracing::error!(path, block = key.1, "a block of a kept data file is damaged: it is fetched again");
        self.counts.damaged();
        self.drop_block(key).await;
    }

    /// Names a file that is not what Alyx says, and keeps no more of it.
    async fn differs(&self, path: &str, version: &FileVersion, md5: Option<String>, record: DatasetRecord) {
        tracing::warn!(
            path,
            length = version.length,
            md5,
            alyx_hash = record.hash,
            alyx_size = record.size,
            "a data file is not what Alyx's record of its dataset says: it is passed on and not kept"
        );
        let (path, at) = (path.to_owned(), self.clock.now());
        let file = DifferingFile { path, length: version.length, md5, record, at };
        match self.index.note_differing(version.clone(), file).await {
            Ok((id, count)) => {
                self.counts.set_differing(count);
                if let Some(id) = id {
                    self.remove(id).await;
                }
            }
            Err(error) => tracing::warn!(%error, "a data file that is not what Alyx says stays kept"),
        }
    }

    async fn note(&self, id: i64, judged: JudgedFile) {
        if let Err(error) = self.index.judge(id, judged).await {
            tracing::warn!(%error, "what a data file is is not noted");
        }
    }

    /// Reads the file that was not read for longest, if it is due; whether there was one.
    async fn scrub_next(&self) -> bool {
        let every = self.settings.load().files.check_every.millis();
        let due = match self.index.due(self.clock.now() - every).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "which data files are to be read again is not known");
                None
            }
        };
        let Some(file) = due else { return false };
        self.judge(&file, PACE).await;
        if let Err(error) = self.index.note_scrubbed(file.id, self.clock.now()).await {
            tracing::warn!(%error, "that a data file was read again is not noted");
            return false;
        }
        true
    }

    /// Reads all that is kept, again and again, so that what a disk has damaged is found before somebody asks for it.
    pub(crate) async fn scrub(self: Arc<Self>) {
        loop {
            if !self.scrub_next().await {
                pause(PAUSE.min(self.settings.load().files.check_every.0)).await;
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a pause between two reads, which no deadline depends on")]
async fn pause(span: Duration) {
    tokio::time::sleep(span).await;
}
