//! What is written to the miniature Alyx is seen by who reads next, also in the records that show it
//! (ALYX.md 7); and its network can be cut and restored.

use crate::wire::Wire;
use alyx_proxy::miniature::{self as demo, Miniature, Options};
use serde_json::{Value, json};

struct Client {
    wire: Wire,
    token: String,
    _alyx: Miniature,
}

impl Client {
    async fn new() -> Self {
        let options = Options::default();
        let token = options.users[0].token.clone();
        let alyx = demo::start(options).await.unwrap();
        Self { wire: Wire::open(alyx.addr()), token, _alyx: alyx }
    }

    fn ask(&mut self, method: &str, path: &str, content_type: &str, body: &str) -> (u16, Value) {
        let headers = [
            ("Host", "localhost:8041".to_owned()),
            ("Accept", "application/json".to_owned()),
            ("Authorization", format!("Token {}", self.token)),
            ("Content-Type", content_type.to_owned()),
        ];
        let headers: Vec<(String, String)> =
            headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let answer = self.wire.ask(method, path, &headers, body);
        (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null))
    }

    fn get(&mut self, path: &str) -> Value {
        let (status, body) = self.ask("GET", path, "application/json", "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn send(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.ask(method, path, "application/json", &body.to_string())
    }

    fn count(&mut self, path: &str) -> u64 {
        self.get(path)["count"].as_u64().unwrap()
    }
}

fn id(record: &Value) -> String {
    let text = record["id"].as_str().or_else(|| record["url"].as_str()).unwrap();
    text.rsplit('/').next().unwrap().to_owned()
}

