//! Arguments ▸ settings ▸ command; nothing else.

mod cli;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    cli::run().await
}
