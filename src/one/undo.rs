//! Keeping what was there, and putting it back byte for byte.
//!
//! In `.alyx-proxy-undo` beside ONE's files lie the originals and a list of them. Setting up another proxy, or one a
//! second time, adds to that list and replaces nothing in it: what is put back is what was there before the first time.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    Home, OneError, SetupPlan, data_view,
    files::{self, FileWrite},
    key,
    plan::{CACHES, client_map},
};

const FOLDER: &str = ".alyx-proxy-undo";
const LIST: &str = "list.json";

#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    /// ONE's names of the proxies that were set up, the last one last.
    #[serde(default)]
    set_up: Vec<String>,
    files: Vec<Backup>,
    /// Folders for data files that were made.
    #[serde(default)]
    folders: Vec<PathBuf>,
}

/// A file as it was, and what was written in its place.
#[derive(Debug, Serialize, Deserialize)]
struct Backup {
    name: String,
    /// The mode that it had; none where there was no such file.
    mode: Option<u32>,
    /// BLAKE2s of what was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blake2s: Option<String>,
    /// BLAKE3 of it, as earlier versions have noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    written: Option<String>,
    /// BLAKE2s of the parameters that ONE does not change by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parameters: Option<String>,
}

/// What was put back.
#[derive(Debug, PartialEq, Eq)]
pub enum Undone {
    /// The old file.
    Restored(PathBuf),
    /// A file that was not there before.
    Removed(PathBuf),
    /// A file that names other proxies, too: this one was taken out of it.
    Changed(PathBuf),
}

/// What undoing came to.
#[derive(Debug)]
pub struct Undoing {
    /// What was done to each file.
    pub files: Vec<Undone>,
    /// The default database now.
    pub default: Option<String>,
    /// The proxies that are still set up.
    pub left: Vec<String>,
}

/// Where it is kept.
pub(super) fn store(folder: &Path) -> PathBuf {
    folder.join(FOLDER)
}

/// ONE's names of the proxies that were set up.
pub(super) fn set_up(store: &Path) -> Result<Vec<String>, OneError> {
    Ok(read(store)?.unwrap_or_default().set_up)
}

/// BLAKE2s of the parameters that ONE does not change by itself: all but the user and the tokens. None where these are
/// no parameters.
fn lasting(path: &Path, bytes: &[u8]) -> Option<String> {
    let parameters = files::parse(path, Some(bytes)).ok()?;
    let lasting: BTreeMap<_, _> =
        parameters.iter().filter(|(name, _)| !["ALYX_LOGIN", "TOKEN"].contains(&name.as_str())).collect();
    Some(files::digest(&files::render(&lasting)))
}

/// What must be written to keep what the plan is about to replace.
pub(super) fn keep(plan: &SetupPlan, store: &Path, absent: &[PathBuf]) -> Result<Vec<FileWrite>, OneError> {
    let mut list = read(store)?.unwrap_or_default();
    list.folders.extend_from_slice(absent);
    list.set_up.retain(|name| *name != plan.own);
    list.set_up.push(plan.own.clone());
    let mut writes = Vec::new();
    for change in &plan.changes {
        let name =
            change.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let blake2s = Some(files::digest(&change.after));
        let parameters = if name == CACHES { None } else { lasting(&change.path, &change.after) };
        if let Some(kept) = list.files.iter_mut().find(|kept| kept.name == name) {
            (kept.blake2s, kept.written, kept.parameters) = (blake2s, None, parameters);
            continue;
        }
        let mode = if change.before.is_some() { files::mode(&change.path)? } else { None };
        if let Some(bytes) = &change.before {
            writes.push(FileWrite::new(original(store, &name), bytes.clone(), 0o600));
        }
        list.files.push(Backup { name, mode, blake2s, written: None, parameters });
    }
    writes.push(list.write(store));
    Ok(writes)
}

/// Puts back what was there before: of all proxies, or of the one at this URL. What was added to the list of databases
/// since stays there. Unless `force` is set, a proxy's parameters that somebody has changed since stay, and nothing is
/// put back; users and tokens that ONE notes there are no such change.
pub fn undo(home: &Home, url: Option<&str>, force: bool) -> Result<Undoing, OneError> {
    let folder = home.folder.as_path();
    home.sweep();
    let store = store(folder);
    let list = read(&store)?.ok_or_else(|| OneError::NothingToUndo(folder.to_owned()))?;
    // The one that was set up last, where it was set up with data files and without.
    let names = url.map(|url| [key(url), key(&data_view(url))]);
    let is_meant = |name: &&String| names.as_ref().is_some_and(|names| names.contains(name));
    let one =
        names.as_ref().map(|names| list.set_up.iter().rev().find(is_meant).unwrap_or(&names[0]).clone());
    if let (Some(one), Some(url)) = (&one, url)
        && !list.set_up.contains(one)
    {
        return Err(OneError::NotSetUp(url.to_owned(), list.set_up.join(", ")));
    }
    let left: Vec<String> =
        list.set_up.iter().filter(|name| one.as_ref().is_some_and(|one| one != *name)).cloned().collect();
    let undoing = Undo { home, folder, store, force };
    let files = match (one, left.last()) {
        (Some(one), Some(before)) => undoing.one(list, &one, before)?,
        _ => undoing.all(&list)?,
    };
    let path = folder.join(CACHES);
    let caches = files::parse(&path, files::read(&path)?.as_deref())?;
    let default = caches.get("DEFAULT").and_then(Value::as_str).map(str::to_owned);
    Ok(Undoing { files, default, left })
}

