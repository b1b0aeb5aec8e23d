//! The file: a tar archive under zstd, and behind it a checksum of all of it.
//!
//! The checksum stands in a frame that zstd's decoders skip (RFC 8878, section 3.1.2), so common tools read the
//! file as any other `.tar.zst`.

use std::{
    fmt::Display,
    fs,
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    Progress, Signature, SigningKey, SnapshotError, Tell, budget,
    manifest::{AnyForm, FORM, FORMAT, Manifest},
    member::Member,
    signature,
};
use crate::clock::{self, Millis};

/// `0x184D2A5D`, little-endian, a skippable frame, and the length of what follows: 40 bytes.
const FRAME: [u8; 8] = [0x5D, 0x2A, 0x4D, 0x18, 40, 0, 0, 0];
const MARK: &[u8; 8] = b"ALYXSNAP";
/// The frame with its mark and the checksum.
const TRAILER: usize = FRAME.len() + MARK.len() + blake3::OUT_LEN;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// zstd's own default.
const LEVEL: i32 = 3;
/// Memory that a reader gives to a decoder's window: 2^24 bytes; the writer's level needs 2^21.
const WINDOW_LOG: u32 = 24;
const BUFFER: usize = 256 << 10;

/// Counts what passes into a checksum.
#[derive(Debug)]
struct Hashing<W> {
    into: W,
    hasher: blake3::Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.into.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.into.flush()
    }
}

type Compressor = zstd::Encoder<'static, Hashing<BufWriter<fs::File>>>;

/// A snapshot that is being written, beside its place: it appears there whole or not at all.
pub(super) struct ArchiveWriter {
    tar: tar::Builder<Compressor>,
    beside: PartialFile,
    made_at: u64,
}

/// The file beside, removed unless it was put into its place.
#[derive(Debug)]
struct PartialFile {
    path: PathBuf,
    placed: bool,
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.placed {
            // Whatever it was that failed is told already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl ArchiveWriter {
    /// Begins a snapshot that will be at `path`, for its owner's eyes alone: it holds the lab's data.
    pub(super) fn create(path: &Path, now: Millis) -> io::Result<Self> {
        let beside = PathBuf::from(format!("{}.part", path.display()));
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = private(&beside)?;
        let beside = PartialFile { path: beside, placed: false };
        let hashing = Hashing { into: BufWriter::with_capacity(BUFFER, file), hasher: blake3::Hasher::new() };
        let mut packed = zstd::Encoder::new(hashing, LEVEL)?;
        packed.include_checksum(true)?;
        let made_at = u64::try_from(now / 1000).unwrap_or(0);
        Ok(Self { tar: tar::Builder::new(packed), beside, made_at })
    }

    pub(super) fn member(&mut self, member: Member, bytes: &[u8]) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_path(member.name())?;
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.made_at);
        header.set_cksum();
        self.tar.append(&header, bytes)
    }

    /// Ends it, signs it and puts it into its place; its size in bytes.
    pub(super) fn finish(self, path: &Path, key: &SigningKey) -> io::Result<u64> {
        let Self { tar, mut beside, .. } = self;
        let mut hashing = tar.into_inner()?.finish()?;
        let signature = key.sign(&hashing.hasher.finalize());
        hashing.write_all(&signature)?;
        let Hashing { mut into, hasher } = hashing;
        into.write_all(&FRAME)?;
        into.write_all(MARK)?;
        into.write_all(hasher.finalize().as_bytes())?;
        let file = into.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let size = file.metadata()?.len();
        fs::rename(&beside.path, path)?;
        beside.placed = true;
        Ok(size)
    }
}

