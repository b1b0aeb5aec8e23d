//! The few commands of W3C WebDriver that the tests need (<https://www.w3.org/TR/webdriver2/>): JSON over HTTP.

use std::time::Duration;

use serde_json::{Value, json};

/// The name under which an element comes as JSON (section 12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A session with a browser.
pub(crate) struct Driver {
    client: reqwest::Client,
    /// The session's own URL at the driver.
    url: String,
}

impl Driver {
    /// Begins a session with the driver at this address.
    pub(crate) async fn begin(address: &str, capabilities: Value) -> Result<Self, String> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_mins(2)).build();
        let driver = Self { client: client.unwrap(), url: address.to_owned() };
        let wish = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let session = driver.post("/session", wish).await?;
        let id = session["sessionId"].as_str().ok_or("no session")?;
        Ok(Self { url: format!("{address}/session/{id}"), ..driver })
    }

    /// A command; its value, or the driver's message.
    pub(crate) async fn post(&self, command: &str, parameters: Value) -> Result<Value, String> {
        let request = self.client.post(format!("{}{command}", self.url));
        answer(request.header("content-type", "application/json").body(parameters.to_string())).await
    }

    async fn get(&self, command: &str) -> Result<Value, String> {
        answer(self.client.get(format!("{}{command}", self.url))).await
    }

    pub(crate) async fn end(&self) -> Result<(), String> {
        answer(self.client.delete(&self.url)).await.map(drop)
    }

    pub(crate) async fn go(&self, url: &str) -> Result<(), String> {
        self.post("/url", json!({ "url": url })).await.map(drop)
    }

    /// The paths of all elements that are found so, within the session.
    pub(crate) async fn find(&self, using: &str, value: &str) -> Result<Vec<String>, String> {
        let found = self.post("/elements", json!({ "using": using, "value": value })).await?;
        let path = |element: &Value| Some(format!("/element/{}", element[ELEMENT].as_str()?));
        Ok(found.as_array().into_iter().flatten().filter_map(path).collect())
    }

    pub(crate) async fn text(&self, element: &str) -> Result<String, String> {
        let text = self.get(&format!("{element}/text")).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    pub(crate) async fn click(&self, element: &str) -> Result<(), String> {
        self.post(&format!("{element}/click"), json!({})).await.map(drop)
    }

    pub(crate) async fn fill(&self, element: &str, text: &str) -> Result<(), String> {
        self.post(&format!("{element}/clear"), json!({})).await?;
        self.post(&format!("{element}/value"), json!({ "text": text })).await.map(drop)
    }

    /// What a script returns; with `later`, what it gives to its last argument.
    pub(crate) async fn run(&self, script: &str, later: bool) -> Result<Value, String> {
        let kind = if later { "async" } else { "sync" };
        self.post(&format!("/execute/{kind}"), json!({ "script": script, "args": [] })).await
    }

    /// A picture of what is seen, as PNG in base64.
    pub(crate) async fn picture(&self) -> Result<String, String> {
        Ok(self.get("/screenshot").await?.as_str().unwrap_or_default().to_owned())
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let response = request.send().await.map_err(|error| error.to_string())?;
    let ended_well = response.status().is_success();
    let body = response.bytes().await.map_err(|error| error.to_string())?;
    let mut body: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    if ended_well { Ok(body["value"].take()) } else { Err(body["value"]["message"].to_string()) }
}
