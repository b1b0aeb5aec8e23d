//! `docs/src/threats.md` claims nothing that no test holds.

use std::fs;

use super::root;

/// A row of `threats.md` claims what a test holds, and that test is there.
#[test]
fn every_threat_names_a_test_that_is_there() {
    let text = fs::read_to_string(root().join("docs/src/threats.md")).unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    let rows: Vec<_> =
        text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| |")).collect();
    assert!(rows.len() > 40, "{}", rows.len());
    let mut missing = Vec::new();
    for row in rows {
        let cells = cells(row);
        assert_eq!(cells.len(), 3, "{row}");
        let names: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        let fuzzed = |name: &str| root().join(format!("fuzz/fuzz_targets/{name}.rs")).exists();
        let found = |name: &&str| test_is_there(name) || cells[2].contains("fuzz target") && fuzzed(name);
        missing.extend(names.into_iter().filter(|name| !found(name)).map(ToOwned::to_owned));
    }
    assert!(missing.is_empty(), "threats.md names tests that are not there: {missing:?}");
}

/// Whether a module of tests, or a test in one, has this path.
fn test_is_there(path: &str) -> bool {
    let segments: Vec<&str> = path.split("::").collect();
    let file = |segments: &[&str]| {
        let place = segments.join("/");
        let names = ["tests/it", "src"]
            .into_iter()
            .flat_map(|folder| [format!("{folder}/{place}.rs"), format!("{folder}/{place}/mod.rs")]);
        names.map(|name| root().join(name)).find_map(|file| fs::read_to_string(file).ok())
    };
    let has_tests = |text: &str| text.contains("#[test]") || text.contains("#[tokio::test");
    let whole = file(&segments).is_some_and(|text| has_tests(&text) || text.contains("\nmod "));
    let (last, module) = segments.split_last().unwrap();
    whole || file(module).is_some_and(|text| has_tests(&text) && text.contains(&format!("fn {last}(")))
}
