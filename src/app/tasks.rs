//! A proxy at work: its listener, and what goes on in the background meanwhile.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use futures_util::FutureExt;
use http::{Request, Response};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{App, alyx_pages::AlyxPages, descriptions, serve::serve};
use crate::{
    proxy::{core::Core, together::Following, verify},
    server::listener::{ListenError, Listener, RequestHandler},
    telemetry::{
        audit::{AuditEntry, AuditStream},
        metrics,
    },
    upstream::health,
};

/// Time between two writings of what was used.
const TIDY: Duration = Duration::from_secs(30);
/// Time between two looks at how long others take to read the databases.
const WATCH: Duration = Duration::from_secs(1);

/// A proxy that listens.
#[derive(Debug)]
pub struct HttpServer {
    listener: Listener,
    /// That of Alyx's own pages.
    alyx_pages: Option<Listener>,
    app: Arc<App>,
}

/// Binds the proxy's address.
pub async fn listen(app: Arc<App>) -> Result<HttpServer, ListenError> {
    let address = app.settings().load().server.listen;
    on(app, TcpListener::bind(address).await?).await
}

/// Takes a socket that somebody else has bound, as service managers do.
pub async fn listen_on(app: Arc<App>, socket: std::net::TcpListener) -> Result<HttpServer, ListenError> {
    socket.set_nonblocking(true)?;
    on(app, TcpListener::from_std(socket)?).await
}

async fn on(app: Arc<App>, listener: TcpListener) -> Result<HttpServer, ListenError> {
    let bound = listener.local_addr()?;
    let listener = Listener::new(listener, app.settings().clone()).await?;
    // Listening a second time doesn't change where it listens first.
    app.admin.listening.get_or_init(|| bound);
    if let Some(tls) = listener.tls() {
        app.admin.certificate.get_or_init(|| tls);
    }
    let alyx_pages = match app.settings().load().server.alyx_pages().filter(|_| app.knows_alyx()) {
        Some(address) => Some(listen_for_alyx_pages(&app, address).await?),
        None => None,
    };
    Ok(HttpServer { listener, alyx_pages, app })
}

async fn listen_for_alyx_pages(app: &Arc<App>, address: SocketAddr) -> Result<Listener, ListenError> {
    let failed = |error| ListenError::AlyxPages(address, error);
    let socket = TcpListener::bind(address).await.map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    let listener = Listener::new(socket, app.settings().clone()).await?;
    app.admin.alyx_pages.get_or_init(|| bound);
    tracing::info!("Alyx's own pages are given at {bound}");
    Ok(listener)
}

impl HttpServer {
    /// The address that is bound.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.address()
    }

    /// Serves until `shutdown` completes, then lets open requests end for `server.shutdown_timeout`.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        metrics::recorder();
        super::gauges::register();
        let Self { listener, alyx_pages, app } = self;
        let noted = |outcome| AuditEntry::new(AuditStream::Acts, "proxy", outcome);
        app.core.audit.note(noted("started").plain("version", env!("CARGO_PKG_VERSION")));
        let tasks = background_tasks(&app);
        // It goes on until the last request is answered: nobody shall wait for this proxy's lease to lapse.
        let in_cluster = app.core.cluster.clone().map(|cluster| {
            let following = Following::of(&app.core);
            (cluster.clone(), tokio::spawn(cluster.run(following)))
        });
        let shutdown = shutdown.shared();
        let pages = AlyxPages(app.clone());
        let of_pages = async {
            match alyx_pages {
                Some(listener) => Some(listener.accept(&pages, shutdown.clone()).await),
                None => None,
            }
        };
        let (graceful, of_pages) = tokio::join!(listener.accept(&app, shutdown.clone()), of_pages);
        for task in tasks {
            task.abort();
        }
        let drain = app.settings().load().server.shutdown_timeout.0;
        let drained = async {
            tokio::join!(graceful.shutdown(), async {
                if let Some(graceful) = of_pages {
                    graceful.shutdown().await;
                }
            })
        };
        if tokio::time::timeout(drain, drained).await.is_err() {
            tracing::warn!("open requests were cut off after `server.shutdown_timeout`");
        }
        if let Some((cluster, task)) = in_cluster {
            task.abort();
            cluster.leave().await;
        }
        app.core.audit.note(noted("stopped"));
        app.close().await;
    }
}

/// What goes on while requests are answered.
fn background_tasks(app: &App) -> Vec<JoinHandle<()>> {
    let core = &app.core;
    let mut tasks = vec![tokio::spawn(tidy(core.clone())), tokio::spawn(watch_readers(core.clone()))];
    tasks.extend(core.data_files.iter().map(|files| tokio::spawn(files.clone().scrub())));
    if !app.knows_alyx() {
        tracing::warn!("`cache.profile` is rfc9111: this is a cache for any HTTP server, and knows no Alyx");
        return tasks;
    }
    let recalled = core.clone();
    tasks.push(tokio::spawn(async move { descriptions::recall(&recalled).await }));
    tasks.push(tokio::spawn(health::watch(core.upstream.clone(), core.settings.clone())));
    tasks.push(tokio::spawn(verify::run(app.floors.mirror.clone())));
    if let Some(synchroniser) = &core.synchroniser {
        let (synchroniser, core) = (synchroniser.clone(), core.clone());
        tasks.push(tokio::spawn(async move {
            // What Alyx is comes first: it says how its tables are understood.
            let all = descriptions::fetch(&core).await;
            tokio::join!(synchroniser.run(), descriptions::keep(core, all));
        }));
    } else {
        tracing::info!("nothing is mirrored: [mirror] names no account to synchronise by");
    }
    tasks
}

impl RequestHandler for Arc<App> {
    /// Alyx says nothing before its answers.
    fn has_interim_responses(&self) -> bool {
        !self.knows_alyx()
    }

    fn serve(
        &self,
        peer: SocketAddr,
        request: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        serve(self.clone(), peer, request)
    }
}

#[allow(clippy::disallowed_methods, reason = "a pause between two rounds, which no deadline depends on")]
async fn tidy(core: Arc<Core>) {
    loop {
        tokio::time::sleep(TIDY).await;
        core.responses.tidy();
        core.upstream.pace.tidy();
        metrics::recorder().run_upkeep();
    }
}

/// Has looks into the databases that take too long told in the log.
#[allow(clippy::disallowed_methods, reason = "a pause between two looks, which no deadline depends on")]
async fn watch_readers(core: Arc<Core>) {
    loop {
        tokio::time::sleep(WATCH).await;
        core.overdue();
    }
}
