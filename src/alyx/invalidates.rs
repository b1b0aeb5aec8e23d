//! What a write changes besides the record it names (ALYX.md 7).
//!
//! Answers remembered from before a write are marked stale wherever the write may have changed
//! them, so that whoever wrote reads their own write. The table is generous: marking too much costs
//! a request to Alyx, marking too little would be a lie. What Alyx changes on its own account
//! (scripts on its server) can't be seen from here and is the business of freshness.

use http::Method;

use super::{Route, Service, query_string::Pairs, reads::Reads};

/// A set of answers that one mark makes stale.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every answer of this Alyx.
    Everything,
    /// The same where nothing was written, but what is here may be out of date in a way that nobody can tell: it counts while
    /// Alyx is away.
    Doubted,
    /// All lists of an endpoint, whatever they filter.
    Lists(&'static str),
    /// All details of an endpoint.
    Details(&'static str),
    /// One record, by endpoint and key.
    Record(&'static str, String),
    /// Whatever reads the rows of an endpoint's table without showing them.
    Table(&'static str),
    /// A path that is not of records.
    Service(Service),
    /// Answers that may depend on any table.
    AnyTable,
    /// What the holder of a token reads, which has written; by the token's keyed hash.
    Writer(String),
    /// What Alyx refuses to the holder of a token: its keyed hash, and the endpoint or record.
    Denied(String, String),
    /// What Alyx has given that holder after all.
    Granted(String, String),
}

/// The records that show something of those written, by the written endpoint.
struct Invalidates {
    written: &'static str,
    /// Endpoints whose lists and details may change.
    shown_by: &'static [&'static str],
    /// Endpoints whose lists and details go or change when a record is deleted (cascades).
    deleted_with: &'static [&'static str],
}

/// Everything that displays a subject's nickname or is filtered by its fields.
const SUBJECT_SHOWN_BY: &[&str] = &[
    "sessions",
    "insertions",
    "chronic-insertions",
    "trajectories",
    "channels",
    "datasets",
    "fields-of-view",
    "surgeries",
    "weighings",
    "water-administrations",
    "water-restriction",
    "water-restricted-subjects",
    "users",
];

const BELOW_SESSION: &[&str] = &[
    "datasets",
    "files",
    "insertions",
    "chronic-insertions",
    "trajectories",
    "channels",
    "fields-of-view",
    "fov-location",
    "imaging-stack",
    "tasks",
    "water-administrations",
    "downloads",
    "data-notices",
];

/// Records that show a dataset, or are filtered by its name, type, tags or files.
const DATASET_SHOWN_BY: &[&str] = &[
    "files",
    "sessions",
    "insertions",
    "fields-of-view",
    "imaging-stack",
    "tags",
    "revisions",
    "downloads",
    "data-notices",
];

const ROWS: &[Invalidates] = &[
    Invalidates {
        written: "sessions",
        shown_by: &[
            "insertions",
            "chronic-insertions",
            "trajectories",
            "channels",
            "datasets",
            "files",
            "subjects",
            "tasks",
            "fields-of-view",
            "imaging-stack",
        ],
        deleted_with: BELOW_SESSION,
    },
    Invalidates {
        written: "insertions",
        shown_by: &["sessions", "chronic-insertions", "datasets", "trajectories", "channels"],
        deleted_with: &["fields-of-view"],
    },
    Invalidates {
        written: "chronic-insertions",
        shown_by: &["insertions", "trajectories", "sessions"],
        deleted_with: &["channels"],
    },
    Invalidates {
        written: "trajectories",
        shown_by: &["channels", "sessions", "insertions", "chronic-insertions"],
        deleted_with: &[],
    },
    Invalidates {
        written: "channels",
        shown_by: &["trajectories", "sessions", "insertions", "chronic-insertions"],
        deleted_with: &[],
    },
    Invalidates {
        written: "brain-regions",
        shown_by: &[
            "channels",
            "fov-location",
            "fields-of-view",
            "imaging-stack",
            "sessions",
            "insertions",
            "chronic-insertions",
        ],
        deleted_with: &[],
    },
    Invalidates {
        written: "fields-of-view",
        shown_by: &["sessions", "imaging-stack", "fov-location"],
        deleted_with: &[],
    },
    Invalidates {
        written: "fov-location",
        shown_by: &["fields-of-view", "sessions", "imaging-stack"],
        deleted_with: &[],
    },
    Invalidates { written: "imaging-stack", shown_by: &["fields-of-view", "sessions"], deleted_with: &[] },
    Invalidates { written: "datasets", shown_by: DATASET_SHOWN_BY, deleted_with: &[] },
    Invalidates { written: "files", shown_by: &["datasets", "sessions", "insertions"], deleted_with: &[] },
    Invalidates { written: "notes", shown_by: &["sessions"], deleted_with: &[] },
    Invalidates { written: "tasks", shown_by: &[], deleted_with: &[] },
    Invalidates {
        written: "weighings",
        shown_by: &["subjects", "water-restricted-subjects"],
        deleted_with: &[],
    },
    Invalidates {
        written: "water-administrations",
        shown_by: &["subjects", "water-restricted-subjects", "sessions"],
        deleted_with: &[],
    },
    Invalidates {
        written: "surgeries",
        shown_by: &["subjects", "water-restricted-subjects"],
        deleted_with: &[],
    },
    Invalidates { written: "subjects", shown_by: SUBJECT_SHOWN_BY, deleted_with: BELOW_SESSION },
    Invalidates {
        written: "data-repository",
        shown_by: &["datasets", "files", "sessions", "insertions", "labs", "tasks"],
        deleted_with: &[],
    },
    Invalidates { written: "data-notices", shown_by: &[], deleted_with: &[] },
    Invalidates { written: "downloads", shown_by: &[], deleted_with: &[] },
];

/// The scopes that a write to this route may have changed; empty for routes that no write changes.
///
/// Reference tables (labs, tags, users, …) are written rarely and their names are displayed almost
/// everywhere, so a write to one of them, or to anything that is not REST (the admin pages), marks
/// everything.
pub fn changed_by(method: &Method, route: &Route) -> Vec<Scope> {
    let mut scopes = match route {
        Route::List(endpoint) => changed_record(method, endpoint.name, None),
        Route::Detail(endpoint, key) => changed_record(method, endpoint.name, Some(key)),
        Route::Service(service) => changed_by_service(*service),
        Route::Other => vec![Scope::Everything],
    };
    if !scopes.is_empty() {
        scopes.push(Scope::AnyTable);
    }
    scopes
}

fn changed_record(method: &Method, written: &'static str, key: Option<&str>) -> Vec<Scope> {
    let Some(row) = ROWS.iter().find(|row| row.written == written) else {
        return vec![Scope::Everything];
    };
    let mut scopes = vec![Scope::Lists(written), Scope::Table(written)];
    scopes.extend(saved_with(written).iter().copied().map(Scope::Table));
    scopes.extend(key.map(|key| Scope::Record(written, key.to_owned())));
    whole(&mut scopes, row.shown_by);
    if method == Method::DELETE {
        whole(&mut scopes, row.deleted_with);
        // What names it goes with it, or names it no longer.
        scopes.extend(row.deleted_with.iter().chain(row.shown_by).copied().map(Scope::Table));
    }
    if written == "subjects" || row.shown_by.contains(&"subjects") {
        scopes.push(Scope::Service(Service::WaterRequirement));
    }
    if siblings_change(written) {
        scopes.push(Scope::Details(written));
    }
    scopes
}

/// Where a write to one record changes others of its own kind: a new default dataset or location
/// takes the mark from the old one; a trajectory's or session's parent shows it.
fn siblings_change(written: &str) -> bool {
    matches!(written, "datasets" | "files" | "fov-location" | "subjects" | "tasks" | "sessions")
}

/// The tables of which Alyx writes rows, too, when one of these is written: it saves the record above, makes those that belong
/// to it, or ends what a dead subject needs no longer (ALYX.md 6.1, 6.2).
fn saved_with(written: &str) -> &'static [&'static str] {
    match written {
        "subjects" => &["water-restriction"],
        "files" => &["datasets"],
        "channels" => &["trajectories"],
        "datasets" => &["files", "insertions", "fields-of-view", "revisions"],
        "fields-of-view" => &["fov-location", "imaging-stack"],
        "fov-location" | "imaging-stack" => &["fields-of-view"],
        _ => &[],
    }
}

