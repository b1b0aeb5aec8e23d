//! Every write that the miniature Alyx takes, made through the proxy: whatever another client reads after it is what
//! Alyx itself says then (ALYX.md 7). Nothing here says which answers a write changes; Alyx shows it.

use std::collections::BTreeMap;

use alyx_proxy::miniature::{Miniature, Options};
use futures_util::StreamExt;
use serde_json::Value;

use crate::support::{Answer, Client, Proxy, users};

/// A write; `{name}` stands for the key of a record that is known by this name.
struct Write {
    method: &'static str,
    path: &'static str,
    body: &'static str,
    /// The name of the record that it creates.
    creates: Option<&'static str>,
}

const fn write(method: &'static str, path: &'static str, body: &'static str) -> Write {
    Write { method, path, body, creates: None }
}

const fn create(name: &'static str, path: &'static str, body: &'static str) -> Write {
    Write { method: "POST", path, body, creates: Some(name) }
}

/// In this order: later ones write what earlier ones have created.
const WRITES: &[Write] = &[
    create(
        "new_session",
        "/sessions",
        r#"{"subject":"KS004","number":7,"start_time":"2026-11-22T10:00:00","projects":[],"task_protocol":"new"}"#,
    ),
    write("PATCH", "/sessions/{session}", r#"{"narrative":"as written","task_protocol":"another"}"#),
    write("PATCH", "/sessions/{session}", r#"{"json":{"a":[1,2.50]},"extended_qc":{"b":1},"qc":"FAIL"}"#),
    write(
        "PUT",
        "/sessions/{new_session}",
        r#"{"subject":"KS004","number":8,"start_time":"2026-11-22T11:00:00"}"#,
    ),
    create("new_insertion", "/insertions", r#"{"session":"{session}","name":"probe09"}"#),
    write("PATCH", "/insertions/{new_insertion}", r#"{"json":{"qc":"PASS"}}"#),
    write("PATCH", "/insertions/{insertion}", r#"{"json":{"extended_qc":{"a":1}}}"#),
    create(
        "new_trajectory",
        "/trajectories",
        r#"{"probe_insertion":"{new_insertion}","x":-1.5,"y":2,"z":0,"depth":3,"theta":0,"phi":0,"roll":0,
            "provenance":"Ephys aligned histology track"}"#,
    ),
    write("PATCH", "/trajectories/{trajectory}", r#"{"json":{"aligned":true}}"#),
    write(
        "POST",
        "/channels",
        r#"[{"trajectory_estimate":"{new_trajectory}","brain_region":567,"axial":20},
            {"trajectory_estimate":"{new_trajectory}","brain_region":567,"axial":40}]"#,
    ),
    write("PATCH", "/channels/{channel}", r#"{"axial":12.5}"#),
    create(
        "new_field",
        "/fields-of-view",
        r#"{"session":"{session}","imaging_type":"mesoscope","name":"FOV_09"}"#,
    ),
    create(
        "note",
        "/notes",
        r#"{"content_type":"session","object_id":"{session}","text":"a note","user":"oneuser"}"#,
    ),
    write(
        "PATCH",
        "/notes/{note}",
        r#"{"content_type":"session","object_id":"{session}","text":"another text"}"#,
    ),
    write("DELETE", "/notes/{note}", ""),
    create("task", "/tasks", r#"{"session":"{session}","status":"Waiting","name":"T","level":0}"#),
    write("PATCH", "/tasks/{task}", r#"{"status":"Complete","log":"done"}"#),
    write("DELETE", "/tasks/{task}", ""),
    create("weighing", "/weighings", r#"{"subject":"KS004","weight":23.4}"#),
    write("DELETE", "/weighings/{weighing}", ""),
    create(
        "water",
        "/water-administrations",
        r#"{"subject":"KS004","water_administered":1.2,"water_type":"Water","session":"{session}"}"#,
    ),
    write("PATCH", "/water-administrations/{water}", r#"{"water_administered":1.3}"#),
    write("DELETE", "/water-administrations/{water}", ""),
    create(
        "registered",
        "/register-file",
        r#"{"path":"KS004/{day}/{number}","name":"flatiron_cortexlab","filenames":"alf/spikes.times.npy",
            "filesizes":[10],"hashes":["aa"]}"#,
    ),
    write("PATCH", "/datasets/{dataset}", r#"{"hash":"0123"}"#),
    write("PATCH", "/files/{file}", r#"{"exists":false}"#),
    write("DELETE", "/datasets/{registered}", ""),
    write("PATCH", "/data-repository/flatiron_cortexlab", r#"{"json":{"status":"full"}}"#),
    write("PATCH", "/subjects/KS004", r#"{"json":{"a":1}}"#),
    write("DELETE", "/trajectories/{new_trajectory}", ""),
    write("DELETE", "/insertions/{new_insertion}", ""),
    write("PATCH", "/subjects/KS005", r#"{"nickname":"KS 005"}"#),
    write("DELETE", "/sessions/{new_session}", ""),
    write("DELETE", "/sessions/{session}", ""),
];

/// What is read before and after each of them.
const READS: &[&str] = &[
    "/sessions?limit=20",
    "/sessions?subject=KS004",
    "/sessions?subject=KS005",
    "/sessions?task_protocol=another",
    "/sessions?qc=FAIL&subject=KS004",
    "/sessions?json=a__0,1",
    "/sessions?dataset_types=spikes.times&subject=KS004",
    "/sessions?atlas_acronym=CH&subject=KS004",
    "/sessions/{session}",
    "/sessions/{new_session}",
    "/insertions?session={session}",
    "/insertions?subject=KS004",
    "/insertions?subject=KS005",
    "/insertions/{insertion}",
    "/insertions/{new_insertion}",
    "/trajectories?probe_insertion={insertion}",
    "/trajectories?session={session}",
    "/trajectories/{trajectory}",
    "/trajectories/{new_trajectory}",
    "/channels?trajectory_estimate={trajectory}&limit=10",
    "/channels?trajectory_estimate={new_trajectory}",
    "/channels/{channel}",
    "/chronic-insertions",
    "/fields-of-view?session={session}",
    "/fields-of-view?limit=10",
    "/fov-location?limit=10",
    "/datasets?session={session}",
    "/datasets?subject=KS004&limit=20",
    "/datasets/{dataset}",
    "/files?dataset={dataset}",
    "/files?limit=10",
    "/files/{file}",
    "/notes?django=object_id,{session}",
    "/notes?limit=10",
    "/tasks?session={session}",
    "/tasks?limit=10",
    "/weighings?nickname=KS004",
    "/water-administrations?nickname=KS004",
    "/water-restricted-subjects",
    "/subjects?lab=cortexlab",
    "/subjects/KS004",
    "/subjects/KS005",
    "/subjects/KS%20005",
    "/surgeries?limit=10",
    "/users/oneuser",
    "/data-repository",
    "/data-repository/flatiron_cortexlab",
    "/tags",
    "/revisions",
];

/// No write here changes them: they must not cost Alyx a request.
const UNRELATED: &[&str] =
    &["/brain-regions?limit=3", "/brain-regions/567", "/dataset-types", "/data-formats", "/procedures"];

type Names = BTreeMap<&'static str, String>;

fn fill(template: &str, names: &Names) -> String {
    names.iter().fold(template.to_owned(), |text, (name, key)| text.replace(&format!("{{{name}}}"), key))
}

/// The reads of records that are known so far.
fn reads(names: &Names) -> Vec<String> {
    READS.iter().map(|read| fill(read, names)).filter(|read| !read.contains('{')).collect()
}

async fn start() -> (Miniature, Proxy) {
    let alyx = crate::support::miniature::start(Options::default()).await;
    let proxy = Proxy::start(&alyx.url()).await;
    (alyx, proxy)
}

/// The last segment of a record's `id` or `url`, or of the first one's in a list.
fn key(body: &Value) -> String {
    let record = body.pointer("/results/0").or(body.get(0)).unwrap_or(body);
    let text = record["id"].as_str().or(record["url"].as_str());
    text.unwrap_or_else(|| panic!("a record with a key: {body}")).rsplit('/').next().unwrap().to_owned()
}

/// A session of KS004 that has everything, and what hangs on it.
async fn names(alyx: &Client) -> Names {
    let get = async |path: &str| alyx.get(path).await.expect(200).json();
    let mut names = Names::new();
    let trajectories = get("/trajectories?lab=cortexlab&subject=KS004").await;
    for trajectory in trajectories["results"].as_array().unwrap() {
        let channels = get(&format!("/channels?trajectory_estimate={}&limit=1", key(trajectory))).await;
        if channels["count"] != 0 {
            names.insert("trajectory", key(trajectory));
            names.insert("channel", key(&channels));
            names.insert("insertion", trajectory["probe_insertion"].as_str().unwrap().to_owned());
            names.insert("session", trajectory["session"]["id"].as_str().unwrap().to_owned());
            break;
        }
    }
    let session = names.get("session").expect("an insertion of KS004 with channels").clone();
    let dataset = get(&format!("/datasets?session={session}&limit=1")).await;
    names.insert("dataset", key(&dataset));
    names.insert("file", dataset["results"][0]["file_records"][0]["id"].as_str().unwrap().to_owned());
    let session = get(&format!("/sessions/{session}")).await;
    names.insert("day", session["start_time"].as_str().unwrap()[..10].to_owned());
    names.insert("number", format!("{:03}", session["number"].as_u64().unwrap()));
    names
}

/// Status and body.
type Said = (u16, String);

fn said(answer: &Answer) -> Said {
    (answer.status.as_u16(), answer.text().to_owned())
}

/// What this client is told now.
async fn told(client: &Client, names: &Names) -> BTreeMap<String, Said> {
    let asking = reads(names).into_iter().map(async |read| (read.clone(), said(&client.get(&read).await)));
    futures_util::stream::iter(asking).buffer_unordered(8).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_each_write_everybody_reads_what_alyx_says() {
    let (alyx, proxy) = start().await;
    let direct = Client::new(alyx.addr());
    let (writer, reader) = (proxy.client(), proxy.client().with(users::ADMIN));
    let mut names = names(&direct).await;
    for read in UNRELATED {
        reader.get(read).await.expect(200);
    }
    // What was read after one write is what is stored when the next one comes.
    told(&reader, &names).await;
    let (mut before, mut wrong) = (told(&direct, &names).await, Vec::new());
    for Write { method, path, body, creates } in WRITES {
        let (path, body) = (fill(path, &names), fill(body, &names));
        let about = format!("{method} {path}");
        let ask = writer.ask(method, &path);
        let ask = if body.is_empty() { ask } else { ask.body("application/json", body) };
        let answer = ask.send().await;
        let success = match *method {
            "POST" => 201,
            "DELETE" => 204,
            _ => 200,
        };
        assert_eq!(answer.status, success, "{about}: {}", answer.describe());
        names.extend(creates.map(|name| (name, key(&answer.json()))));

        let (after, read) = tokio::join!(told(&direct, &names), told(&reader, &names));
        assert!(
            before.iter().any(|(read, said)| after[read] != *said),
            "{about}: nothing that is read shows it"
        );
        for (target, (status, body)) in &after {
            let says = (*status, body.replace(&alyx.url(), &proxy.url()));
            if read[target] != says {
                wrong.push(format!("{about}: {target}: {:.300?} instead of {says:.300?}", read[target]));
            }
        }
        before = after;
        for read in UNRELATED {
            let answer = reader.get(read).await.expect(200);
            assert!(answer.cache().hit(), "{about}: {read}: {}", answer.cache().text);
        }
    }
    assert!(wrong.is_empty(), "{} are of before the write:\n  {}", wrong.len(), wrong.join("\n  "));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_of_this_test_is_one_that_the_miniature_answers() {
    let (alyx, _proxy) = start().await;
    let direct = Client::new(alyx.addr());
    let names = names(&direct).await;
    for read in reads(&names) {
        let status = direct.get(&read).await.status.as_u16();
        let later = read == "/subjects/KS%20005";
        assert_eq!(status, if later { 404 } else { 200 }, "{read}");
    }
}
