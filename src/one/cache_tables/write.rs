//! Writing the tables: into a folder, or as `cache.zip`.

use std::{
    fs, io,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde_json::json;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{
    Info, Sizes, TableSize, TablesError, as_of,
    columns::{DATASETS, ParquetTable, SESSIONS, write_rows},
    rows::{Batch, Datasets, SessionRows},
};
use crate::{
    alyx::cache_tables::{self as shape, members},
    mirror::export::ReadSnapshot,
    progress::{Progress, Tell},
};

/// Rows that are in memory at once, and that a row group has.
const BATCH: usize = 50_000;

/// What comes of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One file with all of them, as Alyx offers it.
    Zip,
    /// Files in a folder, as ONE keeps them.
    Folder,
}

/// Writes the tables to `path`; `origin` is the host name of the Alyx that they are of ([`super::origin_of`]). Each file whole or not at all. Blocks.
pub fn write(
    mirror: &ReadSnapshot,
    origin: &str,
    path: &Path,
    form: Form,
    tell: Tell<'_>,
) -> Result<Info, TablesError> {
    let at = jiff::Timestamp::from_millisecond(as_of(mirror)?).unwrap_or_default();
    let date_created = at.strftime("%Y-%m-%d %H:%M").to_string();
    let folder = match form {
        Form::Zip => path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        Form::Folder => path,
    };
    fs::create_dir_all(folder).map_err(io_error(folder))?;
    // For what is not whole yet; it goes with all that is in it.
    let scratch = tempfile::Builder::new().prefix(".alyx-proxy-").tempdir_in(folder);
    let scratch = scratch.map_err(io_error(folder))?;
    let about = json!({
        "date_created": date_created, "origin": origin, "min_api_version": shape::MIN_API_VERSION,
    });
    let part = |name: &str| scratch.path().join(name);
    let sessions = table::<SessionRows>(
        mirror,
        &SESSIONS,
        shape::SESSIONS,
        shape::SESSION_ROWS,
        &part(members::SESSIONS),
        &about,
        tell,
    )?;
    let datasets = table::<Datasets>(
        mirror,
        &DATASETS,
        shape::DATASETS,
        shape::DATASET_ROWS,
        &part(members::DATASETS),
        &about,
        tell,
    )?;
    let info = Info {
        date_created,
        origin: origin.to_owned(),
        min_api_version: shape::MIN_API_VERSION,
        tables: Sizes { sessions, datasets },
    };
    let text = serde_json::to_vec(&info).unwrap_or_default();
    fs::write(part(members::INFO), text).map_err(io_error(&part(members::INFO)))?;
    let names = [members::SESSIONS, members::DATASETS, members::INFO];
    match form {
        Form::Folder => {
            for name in names {
                fs::rename(part(name), folder.join(name)).map_err(io_error(&folder.join(name)))?;
            }
        }
        Form::Zip => {
            let zipped = scratch.path().join("cache.zip");
            zip(&names.map(part), &zipped).map_err(io_error(&zipped))?;
            fs::rename(&zipped, path).map_err(io_error(path))?;
        }
    }
    Ok(info)
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> TablesError {
    move |error| TablesError::Io(path.to_owned(), error)
}

fn table<B: Batch>(
    mirror: &ReadSnapshot,
    table: &ParquetTable,
    name: &'static str,
    sql: &str,
    path: &Path,
    about: &serde_json::Value,
    tell: Tell<'_>,
) -> Result<TableSize, TablesError> {
    let parquet = |error| TablesError::Parquet(name, error);
    let total = mirror.states.of(name).map_or(0, |state| state.rows);
    let to = fs::OpenOptions::new().read(true).write(true).create_new(true).open(path);
    let to = to.map_err(io_error(path))?;
    let mut file = table.file(io::BufWriter::new(to), about).map_err(parquet)?;
    let mut nrecs = 0;
    let mut batch = B::default();
    mirror.rows(sql, |row| {
        batch.add(row)?;
        if batch.len() >= BATCH {
            nrecs += batch.len() as u64;
            write_rows(&mut file, std::mem::take(&mut batch).columns()).map_err(parquet)?;
            tell(Progress { what: name, done: nrecs, total });
        }
        Ok::<_, TablesError>(())
    })?;
    nrecs += batch.len() as u64;
    write_rows(&mut file, batch.columns()).map_err(parquet)?;
    tell(Progress { what: name, done: nrecs, total: nrecs });
    let buffered = file.into_inner().map_err(parquet)?;
    let mut whole = buffered.into_inner().map_err(|error| io_error(path)(error.into_error()))?;
    whole.sync_all().map_err(io_error(path))?;
    Ok(TableSize { nrecs, size: footer(&mut whole).map_err(io_error(path))? })
}

/// The length that a Parquet file says its description has: four bytes before the last four.
fn footer(file: &mut fs::File) -> io::Result<u64> {
    let mut length = [0; 4];
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut length)?;
    Ok(u32::from_le_bytes(length).into())
}

/// Parquet files are compressed already.
fn zip(parts: &[PathBuf; 3], to: &Path) -> io::Result<()> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    let mut zip = ZipWriter::new(io::BufWriter::new(fs::File::create_new(to)?));
    for part in parts {
        let name = part.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        zip.start_file(name, options)?;
        io::copy(&mut fs::File::open(part)?, &mut zip)?;
    }
    let mut file = zip.finish()?;
    file.flush()?;
    file.get_ref().sync_all()
}
