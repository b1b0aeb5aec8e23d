//! What the files for Prometheus and Grafana ask for is there: every metric that an alarm, a panel or the manual names has a
//! meaning and a series from the start, and a real Prometheus scrapes the proxy and raises the alarms.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use regex::Regex;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Client, Lab, Proxy, Setup, users};

const RULES: &str = "packaging/prometheus/alyx-proxy.rules.yml";
const DASHBOARD: &str = "packaging/grafana/alyx-proxy.json";

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(project(path)).unwrap()
}

/// A proxy with all that has metrics: a mirror that an account is to synchronise, and TLS where it is wanted. Nobody has asked
/// it anything, and Alyx does not know the account.
fn setup(lab: &Lab) -> Setup {
    Setup::new(&lab.url()).set("mirror.token", users::UNKNOWN_TOKEN)
}

async fn scrape(proxy: &Proxy) -> String {
    proxy.client().anonymous().get("/-/metrics").await.expect(200).text().to_owned()
}

/// A scrape: series by name, with their labels as they are written.
fn series(scrape: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in scrape.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        found.entry(name).or_default().push(labels.trim_end_matches('}'));
    }
    found
}

/// The metric of a series: those of a histogram have endings.
fn metric<'s>(name: &'s str, histograms: &[&str]) -> &'s str {
    let base = ["_bucket", "_sum", "_count"].into_iter().find_map(|ending| name.strip_suffix(ending));
    base.filter(|base| histograms.contains(base)).unwrap_or(name)
}

/// The selectors of the proxy's metrics in PromQL: names and what stands in braces behind them.
fn selectors(expressions: &str) -> Vec<(String, String)> {
    let selector = Regex::new(r"\b(alyx_proxy_[a-z0-9_]+)(?:\{([^}]*)\})?").unwrap();
    let found = selector.captures_iter(expressions);
    found
        .map(|found| (found[1].to_owned(), found.get(2).map_or("", |labels| labels.as_str()).to_owned()))
        .collect()
}

/// The PromQL of all panels, and of what chooses the proxy.
fn panels() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let found: Vec<String> = targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    assert!(panels.len() > 10 && found.len() >= panels.len());
    found
}

