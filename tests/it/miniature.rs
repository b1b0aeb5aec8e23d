//! The miniature Alyx answers the recordings of a real Alyx exactly, or says that it can't.

use std::collections::{BTreeMap, HashSet};

use crate::wire::Wire;
use alyx_proxy::miniature::{self as demo, Options, User};
use serde_json::Value;

const TOKEN: &str = "d38bebd51cfafb6d836aacba3083d3e4ad139d84";
const HOST: &str = "127.0.0.1:8010";

fn recordings() -> Vec<Value> {
    let file = include_bytes!("../fixtures/recordings.jsonl.zst");
    let text = String::from_utf8(zstd::decode_all(&file[..]).unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The users of the recordings.
fn users() -> Vec<User> {
    let user = |name: &str, password: &str, token: &str, public| User {
        name: name.to_owned(),
        password: password.to_owned(),
        token: token.to_owned(),
        public,
    };
    vec![
        user("admin", "admin-pass-1", "7107022458bc7bf0aefba56b4832fcdfad2ec1fe", false),
        user("oneuser", "one-pass-1", TOKEN, false),
        user("intbrainlab", "international", "24e7ed13c5c06f40817e5eb875caf5b23585a5ec", true),
    ]
}

async fn as_recorded() -> demo::Miniature {
    demo::start(Options { complete: true, users: users(), ..Options::default() }).await.unwrap()
}

/// Asks what the recording asked.
fn ask(wire: &mut Wire, recording: &Value) -> crate::wire::Answer {
    let mut headers = vec![("Host".to_owned(), HOST.to_owned())];
    match recording.get("accept") {
        None => headers.push(("Accept".to_owned(), "application/json".to_owned())),
        Some(Value::String(accept)) => headers.push(("Accept".to_owned(), accept.clone())),
        Some(_) => {}
    }
    match recording.get("authorization") {
        None => headers.push(("Authorization".to_owned(), format!("Token {TOKEN}"))),
        Some(Value::String(text)) => headers.push(("Authorization".to_owned(), text.clone())),
        Some(_) => {}
    }
    for (name, value) in recording["request_headers"].as_object().into_iter().flatten() {
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        headers.push((name.clone(), value.as_str().unwrap().to_owned()));
    }
    let body = recording["request_body"].as_str().unwrap_or_default();
    wire.ask(recording["method"].as_str().unwrap(), recording["path"].as_str().unwrap(), &headers, body)
}

/// Why the answer is not the recorded one.
fn difference(wire: &mut Wire, recording: &Value, answer: &crate::wire::Answer) -> Option<String> {
    let recorded_status = recording["status"].as_u64().unwrap();
    if u64::from(answer.status) != recorded_status {
        return Some(format!("status {} instead of {recorded_status}: {}", answer.status, cut(&answer.body)));
    }
    for name in ["content-type", "vary", "allow", "location", "content-disposition"] {
        let (ours, theirs) = (answer.header(name), recording["headers"][name].as_str());
        if ours != theirs {
            return Some(format!("{name} is {ours:?} instead of {theirs:?}"));
        }
    }
    let path = recording["path"].as_str().unwrap();
    let of_our_own = matches!(path, "/api/schema" | "/docs/")
        || answer.header("content-type") == Some("text/html; charset=utf-8");
    if of_our_own {
        return None;
    }
    if recording["method"] == "HEAD" || recording["body_text"].is_null() {
        let (ours, theirs) =
            (answer.header("content-length"), recording["headers"]["content-length"].as_str());
        return (ours != theirs).then(|| format!("{ours:?} bytes instead of {theirs:?}"));
    }
    let recorded = recording["body_text"].as_str().unwrap();
    if answer.body == recorded {
        return None;
    }
    if recorded_status == 200 && recorded.starts_with("{\"count\"") {
        return another_page(wire, recording, &answer.body, recorded);
    }
    Some(format!("body {} instead of {}", cut(&answer.body), cut(recorded)))
}

/// Where Alyx's order has ties, its page may hold other records of the same places: it must have the
/// same keys in the same order, and its records must be among ours.
fn another_page(wire: &mut Wire, recording: &Value, ours: &str, recorded: &str) -> Option<String> {
    let (head, records) = split_page(ours);
    let (recorded_head, recorded_records) = split_page(recorded);
    if head != recorded_head {
        return Some(format!("page {head} instead of {recorded_head}"));
    }
    let endpoint = recording["tags"][0].as_str().unwrap();
    let keys = |records: &[String]| records.iter().map(|r| order_key(endpoint, r)).collect::<Vec<_>>();
    if keys(&records) != keys(&recorded_records) {
        return Some(format!("order {:?} instead of {:?}", keys(&records), keys(&recorded_records)));
    }
    if head.contains("\"next\":null,\"previous\":null") {
        let (mut ours, mut theirs) = (sorted(&records), sorted(&recorded_records));
        ours.sort_unstable();
        theirs.sort_unstable();
        let differs = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
        return differs.map(|(ours, theirs)| format!("{} instead of {}", cut(ours), cut(theirs)));
    }
    let all = whole_list(wire, recording);
    let missing = sorted(&recorded_records).into_iter().find(|record| !all.contains(record));
    missing.map(|record| format!("lacks {}", cut(&record)))
}

/// Records with their nested arrays sorted, whose order Alyx leaves open (ALYX.md 3.1).
fn sorted(records: &[String]) -> Vec<String> {
    let open = [
        "projects",
        "file_records",
        "datasets",
        "parents",
        "procedures",
        "users",
        "brain_region",
        "genotype",
    ];
    let sort = |record: &String| {
        let Ok(mut value) = serde_json::from_str::<Value>(record) else { return record.clone() };
        for field in open {
            if let Some(items) = value.get_mut(field).and_then(Value::as_array_mut) {
                items.sort_by_key(Value::to_string);
            }
        }
        value.to_string()
    };
    records.iter().map(sort).collect()
}

/// The sort key of a record as far as the record shows it (ALYX.md 1, "ordering").
fn order_key(endpoint: &str, record: &str) -> Vec<Value> {
    let record: Value =
        serde_json::from_str(&record.replace("NaN", "null").replace("Infinity", "null")).unwrap();
    crate::judge::order_key(endpoint, &record)
}

/// The head of a page, and its records.
fn split_page(body: &str) -> (String, Vec<String>) {
    let (head, results) = body.split_once("\"results\":[").unwrap();
    let mut records = Vec::new();
    let (mut depth, mut start, mut quoted, mut escaped) = (0, 0, false, false);
    for (at, byte) in results.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            b'}' | b']' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    records.push(results[start..=at].to_owned());
                }
            }
            _ => {}
        }
    }
    (head.to_owned(), records)
}

