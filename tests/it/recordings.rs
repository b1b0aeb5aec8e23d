//! Acceptance 3: what a real Alyx said, the proxy says too — online byte for byte, and offline again so for all
//! that is stored.
//!
//! Three recordings are of another name of the host, which reaches the proxy and not Alyx; they are compared
//! with the plain recording of the same question, its links moved to the name that was used.

use std::collections::BTreeMap;

use crate::support::{
    Answer, Client, Proxy, Recording, Recordings, Setup, Upstream, client::Ask, command, recordings::BASE,
};
use alyx_proxy::alyx::{Endpoint, filterset as asking, query_string};
use futures_util::StreamExt;

/// Clients at once. Identical questions among them become one upstream, which must not show.
const AT_ONCE: usize = 8;

async fn replay() -> (std::sync::Arc<Recordings>, Upstream) {
    let recordings = Recordings::load();
    let upstream = Upstream::start(recordings.handler()).await;
    (recordings, upstream)
}

/// The recorded request, for a server at `client`'s address.
fn ask(client: &Client, recording: &Recording) -> Ask {
    let client = match recording.authorization() {
        Some(authorization) => client.with_authorization(&authorization),
        None => client.anonymous(),
    };
    let mut ask = client.ask(&recording.method, &recording.path).header("accept", recording.accept());
    if let Some(body) = &recording.request_body {
        let kind = recording.request_header("content-type").expect("a body has a type");
        ask = ask.body(kind, body.clone());
    }
    for (name, value) in recording.request_headers.iter().flatten() {
        ask = ask.header(name, value);
    }
    ask
}

/// What the proxy must answer: the recording's own status, headers and body, or those of another recording.
struct Expected<'a> {
    recording: &'a Recording,
    base: String,
}

impl<'a> Expected<'a> {
    fn of(recording: &'a Recording, recordings: &'a Recordings, proxy: &Proxy) -> Self {
        let base =
            recording.request_header("host").map_or_else(|| proxy.url(), |host| format!("http://{host}"));
        let plain = |other: &&Recording| {
            other.path == recording.path
                && ["application/json", "*/*"].contains(&other.accept())
                && other.status == 200
                && !other.tagged("host")
        };
        let said = if recording.tagged("host") { recordings.iter().find(plain).unwrap() } else { recording };
        Self { recording: said, base }
    }

    /// What is wrong with the answer, if anything is.
    fn differs(&self, answer: &Answer) -> Option<String> {
        let Self { recording, base } = self;
        if answer.status != recording.status {
            return Some(format!("status {} instead of {}", answer.status, recording.status));
        }
        for name in ["content-type", "allow", "content-disposition"] {
            let (is, should) = (answer.header(name), recording.headers.get(name).map(String::as_str));
            if is != should {
                return Some(format!("{name}: {is:?} instead of {should:?}"));
            }
        }
        let location = recording.headers.get("location").map(|to| to.replace(BASE, base));
        if answer.header("location") != location.as_deref() {
            return Some(format!("location: {:?} instead of {location:?}", answer.header("location")));
        }
        // The proxy negotiates the encoding and asks for a token on its own, and says so beside what Alyx says.
        let names = |vary: &str| -> Vec<String> {
            vary.split(',').map(|n| n.trim().to_ascii_lowercase()).filter(|n| !n.is_empty()).collect()
        };
        let varies: Vec<String> =
            answer.headers.get_all("vary").iter().flat_map(|v| names(v.to_str().unwrap())).collect();
        let should = names(recording.headers.get("vary").map_or("", String::as_str));
        let own = |name: &&String| {
            !["accept-encoding", "authorization"].contains(&name.as_str()) && !should.contains(name)
        };
        if !should.iter().all(|name| varies.contains(name)) || varies.iter().any(|name| own(&name)) {
            return Some(format!("vary: {varies:?} instead of {should:?}"));
        }
        let body = if recording.method == "HEAD" { "".into() } else { recording.body(base) };
        (answer.body != body).then(|| {
            let at = answer.body.iter().zip(&body).take_while(|(a, b)| a == b).count();
            let piece = |body: &[u8]| {
                String::from_utf8_lossy(&body[at.saturating_sub(60)..body.len().min(at + 60)]).into_owned()
            };
            format!("the body at byte {at}: {:?} instead of {:?}", piece(&answer.body), piece(&body))
        })
    }
}

/// What becomes of a recorded GET when upstream is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Offline {
    /// The same answer.
    Same,
    /// The same refusal: who isn't known is told so offline as well.
    Refused,
    /// 504: HTML, and what isn't REST.
    GoneNotRest,
    /// 504: Alyx's own errors (400, 405, 406, 500) are never stored.
    GoneError,
    /// 504: what asks for passwords goes to Alyx with the caller's own token, and is never stored.
    GoneSecret,
}

