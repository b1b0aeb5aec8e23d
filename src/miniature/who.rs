//! Who asks, and what they may (ALYX.md 4.1, 4.2).

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::{User, answer::ViewResponse};
use crate::alyx::error_body;

const MINUTE: Duration = Duration::from_mins(1);

/// Who may ask, and how often each has asked within a minute.
#[derive(Debug)]
pub(super) struct Users {
    known: Vec<User>,
    limit: Option<u32>,
    recent: Mutex<HashMap<String, VecDeque<Instant>>>,
}

impl Users {
    pub(super) fn new(users: &[User], limit: Option<u32>) -> Self {
        Self { known: users.to_vec(), limit, recent: Mutex::default() }
    }

    /// The user whose token the request carries; none for a request without one, or with
    /// credentials of another scheme.
    pub(super) fn identify(&self, headers: &HeaderMap) -> Result<Option<&User>, ViewResponse> {
        let Some(header) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
        let refused = |detail| Err(ViewResponse::refused(StatusCode::FORBIDDEN, detail));
        let Ok(text) = std::str::from_utf8(header.as_bytes()) else { return refused(error_body::ODD_TOKEN) };
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        match words.as_slice() {
            [scheme, rest @ ..] if scheme.eq_ignore_ascii_case("token") => match rest {
                [] => refused(error_body::EMPTY_TOKEN),
                [token] => match self.known.iter().find(|user| user.token == *token) {
                    Some(user) => Ok(Some(user)),
                    None => refused(error_body::INVALID_TOKEN),
                },
                _ => refused(error_body::SPACED_TOKEN),
            },
            _ => Ok(None),
        }
    }

    /// The user of this name and password.
    pub(super) fn log_in(&self, name: &str, password: &str) -> Option<&User> {
        self.known.iter().find(|user| user.name == name && user.password == password)
    }

    /// Counts a request, or refuses it.
    pub(super) fn throttle(&self, user: Option<&User>) -> Result<(), ViewResponse> {
        let Some(limit) = self.limit else { return Ok(()) };
        let name = user.map(|user| user.name.clone()).unwrap_or_default();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let times = recent.entry(name).or_default();
        let now = Instant::now();
        while times.front().is_some_and(|first| now.duration_since(*first) >= MINUTE) {
            times.pop_front();
        }
        if times.len() < limit as usize {
            times.push_back(now);
            return Ok(());
        }
        let wait = times.front().map_or(MINUTE, |first| MINUTE.saturating_sub(now.duration_since(*first)));
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let unit = if seconds == 1 { "second" } else { "seconds" };
        let detail = format!("Request was throttled. Expected available in {seconds} {unit}.");
        let answer = ViewResponse::refused(StatusCode::TOO_MANY_REQUESTS, &detail);
        Err(answer.with_header(header::RETRY_AFTER, HeaderValue::from(seconds)))
    }
}

/// Whether this user may use this method on a view that is not open.
pub(super) fn permit(user: Option<&User>, method: &Method) -> Result<(), ViewResponse> {
    match user {
        None => Err(ViewResponse::refused(StatusCode::FORBIDDEN, error_body::NO_CREDENTIALS)),
        Some(user) if user.public && method != Method::GET => {
            let detail = "You do not have permission to perform this action.";
            Err(ViewResponse::refused(StatusCode::FORBIDDEN, detail))
        }
        Some(_) => Ok(()),
    }
}
