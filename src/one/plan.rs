//! What must change for a proxy to be ONE's default database.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{
    DATA, Home, OneError, data_view,
    files::{self, FileWrite, Folder},
    key, undo,
};

/// The file that maps databases to folders.
pub(super) const CACHES: &str = ".caches";
/// ONE's own defaults, for whoever has never used it.
const DATA_SERVER: &str = "https://ibl.flatironinstitute.org/public";
/// Parameters that go over from the present database: where data files are, and who one is. Not Alyx's password and
/// tokens: they are asked for, and given, anew.
const KEPT: [&str; 4] = ["ALYX_LOGIN", "HTTP_DATA_SERVER", "HTTP_DATA_SERVER_LOGIN", "HTTP_DATA_SERVER_PWD"];
/// What those are told who have never told ONE who they are.
const NO_NAME: &str = "ONE has no user name of yours yet. ONE 3 asks for it; for ONE 2 run this again with --username \
                       and your name in Alyx.";

/// What is wanted.
#[derive(Debug, Clone)]
pub struct SetupRequest {
    /// The proxy's URL.
    pub url: String,
    /// The Alyx behind it, if the proxy was asked: its folder is taken over, where ONE has one.
    pub upstream: Option<String>,
    /// The database whose folder and parameters are taken over, if the user named one.
    pub like: Option<String>,
    /// The user's name in Alyx, if given.
    pub username: Option<String>,
    /// The data server behind it, if data files are to come through the proxy, too.
    pub data: Option<String>,
    /// Where ONE keeps data files of a database that it does not know yet.
    pub downloads: PathBuf,
}

impl SetupRequest {
    /// The URL that ONE asks.
    pub fn one_url(&self) -> String {
        if self.data.is_some() { data_view(&self.url) } else { self.url.clone() }
    }
}

/// A file that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub path: PathBuf,
    /// What stands there now.
    pub before: Option<Vec<u8>>,
    /// What is to stand there.
    pub after: Vec<u8>,
}

/// What is to be done.
#[derive(Debug)]
pub struct SetupPlan<'a> {
    pub(super) home: &'a Home,
    /// ONE's name for the proxy.
    pub(super) own: String,
    /// The files that change.
    pub changes: Vec<Change>,
    /// The folder for data files.
    pub cache_dir: String,
    /// Whose folder and parameters are taken over; none where that is a database that ONE does not know yet.
    pub like: Option<String>,
    /// The default database until now.
    pub default: Option<String>,
    /// What the user should know besides.
    pub notes: Vec<String>,
}

/// Says what must change in ONE's folder (`~/.one`).
pub fn plan<'a>(home: &'a Home, wanted: &SetupRequest) -> Result<SetupPlan<'a>, OneError> {
    let folder = home.folder.as_path();
    let caches_path = folder.join(CACHES);
    let caches_before = files::read(&caches_path)?;
    let mut caches = files::parse(&caches_path, caches_before.as_deref())?;
    let mut known = client_map(&caches_path, &caches)?;
    let default = caches.get("DEFAULT").and_then(Value::as_str).map(str::to_owned);
    let own = key(&wanted.one_url());
    let set_up = undo::set_up(&undo::store(folder))?;
    let like = taken_over(&known, &own, set_up.contains(&own), wanted)?;

    let folder_of = |name: &String| known.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let cache_dir = match like.as_ref().and_then(|name| Some((name, folder_of(name)?))) {
        Some((name, cache_dir)) if !Path::new(cache_dir).is_absolute() => {
            return Err(OneError::Relative(caches_path, name.clone(), cache_dir.to_owned()));
        }
        Some((_, cache_dir)) => cache_dir.to_owned(),
        None => text(&wanted.downloads.join(wanted.upstream.as_deref().map_or_else(|| own.clone(), key)))?,
    };
    let path = folder.join(format!(".{own}"));
    let before = files::read(&path)?;
    let parameters = parameters(folder, (&path, before.as_deref()), &own, like.as_deref(), wanted)?;
    let mut notes = folder_notes(wanted, &known, (&own, like.as_deref()), &cache_dir);
    if parameters.get("ALYX_LOGIN").and_then(Value::as_str).is_none_or(str::is_empty) {
        notes.push(NO_NAME.to_owned());
    }
    known.insert(own.clone(), cache_dir.as_str().into());
    caches.insert("CLIENT_MAP".to_owned(), known.into());
    caches.insert("DEFAULT".to_owned(), own.as_str().into());
    let changes = [
        Change { path, before, after: files::render(&parameters) },
        Change { path: caches_path, before: caches_before, after: files::render(&caches) },
    ];
    let changes =
        changes.into_iter().filter(|change| change.before.as_ref() != Some(&change.after)).collect();
    Ok(SetupPlan { home, own, changes, cache_dir, like, default, notes })
}

