//! What a service manager is told and gives: readiness, a line of state, signs of life (sd_notify(3)),
//! and a socket that it has bound (sd_listen_fds(3)). Without a service manager nothing happens.

use std::{net::TcpListener, sync::Arc, time::Duration};

use alyx_proxy::app::App;
use anyhow::{Context, anyhow};
use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The socket that clients come in by, where the service manager holds it. The setting
/// `server.listen` has no say then.
pub(super) fn socket() -> anyhow::Result<Option<TcpListener>> {
    let mut given = ListenFd::from_env();
    match given.len() {
        0 => Ok(None),
        1 => given.take_tcp_listener(0).context("the socket that the service manager gives is not TCP's"),
        more => Err(anyhow!("the service manager gives {more} sockets; alyx-proxy listens on one")),
    }
}

/// Says that clients are served, and from then on how Alyx is, and that the program is alive.
pub(super) async fn tell(app: Arc<App>) {
    say(&[NotifyState::Ready, NotifyState::Status("Serving; it is not known yet whether Alyx answers")]);
    tokio::join!(signs_of_life(), tell_state(&app));
}

/// Says that open requests come to their end, and nothing new is begun.
pub(super) fn stopping() {
    say(&[NotifyState::Stopping, NotifyState::Status("Stopping; open requests may end")]);
}

/// The line that `systemctl status` shows.
async fn tell_state(app: &App) {
    let health = &app.upstream().health;
    health.until_known().await;
    loop {
        let state = health.state();
        let line = match state.reason() {
            Some(reason) if state.is_down() => {
                format!("Serving without Alyx, which is out of reach: {}", reason.replace('\n', " "))
            }
            _ => format!("Serving; {} answers", app.upstream().base()),
        };
        say(&[NotifyState::Status(&line)]);
        health.until_down_is(!state.is_down()).await;
    }
}

/// Twice within the time after which the service manager would start the program anew. It is the
/// runtime that speaks: if its threads hang, nothing is said.
async fn signs_of_life() {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| *limit > Duration::ZERO) else { return };
    let mut beats = tokio::time::interval(limit / 2);
    loop {
        beats.tick().await;
        say(&[NotifyState::Watchdog]);
    }
}

/// A datagram to a local socket; it blocks nobody for longer than that.
fn say(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager was not told");
    }
}
