//! What every engine does, told to each of them: the fake of the walk, and a real PostgreSQL.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{
    engine::{
        Beat, ClusterEngine, ClusterEngineError, Ending, EventKind, FollowedEvents, Life, MemberId, Pulse,
        SealedEvent, Seq,
    },
    fake::FakeServer,
    pace::{TurnAsked, TurnRate, TurnTold},
    postgres::PostgresEngine,
    seal::{ClusterSeal, new_key},
};
use crate::settings::ClusterSettings;

#[path = "../../tests/it/support/postgres.rs"]
#[allow(dead_code, unreachable_pub, missing_docs, clippy::unused_self, clippy::disallowed_methods)]
mod server;

#[allow(clippy::option_option)]
fn beat(member: MemberId, joining: Option<Option<MemberId>>, (life, seen): (Option<Life>, Seq)) -> Beat {
    Beat { member, joining, name: "host".to_owned(), version: "1", life, seen }
}

async fn join(engine: &dyn ClusterEngine) -> (MemberId, Pulse) {
    let member = Uuid::new_v4();
    let pulse = engine.beat(beat(member, Some(None), (None, 0))).await.unwrap();
    assert!(pulse.here && pulse.members.iter().any(|there| there.id == member));
    (member, pulse)
}

fn mark(body: &[u8]) -> SealedEvent {
    SealedEvent { kind: EventKind::Mark, body: body.to_vec() }
}

async fn bodies(engine: &dyn ClusterEngine, life: Life, after: Seq) -> Vec<Vec<u8>> {
    match engine.events(life, after).await.unwrap() {
        FollowedEvents::Events(events) => events.into_iter().map(|told| told.event.body).collect(),
        FollowedEvents::Gone => panic!("gone"),
    }
}

/// What all of them keep.
async fn keeps_its_word(engine: &dyn ClusterEngine) {
    let ((one, first), (two, second)) = (join(engine).await, join(engine).await);
    let (life, start) = (first.life, second.seq);
    assert_eq!((first.life, first.seq), (second.life, second.seq));
    // A write that is told is seen by whoever asks, and waits for the other alone.
    let write = Uuid::new_v4();
    engine.begin(life, one, write, b"under way".to_vec()).await.unwrap();
    assert_eq!(bodies(engine, life, start).await, Vec::<Vec<u8>>::new(), "it has not ended");
    let ending = Ending { writes: vec![write], events: vec![mark(b"a"), mark(b"b")], origin: Uuid::new_v4() };
    let seq = engine.end(life, ending).await.unwrap();
    assert_eq!(seq, start + 2);
    assert_eq!(bodies(engine, life, start).await, [b"a", b"b"]);
    assert_eq!(bodies(engine, life, seq - 1).await, [b"b"]);
    assert_eq!(engine.unseen(life, one, seq).await.unwrap(), [two]);
    let pulse = engine.beat(beat(two, None, (Some(life), seq))).await.unwrap();
    assert!(pulse.here && pulse.seq == seq);
    assert_eq!(engine.unseen(life, one, seq).await.unwrap(), Vec::<Uuid>::new());
    // What has fallen behind does not come forward again.
    engine.beat(beat(two, None, (Some(life), start))).await.unwrap();
    assert_eq!(engine.unseen(life, one, seq).await.unwrap(), Vec::<Uuid>::new());
    // One that has gone while it wrote: what it may have changed is told in its place, once.
    let (cut_off, ended) = (Uuid::new_v4(), Uuid::new_v4());
    engine.begin(life, two, cut_off, b"cut off".to_vec()).await.unwrap();
    engine.begin(life, two, ended, b"ended".to_vec()).await.unwrap();
    engine.end(life, Ending { writes: vec![ended], ..Ending::default() }).await.unwrap();
    let still = pulse.members.iter().find(|there| there.id == two).unwrap().beat;
    engine.remove(two, still - 1).await.unwrap();
    assert_eq!(bodies(engine, life, seq).await, Vec::<Vec<u8>>::new(), "its beat was another");
    let pulse = engine.beat(beat(one, None, (Some(life), seq))).await.unwrap();
    let still = pulse.members.iter().find(|there| there.id == two).unwrap().beat;
    engine.remove(two, still).await.unwrap();
    assert_eq!(bodies(engine, life, seq).await, [b"cut off"]);
    assert!(!engine.beat(beat(two, None, (Some(life), seq))).await.unwrap().here, "it has to join anew");
    let begun = engine.begin(life, two, Uuid::new_v4(), b"gone".to_vec()).await;
    assert_eq!(begun, Err(ClusterEngineError::Refused));
    // Who joins again takes over what it had under way.
    let (again, write) = (Uuid::new_v4(), Uuid::new_v4());
    engine.begin(life, one, write, b"goes on".to_vec()).await.unwrap();
    let pulse = engine.beat(beat(again, Some(Some(one)), (Some(life), seq + 1))).await.unwrap();
    assert!(pulse.members.iter().all(|there| there.id != one));
    engine.leave(again).await.unwrap();
    assert_eq!(bodies(engine, life, seq + 1).await, [b"goes on"]);
    engine.tidy().await.unwrap();
    gives_each_turn_once(engine).await;
    loses_nothing_silently(engine, life).await;
}

