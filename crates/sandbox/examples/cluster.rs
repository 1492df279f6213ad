//! Runs the demo's cluster until Ctrl-C, and prints a kubeconfig for it. The first argument is the pace.

use astradesk_sandbox::{Config, Sandbox, scenario};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the kubeconfig is this program's output")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pace = std::env::args().nth(1).map_or(Ok(1.0), |pace| pace.parse())?;
    let sandbox = Sandbox::start(Config { objects: scenario::demo(), pace, ..Config::default() }).await?;
    println!("{}", sandbox.kubeconfig());
    tokio::signal::ctrl_c().await?;
    sandbox.shutdown().await;
    Ok(())
}