fn private(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A snapshot whose checksum is right, and that this program can read.
#[derive(Debug)]
pub struct Archive {
    path: PathBuf,
    file: fs::File,
    /// Bytes of the archive, without what stands behind it.
    length: u64,
    /// Bytes of all of it.
    size: u64,
    /// The checksum: another snapshot has another.
    pub checksum: [u8; blake3::OUT_LEN],
    /// Who has signed it; none where nobody has.
    pub signature: Option<Signature>,
    /// How much room it takes here, about; known when it was gone through.
    room: AtomicU64,
    /// What it says of itself.
    pub manifest: Manifest,
}

impl Archive {
    /// Opens a snapshot: reads all of it and compares the checksum, so that what is read later is what was
    /// written. `tell` learns the bytes.
    pub fn open(path: &Path, tell: Tell<'_>) -> Result<Self, SnapshotError> {
        let io = SnapshotError::io(path);
        let mut file = fs::File::open(path).map_err(&io)?;
        let Whole { length, size, checksum, signature } = whole(&mut file, path, tell)?;
        let mut members = Members::of(&file, path, length)?;
        let manifest = match members.next()? {
            Some((Member::Manifest, bytes)) => read_manifest(path, &bytes)?,
            _ => return Err(SnapshotError::Foreign(path.to_owned())),
        };
        drop(members);
        let room = AtomicU64::new(0);
        Ok(Self { path: path.to_owned(), file, length, size, checksum, signature, room, manifest })
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How much room it takes here, about: as it was found when it was checked.
    pub(super) fn room(&self) -> u64 {
        self.room.load(Ordering::Relaxed)
    }

    /// Goes through all its members but the manifest, in their order.
    pub(super) fn walk<E: From<SnapshotError>>(
        &self,
        tell: Tell<'_>,
        what: &str,
        mut visit: impl FnMut(Member, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut members = Members::of(&self.file, &self.path, self.length)?;
        members.next()?;
        let mut room = 0_u64;
        while let Some((member, bytes)) = members.next()? {
            visit(member, &bytes)?;
            room = room.saturating_add(budget::room_for(member, bytes.len()));
            tell(Progress { what, done: members.read.min(self.length), total: self.length });
        }
        self.room.store(room, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn wrong(&self, member: Member, why: &dyn Display) -> SnapshotError {
        SnapshotError::member(&self.path, &member.name(), why)
    }
}

/// What stands behind an archive, and is right.
struct Whole {
    length: u64,
    size: u64,
    checksum: [u8; blake3::OUT_LEN],
    signature: Option<Signature>,
}

/// The length of the archive within the file, and what stands behind it.
fn whole(file: &mut fs::File, path: &Path, tell: Tell<'_>) -> Result<Whole, SnapshotError> {
    let io = SnapshotError::io(path);
    let size = file.metadata().map_err(&io)?.len();
    let mut begin = [0; ZSTD_MAGIC.len()];
    if file.read_exact(&mut begin).is_err() || begin != ZSTD_MAGIC {
        return Err(SnapshotError::Foreign(path.to_owned()));
    }
    let Some(covered) = size.checked_sub(TRAILER as u64) else {
        return Err(SnapshotError::CutShort(path.to_owned()));
    };
    let mut trailer = [0; TRAILER];
    file.seek(SeekFrom::Start(covered)).and_then(|_| file.read_exact(&mut trailer)).map_err(&io)?;
    let (frame, rest) = trailer.split_at(FRAME.len());
    let (mark, told) = rest.split_at(MARK.len());
    if frame != FRAME || mark != MARK {
        return Err(SnapshotError::CutShort(path.to_owned()));
    }
    let frame = signature_frame(file, covered).map_err(&io)?;
    let length = covered - frame.len() as u64;
    file.rewind().map_err(&io)?;
    let mut hasher = blake3::Hasher::new();
    let mut reader = BufReader::with_capacity(BUFFER, file.take(length));
    let (mut buffer, mut done) = (vec![0; BUFFER], 0);
    loop {
        let read = reader.read(&mut buffer).map_err(&io)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        done += read as u64;
        tell(Progress { what: "reading", done, total: length });
    }
    let archive = hasher.finalize();
    let checksum = *hasher.update(&frame).finalize().as_bytes();
    if checksum != *told {
        return Err(SnapshotError::Damaged(path.to_owned()));
    }
    let signature = if frame.is_empty() {
        None
    } else {
        Some(signature::read(&frame, &archive).ok_or_else(|| SnapshotError::Forged(path.to_owned()))?)
    };
    Ok(Whole { length, size, checksum, signature })
}

/// The frame with the signature that ends there; empty where none does.
fn signature_frame(file: &mut fs::File, end: u64) -> io::Result<Vec<u8>> {
    let Some(at) = end.checked_sub(signature::LENGTH as u64) else { return Ok(Vec::new()) };
    let mut frame = vec![0; signature::LENGTH];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut frame)?;
    Ok(if signature::begins(&frame) { frame } else { Vec::new() })
}

fn read_manifest(path: &Path, bytes: &[u8]) -> Result<Manifest, SnapshotError> {
    let wrong = |error: serde_json::Error| SnapshotError::member(path, &Member::Manifest.name(), &error);
    let any: AnyForm = serde_json::from_slice(bytes).map_err(wrong)?;
    if any.format != FORMAT {
        return Err(SnapshotError::Foreign(path.to_owned()));
    }
    if any.form > FORM {
        let (path, program) = (path.to_owned(), any.program.chars().take(40).collect());
        return Err(SnapshotError::Newer { path, program, form: any.form, known: FORM });
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(wrong)?;
    let check = manifest.check(clock::now());
    check.map_err(|why| SnapshotError::member(path, &Member::Manifest.name(), &why))?;
    Ok(manifest)
}

/// Reads members one by one; each is in memory as a whole, within [`budget::most_of`] it.
struct Members<'a> {
    path: &'a Path,
    unpacked: zstd::Decoder<'static, BufReader<io::Take<SharedFile>>>,
    /// Bytes of the file that were read, about.
    read: u64,
    length: u64,
    /// Bytes that may yet come out of it.
    left: u64,
}

/// The open file, read at a place of its own.
struct SharedFile {
    file: fs::File,
    at: u64,
}

impl Read for SharedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A block of a tar archive.
const BLOCK: usize = 512;

impl<'a> Members<'a> {
    fn of(file: &fs::File, path: &'a Path, length: u64) -> Result<Self, SnapshotError> {
        let open = || {
            let shared = SharedFile { file: file.try_clone()?, at: 0 };
            let mut unpacked = zstd::Decoder::with_buffer(BufReader::new(shared.take(length)))?;
            unpacked.window_log_max(WINDOW_LOG)?;
            Ok(unpacked)
        };
        let left = budget::most_unpacked(length);
        Ok(Self { path, unpacked: open().map_err(SnapshotError::io(path))?, read: 0, length, left })
    }

    /// The next member. Headers are read one by one and nothing but plain files is known, so that no extension of
    /// the form (long names, links, sparse files) can do anything.
    fn next(&mut self) -> Result<Option<(Member, Vec<u8>)>, SnapshotError> {
        let damaged = |_| SnapshotError::Damaged(self.path.to_owned());
        let mut header = tar::Header::new_old();
        self.unpacked.read_exact(header.as_mut_bytes()).map_err(damaged)?;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        let wrong = |why: &str| SnapshotError::member(self.path, &name, &why);
        if header.entry_type() != tar::EntryType::Regular {
            return Err(wrong("it is no plain file"));
        }
        let member = Member::named(&name).ok_or_else(|| wrong("no member has such a name"))?;
        let size = header.size().map_err(|_| wrong("its size can't be read"))?;
        if size > budget::most_of(member) {
            return Err(wrong("it is too large"));
        }
        let Some(left) = self.left.checked_sub(size + 2 * BLOCK as u64) else {
            let what = format!("unpacked it is more than {} bytes", budget::most_unpacked(self.length));
            return Err(SnapshotError::TooLarge { path: self.path.to_owned(), what });
        };
        self.left = left;
        let mut bytes = Vec::new();
        // Not more memory than there is text, whatever the header says: what is not written to costs none.
        bytes
            .try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX))
            .map_err(|_| wrong("it is too large"))?;
        (&mut self.unpacked).take(size).read_to_end(&mut bytes).map_err(damaged)?;
        if bytes.len() as u64 != size {
            return Err(SnapshotError::Damaged(self.path.to_owned()));
        }
        let rest = bytes.len().next_multiple_of(BLOCK) - bytes.len();
        self.unpacked.read_exact(&mut [0; BLOCK][..rest]).map_err(damaged)?;
        self.read = (self.length - self.unpacked.get_ref().get_ref().limit()).max(self.read);
        Ok(Some((member, bytes)))
    }
}