/// The alarms without their comments and texts.
fn alarms() -> String {
    let is_code = |line: &&str| {
        !["#", "summary:", "description:", "- alert:"]
            .iter()
            .any(|other| line.trim_start().starts_with(other))
    };
    read(RULES).lines().filter(is_code).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_has_a_meaning_a_line_in_the_manual_and_a_series_from_the_start() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    let scrape = scrape(&proxy).await;
    let about = |what: &str| {
        let line = Regex::new(&format!(r"(?m)^# {what} (\S+) (.+)$")).unwrap();
        line.captures_iter(&scrape)
            .map(|line| (line.get(1).unwrap().as_str(), line.get(2).unwrap().as_str()))
            .collect::<BTreeMap<_, _>>()
    };
    let (help, kinds) = (about("HELP"), about("TYPE"));
    let histograms: Vec<&str> =
        kinds.iter().filter(|(_, kind)| **kind == "histogram").map(|(name, _)| *name).collect();
    let manual = read("docs/src/monitoring.md");
    let found = series(&scrape);
    let exposed: Vec<&str> = found.keys().map(|name| metric(name, &histograms)).collect();
    assert!(exposed.len() > 20, "{exposed:?}");
    for name in &exposed {
        assert!(name.starts_with("alyx_proxy_"), "{name}");
        assert!(help.get(name).is_some_and(|help| help.len() > 10), "{name} has no HELP");
        assert!(kinds.contains_key(name), "{name} has no TYPE");
        assert_eq!(kinds[name] == "counter", name.ends_with("_total"), "{name} is a {}", kinds[name]);
        assert!(
            Regex::new(&format!(r"`{name}[`{{]")).unwrap().is_match(&manual),
            "monitoring.md does not tell of {name}"
        );
    }
    // The other way round: what the manual tells of is there. A certificate is another test's.
    for (name, _) in selectors(&manual).into_iter().filter(|(name, _)| !name.contains("_tls_")) {
        assert!(
            exposed.contains(&metric(&name, &histograms)),
            "monitoring.md tells of {name}, which is not there"
        );
    }
    for (name, labels) in found {
        for secret in [users::ONEUSER.token, users::UNKNOWN_TOKEN, users::ONEUSER.name] {
            assert!(labels.iter().all(|labels| !labels.contains(secret)), "{name}: {labels:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_alarms_and_panels_look_at_is_there_before_anything_has_happened() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    let scrape = scrape(&proxy).await;
    let found = series(&scrape);
    let wanted = selectors(&format!("{}\n{}", alarms(), panels().join("\n")));
    assert!(wanted.len() > 30, "{wanted:?}");
    let matcher = Regex::new(r#"(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)""#).unwrap();
    for (name, labels) in wanted.iter().filter(|(name, _)| !name.contains("_tls_")) {
        let there = found.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not there"));
        for matched in matcher.captures_iter(labels) {
            let (label, kind, value) = (&matched[1], &matched[2], &matched[3]);
            // Prometheus itself gives these.
            if ["job", "instance"].contains(&label) || kind.starts_with('!') {
                continue;
            }
            for value in value.split('|') {
                let label = format!("{label}=\"{value}\"");
                assert!(
                    there.iter().any(|labels| labels.split(',').any(|one| one == label)),
                    "{name} has no {label}: {there:?}"
                );
            }
        }
    }
}

#[test]
fn promtool_accepts_the_alarms_and_their_tests_pass() {
    for arguments in
        [["check", "rules", RULES], ["test", "rules", "packaging/prometheus/alyx-proxy.rules.test.yml"]]
    {
        promtool(&arguments, true);
    }
    let tests = read("packaging/prometheus/alyx-proxy.rules.test.yml");
    for alarm in Regex::new(r"- alert: (\w+)").unwrap().captures_iter(&read(RULES)) {
        assert!(tests.contains(&format!("alertname: {}", &alarm[1])), "{} has no test", &alarm[1]);
    }
    // Tests that pass whatever the alarms say would be none.
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("alyx-proxy.rules.yml"), read(RULES).replace("== 0", "== 7")).unwrap();
    fs::write(folder.path().join("test.yml"), tests).unwrap();
    promtool(&["test", "rules", folder.path().join("test.yml").to_str().unwrap()], false);
}

fn promtool(arguments: &[&str], well: bool) {
    let output =
        Command::new("promtool").args(arguments).current_dir(project(".")).output().expect("promtool");
    assert_eq!(output.status.success(), well, "{arguments:?}: {output:?}");
}

/// A Prometheus, set up as the manual says, but for the address and how often it looks; killed when it is dropped.
struct Prometheus {
    child: Child,
    client: Client,
    folder: TempDir,
}

impl Prometheus {
    async fn start(proxy: &Proxy) -> Self {
        let manual = read("docs/src/monitoring.md");
        let blocks: Vec<&str> =
            manual.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        let [config] = blocks[..] else { panic!("one block of YAML: {blocks:?}") };
        let rules = project(RULES);
        let config = config
            .replace("lab-server:8040", &proxy.address().to_string())
            .replace("/etc/prometheus/alyx-proxy.rules.yml", rules.to_str().unwrap());
        assert!(config.contains(rules.to_str().unwrap()), "{config}");
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("prometheus.yml");
        fs::write(&file, format!("global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\n{config}"))
            .unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("prometheus");
        // It has no client until it is known where it listens.
        let mut prometheus = Self { child, client: Client::new(proxy.address()), folder };
        let address = prometheus.until("it listens", async |prometheus| {
            let log = fs::read_to_string(prometheus.folder.path().join("log")).unwrap();
            let address =
                log.split("msg=\"Listening on\" address=").nth(1)?.split_whitespace().next()?.to_owned();
            Some(address)
        });
        prometheus.client = Client::new(address.await.parse().unwrap()).anonymous();
        // It listens before it answers.
        prometheus
            .until("it is ready", async |prometheus| {
                let answer = prometheus.client.ask("GET", "/-/ready").try_send().await.ok()?;
                (answer.status == 200).then_some(())
            })
            .await;
        prometheus
    }

    /// Asks until there is an answer.
    async fn until<T>(&self, what: &str, look: impl AsyncFn(&Self) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look(self).await {
                return found;
            }
            assert!(
                start.elapsed() < Duration::from_mins(1),
                "after a minute still not so: {what}\n{}",
                fs::read_to_string(self.folder.path().join("log")).unwrap()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What its API says; none while it is not ready.
    async fn api(&self, path: &str) -> Option<Value> {
        let answer = self.client.ask("GET", &format!("/api/v1/{path}")).try_send().await.ok()?;
        (answer.status == 200).then(|| answer.json()["data"].clone())
    }

    async fn ask(&self, expression: &str) -> Vec<Value> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("query", expression).finish();
        let answer = self.client.get(&format!("/api/v1/query?{query}")).await;
        assert_eq!(answer.status, 200, "{expression}: {}", answer.text());
        answer.json()["data"]["result"].as_array().unwrap().clone()
    }

    /// The state of an alarm: `inactive`, `pending`, `firing`.
    async fn alarm(&self, name: &str) -> Option<String> {
        let groups = self.api("rules").await?;
        let rules =
            groups["groups"].as_array()?.iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
        let rule =
            rules.into_iter().find(|rule| rule["name"] == name).unwrap_or_else(|| panic!("no alarm {name}"));
        (rule["health"] == "ok").then(|| rule["state"].as_str().unwrap().to_owned())
    }

    async fn until_alarm(&self, name: &str, states: &[&str]) {
        self.until(&format!("{name} is {states:?}"), async |prometheus| {
            let state = prometheus.alarm(name).await?;
            states.contains(&state.as_str()).then_some(())
        })
        .await;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_scrapes_the_proxy_and_raises_the_alarms() {
    let lab = Lab::open().await;
    let mut proxy = setup(&lab).start().await;
    let prometheus = Prometheus::start(&proxy).await;
    prometheus
        .until("the proxy is scraped", async |prometheus| {
            let targets = prometheus.api("targets").await?;
            (targets["activeTargets"][0]["health"] == "up").then_some(())
        })
        .await;
    proxy.get("/labs").await.expect(200);
    for alarm in [
        "AlyxProxyDown",
        "AlyxDown",
        "AlyxProxyStorageDegraded",
        "AlyxProxyMirrorWrong",
        "AlyxProxyOverloaded",
    ] {
        prometheus.until_alarm(alarm, &["inactive"]).await;
    }
    // Alyx does not know the token, which the proxy finds out by itself.
    prometheus.until_alarm("AlyxProxyMirrorAccountRefused", &["pending"]).await;
    // Every panel is a question that Prometheus understands, and those of states have an answer.
    for panel in panels() {
        let expression = panel.replace("$__rate_interval", "1m").replace("$instance", ".+");
        let answers = prometheus.ask(&expression).await;
        assert!(!answers.is_empty() || panel.contains("rate(") || panel.contains("increase("), "{panel}");
    }
    lab.upstream.cut().await;
    proxy.get("/labs?never=asked").await;
    proxy.until_upstream_is("down").await;
    prometheus.until_alarm("AlyxDown", &["pending"]).await;
    // The first write that does not get through is an alarm at once.
    proxy.client().ask("POST", "/weighings").json(&serde_json::json!({})).send().await.expect(503);
    prometheus.until_alarm("AlyxProxyWritesRefused", &["firing"]).await;
    proxy.kill();
    prometheus.until_alarm("AlyxProxyDown", &["pending"]).await;
}

/// What the picture in the manual is drawn by still understands the dashboard.
#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_is_drawn_from_a_real_prometheus() {
    let lab = Lab::open().await;
    let proxy = setup(&lab).start().await;
    let prometheus = Prometheus::start(&proxy).await;
    prometheus
        .until("it has two samples", async |prometheus| {
            let counted = prometheus.ask("count_over_time(alyx_proxy_upstream_up[1m])").await;
            (counted.first()?["value"][1] != "1").then_some(())
        })
        .await;
    let out = prometheus.folder.path().join("dashboard.svg");
    let url = format!("http://{}", prometheus.client.address());
    let mut command = Command::new(project("packaging/grafana/picture"));
    let drawn = command.args(["--prometheus", &url, "--seconds", "60"]).arg(&out).output().unwrap();
    assert!(drawn.status.success(), "{drawn:?}");
    let picture = fs::read_to_string(out).unwrap();
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap().replace('\'', "&#x27;");
        for text in [&picture, &read("docs/src/dashboard.svg")] {
            assert!(
                text.contains(&title),
                "{title} is not drawn: is docs/src/dashboard.svg old? See packaging/grafana/picture"
            );
        }
    }
}