/// A turn for which one waits no longer than so many seconds: one in 100 s, two at once where one is saved.
fn turn(caller: &[u8], most: u64) -> TurnAsked {
    let rate = TurnRate { every: Duration::from_secs(100), burst: 2 };
    TurnAsked { caller: caller.to_vec(), rate, most: Duration::from_secs(most), afresh: false }
}

/// Turns of one caller come one after the other, whoever takes them; nothing is saved from before they began to be counted.
async fn gives_each_turn_once(engine: &dyn ClusterEngine) {
    let waited = |told: TurnTold| match told {
        TurnTold::Taken(wait) => wait,
        told => panic!("{told:?}"),
    };
    let seconds = Duration::from_secs;
    assert_eq!(engine.turn(turn(b"a", 0)).await, Ok(TurnTold::Taken(Duration::ZERO)));
    let second = waited(engine.turn(turn(b"a", 200)).await.unwrap());
    assert!(second > Duration::ZERO && second <= seconds(100), "the next comes after the first: {second:?}");
    let late = engine.turn(turn(b"a", 20)).await.unwrap();
    assert!(matches!(late, TurnTold::TooLate(wait) if wait > seconds(20)), "{late:?}");
    let third = waited(engine.turn(turn(b"a", 290)).await.unwrap());
    assert!(third > second && third <= seconds(200), "what came too late was not taken: {third:?}");
    assert_eq!(
        engine.turn(turn(b"b", 0)).await,
        Ok(TurnTold::Taken(Duration::ZERO)),
        "another's are another's"
    );
    // Saved turns come at once; what was saved before a beginning does not.
    let quick = |caller: &[u8], every, burst, afresh| TurnAsked {
        rate: TurnRate { every, burst },
        afresh,
        ..turn(caller, 290)
    };
    tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_millis(100)).await;
    for _ in 0..4 {
        let saved = engine.turn(quick(b"c", Duration::from_millis(25), 4, false)).await.unwrap();
        assert_eq!(waited(saved), Duration::ZERO);
    }
    let mut waits = Vec::new();
    for n in 0..6 {
        waits.push(waited(engine.turn(quick(b"d", seconds(50), 4, n == 0)).await.unwrap()));
    }
    assert!(waits[0] == Duration::ZERO && waits[1] > Duration::ZERO && waits[5] <= seconds(250), "{waits:?}");
    assert!(waits.is_sorted() && waits[5] > seconds(150), "{waits:?}");
    // A pause holds for all who ask as this one, and takes none of their turns.
    engine.pause(b"e".to_vec(), seconds(100)).await.unwrap();
    engine.pause(b"e".to_vec(), seconds(10)).await.unwrap();
    let paused = engine.turn(turn(b"e", 200)).await.unwrap();
    assert!(matches!(paused, TurnTold::Paused(left) if left > seconds(10)), "{paused:?}");
    engine.tidy().await.unwrap();
    assert!(matches!(engine.turn(turn(b"e", 200)).await, Ok(TurnTold::Paused(_))), "it is not forgotten");
}

