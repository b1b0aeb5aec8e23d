//! The house stays as docs/dev/ARCHITECTURE.md draws it: rooms use only rooms of lower floors, a type's name means one
//! thing, files and functions stay small, and what a comment cites is there.
//!
//! What doesn't hold yet stands in `exceptions.toml`. Each list there may only shrink: what is no longer needed fails too.
//! `UPDATE_ARCHITECTURE=1 cargo test --test it architecture::` strikes what is no longer needed; it adds nothing.

mod source;
mod threats;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{LazyLock, Mutex, PoisonError},
};

use source::Source;

/// The rooms of `src` from top to bottom. A room may use rooms of the floors below its own and none of its own floor.
const FLOORS: &[&[&str]] = &[
    &["main", "cli"],
    &["app"],
    &["admin", "rfc9111"],
    &["proxy"],
    &["docs", "files", "snapshot", "one", "miniature"],
    &["server"],
    &["mirror", "cache", "auth", "telemetry"],
    &["log"],
    &["upstream"],
    &["cluster"],
    &["storage"],
    &["sqlite", "store"],
    &["http"],
    &["settings"],
    &["alyx"],
    &["clock", "single_flight", "data_dir", "progress", "spelling"],
];

/// Lines of a file.
const MAX_FILE: usize = 400;
/// Lines of a function, from `fn` to its closing brace.
const MAX_FUNCTION: usize = 60;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn floor(room: &str) -> usize {
    let floor = FLOORS.iter().position(|floor| floor.contains(&room));
    floor.unwrap_or_else(|| {
        panic!("src/{room} stands on no floor: add it to FLOORS and to docs/dev/ARCHITECTURE.md")
    })
}

/// Holds what was found (name → where) against a list of `exceptions.toml` (name → reason).
fn hold(list: &str, found: &BTreeMap<String, String>, advice: &str) {
    // The tests of the other lists run at the same time, and strike in the same file.
    static FILE: Mutex<()> = Mutex::new(());
    let _file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = root().join("tests/it/architecture/exceptions.toml");
    let text = fs::read_to_string(&path).unwrap();
    let mut file: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(&text).unwrap();
    let listed = file.remove(list).unwrap_or_default();
    let new: Vec<_> = found.iter().filter(|(name, _)| !listed.contains_key(*name)).collect();
    assert!(new.is_empty(), "{advice}. New: {new:#?}");
    let unneeded: Vec<_> = listed.keys().filter(|name| !found.contains_key(*name)).collect();
    if !unneeded.is_empty() && std::env::var_os("UPDATE_ARCHITECTURE").is_some() {
        let kept = strike(&text, list, &unneeded);
        fs::write(&path, kept).unwrap();
        return;
    }
    assert!(
        unneeded.is_empty(),
        "no longer needed in [{list}] of exceptions.toml, strike them: {unneeded:#?}"
    );
    let unexplained: Vec<_> = listed.iter().filter(|(_, reason)| reason.is_empty()).collect();
    assert!(unexplained.is_empty(), "without a reason in [{list}] of exceptions.toml: {unexplained:#?}");
}

/// The text without the lines of one list that begin with these names.
fn strike(text: &str, list: &str, names: &[&String]) -> String {
    let mut section = String::new();
    let mut kept = String::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
        }
        let key = line.split('=').next().unwrap_or_default().trim().trim_matches('"');
        if section != list || !names.iter().any(|name| *name == key) {
            kept += line;
            kept += "\n";
        }
    }
    kept
}

fn sources() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| source::all(&root().join("src")));
    &SOURCES
}

/// From a room to another, with the first place that says so.
fn arrows() -> BTreeMap<(String, String), String> {
    let mut arrows = BTreeMap::new();
    for file in sources() {
        for path in &file.paths {
            if path.room != file.room && path.room != "crate" {
                let place = format!("{}:{}", file.name, path.line);
                arrows.entry((file.room.clone(), path.room.clone())).or_insert(place);
            }
        }
    }
    arrows
}

#[test]
fn a_room_uses_only_rooms_of_the_floors_below() {
    let upward: BTreeMap<String, String> = arrows()
        .into_iter()
        .filter(|((from, to), _)| floor(from) >= floor(to))
        .map(|((from, to), place)| (format!("{from} -> {to}"), place))
        .collect();
    hold(
        "arrows",
        &upward,
        "A room uses a room of its own floor or above: move what both need to a lower one",
    );
}

