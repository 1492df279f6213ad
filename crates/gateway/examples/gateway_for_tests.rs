//! A gateway with the tests' pack, for tools that test an API from outside: prints its address and a token.
//!
//! ```text
//! cargo run -p astradesk-gateway --example gateway_for_tests
//! ```

#![allow(clippy::unwrap_used, reason = "a tool for tests: a failed unwrap is a failed test")]

#[path = "../tests/gateway/support/mod.rs"]
mod support;

use std::io::Write as _;

#[tokio::main]
async fn main() {
    let harness = support::start_with(support::Setup {
        listen: std::env::args().nth(1).map_or(([127, 0, 0, 1], 0).into(), |text| text.parse().unwrap()),
        ..support::Setup::default()
    })
    .await;
    // Calls of `slow` go on at once here.
    harness.pack.state.gate.add_permits(1_000_000);
    let mut out = std::io::stdout();
    writeln!(out, "http://{} {}", harness.address, harness.admin()).unwrap();
    out.flush().unwrap();
    tokio::signal::ctrl_c().await.unwrap();
    harness.stop().await;
}
