//! What must change for a proxy to be ONE's default database.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{OneError, files, key, undo};

/// The file that maps databases to folders.
pub(super) const CACHES: &str = ".caches";
/// ONE's own defaults, for whoever has never used it.
const DATA_SERVER: &str = "https://ibl.flatironinstitute.org/public";
/// Parameters that go over from the present database: where data files are, and who one is. Not Alyx's password and
/// tokens: they are asked for, and given, anew.
const KEPT: [&str; 4] = ["ALYX_LOGIN", "HTTP_DATA_SERVER", "HTTP_DATA_SERVER_LOGIN", "HTTP_DATA_SERVER_PWD"];

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The proxy's URL.
    pub url: String,
    /// The Alyx behind it, if that is known: its folder is taken over, where ONE has one.
    pub upstream: Option<String>,
    /// The database whose folder and parameters are taken over, if the user named one.
    pub like: Option<String>,
    /// The user's name in Alyx, if given.
    pub username: Option<String>,
    /// Where ONE keeps data files of a database that it does not know yet.
    pub downloads: PathBuf,
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
pub struct Plan {
    pub(super) folder: PathBuf,
    /// The files that change.
    pub changes: Vec<Change>,
    /// The folder for data files.
    pub cache_dir: PathBuf,
    /// Whose folder and parameters are taken over; none where ONE knows no database yet.
    pub like: Option<String>,
    /// The default database until now.
    pub default: Option<String>,
}

/// Says what must change in ONE's folder (`~/.one`).
pub fn plan(folder: &Path, wanted: &Wanted) -> Result<Plan, OneError> {
    let caches_path = folder.join(CACHES);
    let caches_bytes = files::read(&caches_path)?;
    let mut caches =
        caches_bytes.as_deref().map_or_else(|| Ok(Map::new()), |bytes| files::parse(&caches_path, bytes))?;
    let map = match caches.get("CLIENT_MAP") {
        Some(Value::Object(map)) => map.clone(),
        None => Map::new(),
        Some(_) => return Err(OneError::Strange(caches_path, "CLIENT_MAP is no map".to_owned())),
    };
    let default = caches.get("DEFAULT").and_then(Value::as_str).map(str::to_owned);
    let own = key(&wanted.url);
    let like = like(&map, default.as_deref(), &own, wanted)?;

    let folder_of = |name: &str| map.get(name).and_then(Value::as_str).map(PathBuf::from);
    let unknown = || wanted.downloads.join(wanted.upstream.as_deref().map_or_else(|| own.clone(), key));
    let cache_dir = like.as_deref().and_then(folder_of).unwrap_or_else(unknown);

    let path = folder.join(format!(".{own}"));
    let before = files::read(&path)?;
    let mut parameters =
        before.as_deref().map_or_else(|| Ok(Map::new()), |bytes| files::parse(&path, bytes))?;
    let model = match &like {
        Some(like) if *like != own => {
            let path = folder.join(format!(".{like}"));
            files::read(&path)?.map_or_else(|| Ok(Map::new()), |bytes| files::parse(&path, &bytes))?
        }
        _ => parameters.clone(),
    };
    parameters.insert("ALYX_URL".to_owned(), wanted.url.as_str().into());
    for name in KEPT {
        let otherwise = match name {
            "ALYX_LOGIN" => json!(""),
            "HTTP_DATA_SERVER" => json!(DATA_SERVER),
            _ => Value::Null,
        };
        let value = model.get(name).cloned().unwrap_or(otherwise);
        parameters.insert(name.to_owned(), value);
    }
    if let Some(username) = &wanted.username {
        parameters.insert("ALYX_LOGIN".to_owned(), username.as_str().into());
    }

    let mut map = map;
    map.insert(own.clone(), cache_dir.display().to_string().into());
    caches.insert("CLIENT_MAP".to_owned(), map.into());
    caches.insert("DEFAULT".to_owned(), own.into());
    let changes = [
        Change { path, before, after: files::render(&parameters) },
        Change { path: caches_path, before: caches_bytes, after: files::render(&caches) },
    ];
    let changes =
        changes.into_iter().filter(|change| change.before.as_ref() != Some(&change.after)).collect();
    Ok(Plan { folder: folder.to_owned(), changes, cache_dir, like, default })
}

/// Whose folder and parameters are taken over: the named one's, those of the Alyx behind the proxy, the default's.
fn like(
    map: &Map<String, Value>,
    default: Option<&str>,
    own: &str,
    wanted: &Wanted,
) -> Result<Option<String>, OneError> {
    if let Some(named) = &wanted.like {
        let name = key(named);
        if !map.contains_key(&name) {
            let known: Vec<&str> = map.keys().map(String::as_str).collect();
            return Err(OneError::Unknown(named.clone(), known.join(", ")));
        }
        return Ok(Some(name));
    }
    let upstream = wanted.upstream.as_deref().map(key);
    let known = |name: &str| map.contains_key(name).then(|| name.to_owned());
    // A second run goes on with what the first has chosen.
    Ok(known(own).or_else(|| upstream.as_deref().and_then(known)).or_else(|| default.and_then(known)))
}

impl Plan {
    /// Does it. What was there is kept first, so that [`super::undo`] can put it back.
    pub fn apply(&self) -> Result<(), OneError> {
        std::fs::create_dir_all(&self.folder).map_err(OneError::io(&self.folder))?;
        std::fs::create_dir_all(&self.cache_dir).map_err(OneError::io(&self.cache_dir))?;
        undo::keep(&self.folder, &self.changes)?;
        // The default is changed last: a crash in between leaves ONE as it was.
        self.changes.iter().try_for_each(|change| files::write(&change.path, &change.after))
    }
}
