//! What a person sees who does not know REST: the first page, questions without knowing their names, code that runs.

use super::{Home, text};
use crate::support::{Answer, Client, Lab, Proxy, Setup, command, miniature, until, users};
use alyx_proxy::miniature::Options;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const TABLES: [&str; 6] = ["labs", "projects", "users", "subjects", "sessions", "datasets"];

/// A browser that has logged in.
struct Visitor {
    client: Client,
    cookie: String,
}

impl Visitor {
    async fn of(proxy: &Proxy) -> Self {
        let client = proxy.client().anonymous();
        let form = [("username", users::ONEUSER.name), ("password", users::ONEUSER.password), ("next", "")];
        let answer = client.ask("POST", "/-/login").form(&form).send().await.expect(303);
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        Self { client, cookie }
    }

    async fn opens(&self, path: &str) -> Answer {
        let ask = self.client.ask("GET", path).header("cookie", &self.cookie).header("accept", BROWSER);
        ask.send().await.expect(200)
    }

    /// The code for ONE that a page gives.
    async fn code(&self, path: &str) -> String {
        let page = self.opens(path).await;
        let (_, rest) = page.text().split_once("id=\"one-call\">").expect("code");
        let code = rest.split_once("</pre>").unwrap().0;
        code.replace("&#39;", "'").replace("&#x27;", "'").replace("&quot;", "\"")
    }
}

