//! What counts after a crash, a merge of marks and a clock that is ahead.

use super::*;
use crate::clock::ManualClock;

#[tokio::test]
async fn a_write_that_was_cut_off_counts_until_that_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let clock = ManualClock::at(1_000);
    let (cut_off, later) = (Scope::Lists("subjects"), Scope::Lists("sessions"));
    let name = cut_off.name();
    let marked = |marks: &Invalidations| marks.since([name.as_str()]) > Millis::MIN;
    let marks = Invalidations::load(&store, clock.clone()).await.unwrap();
    assert!(!marked(&marks));
    // A crash, and a disk that takes nothing new at the next start.
    drop(marks.begin(&[cut_off], &store).await.unwrap());
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON marks BEGIN SELECT RAISE(FAIL, 'full'); END";
    let change = |sql: &'static str| store.commit("a test", |connection| connection.execute_batch(sql));
    change(refuse).await.unwrap();
    let marks = Invalidations::load(&store, clock.clone()).await.unwrap();
    assert!(marked(&marks), "it counts all the same");
    // There is room again, and another write ends well.
    change("DROP TRIGGER refuse").await.unwrap();
    let pending = marks.begin(&[later], &store).await.unwrap();
    marks.end(pending, true, &store).await.unwrap();
    let marks = Invalidations::load(&store, clock.clone()).await.unwrap();
    assert!(marked(&marks), "nor is it forgotten at the start after that");
    assert!(marked(&Invalidations::load(&store, clock.clone()).await.unwrap()), "now it is noted");
    store.close();
}

#[tokio::test]
async fn who_changes_record_after_record_leaves_no_more_marks_than_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let record = |n: usize| Scope::Record("sessions", format!("{n:06}"));
    store
        .commit("marks", move |connection| {
            let mut mark = connection.prepare_cached(MARK)?;
            (0..mark_bound::MOST).try_for_each(|n| {
                mark.execute((record(n).name(), 1_000 + Millis::try_from(n).unwrap())).map(drop)
            })
        })
        .await
        .unwrap();
    let clock = ManualClock::at(1_000_000);
    let marks = Invalidations::load(&store, clock.clone()).await.unwrap();
    let pending = marks.begin(&[record(mark_bound::MOST)], &store).await.unwrap();
    marks.end(pending, true, &store).await.unwrap();
    let rows = store.read(super::marks).await.unwrap();
    assert!(rows.len() <= mark_bound::MOST / 2 + 1, "{}", rows.len());
    // What was struck is struck, in memory and on disk.
    for marks in [marks, Invalidations::load(&store, clock).await.unwrap()] {
        for n in [0, 7, mark_bound::MOST / 2, mark_bound::MOST - 1] {
            let since = marks.since([record(n).name().as_str(), "details sessions"]);
            assert!(since >= 1_000 + Millis::try_from(n).unwrap(), "{n}");
        }
    }
    store.close();
}

#[tokio::test]
async fn a_mark_goes_when_it_is_older_than_all_that_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let record = |key: &str| Scope::Record("sessions", key.to_owned()).name();
    let (old, list, new) = (record("old"), Scope::Lists("sessions").name(), record("new"));
    let clock = ManualClock::at(10 * LONGEST);
    let now = clock.now();
    let then = now - LONGEST - DAY;
    let rows = [(old.clone(), then), (list.clone(), then), (new.clone(), now)];
    let write = move |connection: &Connection| {
        rows.iter().try_for_each(|row| connection.prepare_cached(MARK)?.execute((&row.0, row.1)).map(drop))
    };
    store.commit("marks", write).await.unwrap();
    let answer =
        "INSERT INTO responses (key, family, page_offset, path, query, status, headers, body, length,
                                         checksum, asked_at, received_at, used_at, size)
                  VALUES (x'00', x'00', 0, '/sessions/old', '', 200, '[]', x'00', 1, x'00', ?1, ?1, ?1, 1)";
    // By a clock that is ahead the mark is old, and so is the answer that it strikes.
    for (asked_at, stays) in [(then - 1, true), (then + DAY - 1, true), (now, false)] {
        let change = move |connection: &Connection| {
            connection.execute("DELETE FROM responses", [])?;
            connection.execute(answer, [asked_at]).map(drop)
        };
        store.commit("an answer", change).await.unwrap();
        let marks = Invalidations::load(&store, clock.clone()).await.unwrap();
        store.written().await.unwrap();
        for (scope, at) in [(&old, if stays { then } else { Millis::MIN }), (&list, then), (&new, now)] {
            assert_eq!(marks.since([scope.as_str()]), at, "{scope}, {}", now - asked_at);
            let rows = store.read(super::marks).await.unwrap();
            assert_eq!(rows.contains_key(scope), at > Millis::MIN);
        }
    }
    store.close();
}
