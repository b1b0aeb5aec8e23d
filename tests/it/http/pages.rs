//! A walk through a list never mixes pages of two times: it is of one, or it begins anew.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use super::support::{Answer, Asked, Proxy, Reply, Setup, Upstream, users};

/// A list whose records come and go on command, and its upstream.
struct List {
    upstream: Upstream,
    records: Arc<Mutex<Vec<u32>>>,
}

impl List {
    async fn open() -> (Self, Proxy) {
        let records = Arc::new(Mutex::new((0..7).collect::<Vec<u32>>()));
        let listed = records.clone();
        let upstream = Upstream::start(Arc::new(move |asked| page(asked, &listed.lock().unwrap()))).await;
        let proxy = Setup::new(&upstream.url()).start().await;
        (Self { upstream, records }, proxy)
    }

    /// Somebody adds one elsewhere, which stands first.
    fn add(&self, record: u32) {
        self.records.lock().unwrap().insert(0, record);
    }

    fn now(&self) -> BTreeSet<u32> {
        self.records.lock().unwrap().iter().copied().collect()
    }
}

/// As Django REST framework does: of repeated limits and offsets the last counts, and links repeat all parameters.
fn page(asked: &Asked, records: &[u32]) -> Reply {
    let number = |name: &str| asked.parameter(name).and_then(|text| text.parse::<usize>().ok());
    let (limit, offset) = (number("limit").unwrap_or(250), number("offset").unwrap_or(0));
    let link = |offset: usize| {
        let mut query: Vec<_> =
            asked.query().into_iter().filter(|(name, _)| name != "limit" && name != "offset").collect();
        query.extend([("limit".to_owned(), limit.to_string()), ("offset".to_owned(), offset.to_string())]);
        query.sort();
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        json!(format!("{}{}?{query}", asked.base(), asked.path()))
    };
    let results: Vec<Value> =
        records.iter().skip(offset).take(limit).map(|record| json!({"id": record})).collect();
    let next = if offset + limit < records.len() { link(offset + limit) } else { Value::Null };
    let previous = if offset > 0 { link(offset.saturating_sub(limit)) } else { Value::Null };
    let body = json!({"count": records.len(), "next": next, "previous": previous, "results": results});
    Reply::new(200, "application/json", body.to_string()).header("vary", "Accept, Cookie")
}

/// How a client asks for the page after one: what it adds to `next`.
const SPELLINGS: [&str; 4] = ["", "&lab=x", "&lab=x&limit=3", "&lab=%78"];

const FIRST: &str = "/sessions?lab=x&limit=3";

/// The target that `next` names, spelt as a client does.
fn next(page: &Answer, spelling: &str) -> Option<String> {
    let next = page.json()["next"].as_str()?.to_owned();
    let at = next.find("/sessions").unwrap();
    Some(format!("{}{spelling}", &next[at..]))
}

fn ids(page: &Answer) -> Vec<u32> {
    let body = page.json();
    let results = body["results"].as_array().unwrap();
    results.iter().map(|record| u32::try_from(record["id"].as_u64().unwrap()).unwrap()).collect()
}

/// Walks to the end; the records, or where it was told to begin anew.
async fn walk(proxy: &Proxy, user: users::User, first: Answer, spelling: &str) -> Result<Vec<u32>, Answer> {
    let (mut page, mut walked) = (first, Vec::new());
    loop {
        walked.extend(ids(&page));
        let Some(target) = next(&page, spelling) else { return Ok(walked) };
        page = proxy.client().with(user).get(&target).await;
        if page.status != 200 {
            return Err(page);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_page_from_here_and_a_later_one_from_alyx_are_of_one_time() {
    for spelling in SPELLINGS {
        let (list, proxy) = List::open().await;
        for user in users::ALL {
            proxy.client().with(user).get("/labs").await.expect(200);
        }
        // Somebody has looked at the first page alone.
        proxy.client().with(users::ADMIN).get(FIRST).await.expect(200);
        // Nothing has changed: one more look, and the walk goes on.
        let first = proxy.client().with(users::PUBLIC).get(FIRST).await.expect(200);
        assert!(first.cache().hit(), "{}", first.cache().text);
        let second =
            proxy.client().with(users::PUBLIC).get(&next(&first, spelling).unwrap()).await.expect(200);
        assert_eq!(list.upstream.count("/sessions"), 3, "{spelling}: {}", second.cache().text);
        assert_eq!(ids(&second), [3, 4, 5]);
        // The third page is not stored, and one was added meanwhile.
        let first = proxy.get(FIRST).await.expect(200);
        assert!(first.cache().hit(), "{}", first.cache().text);
        list.add(100);
        let refused = walk(&proxy, users::ONEUSER, first, spelling).await.unwrap_err();
        assert_eq!(refused.status, 409, "{spelling}: {}", refused.describe());
        assert!(refused.text().contains("from its beginning"), "{}", refused.describe());
        // From its beginning it is one list again, for everybody.
        for user in [users::ONEUSER, users::PUBLIC, users::ADMIN] {
            let first = proxy.client().with(user).get(FIRST).await.expect(200);
            let walked = walk(&proxy, user, first, spelling).await.unwrap();
            assert_eq!((walked.len(), walked.into_iter().collect()), (8, list.now()), "{spelling}");
        }
        let before = list.upstream.count("/sessions");
        let first = proxy.get(FIRST).await.expect(200);
        walk(&proxy, users::ONEUSER, first, spelling).await.unwrap();
        assert_eq!(list.upstream.count("/sessions"), before, "{spelling}: all of it is stored");
    }
}

/// A record goes and another comes: the count says nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_equal_counts_are_not_of_one_time_therefore() {
    let (list, proxy) = List::open().await;
    for user in users::ALL {
        proxy.client().with(user).get("/labs").await.expect(200);
    }
    proxy.client().with(users::ADMIN).get(FIRST).await.expect(200);
    list.add(100);
    list.records.lock().unwrap().pop();
    // Somebody looks at a page in between, which is stored.
    proxy.client().with(users::PUBLIC).get("/sessions?lab=x&limit=3&offset=3").await.expect(200);
    let first = proxy.get(FIRST).await.expect(200);
    let walked = walk(&proxy, users::ONEUSER, first, "").await.unwrap();
    assert_eq!((walked.len(), walked.into_iter().collect()), (7, list.now()));
    // And the same where it is the walker that has the older page.
    let first = proxy.client().with(users::ADMIN).get(FIRST).await.expect(200);
    list.add(101);
    list.records.lock().unwrap().pop();
    proxy.client().with(users::PUBLIC).ask("GET", FIRST).header("cache-control", "no-cache").send().await;
    let walked = walk(&proxy, users::ADMIN, first, "").await;
    assert_eq!(walked.unwrap_err().status, 409);
}

/// What is refreshed behind a reader would be of another time than the pages that come after it.
#[tokio::test(flavor = "multi_thread")]
async fn one_page_of_many_is_not_refreshed_behind() {
    let (list, _) = List::open().await;
    let proxy = Setup::new(&list.upstream.url()).set("freshness.records", "1s").start().await;
    for (target, behind) in [(FIRST, false), ("/sessions?lab=x", true)] {
        proxy.get(target).await.expect(200);
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
        assert_eq!(proxy.get(target).await.expect(200).cache().hit(), behind, "{target}");
    }
}
