//! The property-based API test: `schemathesis`, from PyPI, against a gateway, by its OpenAPI document.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context as _, Result};

use crate::cargo::{cargo, root};
use crate::proc;
use crate::ui::{self, Pace};
use crate::venv;

/// The version that the gateway is tested with.
const VERSION: &str = "4.32.5";
/// The gateway with the tests' tools, which prints its address and a token.
const GATEWAY: &str = "gateway_for_tests";
/// Cases of each operation. Seeded, so that a failure is found again.
const CASES: &str = "40";

/// Finds no 5xx that comes from input, and no answer that the document does not name.
pub(crate) fn run(cache: &Path) -> Result<()> {
    let program = install(cache)?;
    ui::stage("schemathesis on /openapi.json", Pace::Slow, || {
        let gateway = gateway(cache)?;
        test(&program, &gateway.url, &gateway.token)
    })
}

/// A gateway with the tests' tools, which ends with this value.
pub(crate) struct Gateway {
    process: Child,
    pub(crate) url: String,
    /// Of somebody with every role.
    pub(crate) token: String,
}

/// Builds and starts one.
pub(crate) fn gateway(cache: &Path) -> Result<Gateway> {
    proc::quiet(&mut cargo(&["build", "--quiet", "--package", "astradesk-gateway", "--example", GATEWAY]))?;
    let binary = target().join("debug/examples").join(GATEWAY);
    let mut process = proc::piped(&Command::new(binary), &cache.join("gateway.log"))?;
    let out = process.stdout.take().context("the gateway has no output")?;
    let mut gateway = Gateway { process, url: String::new(), token: String::new() };
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    let (url, token) = line.trim().split_once(' ').context("the gateway printed no address and token")?;
    (gateway.url, gateway.token) = (url.to_owned(), token.to_owned());
    Ok(gateway)
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = proc::kill(&mut self.process);
    }
}

fn test(program: &Path, url: &str, token: &str) -> Result<()> {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
        .args(["--config-file", "crates/gateway/schemathesis.toml", "run"])
        .arg(format!("{url}/openapi.json"));
    command.args([
        "--header",
        &format!("Authorization: Bearer {token}"),
        "--checks",
        "all",
        "--continue-on-failure",
    ]);
    // One worker: two of them compile at once, and CPython 3.11 counts both in one recursion depth
    // ("AST constructor recursion depth mismatch").
    command.args(["--request-timeout", "20", "--workers", "1", "--max-examples", CASES, "--seed", "1"]);
    proc::quiet(&mut command)
}

/// The program, in an environment that is made once.
fn install(cache: &Path) -> Result<PathBuf> {
    let folder = cache.join(format!("schemathesis-{VERSION}"));
    venv::ensure(&folder, "schemathesis", &format!("schemathesis=={VERSION}"))?;
    Ok(folder.join("bin/schemathesis"))
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