struct Undo<'a> {
    home: &'a Home,
    folder: &'a Path,
    store: PathBuf,
    force: bool,
}

impl Undo<'_> {
    /// Everything is as it was before the first proxy was set up.
    fn all(&self, list: &List) -> Result<Vec<Undone>, OneError> {
        let (mut done, mut writes) = (Vec::new(), Vec::new());
        // The default comes first: a crash in between leaves ONE with one that it knows.
        let (first, others): (Vec<&Backup>, Vec<&Backup>) =
            list.files.iter().partition(|kept| kept.name == CACHES);
        for kept in first.into_iter().chain(others) {
            let (undone, write) =
                if kept.name == CACHES { self.caches(kept, &list.set_up)? } else { self.put_back(kept)? };
            done.push(undone);
            writes.push(write);
        }
        writes.push(FileWrite::removal(self.store.join(LIST)));
        writes.extend(self.originals().into_iter().map(FileWrite::removal));
        files::commit(&[], &writes)?;
        // Folders that were made here and hold nothing.
        let _ = fs::remove_dir(&self.store);
        let _ = fs::remove_dir(self.folder);
        for folder in list.folders.iter().rev().filter(|folder| self.home.holds(folder)) {
            let _ = fs::remove_dir(folder);
        }
        Ok(done)
    }

    /// All originals, also those of a run that was killed.
    fn originals(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.store).into_iter().flatten().filter_map(Result::ok);
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("original."));
        named.map(|entry| entry.path()).collect()
    }

    /// How the list of databases is put back: as it was where nobody else has changed it since, and otherwise without
    /// these proxies only.
    fn caches(&self, kept: &Backup, set_up: &[String]) -> Result<(Undone, FileWrite), OneError> {
        let path = self.folder.join(CACHES);
        let Some(now) = files::read(&path)?.filter(|now| !kept.is_written(now)) else {
            return self.as_it_was(kept);
        };
        let mut caches = match files::parse(&path, Some(&now)) {
            Err(_) if self.force => return self.as_it_was(kept),
            caches => caches?,
        };
        let original_path = original(&self.store, CACHES);
        let before = files::parse(&original_path, files::read(&original_path)?.as_deref())?;
        let mut known = client_map(&path, &caches)?;
        for name in set_up {
            take_out(&mut known, name, &before);
        }
        let is_default = |name: &str| set_up.iter().any(|own| own == name);
        if caches.get("DEFAULT").and_then(Value::as_str).is_some_and(is_default) {
            match before.get("DEFAULT") {
                Some(default) => caches.insert("DEFAULT".to_owned(), default.clone()),
                None => caches.shift_remove("DEFAULT"),
            };
        }
        if caches.contains_key("CLIENT_MAP") {
            let is_ours = known.is_empty() && !before.contains_key("CLIENT_MAP");
            caches.insert("CLIENT_MAP".to_owned(), known.into());
            if is_ours {
                caches.shift_remove("CLIENT_MAP");
            }
        }
        if caches == before {
            return self.as_it_was(kept);
        }
        let mode = files::mode(&path)?.unwrap_or(0o600);
        Ok((Undone::Changed(path.clone()), FileWrite::new(path, files::render(&caches), mode)))
    }

    /// One proxy of several: its parameters are put back, and the default is the one that was set up before it.
    fn one(&self, mut list: List, one: &str, default: &str) -> Result<Vec<Undone>, OneError> {
        let path = self.folder.join(CACHES);
        let before = files::read(&path)?;
        let mut caches = files::parse(&path, before.as_deref())?;
        let mut known = client_map(&path, &caches)?;
        let original_path = original(&self.store, CACHES);
        let before_all = files::parse(&original_path, files::read(&original_path)?.as_deref())?;
        take_out(&mut known, one, &before_all);
        if caches.contains_key("CLIENT_MAP") {
            caches.insert("CLIENT_MAP".to_owned(), known.into());
        }
        if caches.get("DEFAULT").and_then(Value::as_str) == Some(one) {
            caches.insert("DEFAULT".to_owned(), default.into());
        }
        let after = files::render(&caches);
        let (mut done, mut writes) = (Vec::new(), Vec::new());
        let file = format!(".{one}");
        if before.as_ref() != Some(&after) {
            if let (Some(bytes), Some(kept)) =
                (&before, list.files.iter_mut().find(|kept| kept.name == CACHES))
                && kept.is_written(bytes)
            {
                (kept.blake2s, kept.written) = (Some(files::digest(&after)), None);
            }
            writes.push(FileWrite::new(path.clone(), after, files::mode(&path)?.unwrap_or(0o600)));
            done.push(Undone::Changed(path));
        }
        let own = list.files.iter().position(|kept| kept.name == file).map(|place| list.files.remove(place));
        if let Some(kept) = &own {
            let (undone, write) = self.put_back(kept)?;
            done.push(undone);
            writes.push(write);
        }
        list.set_up.retain(|name| name != one);
        writes.push(list.write(&self.store));
        writes.extend(own.map(|kept| FileWrite::removal(original(&self.store, &kept.name))));
        files::commit(&[], &writes)?;
        Ok(done)
    }

    /// How a file is put back: what that is, and what is to be written.
    fn put_back(&self, kept: &Backup) -> Result<(Undone, FileWrite), OneError> {
        let back = self.as_it_was(kept)?;
        self.unless_changed(&back.1.path, kept, back.1.content.as_deref())?;
        Ok(back)
    }

    /// The same, whatever stands there now.
    fn as_it_was(&self, kept: &Backup) -> Result<(Undone, FileWrite), OneError> {
        let path = self.folder.join(&kept.name);
        let Some(mode) = kept.mode else {
            return Ok((Undone::Removed(path.clone()), FileWrite::removal(path)));
        };
        let Some(bytes) = files::read(&original(&self.store, &kept.name))? else {
            let why = format!("the original of {} is gone", kept.name);
            return Err(OneError::Strange(self.store.join(LIST), why));
        };
        Ok((Undone::Restored(path.clone()), FileWrite::new(path, bytes, mode)))
    }

    /// Fails where somebody else has changed a file since.
    fn unless_changed(&self, path: &Path, kept: &Backup, original: Option<&[u8]>) -> Result<(), OneError> {
        let now = files::read(path)?;
        // ONE writes its token into the file that was made for the proxy: that one goes in any case.
        let made_for_proxy = kept.mode.is_none();
        let is_ours = |bytes: &[u8]| {
            kept.is_written(bytes) || kept.parameters.is_some() && kept.parameters == lasting(path, bytes)
        };
        let ours = now.as_deref() == original || now.as_deref().is_some_and(is_ours);
        if self.force || made_for_proxy || ours { Ok(()) } else { Err(OneError::Changed(path.to_owned())) }
    }
}