/// The databases that ONE knows, with their folders.
pub(super) fn client_map(path: &Path, caches: &Map<String, Value>) -> Result<Map<String, Value>, OneError> {
    match caches.get("CLIENT_MAP") {
        Some(Value::Object(map)) => Ok(map.clone()),
        None => Ok(Map::new()),
        Some(_) => Err(OneError::Strange(path.to_owned(), "CLIENT_MAP is no map".to_owned())),
    }
}

/// The proxy's parameters: what its file holds, and what is taken over.
fn parameters(
    folder: &Path,
    (path, before): (&Path, Option<&[u8]>),
    own: &str,
    like: Option<&str>,
    wanted: &SetupRequest,
) -> Result<Map<String, Value>, OneError> {
    let mut parameters = files::parse(path, before)?;
    let model = match like {
        Some(like) if like != own => {
            let path = folder.join(format!(".{like}"));
            files::parse(&path, files::read(&path)?.as_deref())?
        }
        _ => parameters.clone(),
    };
    parameters.insert("ALYX_URL".to_owned(), wanted.one_url().into());
    for name in KEPT {
        let otherwise = match name {
            "ALYX_LOGIN" => json!(""),
            "HTTP_DATA_SERVER" => json!(DATA_SERVER),
            _ => Value::Null,
        };
        let value = model.get(name).cloned().unwrap_or(otherwise);
        parameters.insert(name.to_owned(), value);
    }
    if let Some(origin) = &wanted.data {
        let server = parameters.get("HTTP_DATA_SERVER").and_then(Value::as_str).unwrap_or_default();
        let server = data_server(server, origin, &wanted.url);
        parameters.insert("HTTP_DATA_SERVER".to_owned(), server.into());
    }
    if let Some(username) = &wanted.username {
        parameters.insert("ALYX_LOGIN".to_owned(), username.as_str().into());
    }
    Ok(parameters)
}

/// What the data server that ONE has is through the proxy at this URL: what stands behind the host stays.
fn data_server(present: &str, origin: &str, url: &str) -> String {
    let here = format!("{url}{DATA}");
    let below = |base: &str| {
        let rest = present.strip_prefix(base)?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    };
    let rest = below(&here).or_else(|| below(origin)).unwrap_or_default();
    format!("{here}{}", rest.trim_end_matches('/'))
}

/// Whether a folder holds data files. What begins with a dot is ONE's own cache of answers.
fn holds_data(folder: &str) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    Path::new(folder).is_absolute()
        && entries.into_iter().any(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
}

