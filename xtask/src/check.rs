//! `cargo xtask check`: everything about the code that needs no running program.

mod layers;
mod lengths;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::Args;

use crate::cargo::{self, cargo};
use crate::proc;
use crate::ui::{self, Pace};

/// What to check beyond the usual.
#[derive(Args)]
pub(crate) struct Options {
    /// Also look for known vulnerabilities: apart, since it fetches a database from the network, which
    /// changes from day to day while the code does not
    #[arg(long)]
    advisories: bool,
}

/// What no crate below `core` may be.
const NOT_IN_CORE: [&str; 6] = ["tokio", "kube", "sqlx", "axum", "hyper", "reqwest"];

/// A name, how long it takes, and what it does.
type Check = (&'static str, Pace, Box<dyn FnOnce() -> Result<()>>);

/// Runs every check, also after one failed, and then says which did.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    ui::heading("check");
    cargo::ensure_tool("deny")?;
    let mut checks: Vec<Check> = vec![
        ("format", Pace::Quick, Box::new(|| proc::quiet(&mut cargo(&["fmt", "--all", "--check"])))),
        ("length of the files", Pace::Quick, Box::new(|| lengths::check(cargo::root()))),
        ("the crate graph runs one way", Pace::Quick, Box::new(|| layers::check(&cargo::metadata()?))),
        ("core is pure", Pace::Quick, Box::new(core_is_pure)),
        ("bans, licences and sources", Pace::Quick, Box::new(|| deny(&["bans", "licenses", "sources"]))),
        ("clippy", Pace::Slow, Box::new(clippy)),
        ("without default features", Pace::Slow, Box::new(|| proc::quiet(&mut bare()))),
        ("documentation", Pace::Slow, Box::new(|| proc::quiet(&mut documentation()))),
    ];
    if options.advisories {
        checks.push(("advisories", Pace::Quick, Box::new(|| deny(&["advisories"]))));
    }
    let mut failures = Vec::new();
    for (name, pace, check) in checks {
        if let Err(error) = ui::stage(name, pace, check) {
            failures.push(format!("{name}: {error:#}"));
        }
    }
    if !failures.is_empty() {
        bail!("{} of the checks failed\n\n{}", failures.len(), failures.join("\n\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn clippy() -> Result<()> {
    proc::quiet(&mut cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]))
}

/// What nobody builds from day to day: the product without what can be left out, such as the tools of AWS.
fn bare() -> Command {
    cargo(&["clippy", "--package", "astradesk", "--no-default-features", "--quiet", "--", "-D", "warnings"])
}

fn deny(which: &[&str]) -> Result<()> {
    proc::quiet(cargo(&["deny", "--log-level", "error", "check"]).args(which))
}

fn documentation() -> Command {
    let mut command = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}

fn core_is_pure() -> Result<()> {
    let tree = proc::output(&mut cargo(&[
        "tree",
        "--package",
        "astradesk-core",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]))?;
    let found = impure(&tree);
    if !found.is_empty() {
        bail!("`astradesk-core` depends on {}: what needs it belongs to an outer crate", found.join(", "));
    }
    Ok(())
}

/// The packages of [`NOT_IN_CORE`] in what `cargo tree` printed, `kube-*` and the like included.
fn impure(tree: &str) -> Vec<&str> {
    let mut found: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| {
            NOT_IN_CORE.iter().any(|banned| {
                name.strip_prefix(banned).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            })
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The path as a person in the workspace's root would type it.
fn shown(path: &Path) -> String {
    path.strip_prefix(cargo::root()).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_impure_are_found_by_name_and_family() {
        let tree = "astradesk-core v0.1.0 (/src)\nserde v1.0.0\ntokio-util v0.7.0\nhyper v1.0.0\nhyper v1.0.0 (*)\nkubernetes v1.0.0\n";
        assert_eq!(impure(tree), ["hyper", "tokio-util"]);
        assert!(impure("astradesk-core v0.1.0\nserde v1.0.0\n").is_empty());
    }
}
