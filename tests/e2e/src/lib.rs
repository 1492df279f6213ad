//! AstraDesk as its users meet it, against the sandbox and against a real control plane.
//!
//! One body makes two tests, `NAME::sandbox` and `NAME::real_cluster` ([`on_both!`]). The second needs the
//! kubeconfig of a control plane in `ASTRADESK_TEST_CLUSTER`, as `cargo xtask test` and
//! `cargo xtask cluster run -- …` set it: without it, it is skipped loudly, and fails where `CI` is set.
//!
//! | module | part |
//! |---|---|
//! | [`place`] | a cluster with a namespace of the test's own, and what a failed test tells of it |
//! | [`observer`] | an independent watch of that namespace: every version of every object |
//! | [`own_node`] | a node of the test's own |
//! | [`workload`] | workloads to restart, and how they behave |
//! | [`gateway`] | a gateway in this process, put together as `astradesk serve` does it |
//! | [`client`] | HTTP to a gateway, and its evidence, verified |
//! | [`cli`] | the command line: one command, or a `serve` that stays |
//! | [`kubectl`] | the real kubectl, and what it prints |
//! | [`others`] | MCP clients, and a server, that others wrote |
//! | [`alerting`] | an Alertmanager |
//! | [`metrics`] | a service's metrics, as a real Prometheus scrapes them |
//! | [`model`] | language models: an obedient one, and LiteLLM's proxy |
//! | [`disk`] | a small disk of one process's own |
//! | [`proxy`] | what stands between AstraDesk and the API server |
//! | [`fault`] | what it does to requests, and to which |
//! | [`tokens`] | an issuer, and tokens with every fault |
//!
//! No test sleeps to wait for something: it waits for the thing, by a watch, with a deadline.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a harness for tests: whatever goes wrong in it fails the test"
)]

pub mod alerting;
pub mod between;
pub mod cli;
pub mod client;
pub mod disk;
pub mod fault;
pub mod gateway;
pub mod kubectl;
pub mod metrics;
pub mod model;
pub mod observer;
pub mod others;
pub mod own_node;
pub mod place;
pub mod proxy;
pub mod tokens;
pub mod transcript;
pub mod workload;

pub use between::{Between, Pass};
pub use cli::Serve;
pub use client::{Client, Reply};
pub use disk::Disk;
pub use gateway::{Gateway, Settings};
pub use kubectl::Kubectl;
pub use place::{Place, Which};
pub use proxy::Proxy;
pub use workload::{Workload, daemon_set, deployment, stateful_set};

use futures::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// How long anything may take that a test waits for.
pub const PATIENCE: Duration = Duration::from_secs(45);
/// How long one test may take altogether.
const WHOLE: Duration = Duration::from_secs(100);

/// Makes two tests of each body, `async fn(&Place)`: one in the sandbox, one on the real control plane.
#[macro_export]
macro_rules! on_both {
    ($($body:ident),+ $(,)?) => {$(
        mod $body {
            #[test]
            fn sandbox() {
                $crate::test($crate::Which::Sandbox, $crate::on_both!(@binary), super::$body);
            }

            #[test]
            fn real_cluster() {
                $crate::test($crate::Which::Real, $crate::on_both!(@binary), super::$body);
            }
        }
    )+};
    (@binary) => { env!("CARGO_BIN_EXE_astradesk-e2e-cli") };
}

/// Makes one test of each body, for what only the real control plane does.
#[macro_export]
macro_rules! on_real_cluster {
    ($($body:ident),+ $(,)?) => {$(
        mod $body {
            #[test]
            fn real_cluster() {
                $crate::test($crate::Which::Real, $crate::on_both!(@binary), super::$body);
            }
        }
    )+};
}

/// Runs a test's body in a place of its own. When it fails, tells how things stood.
pub fn test(which: Which, binary: &'static str, body: impl AsyncFnOnce(&Place)) {
    test_within(WHOLE, which, binary, body);
}

/// The same for a test that may take so long.
pub fn test_within(limit: Duration, which: Which, binary: &'static str, body: impl AsyncFnOnce(&Place)) {
    if !which.is_available() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::open(which, binary).await;
        let running = async {
            let whole = tokio::time::timeout(limit, body(&place)).await;
            whole.unwrap_or_else(|_| panic!("the test took more than {limit:?}"));
        };
        let outcome = AssertUnwindSafe(running).catch_unwind().await;
        if outcome.is_err() {
            eprintln!("{}", place.told());
        }
        place.close().await;
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}
