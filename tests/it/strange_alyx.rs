//! An Alyx that nobody knows, over the tables of the sample lab: what was recorded of a real one is what it says.

use std::path::Path;

use crate::judge::{Recording, Said, tables::Tables};

fn sample() -> Tables {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("sample/tables-detail.tar.zst", "tables-detail.tar.zst"),
        ("tests/fixtures/recordings.jsonl.zst", "golden.jsonl.zst"),
    ] {
        std::fs::copy(root.join(from), folder.path().join(to)).unwrap();
    }
    Tables::load(folder.path(), jiff::civil::date(2026, 11, 23))
}

#[test]
fn a_comparison_that_is_another_is_understood_as_it_was_shown() {
    let mut tables = sample();
    let body = |tables: &Tables, path: &str| match tables.ask(path) {
        Said::Answer { body, .. } => body,
        Said::Refused { reason, .. } => panic!("{path}: {reason}"),
    };
    let recording =
        |path: &str, body: String| Recording { path: path.to_owned(), status: 200, body, exact: true };
    let question = "/sessions?subject=ks0&limit=1";
    let contained = body(&tables, "/sessions?django=subject__nickname__icontains,ks0&limit=1");
    let list = body(&tables, "/sessions?limit=25");
    tables.meet_stranger("3.6");
    assert!(matches!(tables.ask(question), Said::Refused { decidable: true, .. }));
    // It finds all whose name contains this, where the one that is known finds those of this name.
    let said = [recording(question, contained.clone()), recording("/sessions?limit=25", list)];
    tables.learn(said.iter());
    let count = |body: &str| body.split(',').next().unwrap().to_owned();
    assert_eq!(count(&body(&tables, question)), count(&contained));
    assert_ne!(count(&contained), "{\"count\":0");
    // Of another parameter that tells nothing.
    assert!(matches!(tables.ask("/sessions?users=nobody&limit=1"), Said::Refused { .. }));
}