fn ids(records: &Value) -> Vec<String> {
    records.as_array().unwrap().iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_session_is_listed_and_changed_and_deleted() {
    let mut client = Client::new().await;
    let before = client.count("/sessions?subject=KS004&limit=1");
    let new = json!({ "subject": "KS004", "number": 7, "start_time": "2026-11-22T10:00:00", "projects": [] });
    let (status, session) = client.send("POST", "/sessions", &new);
    assert_eq!((status, &session["lab"], &session["users"]), (201, &json!("cortexlab"), &json!(["demo"])));
    assert_eq!(session["url"], json!(format!("http://localhost:8041/sessions/{}", id(&session))));
    assert_eq!(client.count("/sessions?subject=KS004&limit=1"), before + 1);
    let listed = client.get("/sessions?number=7&subject=KS004&date_range=2026-11-22,2026-11-22");
    assert_eq!(ids(&listed["results"]), [id(&session)]);
    let path = format!("/sessions/{}", id(&session));
    let (status, changed) =
        client.send("PATCH", &path, &json!({ "qc": "fail", "json": { "a": [1] }, "number": 8 }));
    assert_eq!((status, &changed["qc"], &changed["json"]), (200, &json!("FAIL"), &json!({ "a": [1] })));
    assert!(changed["auto_datetime"].as_str() > session["auto_datetime"].as_str());
    assert_eq!(client.count("/sessions?qc=FAIL&number=8&json=a__0,1"), 1);
    assert_eq!(client.send("DELETE", &path, &Value::Null), (204, Value::Null));
    assert_eq!(client.ask("GET", &path, "", "").0, 404);
    assert_eq!(client.count("/sessions?subject=KS004&limit=1"), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn insertions_trajectories_and_channels_are_shown_by_their_session() {
    let mut client = Client::new().await;
    let listed = client.get("/sessions?subject=KS004&limit=1");
    let session = id(&listed["results"][0]);
    let known = client.get(&format!("/sessions/{session}"))["probe_insertion"].as_array().unwrap().len();
    let (status, insertion) = client.send(
        "POST",
        "/insertions",
        &json!({ "session": session, "name": "probe09", "model": "no such probe" }),
    );
    let wrong = "Object with name=no such probe does not exist.";
    assert_eq!((status, &insertion["model"]), (400, &json!([wrong])));
    let (status, insertion) =
        client.send("POST", "/insertions", &json!({ "session": session, "name": "probe09" }));
    assert_eq!((status, &insertion["session_info"]["subject"]), (201, &json!("KS004")));
    let shown = client.get(&format!("/sessions/{session}"))["probe_insertion"].clone();
    assert_eq!(shown.as_array().unwrap().len(), known + 1);
    assert!(ids(&shown).contains(&id(&insertion)));
    let place = json!({
        "probe_insertion": id(&insertion), "x": -1.5, "y": 2, "z": 0, "depth": 3, "theta": 0, "phi": 0, "roll": 0,
        "provenance": "Ephys aligned histology track",
    });
    let (status, trajectory) = client.send("POST", "/trajectories", &place);
    assert_eq!((status, &trajectory["probe_name"]), (201, &json!("probe09")));
    assert_eq!(trajectory["session"]["id"], json!(session));
    let channel =
        |axial: f64| json!({ "trajectory_estimate": id(&trajectory), "brain_region": 567, "axial": axial });
    let (status, channels) = client.send("POST", "/channels", &json!([channel(20.0), channel(40.0)]));
    assert_eq!((status, channels.as_array().unwrap().len()), (201, 2));
    assert_eq!(client.count(&format!("/channels?trajectory_estimate={}", id(&trajectory))), 2);
    let inside = client.get(&format!("/insertions?atlas_acronym=CH&session={session}"));
    assert!(ids(&inside["results"]).contains(&id(&insertion)));
    let (status, _) = client.send("PATCH", &format!("/sessions/{session}"), &json!({ "number": 77 }));
    assert_eq!(status, 200);
    assert_eq!(client.get(&format!("/insertions/{}", id(&insertion)))["session_info"]["number"], json!(77));
    assert_eq!(client.send("DELETE", &format!("/insertions/{}", id(&insertion)), &Value::Null).0, 204);
    assert_eq!(client.ask("GET", &format!("/trajectories/{}", id(&trajectory)), "", "").0, 404);
    assert_eq!(client.count(&format!("/channels?django=trajectory_estimate__id,{}", id(&trajectory))), 0);
    let shown = client.get(&format!("/sessions/{session}"))["probe_insertion"].clone();
    assert_eq!(shown.as_array().unwrap().len(), known);
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_come_as_json_and_as_multipart() {
    let mut client = Client::new().await;
    let session = id(&client.get("/sessions?limit=1")["results"][0]);
    let note = json!({ "content_type": "session", "object_id": session, "text": "héllo", "user": "alba" });
    let (status, first) = client.send("POST", "/notes", &note);
    assert_eq!(
        (status, &first["content_type"], &first["user"]),
        (201, &json!("actions.session"), &json!("alba"))
    );
    let part = |name: &str, extra: &str, value: &str| {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"{extra}\r\n\r\n{value}\r\n")
    };
    let body = [
        part("content_type", "", "session"),
        part("object_id", "", &session),
        part("text", "", "a picture"),
        part("json", "", "{\"a\":1}"),
        part("image", "; filename=\"p.png\"", "PNG"),
        "--B--\r\n".to_owned(),
    ]
    .concat();
    let (status, second) = client.ask("POST", "/notes", "multipart/form-data; boundary=B", &body);
    assert_eq!((status, &second["json"], &second["user"]), (201, &json!({ "a": 1 }), &json!("demo")));
    let shown = ids(&client.get(&format!("/sessions/{session}"))["notes"]);
    assert!(shown.contains(&id(&first)) && shown.contains(&id(&second)), "{shown:?}");
    assert_eq!(client.send("DELETE", &format!("/notes/{}", id(&first)), &Value::Null).0, 204);
    assert!(!ids(&client.get(&format!("/sessions/{session}"))["notes"]).contains(&id(&first)));
    let (status, refusal) = client.send("PATCH", &format!("/notes/{}", id(&second)), &json!({ "text": "x" }));
    assert_eq!((status, &refusal["detail"]), (500, &json!("'content_type'")));
}

#[tokio::test(flavor = "multi_thread")]
async fn weighings_and_water_are_shown_by_their_subject() {
    let mut client = Client::new().await;
    let session = id(&client.get("/sessions?subject=KS004&limit=1")["results"][0]);
    let (status, weighing) =
        client.send("POST", "/weighings", &json!({ "subject": "KS004", "weight": 23.4 }));
    assert_eq!((status, &weighing["weight"]), (201, &json!(23.4)));
    let water =
        json!({ "subject": "KS004", "water_administered": 1.2, "water_type": "Water", "session": session });
    let (status, water) = client.send("POST", "/water-administrations", &water);
    assert_eq!(status, 201, "{water}");
    let subject = client.get("/subjects/KS004");
    assert!(ids(&subject["weighings"]).contains(&id(&weighing)));
    assert!(ids(&subject["water_administrations"]).contains(&id(&water)));
    let shown = client.get(&format!("/sessions/{session}"));
    assert!(ids(&shown["wateradmin_session_related"]).contains(&id(&water)));
    assert_eq!(client.send("DELETE", &format!("/weighings/{}", id(&weighing)), &Value::Null).0, 204);
    assert!(!ids(&client.get("/subjects/KS004")["weighings"]).contains(&id(&weighing)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_subject_is_renamed_everywhere() {
    let mut client = Client::new().await;
    let sessions = client.count("/sessions?subject=KS005&limit=1");
    assert!(sessions > 0);
    let (status, subject) = client.send("PATCH", "/subjects/KS005", &json!({ "nickname": "KS 005" }));
    assert_eq!((status, &subject["url"]), (200, &json!("http://localhost:8041/subjects/KS%20005")));
    assert_eq!(client.ask("GET", "/subjects/KS005", "", "").0, 404);
    assert_eq!(client.get("/subjects/KS%20005")["nickname"], json!("KS 005"));
    assert_eq!(client.count("/sessions?subject=KS+005&limit=1"), sessions);
    assert_eq!(client.count("/insertions?subject=KS005"), 0);
    assert_eq!(client.count("/sessions?subject=KS005"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_files_are_datasets_of_their_session() {
    let mut client = Client::new().await;
    let listed = client.get("/sessions?subject=KS004&django=start_time__isnull,False&limit=1");
    let session = &listed["results"][0];
    let date = &session["start_time"].as_str().unwrap()[..10];
    let path = format!("KS004/{date}/{:03}", session["number"].as_i64().unwrap());
    let body = json!({
        "path": path, "name": "flatiron_cortexlab", "filenames": ["alf/_ibl_trials.extra.npy", "alf/spikes.times.npy"],
        "filesizes": [10, 20], "hashes": ["aa", "bb"], "created_by": "alba",
    });
    let (status, refusal) = client.send("POST", "/register-file", &body);
    assert_eq!(status, 501, "a dataset type that is not known is refused: {refusal}");
    let mut known = body.clone();
    known["filenames"] = json!("alf/spikes.times.npy");
    let (status, registered) = client.send("POST", "/register-file", &known);
    assert_eq!((status, &registered[0]["dataset_type"]), (201, &json!("spikes.times")), "{registered}");
    let dataset = id(&registered[0]);
    let shown = client.get(&format!("/sessions/{}", id(session)))["data_dataset_session_related"].clone();
    assert!(ids(&shown).contains(&dataset));
    let record = client.get(&format!("/datasets/{dataset}"));
    assert_eq!((&record["hash"], &record["file_size"]), (&json!("aa"), &json!(10)));
    let file = record["file_records"][0]["id"].as_str().unwrap().to_owned();
    let (status, changed) = client.send("PATCH", &format!("/files/{file}"), &json!({ "exists": false }));
    assert_eq!((status, &changed["exists"]), (200, &json!(false)));
    let shown = client.get(&format!("/sessions/{}", id(session)))["data_dataset_session_related"].clone();
    assert!(!ids(&shown).contains(&dataset), "a dataset without files on a server is not shown");
    assert_eq!(client.send("DELETE", &format!("/datasets/{dataset}"), &Value::Null).0, 204);
    assert_eq!(client.ask("GET", &format!("/files/{file}"), "", "").0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_fields_of_view_are_created_and_changed() {
    let mut client = Client::new().await;
    let session = id(&client.get("/sessions?limit=1")["results"][0]);
    let task = json!({ "session": session, "status": "Waiting", "name": "T", "level": 0 });
    let (status, task) = client.send("POST", "/tasks", &task);
    assert_eq!((status, &task["status"]), (201, &json!("Waiting")));
    let path = format!("/tasks/{}", id(&task));
    assert_eq!(client.send("PATCH", &path, &json!({ "status": "Complete", "log": "done" })).0, 200);
    assert_eq!(client.count(&format!("/tasks?session={session}&status=complete&name=T")), 1);
    let field = json!({ "session": session, "imaging_type": "mesoscope", "name": "FOV_09" });
    let (status, field) = client.send("POST", "/fields-of-view", &field);
    assert_eq!(status, 201, "{field}");
    assert!(ids(&client.get(&format!("/sessions/{session}"))["field_of_view"]).contains(&id(&field)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_changes_nothing() {
    let mut client = Client::new().await;
    let before = client.get("/subjects/KS004");
    for (method, path, body, status) in [
        ("POST", "/sessions", json!({}), 400),
        ("POST", "/sessions", json!({ "subject": "nobody" }), 400),
        ("PATCH", "/subjects/KS004", json!({ "lab": "nowhere" }), 400),
        ("POST", "/tasks", json!({ "name": "T" }), 501),
        ("PATCH", "/labs/cortexlab", json!({ "name": "other" }), 501),
        ("DELETE", "/sessions/00000000-0000-4000-8000-000000000000", Value::Null, 404),
        ("PUT", "/sessions", json!({}), 405),
    ] {
        let answer = client.send(method, path, &body);
        assert_eq!(answer.0, status, "{method} {path}: {}", answer.1);
    }
    assert_eq!(client.get("/subjects/KS004"), before);
    assert_eq!(client.get("/labs/cortexlab")["name"], json!("cortexlab"));
}