/// The database whose folder and parameters are taken over: the named one, this proxy if it was set up before, the
/// Alyx behind it, this proxy as ONE itself has made it. No other one: its files and its user would be another Alyx's.
fn taken_over(
    known: &Map<String, Value>,
    own: &str,
    is_set_up: bool,
    wanted: &SetupRequest,
) -> Result<Option<String>, OneError> {
    if let Some(named) = &wanted.like {
        let name = key(named);
        if !known.contains_key(&name) {
            let known: Vec<&str> = known.keys().map(String::as_str).collect();
            return Err(OneError::Unknown(named.clone(), known.join(", ")));
        }
        return Ok(Some(name));
    }
    let known = |name: &str| known.contains_key(name).then(|| name.to_owned());
    let own = known(own);
    if is_set_up && own.is_some() {
        return Ok(own);
    }
    let plain = known(&key(&wanted.url)).filter(|_| wanted.data.is_some());
    Ok(wanted.upstream.as_deref().and_then(|upstream| known(&key(upstream))).or(plain).or(own))
}

/// What the user should know of the folder for data files that is taken, and besides.
fn folder_notes(
    wanted: &SetupRequest,
    known: &Map<String, Value>,
    (own, like): (&str, Option<&str>),
    cache_dir: &str,
) -> Vec<String> {
    let others: Vec<&str> = known.keys().map(String::as_str).filter(|name| *name != own).collect();
    // Two names of one proxy have one folder.
    let is_shared = like.is_some() || others.iter().any(|name| known[*name] == cache_dir);
    let mut notes = notes(wanted, if is_shared { &[] } else { &others });
    let aside = known.get(own).and_then(Value::as_str).filter(|aside| !aside.is_empty());
    if let Some(aside) = aside.filter(|aside| *aside != cache_dir && holds_data(aside)) {
        let aside = format!(
            "Until now ONE had a folder for this proxy, {aside}, with files in it. They stay there, and ONE will not \
             find them: move them into {cache_dir} if they are wanted."
        );
        notes.insert(0, aside);
    }
    notes
}

/// What the user should know besides. `others` are the databases that could have been taken over, and were not.
fn notes(wanted: &SetupRequest, others: &[&str]) -> Vec<String> {
    let (mut notes, names, url) = (Vec::new(), others.join(", "), &wanted.url);
    if !others.is_empty() {
        notes.push(match &wanted.upstream {
            Some(upstream) => format!(
                "None of the databases that ONE knows ({names}) is {upstream}, the Alyx behind this proxy: its data \
                 files have a folder of their own. If it is one of these under another name, run this again with \
                 --like and that name."
            ),
            None => format!(
                "The proxy was not asked which Alyx is behind it (--unchecked): its data files have a folder of \
                 their own. If ONE knows that Alyx ({names}), run this again with --like and its name."
            ),
        });
    }
    if url.starts_with("https://") {
        notes.push(format!(
            "Of certificates ONE trusts those of public authorities. For a lab's own set REQUESTS_CA_BUNDLE: \
             {url}/-/docs/one#a-labs-own-certificates"
        ));
    }
    notes
}

/// A path as it can stand in a parameter file.
fn text(path: &Path) -> Result<String, OneError> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| OneError::Strange(path.to_owned(), "its name is no UTF-8".to_owned()))
}

impl SetupPlan<'_> {
    /// Does it, all or nothing. What was there is kept first, so that [`super::undo`] can put it back.
    pub fn apply(&self) -> Result<(), OneError> {
        if self.changes.is_empty() {
            return Ok(());
        }
        let (cache_dir, folder) = (Path::new(&self.cache_dir), self.home.folder.as_path());
        let absent = files::absent(cache_dir);
        if !absent.is_empty() && !self.home.holds(cache_dir) {
            return Err(OneError::Outside(cache_dir.to_owned()));
        }
        self.home.sweep();
        let store = undo::store(folder);
        let mut writes = undo::keep(self, &store, &absent)?;
        for Change { path, after, .. } in &self.changes {
            // The default comes last: a crash in between leaves ONE as it was.
            writes.push(FileWrite::new(path.clone(), after.clone(), files::mode(path)?.unwrap_or(0o600)));
        }
        let folders = [
            Folder { path: folder, mode: None },
            Folder { path: cache_dir, mode: None },
            Folder { path: &store, mode: Some(0o700) },
        ];
        files::commit(&folders, &writes)
    }
}
