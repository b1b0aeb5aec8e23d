//! A real browser, without a window: Debian's Chromium, driven through chromedriver.

mod driver;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use driver::Driver;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::tool;

const HOW: &str = "it is needed for the tests of the pages; ./check --install installs it";
/// Nothing on a page takes longer.
const PATIENCE: Duration = Duration::from_mins(1);
/// How elements are found.
const CSS: &str = "css selector";

/// A browser with a profile of its own.
pub(crate) struct Browser {
    page: Driver,
    driver: Child,
    _profile: TempDir,
}

impl Browser {
    pub(crate) async fn open() -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver can't be run ({error}): {HOW}"));
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| line.split("started successfully on port ").nth(1).map(str::to_owned))
            .unwrap_or_else(|| panic!("chromedriver does not start: {HOW}"));
        let address = format!("http://127.0.0.1:{}", port.trim_end_matches('.'));
        let profile = TempDir::with_prefix("chromium-").unwrap();
        let capabilities = json!({ "goog:chromeOptions": { "args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--no-proxy-server",
            format!("--user-data-dir={}", profile.path().display()),
        ] } });
        let page = Driver::begin(&address, capabilities)
            .await
            .unwrap_or_else(|error| panic!("Chromium can't be started ({error}): {HOW}"));
        Self { page, driver, _profile: profile }
    }

    /// Calls what only Chromium's own interface can.
    async fn devtools(&self, command: &str, parameters: Value) {
        let wish = json!({ "cmd": command, "params": parameters });
        self.page.post("/goog/cdp/execute", wish).await.unwrap_or_else(|error| panic!("{command}: {error}"));
    }

    /// Goes to a page.
    pub(crate) async fn go(&self, url: &str) {
        self.page.go(url).await.unwrap();
    }

    /// The first element that is found so.
    async fn find(&self, using: &str, value: &str) -> String {
        let found = self.page.find(using, value).await.unwrap();
        found.into_iter().next().unwrap_or_else(|| panic!("no {value} on the page"))
    }

    pub(crate) async fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    pub(crate) async fn size(&self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    pub(crate) async fn text(&self, selector: &str) -> String {
        let found = self.texts(selector).await;
        found.into_iter().next().unwrap_or_else(|| panic!("no {selector} on the page"))
    }

    /// The texts of all elements that are found so. A page may go while it is looked at: then the next one is.
    pub(crate) async fn texts(&self, selector: &str) -> Vec<String> {
        let start = Instant::now();
        loop {
            match self.texts_now(selector).await {
                Err(error) if is_gone(&error) && start.elapsed() < PATIENCE => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                texts => return texts.unwrap(),
            }
        }
    }

    async fn texts_now(&self, selector: &str) -> Result<Vec<String>, String> {
        let mut texts = Vec::new();
        for element in self.page.find(CSS, selector).await? {
            texts.push(self.page.text(&element).await?);
        }
        Ok(texts)
    }

    pub(crate) async fn click(&self, selector: &str) {
        self.painted().await;
        self.page.click(&self.find(CSS, selector).await).await.unwrap();
    }

    /// Follows the link of this text.
    pub(crate) async fn follow(&self, text: &str) {
        self.painted().await;
        self.page.click(&self.find("link text", text).await).await.unwrap();
    }

    /// Waits until the page has been seen: Chromium ignores clicks on what it has not painted yet.
    async fn painted(&self) {
        let script = "const done = arguments[arguments.length - 1];
            requestAnimationFrame(() => requestAnimationFrame(() => done()));";
        self.page.run(script, true).await.unwrap();
    }

    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        self.page.fill(&self.find(CSS, selector).await, text).await.unwrap();
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        self.page.run(script, false).await.unwrap()
    }

    /// Keeps a picture of the whole page for people to look at.
    pub(crate) async fn picture(&self, name: &str) {
        let folder = target().join("screenshots");
        fs::create_dir_all(&folder).unwrap();
        let bytes = BASE64_STANDARD.decode(self.page.picture().await.unwrap()).unwrap();
        fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }

    /// What axe finds on this page that keeps people out: the serious and the critical.
    pub(crate) async fn barriers(&self) -> Vec<String> {
        self.run(&axe()).await;
        let script = "const done = arguments[arguments.length - 1];
            axe.run().then((found) => done(found.violations
                .filter((one) => one.impact === 'serious' || one.impact === 'critical')
                .map((one) => one.id + ': ' + one.nodes.slice(0, 3).map((node) => node.html).join(' | '))));";
        let found = self.page.run(script, true).await.unwrap();
        serde_json::from_value(found).unwrap()
    }

    /// Ends the browser.
    pub(crate) async fn close(&self) {
        self.page.end().await.unwrap();
    }

    pub(crate) async fn until(&self, what: &str, mut done: impl AsyncFnMut(&Self) -> bool) {
        let start = Instant::now();
        while !done(self).await {
            assert!(start.elapsed() < PATIENCE, "after a minute still not so: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Whether the page that was looked at is no longer there.
fn is_gone(error: &str) -> bool {
    ["stale element", "navigat", "execution context", "does not belong to the document"]
        .iter()
        .any(|sign| error.contains(sign))
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to end, the driver ends its browser too; killed, it would leave it behind.
        let _ = Command::new("kill").arg(self.driver.id().to_string()).status();
        let _ = self.driver.wait();
    }
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// The script of axe-core.
fn axe() -> String {
    fs::read_to_string(tool("axe-core").join("node_modules/axe-core/axe.min.js")).unwrap()
}
