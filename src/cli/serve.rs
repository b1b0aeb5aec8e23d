//! `serve`: the real thing.

use std::{
    io::{ErrorKind, IsTerminal},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use alyx_proxy::{
    app::{self, App, HttpServer},
    clock,
    data_dir::ListeningNote,
    log,
    proxy::{Mode, ServedSnapshot},
    server::ListenError,
    settings::{LoadedSettings, Settings, Sources, load, reloadable_difference, reloaded},
    snapshot::{Archive, ImportBudget, KnownKeys, Maker, TrustOptions, check},
};
use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CliError, CommandResult, args::reachable, prepare, print, progress_bar::StepBar, service};

pub(super) async fn run(sources: &Sources, snapshot: Option<&(PathBuf, TrustOptions)>) -> CommandResult {
    let given = service::socket()?;
    let (loaded, log) = prepare(sources)?;
    let signals = Signals::new().context("signals can't be heard")?;
    for note in loaded.notes() {
        tracing::warn!("{note}");
    }
    let LoadedSettings { mut settings, file, .. } = loaded;
    settings.storage.data_dir = settings.storage.directory()?;
    let app = match snapshot {
        Some((file, word)) => {
            let (app, maker) = frozen(file, word, settings).await?;
            print(&format!("Signed by     {}", maker.for_people()))?;
            app
        }
        None => App::open(settings, Mode::Live).await.map_err(anyhow::Error::from)?,
    };
    // Its directory may be another than the one that was set.
    let settings = app.settings().load().as_ref().clone();
    let listening = match given {
        Some(socket) => app::listen_on(app.clone(), socket).await.map_err(anyhow::Error::from)?,
        None => bind(&app, &settings, "setting `server.listen`, flag `--listen`").await?,
    };
    let url = base_url(&listening, &settings)?;
    let address = listening.address().context("the bound address is not known")?;
    if app.snapshot().is_none() && is_own(&settings, address) {
        app.close().await;
        return Err(CliError::Usage(format!(
            "upstream.url is {}, this proxy's own address: name the Alyx that it is to stand before",
            settings.upstream.url
        )));
    }
    print(&greeting(address, &url, &app, &settings, file.as_deref()))?;
    if snapshot.is_none() && app.knows_alyx() {
        tokio::spawn(tell_upstream(app.clone()));
    }
    tokio::spawn(reload_on_hangup(signals.hangup, sources.clone(), app.clone(), log));
    let telling = tokio::spawn(service::tell(app));
    let note = ListeningNote::write(
        &settings.storage.data_dir,
        &format!("{}://{}", scheme(&settings), reachable(address)),
    );
    let stop = async {
        asked_to_stop(signals.terminate, signals.interrupt).await;
        telling.abort();
        service::stopping();
    };
    listening.serve(stop).await;
    drop(note);
    Ok(())
}

/// What is written when a snapshot has been taken in, so that it need not be again.
const TAKEN_IN: &str = "taken-in";

/// A proxy that serves a snapshot and nothing else, and who made that. It is taken in once; the next time it is there.
async fn frozen(file: &Path, word: &TrustOptions, settings: Settings) -> anyhow::Result<(Arc<App>, Maker)> {
    let (path, teller) = (file.to_owned(), StepBar::teller());
    let mut keys = KnownKeys::of(&settings.storage.data_dir, &settings.snapshot.trusted_keys)?;
    let archive = tokio::task::spawn_blocking(move || Archive::open(&path, &*teller)).await??;
    let maker = keys.admit(&archive, word)?;
    let snapshot = ServedSnapshot::new(&archive);
    let settings = snapshot.over(settings);
    let taken_in = settings.storage.data_dir.join(TAKEN_IN);
    let mut checked = None;
    if !taken_in.exists() {
        print(&format!("Takes in      {}; the next start begins at once", file.display()))?;
        let teller = StepBar::teller();
        let checking = move || check(&archive, &*teller).map(|contents| (archive, contents));
        checked = Some(tokio::task::spawn_blocking(checking).await??);
    }
    let folder = settings.storage.data_dir.clone();
    let app = App::open(settings, Mode::Snapshot(Box::new(snapshot))).await?;
    let maker = keys.remember(maker, word, clock::now())?;
    if let Some((archive, contents)) = checked {
        ImportBudget { max_file: u64::MAX, max_disk: u64::MAX, free: app::free_space(&folder) }
            .check(&archive, &contents)?;
        app.take_in(archive, contents, &maker, StepBar::teller()).await?;
        std::fs::write(&taken_in, "").with_context(|| taken_in.display().to_string())?;
    }
    app.be_the_whole_world().await?;
    Ok((app, maker))
}

