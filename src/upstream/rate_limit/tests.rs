use super::{super::rates::BURST, *};
use crate::clock::ManualClock;

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_mins(1);

fn pace(concurrency: usize, rate: u32) -> RequestLimiter {
    let settings =
        settings::UpstreamSettings { requests_per_minute: rate, concurrency, ..Default::default() };
    RequestLimiter::new(&settings, ManualClock::with_tokio(0))
}

fn after(pace: &RequestLimiter, length: Duration) -> Instant {
    pace.clock.instant() + length
}

fn user(n: u8) -> Caller {
    Caller::User([n; 32])
}

#[tokio::test(start_paused = true)]
async fn a_turn_never_comes_after_its_time() {
    let pace = pace(2, 0);
    assert_eq!(pace.turn(None, after(&pace, Duration::ZERO)).await.unwrap_err(), UpstreamError::Saturated);
    pace.turn(None, after(&pace, LONG)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_for_those_who_wait_for_a_place() {
    let pace = Arc::new(pace(1, 0));
    let turn = pace.turn(None, after(&pace, LONG)).await.unwrap();
    let waiting = tokio::spawn({
        let pace = pace.clone();
        async move { pace.turn(None, after(&pace, LONG)).await.map(drop) }
    });
    while pace.waiting.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    pace.pause(None, LONG * 2);
    drop(turn);
    assert!(matches!(waiting.await.unwrap(), Err(UpstreamError::Throttled(_))));
    // It has given its place to somebody whom Alyx told nothing.
    pace.turn(Some(&user(1)), after(&pace, LONG)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_for_whom_alyx_told_and_for_all_where_it_tells_several() {
    let pace = pace(4, 0);
    let turn = async |who| pace.turn(Some(&who), after(&pace, LONG)).await.map(drop);
    for who in [Caller::Docs, user(1), user(2)] {
        pace.pause(Some(&who), LONG * 2);
        assert!(matches!(turn(who).await, Err(UpstreamError::Throttled(_))), "{who:?}");
        turn(user(9)).await.unwrap();
    }
    pace.pause(Some(&user(3)), LONG * 2);
    assert!(matches!(turn(user(9)).await, Err(UpstreamError::ThrottledAll(_))));
}

#[tokio::test(start_paused = true)]
async fn strangers_leave_places_and_uploads_to_users() {
    let pace = pace(8, 0);
    let log_in = |n: u8| Caller::LogIn([10, 0, 0, n].into());
    let turn = async |who: Option<Caller>| pace.turn(who.as_ref(), after(&pace, SOON)).await;
    let upload = async |who: Option<Caller>| pace.upload(who.as_ref(), after(&pace, SOON)).await;
    let mut held = vec![upload(None).await.unwrap()];
    for stranger in [None, Some(Caller::Unverified), Some(Caller::Docs)] {
        assert_eq!(upload(stranger).await.unwrap_err(), UpstreamError::Saturated, "{stranger:?}");
    }
    for who in [None, Some(Caller::Unverified), Some(log_in(1)), Some(log_in(2))] {
        held.push(turn(who).await.unwrap());
    }
    for who in [None, Some(Caller::Docs), Some(Caller::Unverified), Some(log_in(1)), Some(log_in(3))] {
        assert_eq!(turn(who).await.unwrap_err(), UpstreamError::Saturated, "{who:?}");
    }
    held.push(upload(Some(user(1))).await.unwrap());
    held.push(turn(Some(user(1))).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn log_ins_of_one_network_leave_the_pace_to_others() {
    let pace = pace(8, 400);
    let log_in = async |n: u8, time: Duration| {
        let who = Caller::LogIn([10, 0, 0, n].into());
        pace.turn(Some(&who), after(&pace, time)).await.map(drop)
    };
    while log_in(1, Duration::from_millis(1)).await.is_ok() {}
    assert_eq!(log_in(1, Duration::from_millis(1)).await.unwrap_err(), UpstreamError::Paced);
    assert_eq!(pace.pause_of(None), None);
    pace.pause(Some(&Caller::LogIn([10, 0, 0, 1].into())), LONG);
    assert!(pace.pause_of(None).is_some(), "Alyx counts them as one");
}

#[tokio::test(start_paused = true)]
async fn uploads_of_one_user_leave_room_for_anothers() {
    let pace = pace(4, 0);
    let upload = async |who, time| pace.upload(Some(&who), after(&pace, time)).await;
    let first = upload(user(1), LONG).await.unwrap();
    assert_eq!(upload(user(1), SOON).await.unwrap_err(), UpstreamError::Saturated);
    let other = upload(user(2), LONG).await.unwrap();
    drop((first, other));
    upload(user(1), LONG).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pause_ends_to_the_millisecond() {
    let pace = pace(4, 0);
    let told = pace.clock.now();
    pace.pause(None, Duration::from_millis(2_345));
    let refused = pace.turn(None, after(&pace, Duration::from_millis(2_344))).await;
    assert_eq!(refused.unwrap_err(), UpstreamError::Throttled(Duration::from_millis(2_345)), "at once");
    assert_eq!(pace.clock.now(), told);
    pace.turn(None, after(&pace, LONG)).await.unwrap();
    assert_eq!(pace.clock.now() - told, 2_345);
    // A shorter pause does not end a longer one.
    pace.pause(None, Duration::from_millis(700));
    pace.pause(None, Duration::from_millis(300));
    pace.turn(None, after(&pace, LONG)).await.unwrap();
    assert_eq!(pace.clock.now() - told, 3_045);
}

#[tokio::test(start_paused = true)]
async fn what_several_were_told_longer_ago_than_a_minute_is_no_pause_for_all() {
    let pace = pace(4, 0);
    for (n, since) in [(1, 0), (2, 30_000), (3, 30_000)] {
        tokio::time::advance(Duration::from_millis(since)).await;
        pace.pause(Some(&user(n)), LONG);
    }
    // The first was told exactly a minute before the third.
    pace.turn(Some(&user(9)), after(&pace, SOON)).await.unwrap();
    pace.pause(Some(&user(4)), LONG);
    let refused = pace.turn(Some(&user(9)), after(&pace, SOON)).await;
    assert_eq!(refused.unwrap_err(), UpstreamError::ThrottledAll(LONG));
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_user_are_paced_to_the_millisecond() {
    // One in 100 ms after a burst.
    let pace = pace(100, 600);
    let begun = pace.clock.now();
    for n in 0..i64::from(BURST) + 5 {
        pace.turn(Some(&user(1)), after(&pace, LONG)).await.unwrap();
        let beyond = n + 1 - i64::from(BURST);
        assert_eq!(pace.clock.now() - begun, 100 * beyond.max(0), "request {n}");
    }
    let now = pace.clock.now();
    pace.turn(Some(&user(2)), after(&pace, LONG)).await.unwrap();
    assert_eq!(pace.clock.now(), now, "another user has a bucket of its own");
    let in_vain = pace.turn(Some(&user(1)), after(&pace, Duration::from_millis(99))).await;
    assert_eq!(in_vain.unwrap_err(), UpstreamError::Paced, "its turn comes after 100 ms");
    assert_eq!(pace.clock.now() - now, 99);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_behind_people_comes_at_half_their_pace_and_after_them() {
    let pace = Arc::new(pace(2, 600));
    let own = user(7);
    let (begun, person) = (pace.clock.now(), user(1));
    // Nobody asks: whatever pace a user has is there for it.
    for _ in 0..4 {
        drop(pace.background(Some(&own)).await);
        drop(pace.turn(Some(&own), after(&pace, LONG)).await.unwrap());
    }
    assert_eq!(pace.clock.now(), begun);
    drop(pace.turn(Some(&person), after(&pace, LONG)).await.unwrap());
    for n in 0..4 {
        drop(pace.background(Some(&own)).await);
        assert_eq!(pace.clock.now() - begun, 200 * n);
    }
    tokio::time::advance(PEOPLE_LATELY).await;
    let quiet = pace.clock.now();
    for _ in 0..4 {
        drop(pace.background(Some(&own)).await);
    }
    assert_eq!(pace.clock.now(), quiet, "nobody has asked lately");
    let turns = [1, 2].map(|n| (pace.clone(), user(n)));
    let [first, second] =
        turns.map(|(pace, who)| async move { pace.turn(Some(&who), after(&pace, LONG)).await });
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    let behind = tokio::spawn({
        let pace = pace.clone();
        async move { pace.background(Some(&own)).await }
    });
    tokio::time::advance(LONG).await;
    assert!(!behind.is_finished(), "all places are taken");
    drop(first);
    drop(behind.await.unwrap());
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn another_pace_holds_at_once() {
    let pace = pace(100, 60);
    let ask = async || pace.turn(Some(&user(1)), after(&pace, LONG)).await.map(drop).unwrap();
    let begun = pace.clock.now();
    for _ in 0..BURST {
        ask().await;
    }
    assert_eq!(pace.clock.now(), begun);
    ask().await;
    assert_eq!(pace.clock.now() - begun, 1_000);
    pace.set_rate(600);
    for _ in 0..BURST {
        ask().await;
    }
    let now = pace.clock.now();
    ask().await;
    assert_eq!(pace.clock.now() - now, 100);
    pace.set_rate(0);
    for _ in 0..1_000 {
        ask().await;
    }
    assert_eq!(pace.clock.now() - now, 100, "as often as they like");
}
