//! A user whom Alyx accepts and refuses something (403, "You do not have permission"): that is told, and what others were
//! given of it is not given to this one. And the check of a token by a question that a gateway refuses.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::support::{Asked, Client, Fault, Proxy, Reply, Setup, Upstream, users};
use serde_json::json;

const RECORD: &str = "/sessions/00000000-0000-4000-8000-000000000000";
const OTHER_RECORD: &str = "/sessions/00000000-0000-4000-8000-000000000001";
/// A record of the refused list that is given all the same.
const GIVEN: &str = "/subjects/KS005";
const NO_PERMISSION: &str = "You do not have permission to perform this action.";

/// An Alyx that refuses the administrator subjects and one session, as long as this is set.
async fn start() -> (Upstream, Proxy, Arc<AtomicBool>) {
    let refuses = Arc::new(AtomicBool::new(true));
    let now = refuses.clone();
    let answer = move |asked: &Asked| {
        let path = asked.path();
        let apart = path.starts_with("/subjects") && path != GIVEN || path == RECORD;
        let is_admin = asked.header("authorization") == Some(&users::ADMIN.authorization());
        if apart && is_admin && now.load(Ordering::SeqCst) {
            let body = json!({"detail": NO_PERMISSION, "status_code": 403});
            return Reply::new(403, "application/json", body.to_string());
        }
        let body = match path.matches('/').count() {
            1 => json!({"count": 1, "next": null, "previous": null, "results": [{"name": "one"}]}),
            _ => json!({"name": "one"}),
        };
        Reply::new(200, "application/json", body.to_string())
    };
    let upstream = Upstream::start(Arc::new(answer)).await;
    let proxy = Setup::new(&upstream.url()).set("freshness.records", "1d").start().await;
    (upstream, proxy, refuses)
}

async fn is_refused(client: &Client, target: &str) {
    let answer = client.get(target).await.expect(403);
    assert_eq!(answer.json()["detail"], NO_PERMISSION, "{target}: {}", answer.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alyx_refuses_to_a_user_is_not_given_to_that_one_by_others() {
    let (upstream, proxy, refuses) = start().await;
    let (one, admin) = (proxy.client(), proxy.client().with(users::ADMIN));
    for client in [&one, &admin] {
        client.get("/labs").await.expect(200);
    }
    // Before anything is known, and when others were given it.
    is_refused(&admin, "/subjects").await;
    is_refused(&admin, RECORD).await;
    for target in ["/subjects", "/subjects?lab=x", "/subjects/KS004", RECORD, OTHER_RECORD, "/sessions"] {
        one.get(target).await.expect(200);
        assert!(one.get(target).await.expect(200).cache().hit(), "{target}");
    }
    let apart = ["/subjects", "/subjects?lab=x", "/subjects/KS004", RECORD];
    for target in apart {
        is_refused(&admin, target).await;
    }
    // Of what is refused as a list Alyx may give a record; that one alone is given from then on.
    admin.get(GIVEN).await.expect(200);
    assert!(admin.get(GIVEN).await.expect(200).cache().hit());
    for target in apart {
        is_refused(&admin, target).await;
    }
    // The token is as good as before, and nothing else is kept apart.
    for target in [OTHER_RECORD, "/sessions", "/labs"] {
        assert!(admin.get(target).await.expect(200).cache().hit(), "{target}");
    }
    for target in apart {
        assert!(one.get(target).await.expect(200).cache().hit(), "{target}: what others have is not touched");
    }
    // Nor after a restart, nor offline; and there in Alyx's words.
    let proxy = proxy.restart().await;
    let admin = proxy.client().with(users::ADMIN);
    for target in apart {
        is_refused(&admin, target).await;
    }
    upstream.cut().await;
    proxy.client().ask("GET", "/labs").header("cache-control", "no-cache").send().await.expect(200);
    proxy.until_upstream_is("down").await;
    for target in apart {
        is_refused(&admin, target).await;
        proxy.get(target).await.expect(200);
    }
    admin.get("/labs").await.expect(200);
    // Until Alyx gives it.
    upstream.restore().await;
    proxy.until_upstream_is("up").await;
    refuses.store(false, Ordering::SeqCst);
    for target in ["/subjects", "/subjects/KS004", RECORD] {
        admin.get(target).await.expect(200);
        assert!(admin.get(target).await.expect(200).cache().hit(), "{target}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_the_same_answer_is_not_refused_with_another() {
    let (upstream, proxy, _) = start().await;
    let (one, admin) = (proxy.client(), proxy.client().with(users::ADMIN));
    for client in [&one, &admin] {
        client.get("/labs").await.expect(200);
    }
    upstream.behave(Fault::Slow(500));
    let (refused, given) = tokio::join!(admin.get("/subjects?lab=y"), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        one.get("/subjects?lab=y").await
    });
    refused.expect(403);
    given.expect(200);
}

/// The user's own question is what a token is checked by. A gateway that refuses this one says nothing of the token: it is asked
/// once by another question, and what is stored is given.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_a_gateway_refuses_is_no_check_and_keeps_nobody_out() {
    for status in [414, 500] {
        let refuses = Arc::new(AtomicBool::new(false));
        let now = refuses.clone();
        let answer = move |asked: &Asked| {
            if asked.path() == "/sessions" && now.load(Ordering::SeqCst) {
                return Reply::new(status, "text/html", "<html>Request-URI Too Large</html>");
            }
            let list = json!({"count": 1, "next": null, "previous": null, "results": [{"name": "one"}]});
            Reply::new(200, "application/json", list.to_string())
        };
        let upstream = Upstream::start(Arc::new(answer)).await;
        let setup = Setup::new(&upstream.url()).set("access.token_ttl", "2s").set("freshness.records", "1d");
        let proxy = setup.start().await;
        proxy.get("/sessions").await.expect(200);
        refuses.store(true, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(2_100)).await;
        upstream.forget();
        for _ in 0..3 {
            let answer = proxy.get("/sessions").await.expect(200);
            assert!(answer.cache().hit(), "{status}: {}", answer.describe());
        }
        let asked: Vec<String> = upstream.asked().into_iter().map(|asked| asked.target).collect();
        assert_eq!(asked, ["/sessions", "/labs?limit=1"], "{status}");
    }
}