/// Binds the address, or says what to do.
///
/// `set_by` names what the address is set by.
pub(super) async fn bind(app: &Arc<App>, settings: &Settings, set_by: &str) -> anyhow::Result<HttpServer> {
    let address = settings.server.listen;
    match app::listen(app.clone()).await {
        Ok(server) => Ok(server),
        Err(error) => {
            app.close().await;
            Err(match error {
                ListenError::Address(error) => {
                    let why = not_bound(address, error.kind());
                    anyhow::Error::new(error).context(format!("can't listen on {address} ({set_by}); {why}"))
                }
                ListenError::Tls(_) | ListenError::AlyxPages(..) => error.into(),
            })
        }
    }
}

/// Why an address can't be bound, and what to do about it.
fn not_bound(address: SocketAddr, error: ErrorKind) -> String {
    let port = address.port();
    match error {
        ErrorKind::AddrInUse => {
            format!(
                "something else is listening there: `ss -ltnp sport = :{port}` shows what; choose another port"
            )
        }
        ErrorKind::AddrNotAvailable => format!(
            "this machine has no such address: \"0.0.0.0:{port}\" listens on all that it has, \"127.0.0.1:{port}\" only for itself"
        ),
        ErrorKind::PermissionDenied => format!(
            "this user may not listen on ports below 1024: choose another than {port}, such as 8040, or have systemd listen \
             (alyx-proxy.socket)"
        ),
        _ => "the system does not say why".to_owned(),
    }
}

/// The URL for clients on this machine.
pub(super) fn base_url(listening: &HttpServer, settings: &Settings) -> anyhow::Result<String> {
    let address = listening.address().context("the bound address is not known")?;
    let scheme = scheme(settings);
    Ok(match (settings.server.public_url.as_str(), address.ip().is_unspecified()) {
        ("", false) => format!("{scheme}://{address}"),
        // What listens everywhere is known by the machine's name.
        ("", true) => match machine_name() {
            Some(name) => format!("{scheme}://{name}:{}", address.port()),
            None => format!("{scheme}://{}", reachable(address)),
        },
        (public, _) => public.to_owned(),
    })
}

/// The name by which others know this machine.
fn machine_name() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?.trim();
    (!name.is_empty() && name != "localhost").then(|| name.to_owned())
}

/// Whether the Alyx that the settings name is this proxy itself, which listens at this address.
fn is_own(settings: &Settings, address: SocketAddr) -> bool {
    let Ok(url) = url::Url::parse(&settings.upstream.url) else { return false };
    let everywhere = address.ip().is_unspecified();
    let ip = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.into(),
        Some(url::Host::Ipv6(ip)) => ip.into(),
        Some(url::Host::Domain("localhost")) => std::net::IpAddr::from([127, 0, 0, 1]),
        _ => {
            return !settings.server.public_url.is_empty()
                && settings.upstream.url == settings.server.public_url;
        }
    };
    url.port_or_known_default() == Some(address.port())
        && (ip == address.ip() || everywhere && ip.is_loopback())
}

fn scheme(settings: &Settings) -> &'static str {
    if settings.server.has_tls() { "https" } else { "http" }
}