#[test]
fn no_rooms_stand_in_a_circle() {
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in arrows().into_keys() {
        below.entry(from).or_default().insert(to);
    }
    let reach = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut next = vec![from.clone()];
        while let Some(room) = next.pop() {
            for other in below.get(&room).into_iter().flatten() {
                if seen.insert(other.clone()) {
                    next.push(other.clone());
                }
            }
        }
        seen
    };
    let circles: BTreeMap<String, String> = below
        .keys()
        .filter(|room| reach(room).contains(*room))
        .map(|room| {
            (
                room.clone(),
                reach(room)
                    .into_iter()
                    .filter(|other| reach(other).contains(room))
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        })
        .collect();
    hold("circles", &circles, "Rooms use one another in a circle");
}

#[test]
fn a_name_of_a_type_means_one_thing() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in sources() {
        for (name, line) in &file.types {
            places.entry(name.clone()).or_default().push(format!("{}:{line}", file.name));
        }
    }
    let shared: BTreeMap<String, String> = places
        .into_iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, places)| (name, places.join(", ")))
        .collect();
    hold("types", &shared, "Types share a name: say of what (`Table` → `TableSchema`)");
}

#[test]
fn files_are_short() {
    let long: BTreeMap<String, String> = sources()
        .iter()
        .filter(|file| file.lines > MAX_FILE)
        .map(|file| (file.name.clone(), format!("{} lines", file.lines)))
        .collect();
    hold("files", &long, &format!("More than {MAX_FILE} lines: split the file by what it is about"));
}

#[test]
fn functions_are_short() {
    let mut long = BTreeMap::new();
    for file in sources() {
        for (name, lines) in &file.functions {
            if *lines > MAX_FUNCTION {
                long.insert(format!("{}::{name}", file.name), format!("{lines} lines"));
            }
        }
    }
    hold("functions", &long, &format!("More than {MAX_FUNCTION} lines: split the function by what it does"));
}

#[test]
fn every_folder_of_the_source_stands_on_the_map() {
    let map = fs::read_to_string(root().join("docs/dev/ARCHITECTURE.md")).unwrap();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let room = name.trim_end_matches(".rs");
        if !["lib", "main"].contains(&room) {
            floor(room);
            assert!(
                map.contains(&format!("`{room}")),
                "docs/dev/ARCHITECTURE.md does not say what src/{name} is"
            );
        }
    }
}

#[test]
fn what_the_developers_pages_name_is_there() {
    for page in ["ARCHITECTURE.md", "GLOSSARY.md"] {
        let text = fs::read_to_string(root().join("docs/dev").join(page)).unwrap();
        for word in text.split('`').skip(1).step_by(2) {
            let is_path =
                ["src/", "tests/", "docs/", "config/", "templates/", "migrations/", "sample/", "scripts/"]
                    .iter()
                    .any(|folder| word.starts_with(folder))
                    && !word.contains(['<', '*', '{', ' ', '→']);
            let path = word.split("::").next().unwrap_or_default();
            assert!(
                !is_path || root().join(path).exists(),
                "docs/dev/{page} names {word}, which is not there"
            );
        }
    }
}

#[test]
fn the_sections_that_comments_cite_are_there() {
    let reference = fs::read_to_string(root().join("docs/dev/ALYX.md")).unwrap();
    let sections: BTreeSet<&str> = reference
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')))
        .map(|title| title.split(' ').next().unwrap_or_default().trim_end_matches('.'))
        .collect();
    let mut cited = 0;
    for folder in ["src", "tests", "examples"] {
        for path in source::files(&root().join(folder)) {
            for after in fs::read_to_string(&path).unwrap().split("ALYX.md ").skip(1) {
                let section: String = after.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
                let section = section.trim_end_matches('.');
                if !section.is_empty() {
                    cited += 1;
                    assert!(
                        sections.contains(section),
                        "{} cites section {section} of ALYX.md",
                        path.display()
                    );
                }
            }
        }
    }
    assert!(cited > 100, "only {cited} citations found");
}
