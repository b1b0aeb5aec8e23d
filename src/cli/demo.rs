//! `demo`.

use alyx_proxy::settings::Sources;

use super::{Outcome, args, prepare};

#[expect(clippy::unused_async, reason = "the server is not built yet")]
pub(super) async fn run(sources: &Sources, demo: &args::DemoFlags) -> Outcome {
    let (_loaded, _log) = prepare(sources)?;
    let args::DemoFlags { port, alyx_port, complete } = demo;
    Err(anyhow::anyhow!("`demo` is not built yet ({port}, {alyx_port}, {complete})").into())
}
