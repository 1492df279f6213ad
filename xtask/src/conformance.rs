//! The conformance suite of the Model Context Protocol: `@modelcontextprotocol/conformance`, from npm, against `/mcp` of the
//! product, with a pack that has what the suite asks for (`crates/gateway/conformance`).
//!
//! What it may find is in `crates/gateway/conformance/expected.yml`; the suite fails for anything else that fails, and for anything
//! on that list that passes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};

use anyhow::{Context as _, Result, ensure};

use crate::cargo::{cargo, root, target_directory};
use crate::gateway::{Gateway, Program};
use crate::ui::{self, Pace};
use crate::{chaos, clients, cluster, proc};

/// The suite, as npm names it.
const SUITE: &str = "@modelcontextprotocol/conformance";
/// Adds the token that the suite does not have.
const PROXY: &str = include_str!("conformance/proxy.cjs");
/// What may fail, and why.
const EXPECTED: &str = "crates/gateway/conformance/expected.yml";
/// The server whose tools the pack takes in; it finds its packages in the clients' folder.
const SERVER: &str = include_str!("../../crates/gateway/conformance/server.mjs");
/// The packs and the policies of the gateway.
const SITE: &str = "crates/gateway/conformance";

/// `cargo xtask conformance`
pub(crate) fn task() -> Result<ExitCode> {
    ui::heading("conformance");
    run(&cluster::cache()?)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the suite can be had here: it comes by npm.
pub(crate) fn is_possible() -> bool {
    proc::find("npm").is_some()
}

/// Fails when a scenario fails that is not expected to, or passes that is.
pub(crate) fn run(cache: &Path) -> Result<()> {
    let folder = clients::ensure(cache)?;
    ui::stage("MCP conformance of /mcp", Pace::Slow, || {
        let (gateway, token) = gateway(cache, &folder)?;
        let proxy = Proxy::start(&folder, &format!("http://{}", gateway.address), &token)?;
        let mut suite = Command::new(node(&folder));
        suite.current_dir(root()).arg(folder.join("node_modules").join(SUITE).join("dist/index.js"));
        suite.args(["server", "--suite", "all", "--expected-failures", EXPECTED, "--url"]);
        let found = proc::quiet(suite.arg(format!("{}/mcp", proxy.url)));
        gateway.stop();
        found
    })
}

/// The product on a sandbox, and a token of somebody who may use the suite's tools.
fn gateway(cache: &Path, clients: &Path) -> Result<(Gateway, String)> {
    let work = cache.join("conformance");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(work.join("sandbox"))
        .with_context(|| format!("cannot create `{}`", work.display()))?;
    proc::quiet(&mut cargo(&["build", "--quiet", "--package", "astradesk"]))?;
    let binary = target_directory()?.join("debug/astradesk");
    let place = chaos::sandbox(&binary, &work.join("sandbox"))?;
    let site = root().join(SITE);
    let quoted = |name: &str| format!("{:?}", site.join(name).display().to_string());
    let settings = format!("packs.folder = {}\npolicy.dir = {}\n", quoted("packs"), quoted("policies"));
    fs::write(work.join("astradesk.toml"), settings).context("cannot write the configuration")?;
    let server = clients.join("suite.mjs");
    fs::write(&server, SERVER).with_context(|| format!("cannot write `{}`", server.display()))?;
    let program = Program {
        binary,
        kubeconfig: place.kubeconfig,
        work,
        namespace: "default".to_owned(),
        allowed: "webapp".to_owned(),
        environment: vec![("CONFORMANCE_NODE", node(clients)), ("CONFORMANCE_SERVER", server)],
    };
    let gateway = program.start("gateway")?;
    let token = program.token(&gateway.state, "suite", 30)?;
    Ok((gateway, token))
}

/// A proxy under way, which ends with this value.
struct Proxy {
    process: Child,
    url: String,
}

impl Proxy {
    fn start(folder: &Path, gateway: &str, token: &str) -> Result<Self> {
        let script = folder.join("proxy.cjs");
        fs::write(&script, PROXY).with_context(|| format!("cannot write `{}`", script.display()))?;
        let mut command = Command::new(node(folder));
        command.arg(&script).arg(gateway).env("CONFORMANCE_TOKEN", token);
        let mut process = proc::piped(&command, &folder.join("proxy.log"))?;
        let out = process.stdout.take().context("the proxy has no output")?;
        let mut url = String::new();
        BufReader::new(out).read_line(&mut url).context("the proxy said nothing")?;
        ensure!(url.starts_with("http://"), "the proxy did not start: see `{}`", folder.display());
        Ok(Self { process, url: url.trim().to_owned() })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = proc::kill(&mut self.process);
    }
}

fn node(folder: &Path) -> PathBuf {
    folder.join("node_modules/.bin/node")
}