impl Offline {
    fn of(recording: &Recording, said: &Recording) -> Self {
        match said.status {
            _ if asks_for_a_secret(&recording.path) => Self::GoneSecret,
            // ONE's `load_cache` asks for `/cache/info` and follows.
            301 if recording.path == "/cache/info" => Self::Same,
            200 | 404 if said.is_json() || said.content_type() == "application/zip" => Self::Same,
            403 => Self::Refused,
            _ if said.is_json() => Self::GoneError,
            _ => Self::GoneNotRest,
        }
    }
}

fn asks_for_a_secret(path: &str) -> bool {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let endpoint = Endpoint::named(path.trim_start_matches('/'));
    endpoint.is_some_and(|endpoint| asking::secret(endpoint, &query_string::parse(query)).is_some())
}

/// Sends all recordings and collects what is wrong.
async fn compare<F>(recordings: &[&Recording], client: &Client, mut differs: F)
where
    F: FnMut(&Recording, &Answer) -> Option<String>,
{
    let answers =
        recordings.iter().map(|recording| async move { (*recording, ask(client, recording).send().await) });
    let mut answers = futures_util::stream::iter(answers).buffer_unordered(AT_ONCE);
    let mut wrong = Vec::new();
    while let Some((recording, answer)) = answers.next().await {
        wrong.extend(differs(recording, &answer).map(|what| format!("{recording}: {what}")));
    }
    wrong.sort();
    let shown = wrong.len().min(25);
    let list = wrong[..shown].join("\n  ");
    assert!(wrong.is_empty(), "{} of {} differ, such as\n  {list}", wrong.len(), recordings.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_replaying_upstream_says_what_was_recorded() {
    let (recordings, upstream) = replay().await;
    let here: Vec<&Recording> = recordings.iter().filter(|recording| !recording.tagged("host")).collect();
    assert_eq!(here.len(), 2533);
    compare(&here, &Client::new(upstream.address()), |recording, answer| {
        Expected { recording, base: upstream.url() }.differs(answer)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_get_is_alyx_s_own_online_and_offline() {
    let (recordings, upstream) = replay().await;
    let proxy = Proxy::start(&upstream.url()).await;
    let gets = recordings.gets();
    assert_eq!(gets.len(), 2479, "none is left out");

    compare(&gets, &proxy.client(), |recording, answer| {
        Expected::of(recording, &recordings, &proxy).differs(answer)
    })
    .await;

    upstream.cut().await;
    let mut counts: BTreeMap<Offline, usize> = BTreeMap::new();
    compare(&gets, &proxy.client(), |recording, answer| {
        let expected = Expected::of(recording, &recordings, &proxy);
        let offline = Offline::of(recording, expected.recording);
        *counts.entry(offline).or_default() += 1;
        match offline {
            Offline::Same | Offline::Refused => expected.differs(answer),
            Offline::GoneNotRest | Offline::GoneError | Offline::GoneSecret => gone(answer),
        }
    })
    .await;
    let counted: Vec<(Offline, usize)> = counts.into_iter().collect();
    let all = [
        (Offline::Same, 2095),
        (Offline::Refused, 19),
        (Offline::GoneNotRest, 38),
        (Offline::GoneError, 325),
        (Offline::GoneSecret, 2),
    ];
    assert_eq!(counted, all, "of each kind as many as there are");
}

/// Issue "For the people in the lab", acceptance 4: a snapshot carries all of it to a proxy that has no network.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_answers_elsewhere_as_here() {
    let (recordings, upstream) = replay().await;
    let gets: Vec<&Recording> = recordings.gets();
    // Answers that are kept apart for single users stay here; and nobody there has a token that is known.
    let setup = || Setup::new(&upstream.url()).set("access.private_paths", "");
    let here = setup().start().await;
    compare(&gets, &here.client(), |recording, answer| {
        Expected::of(recording, &recordings, &here).differs(answer)
    })
    .await;
    upstream.cut().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lab.tar.zst");
    let file = file.to_str().unwrap();
    command::done(&command::run_for(&here, &["export", file]));
    drop(here);

    // One recording calls it so.
    let there = setup().set("access.anonymous", "true").set("server.hosts", "example.com").start().await;
    there.until_upstream_is("down").await;
    let told = command::done(&command::run_for(&there, &["import", file, "--once", "--json"]));
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["kept_answers"], 0);
    let same = |recording: &&Recording| {
        let expected = Expected::of(recording, &recordings, &there);
        Offline::of(recording, expected.recording) == Offline::Same
    };
    let same: Vec<&Recording> = gets.into_iter().filter(same).collect();
    assert_eq!(same.len(), 2095);
    let mut blanked = 0;
    compare(&same, &there.client(), |recording, answer| {
        let differs = Expected::of(recording, &recordings, &there).differs(answer)?;
        // The keys of data repositories don't travel, and a record without them is never given as Alyx's.
        let keys = recording.path.starts_with("/data-repository")
            && answer.status == 504
            && answer.text().contains("left out");
        blanked += usize::from(keys);
        (!keys).then_some(differs)
    })
    .await;
    assert_eq!(blanked, 6);
}

/// What is wrong with an answer that must say that upstream is gone.
fn gone(answer: &Answer) -> Option<String> {
    if answer.status != 504 {
        return Some(format!("status {} instead of 504", answer.status));
    }
    let body = answer.json();
    let says =
        body["status_code"] == 504 && body["detail"].as_str().is_some_and(|detail| detail.contains("since"));
    (!says).then(|| format!("a body that does not say since when Alyx is away: {body}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn both_spellings_of_one_question_cost_upstream_one_request() {
    let (recordings, upstream) = replay().await;
    let mut pairs = recordings.pairs("pair-equal");
    assert_eq!(pairs.len(), 38);
    for pair in &mut pairs {
        // Its other spelling is among the plain recordings: details ignore parameters (ALYX.md 1).
        if let [only] = pair[..] {
            assert_eq!(only.path, "/data-repository/legacy%20nulls?x=1");
            let path = "/data-repository/legacy%20nulls";
            pair.push(
                recordings.iter().find(|recording| recording.path == path).expect("the other spelling"),
            );
        }
    }
    for reversed in [false, true] {
        let proxy = Proxy::start(&upstream.url()).await;
        let mut wrong = Vec::new();
        for pair in &pairs {
            let mut pair = pair.clone();
            if reversed {
                pair.reverse();
            }
            // Looks for Alyx are no questions.
            let asked = || upstream.asked().iter().filter(|asked| asked.path() != "/auth-token").count();
            let (mut before, mut cost) = (asked(), Vec::new());
            for recording in &pair {
                let answer = ask(&proxy.client(), recording).send().await;
                let differs = Expected { recording, base: proxy.url() }.differs(&answer);
                assert_eq!(differs, None, "{recording}");
                cost.push(asked() - before);
                before = asked();
            }
            // The first may have been asked already: some pairs share a spelling. Before a later page the page before it
            // may be looked at once more.
            let most = if pair[0].path.contains("offset=") { 2 } else { 1 };
            if cost[0] > most || cost[1..].iter().any(|cost| *cost > 0) {
                let spellings: Vec<&str> = pair.iter().map(|recording| recording.path.as_str()).collect();
                wrong.push(format!("{cost:?} requests for {spellings:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} pairs cost more than one:\n  {}", wrong.len(), wrong.join("\n  "));
        upstream.forget();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_that_look_alike_are_never_mixed_up() {
    let (recordings, upstream) = replay().await;
    let pairs = recordings.pairs("pair-differs");
    assert_eq!(pairs.len(), 2);
    for reversed in [false, true] {
        let proxy = Proxy::start(&upstream.url()).await;
        for pair in &pairs {
            let mut twice: Vec<&Recording> = pair.iter().chain(pair).copied().collect();
            if reversed {
                twice.reverse();
            }
            for recording in twice {
                let answer = ask(&proxy.client(), recording).send().await;
                let differs = Expected { recording, base: proxy.url() }.differs(&answer);
                assert_eq!(differs, None, "{recording}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_get_passes_to_alyx_and_back_unchanged() {
    let (recordings, upstream) = replay().await;
    // Every recorded refusal counts as a failed log-in, and there are more of them than are allowed in a row.
    let proxy = Setup::new(&upstream.url()).set("access.login_attempts", "100").start().await;
    // HEAD is answered from GET (see `http`), where Alyx itself fails on some.
    let passed = |recording: &&Recording| !["GET", "HEAD"].contains(&recording.method.as_str());
    let others: Vec<&Recording> = recordings.iter().filter(passed).collect();
    assert_eq!(others.len(), 48);
    compare(&others, &proxy.client(), |recording, answer| {
        Expected { recording, base: proxy.url() }.differs(answer)
    })
    .await;
}

/// Alyx's own HEAD fails on some lists and refuses the public user (ALYX.md 4.1, 4.4). The proxy's is a GET without
/// its body (RFC 9110 9.3.2), for everybody and everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_its_body() {
    let (recordings, upstream) = replay().await;
    let proxy = Proxy::start(&upstream.url()).await;
    let heads: Vec<&Recording> = recordings.iter().filter(|recording| recording.method == "HEAD").collect();
    assert_eq!(heads.len(), 10);
    for head in heads {
        let mut get = head.clone();
        "GET".clone_into(&mut get.method);
        let (head, get) = (ask(&proxy.client(), head).send().await, ask(&proxy.client(), &get).send().await);
        assert!(head.body.is_empty());
        assert_eq!(head.status, get.status, "{} {}", head.describe(), get.describe());
        for name in ["content-type", "content-length", "allow", "vary", "etag"] {
            assert_eq!(head.header(name), get.header(name), "{name}: {}", head.describe());
        }
    }
}
