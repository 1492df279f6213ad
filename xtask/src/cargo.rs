//! Calls of cargo.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::proc;
use crate::ui::{self, Pace};

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// cargo with these arguments, in the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Builds a binary of the workspace; its path.
///
/// With `--workspace`, so that its dependencies have the features that the tests' build gives them and
/// are not compiled twice.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let messages = proc::output(&mut cargo(&[
        "build",
        "--workspace",
        "--bin",
        name,
        "--message-format",
        "json-render-diagnostics",
    ]))?;
    executable(&messages, name).with_context(|| format!("cargo built no `{name}`"))
}

/// The path of the executable `name` in cargo's JSON messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|message| message["target"]["name"] == name && message["executable"].is_string())
        .and_then(|message| message["executable"].as_str().map(PathBuf::from))
}

/// Makes sure that the cargo subcommand is there, and installs it otherwise.
pub(crate) fn ensure_tool(subcommand: &str) -> Result<()> {
    if proc::output(&mut cargo(&[subcommand, "--version"])).is_ok() {
        return Ok(());
    }
    let package = format!("cargo-{subcommand}");
    let log = std::env::temp_dir().join(format!("{package}-{}.log", std::process::id()));
    ui::stage(&format!("install {package} (a few minutes, once)"), Pace::Slow, || {
        proc::logged(&cargo(&["install", "--locked", &package]), &log)
    })?;
    let _ = std::fs::remove_file(log);
    Ok(())
}

/// `cargo metadata` of the workspace's own packages.
pub(crate) fn metadata() -> Result<Value> {
    let text = proc::output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    serde_json::from_str(&text).context("cargo's metadata is no JSON")
}

/// The folder of all that cargo builds.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = metadata()?;
    metadata["target_directory"].as_str().map(PathBuf::from).context("cargo names no target directory")
}

/// The given binary of astradesk, or the release build.
pub(crate) fn release_binary(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(binary) = given {
        return binary.canonicalize().with_context(|| format!("cannot find `{}`", binary.display()));
    }
    ui::stage("build astradesk for release (several minutes, when it has changed)", Pace::Slow, || {
        proc::quiet(&mut cargo(&["build", "--release", "-p", "astradesk", "--quiet"]))
    })?;
    Ok(target_directory()?.join("release/astradesk"))
}

/// Builds a program of `xtask/benches`, which measures the product from within; its path.
pub(crate) fn measuring_program(name: &str) -> Result<PathBuf> {
    ui::stage(
        &format!("build `{name}` for release (several minutes, when it has changed)"),
        Pace::Slow,
        || {
            let messages = proc::output(&mut cargo(&[
                "bench",
                "--no-run",
                "--package",
                "xtask",
                "--bench",
                name,
                "--message-format",
                "json-render-diagnostics",
            ]))?;
            executable(&messages, name).with_context(|| format!("cargo built no `{name}`"))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_the_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"kubelet"},"executable":null}
not json
{"reason":"compiler-artifact","target":{"name":"other"},"executable":"/t/other"}
{"reason":"compiler-artifact","target":{"name":"kubelet"},"executable":"/t/kubelet"}"#;
        assert_eq!(executable(messages, "kubelet"), Some("/t/kubelet".into()));
        assert_eq!(executable(messages, "none"), None);
    }

    #[test]
    fn the_root_is_the_workspace() {
        assert!(root().join("xtask/Cargo.toml").is_file());
    }
}
