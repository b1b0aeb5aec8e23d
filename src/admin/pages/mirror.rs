//! `/-/mirror`: the tables, how far a synchronisation is, and the administrator's buttons.

use std::collections::BTreeSet;

use askama::Template;
use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{
    Visit,
    error::ProxyError,
    field,
    frame::{Frame, page},
    to,
};
use crate::{
    admin::{
        acts::ActDetails,
        mirror_status::{FAILED, scope},
    },
    alyx::Endpoint,
    clock,
    mirror::{
        state::TableState,
        sync::{
            TableProgress,
            budget::{BudgetUse, Purpose},
        },
    },
};

#[derive(Template)]
#[template(path = "mirror.html")]
struct MirrorPage<'p> {
    frame: Frame,
    message: &'p str,
    is_admin: bool,
    has_account: bool,
    /// That Alyx refuses the account; empty where it does not.
    account_refused: String,
    tables: Vec<MirrorRow>,
    /// What the Alyx is whose tables these are, and what it has otherwise than the newest known.
    alyx: String,
    differences: Vec<String>,
    verified: Vec<(&'static str, u64)>,
    /// What was asked of Alyx in the last 24 hours; none without an account.
    asked: Option<AskedLately>,
    unreadable: Vec<Missing>,
    /// Records of the kind that are not shown.
    more_unreadable: usize,
}

/// What was asked of Alyx in the last 24 hours, and saved it.
struct AskedLately {
    saved: u64,
    background: u64,
    allowed: String,
    by_purpose: Vec<(&'static str, u64)>,
}

impl AskedLately {
    fn of(used: &BudgetUse) -> Self {
        let allowed = match (used.allowed, used.left()) {
            (Some(allowed), Some(left)) => format!("of {allowed} that it may; {left} are left"),
            _ => "without a bound".to_owned(),
        };
        let by_purpose = Purpose::ALL.map(|purpose| (purpose.name(), used.of(purpose)));
        Self { saved: used.saved, background: used.background(), allowed, by_purpose: by_purpose.to_vec() }
    }
}

/// A record that Alyx could not give.
struct Missing {
    path: String,
    why: String,
    since: String,
    since_iso: String,
    tries: u32,
    again_at: String,
    again_iso: String,
}

/// What of a table is here.
#[derive(Debug, PartialEq, Eq)]
enum TableStand {
    NotHere,
    Complete,
    WithoutDetails,
    /// They are being fetched.
    DetailsToCome,
    /// All that Alyx gave are here, and of so many it gave none.
    DetailsLack(usize),
    /// Some have changed since, and are fetched by and by, or for whom asks for them.
    DetailsWhenAsked,
}

impl TableStand {
    fn for_people(&self) -> String {
        match self {
            Self::NotHere => "not here yet".to_owned(),
            Self::Complete => "complete".to_owned(),
            Self::WithoutDetails => "without details".to_owned(),
            Self::DetailsToCome => "details to come".to_owned(),
            Self::DetailsLack(1) => "complete but for 1 detail that Alyx does not give".to_owned(),
            Self::DetailsLack(count) => format!("complete but for {count} details that Alyx does not give"),
            Self::DetailsWhenAsked => "changed details when they are asked for".to_owned(),
        }
    }
}

struct MirrorRow {
    endpoint: &'static str,
    rows: String,
    /// What of it is here.
    state: String,
    is_complete: bool,
    age: String,
    scope: String,
    distrusted: String,
    /// What differs though the records do not.
    at_fault: String,
    phase: String,
    done: u64,
    total: u64,
    moving: bool,
    error: String,
}

impl Visit {
    pub(super) fn mirror_page(&self, message: &str) -> Response<Body> {
        let names = self.counts();
        let (unreadable, more_unreadable) = self.unreadable(names);
        let spec = self.admin.core.mirror.as_ref().map(|mirror| mirror.states().spec().clone());
        let content = MirrorPage {
            frame: self.frame("mirror", "Mirror"),
            message,
            is_admin: self.is_admin(),
            has_account: self.admin.core.synchroniser.is_some(),
            account_refused: self.admin.account_refused(names).unwrap_or_default(),
            tables: self.rows(names),
            alyx: spec.as_ref().map_or_else(String::new, |spec| spec.summary()),
            differences: spec.iter().flat_map(|spec| spec.differences()).map(ToString::to_string).collect(),
            asked: self.admin.core.synchroniser.as_ref().map(|own| AskedLately::of(&own.budget.used())),
            verified: self.admin.floors.mirror.samples.by_name().to_vec(),
            unreadable,
            more_unreadable,
        };
        page(&content, 200)
    }

