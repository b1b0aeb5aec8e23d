//! `demo`: the whole thing on the sample lab, without network or set-up.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use alyx_proxy::{
    alyx::ENDPOINTS,
    app::App,
    miniature::{self, Miniature, Options},
    proxy::Mode,
    settings::{Settings, Sources},
};
use anyhow::Context;

use super::{
    CommandResult,
    args::DemoFlags,
    prepare, print,
    serve::{base_url, bind, stop_asked},
};

/// How often the demo looks for what has changed in its Alyx: a person waits for it.
const EVERY: Duration = Duration::from_secs(5);

pub(super) async fn run(sources: &Sources, flags: &DemoFlags) -> CommandResult {
    let (loaded, _log) = prepare(sources)?;
    let miniature = Arc::new(miniature(flags).await?);
    // The demo leaves nothing behind, unless it is told where.
    let scratch = tempfile::TempDir::with_prefix("alyx-proxy-demo-").context("no scratch folder")?;
    let mut settings = loaded.settings;
    let is_set = |key: &str| loaded.origins.iter().any(|value| value.key == key && value.origin != "default");
    if !is_set("mirror.interval") {
        settings.mirror.interval.0 = EVERY;
    }
    if !is_set("mirror.background_per_day") {
        settings.mirror.background_per_day = 0;
    }
    if !is_set("storage.data_dir") {
        settings.storage.data_dir = scratch.path().join("data");
    }
    settings.server.listen = SocketAddr::from(([127, 0, 0, 1], flags.port));
    (settings.server.tls_certificate, settings.server.tls_key) = Default::default();
    settings.upstream.url = miniature.url();
    // All of the sample lab is mirrored at the start: with the network cut, anything can be asked.
    settings.upstream.requests_per_minute = 0;
    settings.mirror.endpoints = ENDPOINTS.iter().map(|endpoint| endpoint.name.to_owned()).collect();
    settings.mirror.token =
        Options::default().users.first().map(|user| user.token.clone()).unwrap_or_default();
    let app =
        App::open(settings.clone(), Mode::Demo(miniature.clone())).await.map_err(anyhow::Error::from)?;
    let listening = bind(&app, &settings, "flag `--port`").await?;
    let url = base_url(&listening, &settings)?;
    let stop = stop_asked()?;
    print(&greeting(&url, &miniature.url(), &settings))?;
    listening.serve(stop).await;
    Ok(())
}

async fn miniature(flags: &DemoFlags) -> anyhow::Result<Miniature> {
    let listen = SocketAddr::from(([127, 0, 0, 1], flags.alyx_port));
    let options = Options { listen, complete: flags.complete, ..Options::default() };
    miniature::start(options).await.with_context(|| {
        format!("the miniature Alyx can't listen on {listen}; choose another port with `--alyx-port`")
    })
}

/// A session of the sample lab, for the change that is shown.
const SESSION: &str = "2f0d9579-e617-41ec-8c72-2694e716cc6e";

fn greeting(url: &str, alyx: &str, settings: &Settings) -> String {
    let token = &Options::default().users.first().map(|user| user.token.clone()).unwrap_or_default();
    format!(
        "alyx-proxy {version} demo: a sample lab, a miniature Alyx that serves it, and the proxy in front.

Listening on {url}
Miniature Alyx on {alyx}
Remembers in {folder}
User demo, password demo

In a browser: what the proxy does, and the lab to look through (log in as demo, password demo)
  {url}/-/

With curl:
  curl -d 'username=demo&password=demo' {url}/auth-token
  curl -i -H 'Authorization: Token {token}' '{url}/subjects?lab=cortexlab&sex=F&alive=True'

In Python (pip install ONE-api):
  from one.api import ONE
  one = ONE(base_url='{url}', username='demo', password='demo', silent=True)
  one.alyx.rest('sessions', 'list', performance_gte=70, task_protocol='ephys')

Cut the network to Alyx, ask something that nobody has asked before, and restore it:
  curl -X POST {url}/-/demo/offline
  curl -i -H 'Authorization: Token {token}' '{url}/sessions?users=demo'
  curl -X POST {url}/-/demo/online

Change something in Alyx, past the proxy. It shows at once to who asks for nothing older, to others in {every} s:
  curl -X PATCH -H 'Authorization: Token {token}' -d 'narrative=changed in Alyx' {alyx}/sessions/{SESSION}
  curl -H 'Authorization: Token {token}' -H 'Cache-Control: no-cache' {url}/sessions/{SESSION}
  curl -i -H 'Authorization: Token {token}' {url}/sessions/{SESSION}

Stop with Ctrl-C.
",
        version = env!("CARGO_PKG_VERSION"),
        folder = settings.storage.data_dir.display(),
        every = settings.mirror.interval.0.as_secs(),
    )
}
