//! What libraries say, and panics: without paths of the machine that the program was built on.

use std::{borrow::Cow, panic};

use tracing::level_filters::LevelFilter;
use tracing_log::{AsLog, LogTracer, log};

/// Takes what libraries log by the `log` crate, but not the files in which they do.
struct Tracer(LogTracer);

impl log::Log for Tracer {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        let mut plain = log::Record::builder();
        plain.metadata(record.metadata().clone()).args(*record.args());
        self.0.log(&plain.build());
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Takes the lines of libraries into the log from now on.
pub(super) fn listen() -> Result<(), log::SetLoggerError> {
    log::set_boxed_logger(Box::new(Tracer(LogTracer::new())))?;
    heed_level();
    Ok(())
}

/// Passes the log's level on to them.
pub(super) fn heed_level() {
    log::set_max_level(LevelFilter::current().as_log());
}

/// The filter for a level or a list of levels: a level that stands alone is ours, and of libraries there are
/// warnings only, unless one is named.
pub(super) fn quiet(level: &str) -> String {
    let directives = level.split(',').map(|directive| {
        let bare = directive.trim();
        match bare.to_ascii_lowercase().as_str() {
            "info" | "debug" | "trace" | "3" | "4" | "5" => format!("warn,alyx_proxy={bare}"),
            _ => bare.to_owned(),
        }
    });
    directives.collect::<Vec<_>>().join(",")
}

/// Lets a panic be a line of the log, with its place in the program or in a library. Whoever sets `RUST_BACKTRACE` gets
/// the frames too, with all paths.
pub(super) fn log_panics() {
    let with_frames = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        let at = panicked
            .location()
            .map_or_else(String::new, |location| format!("{}:{}", place(location.file()), location.line()));
        let said = panicked.payload_as_str().unwrap_or("no message");
        tracing::error!(at, "panicked, which is a defect: {said}");
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|wanted| wanted != "0") {
            with_frames(panicked);
        }
    }));
}

/// A source file without the folders that the build machine kept it in.
fn place(file: &str) -> Cow<'_, str> {
    let file = if file.contains('\\') { Cow::Owned(file.replace('\\', "/")) } else { Cow::Borrowed(file) };
    // The library's folder is named like the library: what follows `src/<registry>/` or `rustc/<commit>/`.
    for kept_in in ["/registry/src/", "/git/checkouts/", "/rustc/"] {
        if let Some((_, rest)) = file.split_once(kept_in)
            && let Some((_, own)) = rest.split_once('/')
        {
            return Cow::Owned(own.to_owned());
        }
    }
    if let (true, Some((_, own))) = (file.starts_with('/'), file.rsplit_once("/src/")) {
        return Cow::Owned(format!("src/{own}"));
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_alone_is_for_this_program() {
        for (level, filter) in [
            ("info", "warn,alyx_proxy=info"),
            ("DEBUG", "warn,alyx_proxy=DEBUG"),
            ("error", "error"),
            ("off", "off"),
            ("info,alyx_proxy::upstream=debug", "warn,alyx_proxy=info,alyx_proxy::upstream=debug"),
            ("info, rusqlite_migration=info", "warn,alyx_proxy=info,rusqlite_migration=info"),
            ("alyx_proxy=trace", "alyx_proxy=trace"),
        ] {
            assert_eq!(quiet(level), filter);
        }
    }

    #[test]
    fn places_have_no_folder_of_the_build_machine() {
        for (file, shown) in [
            ("src/log/mod.rs", "src/log/mod.rs"),
            ("/home/someone/alyx-proxy/src/log/mod.rs", "src/log/mod.rs"),
            (
                "/home/u/.cargo/registry/src/index-19/hyper-1.6.0/src/body/mod.rs",
                "hyper-1.6.0/src/body/mod.rs",
            ),
            ("C:\\u\\.cargo\\registry\\src\\index-19\\hyper-1.6.0\\src\\lib.rs", "hyper-1.6.0/src/lib.rs"),
            (
                "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/option.rs",
                "library/core/src/option.rs",
            ),
        ] {
            assert_eq!(place(file), shown);
        }
    }
}