/// In another life nothing of the one before is told, and whoever was ahead of the engine begins one.
async fn loses_nothing_silently(engine: &dyn ClusterEngine, life: Life) {
    let (member, pulse) = join(engine).await;
    let ahead = pulse.seq + 7;
    let pulse = engine.beat(beat(member, None, (Some(life), ahead))).await.unwrap();
    assert!(pulse.here && pulse.life != life && pulse.seq > ahead + 1_000_000);
    let told = engine.end(life, Ending { events: vec![mark(b"old")], ..Ending::default() }).await;
    assert_eq!(told, Err(ClusterEngineError::Refused));
    assert_eq!(engine.unseen(life, member, 1).await, Err(ClusterEngineError::Refused));
    assert!(matches!(engine.events(life, ahead).await, Ok(FollowedEvents::Gone)));
    let FollowedEvents::Events(events) = engine.events(pulse.life, ahead).await.unwrap() else {
        panic!("gone")
    };
    assert_eq!(events.last().map(|told| (told.seq, told.event.kind)), Some((pulse.seq, EventKind::Doubt)));
    // What somebody has seen of another life says nothing of this one.
    let stranger = Uuid::new_v4();
    let joined = engine.beat(beat(stranger, Some(None), (Some(life), pulse.seq + 9_000_000))).await.unwrap();
    assert_eq!(joined.life, pulse.life);
    engine.beat(beat(stranger, None, (Some(life), pulse.seq + 9_000_000))).await.unwrap();
    let told = Ending { events: vec![mark(b"new")], ..Ending::default() };
    let seq = engine.end(pulse.life, told).await.unwrap();
    assert_eq!(engine.unseen(pulse.life, member, seq).await.unwrap(), [stranger]);
}

#[tokio::test(start_paused = true)]
async fn the_fake_keeps_its_word() {
    keeps_its_word(&*FakeServer::new(1).wire(&[1])).await;
}

fn engine_of(folder: &std::path::Path, url: &str, key: &str) -> PostgresEngine {
    let settings = ClusterSettings { url: url.to_owned(), ..ClusterSettings::default() };
    std::fs::write(folder.join("key"), key).unwrap();
    let seal = Arc::new(ClusterSeal::read(&folder.join("key")).unwrap());
    PostgresEngine::new(&settings, "https://alyx.example.org", seal).unwrap()
}

#[tokio::test]
async fn postgresql_keeps_its_word() {
    let mut server = server::Postgres::start();
    let folder = tempfile::tempdir().unwrap();
    let key = new_key();
    let engine = engine_of(folder.path(), &server.url(), &key);
    keeps_its_word(&engine).await;
    // What was added since the first format is made where an earlier program has made the rest; which goes on beside it.
    let (client, connection) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    let schema = engine.init().await.unwrap().split(' ').next().unwrap().to_owned();
    client.batch_execute(&format!("DROP TABLE {schema}.pace")).await.unwrap();
    let (_, pulse) = join(&engine).await;
    assert!(engine.turn(turn(b"a", 0)).await.is_err() && engine.tidy().await.is_err());
    let told = Ending { events: vec![mark(b"without")], ..Ending::default() };
    assert!(engine.end(pulse.life, told).await.is_ok(), "what there was in the first format goes on");
    let newer = engine_of(folder.path(), &server.url(), &key);
    assert_eq!(newer.turn(turn(b"a", 0)).await, Ok(TurnTold::Taken(Duration::ZERO)));
    assert!(engine.turn(turn(b"b", 0)).await.is_ok());
    drop(client);
    connection.abort();
    // What it was told it has also after it was killed.
    let (member, pulse) = join(&engine).await;
    let seq =
        engine.end(pulse.life, Ending { events: vec![mark(b"kept")], ..Ending::default() }).await.unwrap();
    server.kill();
    assert!(matches!(engine.events(pulse.life, seq - 1).await, Err(ClusterEngineError::Away(_))));
    server.again();
    assert_eq!(bodies(&engine, pulse.life, seq - 1).await, [b"kept"]);
    assert!(engine.beat(beat(member, None, (Some(pulse.life), seq))).await.unwrap().here);
    // What is said on a connection that ends is the last that is heard on it.
    assert!(matches!(engine.lose_connection().await, ClusterEngineError::Away(_)));
    assert_eq!(engine.survey().await.unwrap().life, pulse.life);
    // Another key, and another password.
    let other = engine_of(folder.path(), &server.url(), &new_key());
    assert_eq!(other.survey().await.unwrap_err(), ClusterEngineError::WrongKey);
    let wrong = engine_of(folder.path(), &server.url().replace(server.password(), "wrong-word"), &key);
    let refused = wrong.survey().await.unwrap_err().to_string();
    assert!(refused.contains("password") && !refused.contains("wrong-word"), "{refused}");
}