async fn mirrored() -> (alyx_proxy::miniature::Miniature, Proxy) {
    let alyx = miniature::start(Options::default()).await;
    let proxy = Setup::new(&alyx.url())
        .set("mirror.token", users::ADMIN.token)
        .set("mirror.endpoints", &TABLES.join(","))
        .set("mirror.details", "")
        .set("mirror.verify_per_minute", "0")
        .start()
        .await;
    proxy.until_mirrored(TABLES.len()).await;
    (alyx, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn point_15_and_17_the_code_runs_as_it_is_copied_and_searches_first() {
    let (_alyx, proxy) = mirrored().await;
    let visitor = Visitor::of(&proxy).await;
    let begun = format!("from one.api import ONE\none = ONE(base_url='{}')\n", proxy.url());
    // As the form sends it.
    let code = visitor.code("/-/explore/sessions?from=&until=&subject=&lab=cortexlab&number=&limit=50").await;
    assert!(code.starts_with(&begun), "{code}");
    assert!(code.contains("\neids = one.search(lab='cortexlab', query_type='remote')\n"), "{code}");
    assert!(!code.contains("limit"), "{code}");
    let code = visitor.code("/-/explore/labs?name=cortexlab&limit=50").await;
    assert_eq!(code, format!("{begun}records = one.alyx.rest('labs', 'list', name='cortexlab')"));
    let found = proxy.get("/sessions?lab=cortexlab&limit=1").await.expect(200).json();
    let session = found["results"][0]["id"].as_str().unwrap().to_owned();
    let code = visitor.code(&format!("/-/explore/sessions/{session}")).await;
    assert!(code.starts_with(&begun) && code.contains(&format!("eid = '{session}'")), "{code}");
    assert!(code.contains("one.list_datasets(eid)"), "{code}");
    let detail = proxy.get(&format!("/sessions/{session}")).await.expect(200).json();
    // It is headed by what people call it.
    let [subject, day] = ["subject", "start_time"].map(|field| detail[field].as_str().unwrap());
    let heading = format!("<h1>{subject} {} {:03}</h1>", &day[..10], detail["number"].as_u64().unwrap());
    let page = visitor.opens(&format!("/-/explore/sessions/{session}")).await;
    assert!(page.text().contains(&heading), "{heading}");
    let has_objects = detail["data_dataset_session_related"].as_array().is_some_and(|all| !all.is_empty());
    assert_eq!(code.contains("one.load_object(eid, '"), has_objects, "{code}");
    let style = proxy.client().anonymous().get("/-/style.css").await.expect(200);
    assert!(style.text().contains(".calls pre { white-space: pre-wrap"), "it is not cut off");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_16_sessions_of_my_mouse_since_march_without_knowing_rest() {
    let (_alyx, proxy) = mirrored().await;
    let visitor = Visitor::of(&proxy).await;
    let all = visitor.opens("/-/explore/sessions").await;
    for part in [
        "type=\"date\" name=\"from\"",
        "type=\"date\" name=\"until\"",
        "<datalist id=\"known-subject\">",
        "<datalist id=\"known-lab\"><option value=\"",
        "<datalist id=\"known-datasets\">",
        "Counts by value",
        "class=\"records sortable\"",
    ] {
        assert!(all.text().contains(part), "{part}");
    }
    // A beginning alone is enough.
    let count = |page: &Answer| -> u64 {
        let (_, rest) = page.text().split_once("<p class=\"count\"><b>").expect("a count");
        rest.split_once("</b>").unwrap().0.parse().unwrap()
    };
    let since = visitor.opens("/-/explore/sessions?from=2020-03-01&until=&limit=50").await;
    let expected = proxy.get("/sessions?date_range=2020-03-01,2100-01-01&limit=1").await.expect(200).json();
    assert_eq!(count(&since), expected["count"].as_u64().unwrap());
    assert!(count(&since) > 0 && count(&since) < count(&all));
    assert!(since.text().contains("name=\"from\" value=\"2020-03-01\""));
    visitor.opens("/-/explore/sessions?date_range=2020-03-01").await;
    // What was likely meant.
    let found = proxy.get("/sessions?limit=1").await.expect(200).json();
    let subject = found["results"][0]["subject"].as_str().unwrap().to_owned();
    let plain: String =
        subject.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    let typed = format!("{plain}x");
    let page = visitor.opens(&format!("/-/explore/sessions?subject={typed}")).await;
    assert!(
        page.text().contains("Did you mean") && page.text().contains(&format!(">{subject}</a>")),
        "{typed}"
    );
    let page = visitor.opens("/-/explore/sessions?datasets=spikes").await;
    assert!(page.text().contains("Did you mean") && page.text().contains("spikes.times.npy"));
    // Counts lead on.
    let page = visitor.opens("/-/explore/sessions?lab=cortexlab").await;
    assert!(
        page.text().contains("lab=cortexlab&#38;subject=")
            || page.text().contains("lab=cortexlab&amp;subject=")
    );
    // And into a spreadsheet.
    let ask = proxy.client().anonymous().ask("GET", "/-/explore/sessions.csv?lab=cortexlab");
    let csv = ask.header("cookie", &visitor.cookie).send().await.expect(200);
    assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
    let expected = proxy.get("/sessions?lab=cortexlab&limit=1").await.expect(200).json()["count"].as_u64();
    assert_eq!(csv.text().lines().count() as u64, expected.unwrap() + 1);
    assert!(csv.text().lines().next().unwrap().contains("subject"), "{}", csv.text());
    let strangers = proxy.client().anonymous().get("/-/explore/sessions.csv").await;
    assert_eq!(strangers.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn point_18_an_empty_proxy_says_what_to_do_next() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let page = proxy.client().anonymous().get("/-/status").await.expect(200);
    let call = format!("one = ONE(base_url='{}'", proxy.url());
    let shown = page.text().replace("&#39;", "'").replace("&#x27;", "'");
    assert!(shown.contains("What to do next") && shown.contains(&call), "{shown}");
    assert!(shown.contains("/-/docs/mirror"), "{shown}");
    proxy.get("/labs").await.expect(200);
    // What was answered is stored behind the answer.
    until("it is no longer empty", async || {
        let page = proxy.client().anonymous().get("/-/status").await.expect(200);
        !page.text().contains("What to do next")
    })
    .await;
    // The documentation is that of this proxy.
    for name in ["start", "one", "mirror", "journey"] {
        let page = proxy.client().anonymous().get(&format!("/-/docs/{name}")).await.expect(200);
        for example in ["http://127.0.0.1:8040", "http://lab-server:8040"] {
            assert!(!page.text().contains(example), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn point_19_a_browser_finds_the_pages() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    let client = proxy.client().anonymous();
    let door = client.ask("GET", "/").header("accept", BROWSER).send().await.expect(303);
    assert_eq!(door.header("location"), Some("/-/status"));
    // Programs get what Alyx says.
    let program = proxy.client().get("/").await;
    assert_ne!(program.status, 303);
    let lost = client.ask("GET", "/-/statsu").header("accept", BROWSER).send().await.expect(404);
    assert!(lost.header("content-type").unwrap().starts_with("text/html"));
    assert!(lost.text().contains("Did you mean /-/status?"), "{}", lost.text());
    let json = client.get("/-/statsu").await.expect(404).json();
    assert!(json["detail"].as_str().unwrap().contains("/-/status"), "{json}");
    let visitor = Visitor::of(&proxy).await;
    let ask = client.ask("GET", "/-/explore/sesions").header("cookie", &visitor.cookie);
    let lost = ask.header("accept", BROWSER).send().await.expect(404);
    assert!(lost.text().contains("did you mean `sessions`?"), "{}", lost.text());
    assert!(proxy.output().contains(&format!("{}/-/", proxy.url())), "{}", proxy.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn point_23_a_served_snapshot_has_no_limit_and_any_name_logs_in() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    let home = Home::new();
    let file = home.path("lab.tar.zst");
    command::done(&command::run_for(&proxy, &["export", text(&file)]));
    let alone = Setup::of_snapshot(&file).start().await;
    let client = alone.client().anonymous();
    let login = client.get("/-/login").await.expect(200);
    assert!(login.text().contains("any name will do") && !login.text().contains("your own account"));
    let page = client.get("/-/status").await.expect(200);
    assert!(!page.text().contains("17179869184"), "{}", page.text());
    let said = command::done(&home.run(&["status", "--url", &alone.url()]));
    assert!(!said.contains("17179869184"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_27_times_are_in_the_readers_zone() {
    let lab = Lab::open().await;
    let proxy = Proxy::start(&lab.url()).await;
    proxy.get("/labs").await.expect(200);
    proxy.until_upstream_is("up").await;
    let page = proxy.client().anonymous().get("/-/status").await.expect(200);
    assert!(page.text().contains("since <time datetime=\""), "{}", page.text());
    let script = proxy.client().anonymous().get("/-/app.js").await.expect(200);
    assert!(script.text().contains("toLocaleString"));
    let said = command::done(&command::run_for(&proxy, &["status"]));
    let since = said.lines().find(|line| line.starts_with("upstream")).unwrap();
    assert!(since.contains(" UTC") && !since.contains('Z'), "without milliseconds: {since}");
}

#[tokio::test(flavor = "multi_thread")]
async fn point_28_on_a_phone_every_column_has_its_name() {
    let (_alyx, proxy) = mirrored().await;
    let client = proxy.client().anonymous();
    let mirror = client.get("/-/mirror").await.expect(200);
    for part in ["class=\"stacked\"", "data-label=\"Age\"", "data-label=\"Remarks\"", "data-label=\"State\""]
    {
        assert!(mirror.text().contains(part), "{part}");
    }
    let answers = client.get("/-/answers").await.expect(200);
    assert!(answers.text().contains("data-label=\"Remarks\""));
    let style = client.get("/-/style.css").await.expect(200);
    let (_, narrow) = style.text().split_once("@media (max-width: 45rem)").unwrap();
    for part in
        [".stacked td[data-label]::before", ".records td:first-child a", "pre { white-space: pre-wrap"]
    {
        assert!(narrow.contains(part), "{part}");
    }
}
