//! Read, change, write back: whoever does so through the proxy loses nothing of others that it would not lose without.

use serde_json::{Value, json};

use super::support::{
    Answer, Client, Fault, Proxy, Setup,
    records::{CHANGED, Records},
    users,
};

async fn open() -> (Records, Proxy) {
    let records = Records::open().await;
    let proxy = Setup::new(&records.upstream.url()).set("upstream.retries", "0").start().await;
    (records, proxy)
}

fn path(endpoint: &str, key: &str) -> String {
    format!("/{endpoint}/{}", key.replace(' ', "%20"))
}

/// As ONE's `json_field_update`: one key is added to what was read, and the whole column is sent.
fn with_key(read: &Answer, column: &str, key: &str) -> Value {
    let record = read.json();
    let record = record.pointer("/results/0").unwrap_or(&record);
    let mut json = record[column].clone();
    json.as_object_mut().unwrap().insert(key.to_owned(), json!(1));
    json!({ column: json })
}

async fn patch(client: &Client, path: &str, body: &Value) -> Answer {
    client.ask("PATCH", path).json(body).send().await
}

#[track_caller]
fn assert_changed(answer: &Answer, column: &str) {
    assert_eq!(answer.status, 409, "{}", answer.describe());
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    for word in [column, "was not sent", "Read again"] {
        assert!(detail.contains(word), "{word}: {detail}");
    }
    assert_eq!(answer.header("retry-after"), None, "to send it again helps nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_wrote_meanwhile_is_not_written_over() {
    for by_list in [false, true] {
        for (endpoint, key, column) in CHANGED {
            let (records, proxy) = open().await;
            let detail = path(endpoint, key);
            let target = if by_list { format!("/{endpoint}") } else { detail.clone() };
            // Somebody else has read it, and it is stored.
            proxy.client().with(users::ADMIN).get(&target).await.expect(200);
            proxy.get("/labs").await;
            let read = proxy.get(&target).await.expect(200);
            assert!(read.cache().hit(), "{}", read.cache().text);
            records.change(endpoint, key, column, json!({"colleague": 1}));
            let refused = patch(&proxy.client(), &detail, &with_key(&read, column, "own")).await;
            assert_changed(&refused, column);
            assert_eq!(
                (records.writes(), records.now(endpoint, key)[column].clone()),
                (0, json!({"colleague": 1}))
            );
            // Whoever reads again gets Alyx's record, and what is made of that is sent, without another look.
            let read = proxy.get(&target).await.expect(200);
            assert!(!read.cache().hit(), "{target}: {}", read.cache().text);
            let before = records.reads(endpoint);
            patch(&proxy.client(), &detail, &with_key(&read, column, "own")).await.expect(200);
            assert_eq!(records.reads(endpoint), before, "{target}: Alyx itself gave that copy");
            assert_eq!(records.now(endpoint, key)[column], json!({"colleague": 1, "own": 1}), "{target}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_nobody_changed_is_never_refused() {
    for (endpoint, key, column) in CHANGED {
        let (records, proxy) = open().await;
        let detail = path(endpoint, key);
        for target in [format!("/{endpoint}"), detail.clone()] {
            proxy.client().with(users::ADMIN).get(&target).await.expect(200);
        }
        proxy.get("/labs").await;
        let listed = proxy.get(&format!("/{endpoint}")).await.expect(200);
        // The same users in another order are the same; the column is another's business.
        records.change(endpoint, key, "users", json!(["two", "one"]));
        records.change(endpoint, key, "narrative", json!("of a colleague"));
        let before = records.reads(endpoint);
        patch(&proxy.client(), &detail, &with_key(&listed, column, "own")).await.expect(200);
        assert_eq!(records.reads(endpoint), before + 1, "{endpoint}: one look");
        // What lists show in another form than details is compared with a list.
        patch(&proxy.client(), &detail, &json!({"lab": "another"})).await.expect(200);
        if ["sessions", "surgeries"].contains(&endpoint) {
            patch(&proxy.client(), &detail, &json!({"users": ["one"]})).await.expect(200);
        }
        // One's own write is no other's.
        patch(&proxy.client(), &detail, &json!({column: {"own": 2}})).await.expect(200);
        assert_eq!(records.now(endpoint, key)[column], json!({"own": 2}));
        assert_changed(&patch(&proxy.client(), &detail, &json!({"narrative": "own"})).await, "narrative");
        assert_eq!(records.now(endpoint, key)["narrative"], "of a colleague");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_the_same_in_every_spelling_and_a_request_in_every_form() {
    let (records, proxy) = open().await;
    proxy.client().with(users::ADMIN).get("/subjects/KS%20004").await.expect(200);
    proxy.client().with(users::ADMIN).get("/data-repository/lab_repo.1").await.expect(200);
    proxy.get("/labs").await;
    proxy.get("/subjects/K%53%20004?clobber=1").await.expect(200);
    proxy.get("/data-repository/l%61b%5Frepo%2E1?x=1").await.expect(200);
    records.change("subjects", "KS 004", "json", json!({"colleague": 1}));
    records.change("data-repository", "lab_repo.1", "json", json!({"colleague": 1}));
    let client = proxy.client();
    for target in ["/subjects/KS%20%30%304", "/data-repository/lab%5Frepo.1?clobber=1"] {
        for method in ["PATCH", "PUT"] {
            assert_changed(&client.ask(method, target).json(&json!({"json": {}})).send().await, "json");
            assert_changed(&client.ask(method, target).form(&[("json", "{}")]).send().await, "json");
            assert_changed(&client.ask(method, target).multipart(&[("json.a", "1")]).send().await, "json");
            let chunked = client.ask(method, target).json(&json!({"json": {}, "qc": "PASS"}));
            assert_changed(&chunked.send().await, "json");
        }
    }
    assert_eq!(records.writes(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_look_nothing_is_sent() {
    let (records, proxy) = open().await;
    let (endpoint, key, column) = CHANGED[0];
    let detail = path(endpoint, key);
    proxy.client().with(users::ADMIN).get(&detail).await.expect(200);
    proxy.get("/labs").await;
    let read = proxy.get(&detail).await.expect(200);
    let write = with_key(&read, column, "own");
    records.fail(Some(500));
    let refused = patch(&proxy.client(), &detail, &write).await.expect(503);
    assert!(
        refused.header("retry-after").is_some() && refused.text().contains("was not sent"),
        "{}",
        refused.describe()
    );
    records.fail(None);
    records.upstream.behave(Fault::NotJson);
    patch(&proxy.client(), &detail, &write).await.expect(503);
    assert_eq!(records.writes(), 0);
    records.upstream.behave(Fault::None);
    proxy.until_upstream_is("up").await;
    // Of what is gone Alyx speaks for itself.
    records.fail(Some(404));
    patch(&proxy.client(), &detail, &write).await.expect(200);
    // A pause that Alyx asks for is none of a write's business, but of the look before it.
    records.fail(None);
    let read = proxy.get(&format!("/{endpoint}")).await.expect(200);
    let read = if read.cache().hit() { read } else { proxy.get(&format!("/{endpoint}")).await.expect(200) };
    records.fail(Some(429));
    let before = records.writes();
    patch(&proxy.client(), &detail, &with_key(&read, column, "more")).await.expect(503);
    assert_eq!(records.writes(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_written_gets_details_from_alyx_and_nobody_else_pays_for_it() {
    let (records, proxy) = open().await;
    let (endpoint, key, _) = CHANGED[0];
    let detail = path(endpoint, key);
    let reader = |proxy: &Proxy| proxy.client().with(users::ADMIN);
    for _ in 0..3 {
        reader(&proxy).get(&detail).await.expect(200);
    }
    proxy.get("/labs").await;
    assert_eq!(records.reads(endpoint), 1);
    // It writes something of another kind.
    patch(&proxy.client(), &path("subjects", "KS 004"), &json!({"qc": "PASS"})).await.expect(200);
    let writer_reads = async |proxy: &Proxy| {
        records.change(endpoint, key, "qc", json!(records.reads(endpoint)));
        let read = proxy.get(&detail).await.expect(200);
        assert_eq!(read.json()["qc"], records.now(endpoint, key)["qc"], "{}", read.describe());
        let before = records.reads(endpoint);
        for _ in 0..3 {
            assert!(reader(proxy).get(&detail).await.expect(200).cache().hit());
        }
        assert_eq!(records.reads(endpoint), before);
    };
    writer_reads(&proxy).await;
    let proxy = proxy.restart().await;
    writer_reads(&proxy).await;
    // While Alyx is away it gets what there is.
    records.upstream.cut().await;
    proxy.get("/projects").await;
    proxy.until_upstream_is("down").await;
    assert!(proxy.get(&detail).await.expect(200).header("alyx-api-notice").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_after_its_last_write_it_is_a_reader_again() {
    let records = Records::open().await;
    let proxy =
        Setup::new(&records.upstream.url()).with_a_clock().set("freshness.records", "1d").start().await;
    let (endpoint, key, _) = CHANGED[0];
    let detail = path(endpoint, key);
    proxy.get(&detail).await.expect(200);
    patch(&proxy.client(), &path("subjects", "KS 004"), &json!({"qc": "PASS"})).await.expect(200);
    for (shift, hit) in [("+50m", false), ("+70m", true)] {
        proxy.setup().set_clock(shift);
        proxy.get(&detail).await.expect(200);
        assert_eq!(proxy.get(&detail).await.expect(200).cache().hit(), hit, "{shift}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_machine_of_a_user_has_copies_of_its_own() {
    let records = Records::open().await;
    let setup = Setup::new(&records.upstream.url()).set("server.trusted_proxies", "[\"127.0.0.1\"]");
    let proxy = setup.start().await;
    let (endpoint, key, column) = CHANGED[0];
    let detail = path(endpoint, key);
    let at =
        |method: &str, machine: &str| proxy.client().ask(method, &detail).header("x-forwarded-for", machine);
    proxy.client().with(users::ADMIN).get(&detail).await.expect(200);
    proxy.get("/labs").await;
    let read = at("GET", "10.0.0.1").send().await.expect(200);
    records.change(endpoint, key, column, json!({"colleague": 1}));
    // The other machine has Alyx's own, and is not asked about the first one's.
    let current = at("GET", "10.0.0.2").header("cache-control", "no-cache").send().await.expect(200);
    assert_changed(&at("PATCH", "10.0.0.1").json(&with_key(&read, column, "own")).send().await, column);
    at("PATCH", "10.0.0.2").json(&with_key(&current, column, "other")).send().await.expect(200);
    // Nor does what that one wrote count as the first one's.
    assert_changed(&at("PATCH", "10.0.0.1").json(&with_key(&read, column, "own")).send().await, column);
    // Whoever writes from a third address had its copy at one of the others.
    let third = at("PATCH", "10.0.0.3").json(&json!({"narrative": "x"})).send().await;
    assert_eq!(third.status, 200, "{}", third.describe());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_forgotten_is_as_none() {
    let records = Records::open().await;
    let proxy = Setup::new(&records.upstream.url()).set("cache.given_copies", "0").start().await;
    let (endpoint, key, column) = CHANGED[0];
    let detail = path(endpoint, key);
    proxy.get(&detail).await.expect(200);
    let read = proxy.get(&detail).await.expect(200);
    let before = records.reads(endpoint);
    records.change(endpoint, key, column, json!({"colleague": 1}));
    patch(&proxy.client(), &detail, &with_key(&read, column, "own")).await.expect(200);
    assert_eq!((records.reads(endpoint), records.writes()), (before, 1));
}
