//! What happened lately, for the status page: the log's own lines of the last while, but for those about requests.
//!
//! Of a line its message and its harmless fields are kept (`reason`, `endpoint`, `error`): a question that a line
//! names is its asker's business.

use std::{
    collections::VecDeque,
    fmt::{Debug, Write},
    sync::{Mutex, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use crate::clock::{self, Millis};

/// Lines that are kept.
const KEPT: usize = 100;
/// Characters of a line that are kept.
const LONGEST: usize = 300;
/// Fields that are shown with a message.
const FIELDS: [&str; 5] = ["reason", "endpoint", "error", "purged", "what"];

/// The part that tells how far something is: of each thing only the last line counts, or it would hide all others.
const COURSE: &str = "mirror::sync::progress";

/// Something that happened.
#[derive(Debug, Clone)]
pub struct LoggedEvent {
    /// When.
    pub at: Millis,
    /// How bad it is: `ERROR`, `WARN` or `INFO`.
    pub level: &'static str,
    /// What.
    pub text: String,
    /// The part of the program that says so.
    pub part: &'static str,
}

impl LoggedEvent {
    fn is_wrong(&self) -> bool {
        self.level != Level::INFO.as_str()
    }
}

static LATELY: Mutex<VecDeque<LoggedEvent>> = Mutex::new(VecDeque::new());

/// What happened lately, the last first.
pub fn lately() -> Vec<LoggedEvent> {
    LATELY.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
}

/// As many of them as fit on a page, the last first. What is wrong is not pushed out by what goes as it should.
pub fn worth_telling(most: usize) -> Vec<LoggedEvent> {
    let mut lately = lately();
    let room = most.saturating_sub(lately.iter().filter(|event| event.is_wrong()).count());
    let mut routine = 0;
    lately.retain(|event| {
        routine += usize::from(!event.is_wrong());
        event.is_wrong() || routine <= room
    });
    lately.truncate(most);
    lately
}

/// Keeps what happens.
pub(super) struct EventLayer;

impl<S: Subscriber> Layer<S> for EventLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = *metadata.level();
        let ours = metadata.target().starts_with("alyx_proxy") && metadata.target() != super::ACCESS;
        if !ours || level > Level::INFO {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let happened = LoggedEvent {
            at: clock::now(),
            level: level.as_str(),
            text: text.line(),
            part: part(metadata.target()),
        };
        let mut lately = LATELY.lock().unwrap_or_else(PoisonError::into_inner);
        // The same again and again is one thing that goes on.
        if let Some(last) = lately.back_mut()
            && last.text == happened.text
        {
            last.at = happened.at;
            return;
        }
        if happened.part == COURSE {
            lately.retain(|other| other.part != COURSE || course(&other.text) != course(&happened.text));
        }
        if lately.len() == KEPT {
            lately.pop_front();
        }
        lately.push_back(happened);
    }
}

/// What a line tells the course of: what stands before the colon, and its fields.
fn course(text: &str) -> (&str, &str) {
    let what = text.split(": ").next().unwrap_or(text);
    (what, text.rfind(" (").map_or("", |at| &text[at..]))
}

/// The part of the program that a line's target names.
fn part(target: &'static str) -> &'static str {
    target.strip_prefix("alyx_proxy::").unwrap_or("the program")
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn line(self) -> String {
        let line =
            if self.fields.is_empty() { self.message } else { format!("{} ({})", self.message, self.fields) };
        line.chars().take(LONGEST).collect()
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a String can't fail.
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else if FIELDS.contains(&field.name()) {
            let comma = if self.fields.is_empty() { "" } else { ", " };
            let _ = write!(self.fields, "{comma}{}: {value:?}", field.name());
        }
    }
}