    fn rows(&self, names: bool) -> Vec<MirrorRow> {
        let Some(mirror) = &self.admin.core.mirror else { return Vec::new() };
        let (states, now) = (mirror.states(), self.admin.core.clock.now());
        let progress =
            self.admin.core.synchroniser.as_ref().map(|synchroniser| synchroniser.progress.snapshot());
        let progress = progress.unwrap_or_default();
        let kept = |endpoint: &&Endpoint| {
            states.of(endpoint.name).is_some()
                || self.admin.core.synchroniser.is_some() && self.settings.mirror.keeps(endpoint)
        };
        crate::alyx::ENDPOINTS
            .iter()
            .filter(kept)
            .map(|endpoint| {
                let state = states.of(endpoint.name);
                let run = progress.get(endpoint.name).cloned().unwrap_or_default();
                let stand = match state {
                    None => TableStand::NotHere,
                    Some(state) => {
                        let has_details =
                            endpoint.has_own_details() && states.spec().has_details(endpoint.name);
                        self.stand(endpoint, has_details, state, &run)
                    }
                };
                MirrorRow {
                    endpoint: endpoint.name,
                    rows: state.map_or_else(|| "–".to_owned(), |state| state.rows.to_string()),
                    state: stand.for_people(),
                    is_complete: stand == TableStand::Complete,
                    age: state
                        .map_or_else(String::new, |state| clock::span_for_people(now - state.synced_at)),
                    scope: state.map_or_else(String::new, |state| scope(&state.scope, names).join("&")),
                    distrusted: state
                        .map_or_else(String::new, |state| named(state.distrusted.iter().map(String::as_str))),
                    at_fault: named(states.at_fault(endpoint.name)),
                    done: run.here(),
                    total: run.total.max(1),
                    moving: run.is_moving(),
                    phase: run.phase_for_people(now),
                    error: run
                        .error
                        .map_or_else(String::new, |error| if names { error } else { FAILED.to_owned() }),
                }
            })
            .collect()
    }

    /// What of a table that is here is here.
    fn stand(
        &self,
        endpoint: &Endpoint,
        has_details: bool,
        state: &TableState,
        run: &TableProgress,
    ) -> TableStand {
        if !has_details || state.details {
            return TableStand::Complete;
        }
        if self.admin.core.synchroniser.is_none() || !self.settings.mirror.keeps_details(endpoint) {
            return TableStand::WithoutDetails;
        }
        let are_fetched = matches!(run.phase.as_ref(), "fill" | "details") || run.succeeded_at.is_none();
        match self.admin.details_not_given(endpoint.name, state) {
            _ if are_fetched => TableStand::DetailsToCome,
            0 => TableStand::DetailsWhenAsked,
            lack => TableStand::DetailsLack(lack),
        }
    }

    /// The records that Alyx could not give, and how many more there are.
    fn unreadable(&self, names: bool) -> (Vec<Missing>, usize) {
        let Some(mirror) = &self.admin.core.mirror else { return (Vec::new(), 0) };
        let states = mirror.states();
        let count: usize = states.iter().map(|(_, state)| state.unreadable.count).sum();
        let mut told: Vec<_> =
            states.iter().flat_map(|(_, state)| &state.unreadable.told).filter(|_| names).collect();
        told.sort_by(|a, b| a.path.cmp(&b.path));
        let shown = told.into_iter().map(|record| Missing {
            path: record.path.clone(),
            why: record.why.clone(),
            since: clock::for_people(record.since),
            since_iso: clock::for_machines(record.since),
            tries: record.tries,
            again_at: clock::for_people(record.again_at),
            again_iso: clock::for_machines(record.again_at),
        });
        let shown: Vec<_> = shown.collect();
        let more = count - shown.len();
        (shown, more)
    }

    pub(super) fn mirror_json(&self) -> Value {
        json!({ "mirror": self.admin.mirror_status(self.counts()) })
    }

    pub(super) fn mirror_action(&self, form: &[(String, String)]) -> Response<Body> {
        if !self.is_admin() {
            return to("/-/admin");
        }
        if !self.is_own_form(form) {
            return ProxyError::refused(
                StatusCode::FORBIDDEN,
                "The form is out of date: load the page again.",
            )
            .into();
        }
        let done = match field(form, "action") {
            "sync" => {
                let named = Some(field(form, "endpoint")).filter(|name| !name.is_empty());
                let named: BTreeSet<String> = named.map(str::to_owned).into_iter().collect();
                self.admin.synchronise_now(&named).map(|_| "Synchronising.")
            }
            "verify" => self
                .admin
                .verify_now()
                .map(|_| "Answers that were given lately are being compared with Alyx's."),
            "trust" => self.admin.trust_again().map(|_| "What differed is answered from the tables again."),
            "offline" => {
                self.admin.hold_offline();
                Ok("The proxy keeps away from Alyx.")
            }
            "online" => {
                self.admin.release_online();
                Ok("The proxy asks Alyx again.")
            }
            _ => return ProxyError::refused(StatusCode::BAD_REQUEST, "There is no such button.").into(),
        };
        let mut response = match &done {
            Ok(message) => self.mirror_page(message),
            Err(refused) => self.mirror_page(&refused.why),
        };
        let button = ("button", field(form, "action").into());
        let plain = vec![button, ("carried_out", done.is_ok().into())];
        response.extensions_mut().insert(ActDetails { plain, ..ActDetails::default() });
        response
    }
}

/// Parameters between commas; the list itself has none.
fn named<'n>(parameters: impl Iterator<Item = &'n str>) -> String {
    let name = |name: &'n str| if name.is_empty() { "all" } else { name };
    parameters.map(name).collect::<Vec<_>>().join(", ")
}
