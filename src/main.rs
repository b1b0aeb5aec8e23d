//! Arguments ▸ settings ▸ command; nothing else.

mod cli;

use std::process::ExitCode;

/// A tenth of the work of a small answer is finding memory for it (`docs/src/performance.md`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run().await
}
