//! `serve`.

use alyx_proxy::settings::Sources;

use super::{Outcome, prepare};

#[expect(clippy::unused_async, reason = "the server is not built yet")]
pub(super) async fn run(sources: &Sources) -> Outcome {
    let (_loaded, _log) = prepare(sources)?;
    Err(anyhow::anyhow!("`serve` is not built yet").into())
}