fn greeting(
    address: SocketAddr,
    url: &str,
    app: &App,
    settings: &Settings,
    file: Option<&std::path::Path>,
) -> String {
    let file =
        file.map_or_else(|| "defaults (no settings file)".to_owned(), |file| file.display().to_string());
    let aside = app.set_aside().map_or_else(String::new, |path| {
        format!("ATTENTION     the database was damaged; it was set aside as {}\n", path.display())
    });
    let source = match app.snapshot() {
        Some(frozen) => format!(
            "Snapshot      {} (`{}`, {}); read-only, for everybody who can reach this address",
            clock::for_people(frozen.as_of()),
            frozen.manifest().name,
            frozen.manifest().upstream
        ),
        None => format!("Upstream      {}", app.upstream().base()),
    };
    format!(
        "alyx-proxy {}
Listening on {}://{address}
{source}
Remembers in  {}
Settings      {file}
Pages         {url}/-/
{aside}
In Python:
  from one.api import ONE
  one = ONE(base_url='{url}', username='YOUR_NAME', password='YOUR_PASSWORD')
  one.search(lab='cortexlab', query_type='remote')
",
        env!("CARGO_PKG_VERSION"),
        scheme(settings),
        settings.storage.data_dir.display(),
    )
}

/// Says once whether upstream answers, as soon as that is known.
async fn tell_upstream(app: Arc<App>) {
    let state = app.upstream().health.until_known().await;
    let line = if state.is_down() {
        let hint = app.likely_mistake();
        if let Some(hint) = &hint {
            tracing::warn!("Alyx was never reached: {hint}");
        }
        let reason = state.reason().unwrap_or_default();
        match hint {
            Some(hint) => format!("Upstream was never reached: {reason}. {hint}"),
            None => format!(
                "Upstream is out of reach: {reason}. What is remembered is answered; it is looked for meanwhile."
            ),
        }
    } else {
        "Upstream answers.".to_owned()
    };
    // A closed standard output is no reason to stop serving.
    let _ = print(&line);
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

async fn asked_to_stop(mut terminate: Signal, mut interrupt: Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to stop; open requests may end");
}

/// What completes when the user asks a program that is not to go on without them to stop, or closes its terminal (but for what
/// `nohup` has started, which has none). Signals are heard from this call on.
pub(super) fn stop_asked() -> anyhow::Result<impl Future<Output = ()>> {
    // Before anybody knows that it is ready: a terminal that is being closed is none any more before its hangup comes.
    let has_terminal = std::io::stdin().is_terminal();
    let Signals { terminate, interrupt, mut hangup } = Signals::new().context("signals can't be heard")?;
    Ok(async move {
        let closed = async {
            if has_terminal {
                hangup.recv().await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = asked_to_stop(terminate, interrupt) => {}
            () = closed => {}
        }
    })
}

async fn reload_on_hangup(mut hangup: Signal, sources: Sources, app: Arc<App>, log: log::Handle) {
    while hangup.recv().await.is_some() {
        match load(&sources) {
            Ok(loaded) => apply(loaded.settings, &app, &log),
            Err(error) => tracing::error!("settings stay as they were: {error}"),
        }
    }
}

fn apply(mut new: Settings, app: &App, log: &log::Handle) {
    // As at the start: what runs has the directory's path, even where nobody has set one.
    match new.storage.directory() {
        Ok(directory) => new.storage.data_dir = directory,
        Err(error) => return tracing::error!("settings stay as they were: {error}"),
    }
    if let Some(frozen) = app.snapshot() {
        new = frozen.over(new);
    }
    let running = app.settings().load();
    let needs_restart = reloadable_difference(&running, &new);
    if !needs_restart.is_empty() {
        tracing::warn!("these settings take effect at the next start: {}", needs_restart.join(", "));
    }
    if let Err(error) = log.set_level(&new.log.level) {
        tracing::error!("log.level stays as it was: {error}");
    }
    if running.upstream.requests_per_minute != new.upstream.requests_per_minute {
        app.upstream().pace.set_rate(new.upstream.requests_per_minute);
    }
    app.set_settings(reloaded(&running, &new));
    tracing::info!("settings read again");
}