fn whole(scopes: &mut Vec<Scope>, endpoints: &[&'static str]) {
    for endpoint in endpoints {
        scopes.push(Scope::Lists(endpoint));
        scopes.push(Scope::Details(endpoint));
    }
}

fn changed_by_service(service: Service) -> Vec<Scope> {
    let mut scopes = Vec::new();
    match service {
        // Both may add the acting user to sessions and give them a parent (ALYX.md 5).
        Service::RegisterFile => {
            whole(&mut scopes, &["datasets"]);
            whole(&mut scopes, DATASET_SHOWN_BY);
        }
        Service::CheckProtected => whole(&mut scopes, &["sessions"]),
        Service::SyncFileStatus => whole(&mut scopes, &["files", "datasets", "sessions", "insertions"]),
        Service::NewDownload => whole(&mut scopes, &["downloads"]),
        Service::AuthToken
        | Service::Me
        | Service::Schema
        | Service::Docs
        | Service::CacheZip
        | Service::CacheInfo
        | Service::WaterRequirement => {}
    }
    // Which of these tables it writes depends on what it finds.
    for number in 0..scopes.len() {
        if let Scope::Lists(endpoint) = scopes[number] {
            scopes.push(Scope::Table(endpoint));
        }
    }
    if service == Service::Me {
        scopes.push(Scope::Service(Service::Me));
        whole(&mut scopes, &["users"]);
    }
    scopes
}

/// Whether a request may change something: every unsafe method, and `GET /check-protected`, which
/// adds its user to sessions (ALYX.md 5).
pub fn is_write(method: &Method, route: &Route) -> bool {
    !method.is_safe() || matches!(route, Route::Service(Service::CheckProtected))
}

/// The scopes that a stored answer belongs to, besides [`Scope::Doubted`], which all do: those of what it shows, and of all
/// tables that its question reads.
pub fn scopes_of(route: &Route, pairs: &Pairs) -> Vec<Scope> {
    let mut scopes = vec![Scope::Everything];
    match route {
        Route::List(endpoint) => {
            let reads = Reads::of(endpoint, pairs);
            scopes.push(Scope::Lists(endpoint.name));
            scopes.extend(reads.tables.into_iter().filter(|table| *table != endpoint.name).map(Scope::Table));
            scopes.extend(reads.any.then_some(Scope::AnyTable));
        }
        Route::Detail(endpoint, key) => {
            scopes.push(Scope::Details(endpoint.name));
            scopes.push(Scope::Record(endpoint.name, key.clone()));
        }
        Route::Service(service) => scopes.push(Scope::Service(*service)),
        Route::Other => {}
    }
    scopes
}

/// What the names of scopes begin with that are about the holder of a token. They are nobody else's business: no snapshot has
/// them.
const OF_A_TOKEN: [&str; 3] = ["writer ", "denied ", "granted "];

/// Whether a scope of this name is about the holder of a token.
pub fn is_of_a_token(name: &str) -> bool {
    OF_A_TOKEN.iter().any(|begin| name.starts_with(begin))
}

/// Whether a scope of this name is a [`Scope::Denied`].
pub fn is_denied(name: &str) -> bool {
    name.starts_with(OF_A_TOKEN[1])
}

/// The name of [`Scope::Doubted`].
pub const DOUBTED: &str = "doubted";

impl Scope {
    /// A text for this scope that is its own, to keep it on disk.
    pub fn name(&self) -> String {
        match self {
            Self::Everything => "everything".to_owned(),
            Self::Doubted => DOUBTED.to_owned(),
            Self::Lists(endpoint) => format!("lists {endpoint}"),
            Self::Details(endpoint) => format!("details {endpoint}"),
            Self::Record(endpoint, key) => format!("record {endpoint} {key}"),
            Self::Table(endpoint) => format!("table {endpoint}"),
            Self::Service(service) => format!("service {service:?}"),
            Self::AnyTable => "any table".to_owned(),
            Self::Writer(token) => format!("{}{token}", OF_A_TOKEN[0]),
            Self::Denied(token, what) => format!("{}{token} {what}", OF_A_TOKEN[1]),
            Self::Granted(token, what) => format!("{}{token} {what}", OF_A_TOKEN[2]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::route::classify;
    use super::*;

    fn stale_after(method: &Method, path: &[&str], read: &[&str]) -> bool {
        let changed = changed_by(method, &classify(path));
        scopes_of(&classify(read), &Pairs::new()).iter().any(|scope| changed.contains(scope))
    }

    #[test]
    fn the_record_and_its_lists_go_stale() {
        let id = "023ace13-3a84-44c0-a277-4c4253cb37d1";
        assert!(stale_after(&Method::PATCH, &["sessions", id], &["sessions", id]));
        assert!(stale_after(&Method::PATCH, &["sessions", id], &["sessions"]));
        assert!(!stale_after(&Method::PATCH, &["sessions", id], &["labs"]));
    }

    #[test]
    fn whatever_a_subject_shows_may_change_what_it_is_to_be_given() {
        for written in ["water-administrations", "weighings", "surgeries", "subjects"] {
            assert!(stale_after(&Method::POST, &[written], &["water-requirement", "KS004"]), "{written}");
        }
        assert!(!stale_after(&Method::POST, &["notes"], &["water-requirement", "KS004"]));
    }

    #[test]
    fn reference_tables_and_admin_pages_touch_everything() {
        assert!(stale_after(&Method::PATCH, &["labs", "cortexlab"], &["sessions"]));
        assert!(stale_after(&Method::POST, &["admin", "misc", "lab", "add", ""], &["sessions"]));
    }
}