/// Takes a proxy out of the databases that ONE knows: what stood there before is back.
fn take_out(known: &mut Map<String, Value>, name: &str, before: &Map<String, Value>) {
    match before.get("CLIENT_MAP").and_then(|known| known.get(name)) {
        Some(folder) => known.insert(name.to_owned(), folder.clone()),
        None => known.shift_remove(name),
    };
}

impl Backup {
    /// Whether this is what was written.
    fn is_written(&self, bytes: &[u8]) -> bool {
        match (&self.blake2s, &self.written) {
            (Some(hash), _) => *hash == files::digest(bytes),
            (None, Some(hash)) => *hash == blake3::hash(bytes).to_hex().as_str(),
            (None, None) => false,
        }
    }
}

impl List {
    fn write(&self, store: &Path) -> FileWrite {
        FileWrite::new(store.join(LIST), files::render(self), 0o600)
    }
}

fn read(store: &Path) -> Result<Option<List>, OneError> {
    let path = store.join(LIST);
    let Some(bytes) = files::read(&path)? else { return Ok(None) };
    let mut list: List =
        serde_json::from_slice(&bytes).map_err(|error| OneError::Strange(path.clone(), error.to_string()))?;
    // Names come from a file: they must not lead elsewhere.
    if let Some(kept) = list.files.iter().find(|kept| Path::new(&kept.name).components().count() != 1) {
        return Err(OneError::Strange(path, format!("{:?} is no file's name", kept.name)));
    }
    if list.set_up.is_empty() {
        // Earlier versions have not noted it.
        let names = list.files.iter().filter(|kept| kept.name != CACHES);
        list.set_up = names.map(|kept| kept.name.trim_start_matches('.').to_owned()).collect();
    }
    Ok(Some(list))
}

fn original(store: &Path, name: &str) -> PathBuf {
    store.join(format!("original{name}"))
}
