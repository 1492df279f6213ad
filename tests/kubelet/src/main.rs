//! The stand-in kubelet as a program: see the library.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use astradesk_test_kubelet::Options;
use clap::Parser;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// A stand-in kubelet: makes pods of a control plane run without running anything.
#[derive(Parser)]
struct Arguments {
    /// Who it is to the API server: an administrator
    #[arg(long, env = "KUBECONFIG")]
    kubeconfig: PathBuf,
    /// The name of its node
    #[arg(long, default_value = "stand-in")]
    node: String,
    /// Milliseconds from a pod's scheduling to its first state
    #[arg(long, default_value_t = 200)]
    delay: u64,
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let arguments = Arguments::parse();
    let file = Kubeconfig::read_from(&arguments.kubeconfig)
        .with_context(|| format!("cannot read `{}`", arguments.kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(config).context("cannot make a client")?;
    let delay = Duration::from_millis(arguments.delay);
    astradesk_test_kubelet::run(client, Options { node: arguments.node, delay, ..Options::default() }).await
}
