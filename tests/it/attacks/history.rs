//! What is kept of what users ask: nobody's questions fill the disk, or push out another's.

use futures_util::future::join_all;

use super::{WORKER, miniature, mirroring};
use crate::support::users;

#[tokio::test(flavor = "multi_thread")]
async fn many_spellings_of_one_question_are_one() {
    let alyx = miniature().await;
    let proxy = mirroring(&alyx, &[]).await;
    let (worker, other) = (proxy.client().with(WORKER), proxy.client().with(users::PUBLIC));
    worker.get("/projects?limit=3").await.expect(200);
    for round in 0..20 {
        let asked = (0..50).map(|n| format!("/labs?limit=1&zz={round}-{n}{}", "z".repeat(7_900)));
        let asked: Vec<String> = asked.collect();
        for answer in join_all(asked.iter().map(|path| other.get(path))).await {
            answer.expect(200);
        }
    }
    let history = async |client: &crate::support::Client, query: &str| {
        let said = client.get(&format!("/-/history{query}")).await.expect(200).json();
        let questions: Vec<String> = said["questions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|asked| asked["question"].as_str().unwrap().to_owned())
            .collect();
        (said["count"].as_u64().unwrap(), questions)
    };
    let (count, all) = history(&other, "").await;
    assert!(count <= 2 && all.contains(&"/labs?limit=1".to_owned()), "{count}: {all:.300?}");
    let (count, all) = history(&worker, "").await;
    assert!(all.contains(&"/projects?limit=3".to_owned()), "{all:?}");
    let (same, page) = history(&worker, "?limit=1&offset=1").await;
    assert_eq!((same, page), (count, vec![all[1].clone()]));
    for wrong in ["?limit=x", "?offset=-1"] {
        worker.get(&format!("/-/history{wrong}")).await.expect(400);
    }
    let size = std::fs::metadata(proxy.database()).unwrap().len();
    assert!(size < 8 << 20, "{size} bytes");
}
