//! Acceptance 4: identical requests in flight are one, with a way out for the others when the first one fails.

use std::time::Duration;

use crate::support::{Fault, Lab, Proxy, Setup, lab, until, users};
use futures_util::future::join_all;

const CLIENTS: usize = 50;
const QUESTION: &str = "/sessions?lab=cortexlab&limit=3";
/// Slow enough for all clients to have asked before the answer comes.
const SLOW: Fault = Fault::Slow(1500);

async fn slow_lab() -> (Lab, Proxy) {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url())
        .set("upstream.retries", "0")
        .set("upstream.timeout", "20s")
        .set("cache.stale_while_revalidate", "0s")
        .start()
        .await;
    // All users are known, so that what follows is about the question alone.
    for user in users::ALL {
        proxy.client().with(user).get("/labs").await.expect(200);
    }
    lab.upstream.break_down(SLOW).await;
    (lab, proxy)
}

/// Asks, in the background; returns when the request has reached upstream.
async fn lead(
    lab: &Lab,
    client: crate::support::Client,
) -> tokio::task::JoinHandle<Result<crate::support::Answer, String>> {
    let leader = tokio::spawn(async move { client.ask("GET", QUESTION).try_send().await });
    until("the leader's request is upstream", async || lab.count("/sessions") == 1).await;
    leader
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_with_one_question_are_one_request() {
    let (lab, proxy) = slow_lab().await;
    let spellings = [QUESTION, "/sessions?limit=3&lab=cortexlab", "/sessions?limit=3&lab=%63ortexlab"];
    let asking = (0..CLIENTS).map(|i| {
        let client = proxy.client().with(users::ALL[i % users::ALL.len()]);
        async move { client.get(spellings[i % spellings.len()]).await.expect(200) }
    });
    let answers = join_all(asking).await;
    assert_eq!(lab.count("/sessions"), 1);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    let asked_alone =
        |answer: &&crate::support::Answer| !answer.cache().hit() && !answer.cache().has("collapsed");
    let texts = || answers.iter().map(|answer| answer.cache().text).collect::<Vec<_>>();
    assert_eq!(answers.iter().filter(asked_alone).count(), 1, "one went upstream by itself: {:#?}", texts());
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_of_a_stale_answer_are_one_refresh() {
    let lab = Lab::open().await;
    let proxy = Setup::new(&lab.url())
        .set("freshness.records", "1s")
        .set("cache.stale_while_revalidate", "0s")
        .set("upstream.serve_stale_after", "20s")
        .start()
        .await;
    proxy.get(QUESTION).await.expect(200);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let new = lab.renew();
    lab.upstream.break_down(SLOW).await;
    let asking = (0..CLIENTS).map(|_| {
        let client = proxy.client();
        async move { client.get(QUESTION).await.expect(200) }
    });
    for answer in join_all(asking).await {
        assert_eq!(lab::version(&answer.json()), new, "{}", answer.describe());
    }
    assert_eq!(lab.count("/sessions"), 2, "one when it was unknown, one when it was stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asked_first_may_go_and_the_others_are_answered() {
    let (lab, proxy) = slow_lab().await;
    let leader = lead(&lab, proxy.client()).await;
    let followers: Vec<_> = (0..10)
        .map(|_| {
            let client = proxy.client();
            tokio::spawn(async move { client.get(QUESTION).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    leader.abort();
    for follower in followers {
        follower.await.unwrap().expect(200);
    }
    assert!(lab.count("/sessions") <= 2, "{} requests", lab.count("/sessions"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_a_client_that_went_is_kept() {
    let (lab, proxy) = slow_lab().await;
    lead(&lab, proxy.client()).await.abort();
    let stored = || async {
        let ask = proxy.client().ask("GET", QUESTION).header("cache-control", "only-if-cached");
        ask.send().await.status == 200
    };
    until("the answer is stored", stored).await;
    assert_eq!(lab.count("/sessions"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_alyx_refuses_refuses_nobody_else() {
    let (lab, proxy) = slow_lab().await;
    let unknown = format!("Token {}", users::UNKNOWN_TOKEN);
    let leader = tokio::spawn({
        let client = proxy.client().with_authorization(&unknown);
        async move { client.get(QUESTION).await }
    });
    until("the stranger's request is upstream", async || {
        lab.upstream.asked().iter().any(|asked| asked.header("authorization") == Some(&unknown))
    })
    .await;
    let followers = join_all((0..10).map(|_| {
        let client = proxy.client();
        async move { client.get(QUESTION).await }
    }));
    let (refused, answered) = tokio::join!(leader, followers);
    assert_eq!(refused.unwrap().expect(403).json()["detail"], "Invalid token.");
    for answer in answered {
        answer.expect(200);
    }
    let asked = lab.upstream.asked();
    let by_known =
        asked.iter().filter(|a| a.path() == "/sessions" && a.header("authorization") != Some(&unknown));
    assert_eq!(by_known.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_shares_an_answer_without_a_token_of_their_own() {
    let (lab, proxy) = slow_lab().await;
    let leader = lead(&lab, proxy.client()).await;
    let unknown = proxy.client().with_authorization(&format!("Token {}", users::UNKNOWN_TOKEN));
    let (refused, anonymous) =
        tokio::join!(unknown.get(QUESTION), async { proxy.client().anonymous().get(QUESTION).await });
    assert_eq!(refused.expect(403).json()["detail"], "Invalid token.");
    let detail = "Authentication credentials were not provided.";
    assert_eq!(anonymous.expect(403).json()["detail"], detail);
    leader.await.unwrap().unwrap().expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_to_all_who_waited_for_it() {
    let (lab, proxy) = slow_lab().await;
    let leader = lead(&lab, proxy.client()).await;
    let followers: Vec<_> = (1..CLIENTS)
        .map(|_| {
            let client = proxy.client();
            tokio::spawn(async move { client.get(QUESTION).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    lab.upstream.cut().await;
    leader.await.unwrap().unwrap().expect(504);
    for follower in followers {
        follower.await.unwrap().expect(504);
    }
    assert!(lab.count("/sessions") < 5, "one failure does not become {} requests", lab.count("/sessions"));
    lab.upstream.restore().await;
    proxy.until_upstream_is("up").await;
    proxy.get(QUESTION).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn different_questions_do_not_wait_for_each_other() {
    let (lab, proxy) = slow_lab().await;
    let questions =
        ["/sessions?limit=1", "/sessions?limit=2", "/subjects?limit=1", "/projects/a", "/projects/b"];
    let answers = join_all(questions.map(|target| {
        let client = proxy.client();
        async move { client.get(target).await.expect(200) }
    }))
    .await;
    let asked = lab.upstream.asked();
    for (target, answer) in questions.into_iter().zip(answers) {
        assert_eq!(asked.iter().filter(|asked| asked.target == target).count(), 1, "{target}");
        // One after the other they would take five times as long.
        assert!(answer.elapsed < Duration::from_secs(6), "{target}: {:?}", answer.elapsed);
    }
}
