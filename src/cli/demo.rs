//! `demo`: the whole thing on the sample lab, without network or set-up.

use std::{net::SocketAddr, sync::Arc};

use alyx_proxy::{
    alyx::ENDPOINTS,
    demo::{self, Miniature, Options},
    server::Proxy,
    settings::{Settings, Sources},
};
use anyhow::Context;

use super::{
    Outcome,
    args::DemoFlags,
    prepare, print,
    serve::{base_url, bind, stop_asked},
};

pub(super) async fn run(sources: &Sources, flags: &DemoFlags) -> Outcome {
    let (loaded, _log) = prepare(sources)?;
    let miniature = Arc::new(miniature(flags).await?);
    // The demo leaves nothing behind, unless it is told where.
    let scratch = tempfile::TempDir::with_prefix("alyx-proxy-demo-").context("no scratch folder")?;
    let mut settings = loaded.settings;
    if !loaded.origins.iter().any(|value| value.key == "storage.data_dir" && value.origin != "default") {
        settings.storage.data_dir = scratch.path().to_owned();
    }
    settings.server.listen = SocketAddr::from(([127, 0, 0, 1], flags.port));
    (settings.server.tls_certificate, settings.server.tls_key) = Default::default();
    settings.upstream.url = miniature.url();
    // All of the sample lab is mirrored at the start: with the network cut, anything can be asked.
    settings.upstream.rate = 0;
    settings.mirror.endpoints = ENDPOINTS.iter().map(|endpoint| endpoint.name.to_owned()).collect();
    settings.mirror.token =
        Options::default().users.first().map(|user| user.token.clone()).unwrap_or_default();
    let proxy = Proxy::open(settings.clone()).await.map_err(anyhow::Error::from)?;
    proxy.attach_demo(miniature.clone());
    let listening = bind(&proxy, &settings).await?;
    let url = base_url(&listening, &settings)?;
    print(&greeting(&url, &miniature.url(), &settings))?;
    let stop = async {
        if let Err(error) = stop_asked().await {
            tracing::error!("{error:#}");
        }
    };
    listening.serve(stop).await;
    Ok(())
}

async fn miniature(flags: &DemoFlags) -> anyhow::Result<Miniature> {
    let listen = SocketAddr::from(([127, 0, 0, 1], flags.alyx_port));
    let options = Options { listen, complete: flags.complete, ..Options::default() };
    demo::start(options).await.with_context(|| {
        format!("the miniature Alyx can't listen on {listen}; choose another port with `--alyx-port`")
    })
}

fn greeting(url: &str, alyx: &str, settings: &Settings) -> String {
    let token = &Options::default().users.first().map(|user| user.token.clone()).unwrap_or_default();
    format!(
        "alyx-proxy {} demo: a sample lab, a miniature Alyx that serves it, and the proxy in front.

Listening on {url}
Miniature Alyx on {alyx}
Remembers in {}
User demo, password demo

With curl:
  curl -d 'username=demo&password=demo' {url}/auth-token
  curl -i -H 'Authorization: Token {token}' '{url}/subjects?lab=cortexlab&sex=F&alive=True'

In Python (pip install ONE-api):
  from one.api import ONE
  one = ONE(base_url='{url}', username='demo', password='demo', silent=True)
  one.alyx.rest('sessions', 'list', performance_gte=70, task_protocol='ephys')

Cut the network to Alyx, ask again what you asked or anything new, and restore it:
  curl -X POST {url}/-/demo/offline
  curl -X POST {url}/-/demo/online

Stop with Ctrl-C.
",
        env!("CARGO_PKG_VERSION"),
        settings.storage.data_dir.display(),
    )
}