/// All records of the recording's query, over all pages.
fn whole_list(wire: &mut Wire, recording: &Value) -> HashSet<String> {
    let path = recording["path"].as_str().unwrap();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let kept: Vec<&str> =
        query.split('&').filter(|p| !p.starts_with("limit=") && !p.starts_with("offset=")).collect();
    let mut all = HashSet::new();
    for page in 0.. {
        let mut asked = recording.clone();
        asked["path"] = format!("{path}?{}&limit=1000&offset={}", kept.join("&"), page * 1000).into();
        let (_, records) = split_page(&ask(wire, &asked).body);
        if records.is_empty() {
            break;
        }
        all.extend(sorted(&records));
    }
    all
}

fn cut(text: &str) -> String {
    text.chars().take(300).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_the_recordings_or_refuses() {
    let alyx = as_recorded().await;
    let mut wire = Wire::open(alyx.addr());
    let mut counts: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for recording in recordings() {
        let answer = ask(&mut wire, &recording);
        let count = counts.entry(recording["tags"][0].as_str().unwrap().to_owned()).or_default();
        if answer.status == 501 {
            count[1] += 1;
            if std::env::var_os("SHOW_REFUSED").is_some() {
                println!("refused {} {}: {}", recording["id"], recording["path"], answer.body);
            }
            continue;
        }
        match difference(&mut wire, &recording, &answer) {
            None => count[0] += 1,
            Some(why) => {
                count[2] += 1;
                wrong.push(format!(
                    "{} {} {}: {why}",
                    recording["id"], recording["method"], recording["path"]
                ));
            }
        }
    }
    println!("{:28} {:>9} {:>9} {:>9}", "", "answered", "refused", "wrong");
    for (endpoint, [answered, refused, wrong]) in &counts {
        println!("{endpoint:28} {answered:9} {refused:9} {wrong:9}");
    }
    let total = |column: usize| counts.values().map(|count| count[column]).sum::<usize>();
    println!("{:28} {:9} {:9} {:9}", "all", total(0), total(1), total(2));
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
    assert!(total(0) >= FLOOR, "only {} of {} answered", total(0), counts.values().flatten().sum::<usize>());
}

/// How many recordings the miniature answered when this was written.
const FLOOR: usize = 2309;
