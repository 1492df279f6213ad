//! `cargo xtask test`: every test, those against a real control plane included.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::cargo::{self, cargo};
use crate::ui::{self, Pace};
use crate::{
    alertmanager, ansible, clients, cluster, conformance, kubectl, left_out, litellm, moto, proc, prometheus,
    schemathesis,
};

/// How to test.
#[derive(Args)]
pub(crate) struct Options {
    /// Skip the tests that need the real control plane
    #[arg(long)]
    no_cluster: bool,
    /// Arguments for `cargo nextest run`, such as the name of a test
    #[arg(last = true)]
    nextest: Vec<OsString>,
}

/// Doc tests and the tests of the APIs first, so that the output ends with nextest's summary.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let in_ci = in_ci(std::env::var("CI").ok().as_deref());
    ensure!(
        !(options.no_cluster && in_ci),
        "in CI the tests need the real control plane: drop `--no-cluster`"
    );
    ui::heading("test");
    cargo::ensure_tool("nextest")?;
    let ready = if options.no_cluster { None } else { Some(prepare_cluster()?) };
    ui::stage("build the tests", Pace::Slow, || {
        proc::quiet(&mut cargo(&["nextest", "run", "--workspace", "--no-run", "--cargo-quiet"]))
    })?;
    if options.nextest.is_empty() {
        ui::stage("doc tests", Pace::Slow, || {
            proc::quiet(&mut cargo(&["test", "--doc", "--workspace", "--quiet"]))
        })?;
        schemathesis::run(&cluster::cache()?)?;
        if in_ci || conformance::is_possible() {
            conformance::run(&cluster::cache()?)?;
        } else {
            ui::note("SKIPPED: the conformance of /mcp, since npm is missing");
        }
    }
    let mut nextest = cargo(&arguments(in_ci, &options.nextest));
    nextest.args(&options.nextest);
    let cache = cluster::cache()?;
    hand(&mut nextest, in_ci, kubectl::TEST_KUBECTL, "kubectl", || kubectl::ensure(&cache))?;
    hand(&mut nextest, in_ci, clients::TEST_CLIENTS, "other MCP clients", || clients::ensure(&cache))?;
    hand(&mut nextest, in_ci, ansible::TEST_ANSIBLE, "Ansible", || ansible::ensure(&cache))?;
    let mut litellm = None;
    hand(&mut nextest, in_ci, litellm::TEST_LITELLM, "LiteLLM's proxy", || {
        let proxy = litellm.insert(litellm::start(&cache)?);
        Ok(PathBuf::from(&proxy.base_url))
    })?;
    let mut alerting = None;
    hand(&mut nextest, in_ci, alertmanager::TEST_ALERTMANAGER, "an Alertmanager", || {
        let alertmanager = alerting.insert(alertmanager::start(&cache)?);
        Ok(PathBuf::from(&alertmanager.url))
    })?;
    let mut monitoring = None;
    hand(&mut nextest, in_ci, prometheus::TEST_PROMETHEUS, "Prometheus", || {
        let alertmanager = alerting.as_ref().map(|alertmanager| alertmanager.url.as_str());
        let monitoring = monitoring.insert(prometheus::start(&cache, alertmanager)?);
        Ok(PathBuf::from(&monitoring.prometheus))
    })?;
    if let Some(monitoring) = &monitoring {
        nextest.env(prometheus::TEST_PUSHGATEWAY, &monitoring.pushgateway);
    }
    let mut aws = None;
    hand(&mut nextest, in_ci, moto::TEST_AWS, "moto", || {
        let moto = aws.insert(moto::start(&cache)?);
        Ok(PathBuf::from(&moto.url))
    })?;
    let Some(ready) = ready else { return without_cluster(&mut nextest) };
    cluster::with(&ready, |kubeconfig| {
        let report = cargo::target_directory()?.join(left_out::REPORT);
        let _ = fs::remove_file(&report);
        let code = cluster::foreground(&mut nextest, kubeconfig)?;
        if code == ExitCode::SUCCESS || !in_ci || !options.nextest.is_empty() {
            return Ok(code);
        }
        let Some((filter, names)) = left_out::find(&report)? else { return Ok(code) };
        ui::note(&format!("nextest did not run these, and they are run now: {}", names.join(", ")));
        nextest.args(["-E", &filter]);
        cluster::foreground(&mut nextest, kubeconfig)
    })
}

/// Tells the tests where something is that they need. Without it its tests are skipped, loudly; not in CI.
fn hand(
    nextest: &mut std::process::Command,
    in_ci: bool,
    variable: &str,
    what: &str,
    ensure: impl FnOnce() -> Result<PathBuf>,
) -> Result<()> {
    match ensure() {
        Ok(path) => _ = nextest.env(variable, path),
        Err(error) if in_ci => return Err(error.context(format!("in CI the tests need {what}"))),
        Err(error) => ui::note(&format!("SKIPPED: the tests with {what}: {error:#}")),
    }
    Ok(())
}

fn prepare_cluster() -> Result<cluster::Ready> {
    cluster::prepare()
        .context("there is no real control plane to test against; `--no-cluster` skips its tests")
}

fn without_cluster(nextest: &mut std::process::Command) -> Result<ExitCode> {
    const SKIPPED: &str = "SKIPPED: the tests against a real control plane, by --no-cluster";
    ui::note(SKIPPED);
    let status = proc::foreground(nextest.env_remove(cluster::TEST_CLUSTER))?;
    // Again at the end, where it is seen.
    ui::note(SKIPPED);
    if status.code().is_none() {
        bail!("nextest was ended by a signal");
    }
    Ok(proc::exit_code(status))
}

/// The arguments of nextest before those of the caller, who may name a profile.
fn arguments(in_ci: bool, given: &[OsString]) -> Vec<&'static str> {
    let names_profile = given.iter().any(|argument| {
        let argument = argument.to_string_lossy();
        argument == "-P" || argument.starts_with("--profile")
    });
    let mut arguments = vec!["nextest", "run", "--workspace"];
    if in_ci && !names_profile {
        arguments.extend(["--profile", "ci"]);
    }
    arguments
}

fn in_ci(variable: Option<&str>) -> bool {
    !matches!(variable, None | Some("" | "0" | "false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ci_is_what_the_variable_says() {
        for (variable, expected) in [
            (None, false),
            (Some(""), false),
            (Some("false"), false),
            (Some("true"), true),
            (Some("1"), true),
        ] {
            assert_eq!(in_ci(variable), expected, "{variable:?}");
        }
    }

    #[test]
    fn a_named_profile_is_kept() {
        let given = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert_eq!(arguments(true, &[]), ["nextest", "run", "--workspace", "--profile", "ci"]);
        assert_eq!(arguments(false, &[]), ["nextest", "run", "--workspace"]);
        for named in ["--profile slow", "--profile=slow", "-P slow"] {
            assert_eq!(arguments(true, &given(named)), ["nextest", "run", "--workspace"], "{named}");
        }
    }
}
