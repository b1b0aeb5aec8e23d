//! A proxy without sockets and without time of its own: requests are given to it, and what goes on beside them is done when
//! somebody who moves its clock says so. For measuring a day in a minute.

use std::{net::Ipv4Addr, sync::Arc};

use axum::body::Body;
use http::{Request, Response};

use super::{App, descriptions, serve::serve};
use crate::{
    clock::Millis,
    mirror::sync::{Cycle, budget::Purpose},
    proxy::verify::Verifier,
};

const MINUTE: Millis = 60_000;
/// The least time between two rounds, where one is asked for.
const SOON: Millis = 15_000;

/// A proxy that is led by hand.
#[derive(Debug)]
pub struct AppByHand {
    app: Arc<App>,
    verifier: Verifier,
    described_at: Option<Millis>,
    cycled_at: Option<Millis>,
    compared_at: Option<Millis>,
}

impl AppByHand {
    /// Leads this one.
    pub fn of(app: Arc<App>) -> Self {
        let verifier = Verifier::default();
        Self { app, verifier, described_at: None, cycled_at: None, compared_at: None }
    }

    /// Its answer to a request from this machine.
    pub async fn answer(&self, request: Request<Body>) -> Response<Body> {
        serve(self.app.clone(), (Ipv4Addr::LOCALHOST, 1).into(), request).await
    }

    /// Does what is due beside the requests by now.
    pub async fn background(&mut self) {
        let core = self.app.core.clone();
        let Some(synchroniser) = &core.synchroniser else { return };
        let now = core.clock.now();
        let is_past = |last: Option<Millis>, long: Millis| {
            last.is_none_or(|last| !(0..long).contains(&now.saturating_sub(last)))
        };
        let described = Millis::try_from(descriptions::LATER.as_millis()).unwrap_or(Millis::MAX);
        if is_past(self.described_at, described)
            && let Some(_room) = synchroniser.budget.reserve(Purpose::Description, descriptions::REQUESTS)
        {
            self.described_at = Some(now);
            descriptions::fetch(&core).await;
        }
        let every = core.settings.load().mirror.interval.millis();
        if is_past(self.cycled_at, if synchroniser.is_asked() { SOON.min(every) } else { every }) {
            self.cycled_at = Some(now);
            synchroniser.cycle(Cycle::Due).await;
        }
        if is_past(self.compared_at, MINUTE) {
            self.compared_at = Some(now);
            self.verifier.compare_one(&self.app.floors.mirror, false).await;
        }
    }
}
