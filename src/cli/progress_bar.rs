//! One bar for long work, on a terminal.

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use alyx_proxy::{progress::Progress, proxy::ProgressFn};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// A bar that shows what is being done and how far it is; nothing where nobody looks at it.
pub(super) struct StepBar(Option<ProgressBar>);

impl StepBar {
    /// A bar that counts; it stands on the standard error output.
    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let form = "{prefix:<26} {bar:30} {percent:>3} % {msg}";
            let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(0).with_style(style)
        });
        Self(bar)
    }

    /// Shows that something is under way of which nobody knows how long it takes.
    pub(super) fn wait(&self, what: &str) {
        if let Some(bar) = &self.0 {
            let style = ProgressStyle::with_template("{prefix} {spinner}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_prefix(what.to_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
        }
    }

    /// Shows how many bytes have gone over the network.
    pub(super) fn bytes(&self, what: &str, done: u64, total: u64) {
        if let Some(bar) = &self.0 {
            bar.set_message(format!("{} of {}", HumanBytes(done), HumanBytes(total)));
        }
        self.tell(Progress { what, done, total });
    }

    /// Shows how many of the things to do are done.
    pub(super) fn step(&self, what: &str, done: u64, total: u64) {
        self.tell(Progress { what, done, total });
    }

    fn tell(&self, step: Progress<'_>) {
        let Some(bar) = &self.0 else { return };
        if bar.prefix() != step.what {
            bar.set_prefix(step.what.to_owned());
        }
        bar.set_length(step.total.max(step.done));
        bar.set_position(step.done);
    }

    /// The bar for work on another thread; it goes when the work is done.
    pub(super) fn teller() -> ProgressFn {
        let bar = Mutex::new(Self::new());
        Arc::new(move |step: Progress<'_>| bar.lock().unwrap_or_else(PoisonError::into_inner).tell(step))
    }
}

impl Drop for StepBar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
