//! The `astradesk` binary: see the library for everything.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    astradesk::main().await
}
