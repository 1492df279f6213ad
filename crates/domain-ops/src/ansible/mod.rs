//! Ansible: playbooks of one folder, each with a manifest, run by `ansible-playbook` on hosts of one inventory.
//!
//! | module | what it holds |
//! |---|---|
//! | `manifest` | what stands beside a playbook (pure) |
//! | `library` | the folder at one moment: its bytes, their digest, a copy |
//! | `listing` | what Ansible says of hosts and tasks (pure) |
//! | `scratch` | the files of one start of Ansible, its arguments and environment |
//! | `workplace` | the folder of one run, and whether somebody lives in it |
//! | `story` | what a journal tells (pure) |
//! | `outcome` | what came of it, as an output or an error (pure) |
//! | `run` | begin, watch, stop |
//!
//! A run of a playbook goes on by itself, as a rollout does: it is begun with a lock as its standard input, keeps its own
//! journal by a callback plugin (`journal.py`), and is watched by reading that. So a gateway that dies does not take it along,
//! the next one watches on, and what was begun is never begun again: the journal says whether anything was.
//!
//! **Invariant.** What is run is a copy of the folder whose digest is part of the target, so that what was approved is what
//! is run; on hosts that are targets, by a list, so that a playbook cannot reach for others.

mod library;
mod listing;
mod manifest;
mod outcome;
mod run;
mod scratch;
mod story;
#[cfg(test)]
mod tests;
mod workplace;

pub(crate) use library::Library;
pub(crate) use manifest::Manifest;

use astradesk_core::canonical::Digest;
use astradesk_core::text::{near, shown};
use astradesk_core::{Arguments, Code, Error, Result, Target, redact};
use astradesk_runtime::process::{self, Ended, Program};
use astradesk_runtime::secret::Secret;
use listing::{Inventory, Listing, Question};
use manifest::is_host;
use outcome::{count, listed};
use scratch::{Scratch, is_meaningful};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// How long Ansible may take to say what a playbook would be run on, and to run one in check mode for a dry run.
const LOOKING: Duration = Duration::from_secs(30);
const REHEARSING: Duration = Duration::from_mins(2);
/// How many of these are run at the same time.
const AT_ONCE: usize = 4;
/// The most bytes that are kept of what Ansible prints.
const OUTPUT: usize = 4 << 20;
/// The most tasks of a listing, and the most characters of what Ansible said that an error shows.
const TASKS: usize = 200;
const SAID: usize = 1000;
/// How many digits of the digest stand in a target.
const DIGITS: usize = 32;
/// The system of the targets.
const SYSTEM: &str = "ansible";

/// How Ansible is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder with the playbooks.
    pub folder: PathBuf,
    /// The inventory: a file or a folder, in the folder of the playbooks unless it is absolute.
    pub inventory: PathBuf,
    /// The folder with `ansible-playbook`; empty: it is searched for.
    pub programs: PathBuf,
    /// Where the password of vaults is.
    pub vault_password: Option<Secret>,
    /// The variables of AstraDesk's own environment that Ansible is given, beside `HOME` and `PATH`.
    pub environment: Vec<String>,
    /// The most hosts of a run.
    pub max_hosts: usize,
    /// The folder for what is kept of runs.
    pub state: PathBuf,
}

/// Ansible, as the tools share it.
pub struct Ansible {
    settings: Settings,
    turns: Semaphore,
}

/// What a call asks for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Request {
    pub(crate) playbook: String,
    pub(crate) limit: String,
    pub(crate) vars: Arguments,
    pub(crate) check: bool,
}

impl Request {
    /// The request of arguments that fit the schema.
    pub(crate) fn of(arguments: &Arguments) -> Self {
        let text = |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self {
            playbook: text("playbook"),
            limit: text("limit"),
            vars: arguments.get("vars").and_then(Value::as_object).cloned().unwrap_or_default(),
            check: arguments.get("check").and_then(Value::as_bool).unwrap_or(false),
        }
    }
}

/// What a call would do, found out.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) request: Request,
    pub(crate) library: Library,
    pub(crate) manifest: Manifest,
    /// The hosts that it acts on, sorted.
    pub(crate) hosts: Vec<String>,
    /// Its tasks, as far as they are known before it is run.
    pub(crate) tasks: Vec<String>,
    pub(crate) targets: Vec<Target>,
}

impl Ansible {
    /// Ansible with these settings. Nothing is looked at yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings, turns: Semaphore::new(AT_ONCE) }
    }

    /// The folder with the playbooks as it is now.
    pub(crate) fn library(&self) -> Result<Library> {
        Library::read(&self.settings.folder)
    }

    /// What a call would do.
    ///
    /// # Errors
    /// Why it cannot be done, or not on these hosts.
    pub(crate) async fn plan(&self, request: Request) -> Result<Plan> {
        let folder = self.settings.folder.clone();
        let library = tokio::task::spawn_blocking(move || Library::read(&folder)).await;
        let library = library.map_err(|error| Error::internal(error.to_string()))??;
        let manifest = library.manifest(&request.playbook)?;
        fits(&request, &manifest)?;
        let (inventory, listing) = self.look(&request, Some(&manifest)).await?;
        let hosts = self.hosts(&request, &manifest, &inventory, &listing.hosts())?;
        let targets = targets(&request.playbook, library.digest(), &hosts)?;
        let tasks = listing.tasks.iter().take(TASKS).map(|task| redact::line(task, 120)).collect();
        Ok(Plan { request, library, manifest, hosts, tasks, targets })
    }

    /// Asks Ansible for the hosts of its inventory, and for what the playbook would do, if there is one.
    async fn look(&self, request: &Request, manifest: Option<&Manifest>) -> Result<(Inventory, Listing)> {
        let scratch = tempfile::Builder::new().prefix("astradesk-ansible-").tempdir();
        let scratch =
            scratch.map_err(|error| unavailable(&format!("no folder can be made for it: {error}")))?;
        let files = Scratch::make(scratch.path()).map_err(|error| unavailable(&error.to_string()))?;
        let allowed = manifest.into_iter().flat_map(|manifest| manifest.hosts.iter().map(String::as_str));
        let question = Question::of(names(&request.limit).chain(allowed));
        files.give(request, self.password()?.as_deref(), &[("question.yml", &question.playbook())])?;
        let asked = files.file("question.yml").display().to_string();
        let mut argv = files.playbook(self, request, &["--list-hosts", "--list-tasks", &asked]);
        if manifest.is_none() {
            argv.pop();
        }
        let ended = self.run(&self.settings.folder, &files, argv, LOOKING).await?;
        if ended.code != Some(0) || ended.cut {
            let said = redact::line(reason(&ended.said()), SAID);
            if manifest.is_none() || said.contains("inventory source") {
                return Err(unavailable(&format!("its inventory cannot be read: {said}")));
            }
            let message = format!("Ansible does not take the playbook `{}`: {said}", request.playbook);
            return Err(Error::new(Code::AnsiblePlaybookInvalid, message));
        }
        let mut listings = Listing::read(&String::from_utf8_lossy(&ended.stdout)).into_iter();
        let inventory = question.answer(listings.next().unwrap_or_default());
        Ok((inventory, listings.next().unwrap_or_default()))
    }

    /// The hosts of a call, if they are those that the manifest names, and not too many.
    fn hosts(
        &self,
        request: &Request,
        manifest: &Manifest,
        inventory: &Inventory,
        played: &BTreeSet<String>,
    ) -> Result<Vec<String>> {
        let Request { playbook, limit, .. } = request;
        let refused = |message: String| Err(Error::new(Code::AnsibleHostsRefused, message));
        let wanted = inventory.hosts(names(limit)).map_err(|unknown| {
            let all: Vec<String> = inventory.all().into_iter().collect();
            let message =
                format!("the inventory knows no host and no group with hosts `{}`", shown(unknown, 80));
            let near = near(unknown, &all);
            let candidates = if near.is_empty() { all } else { near };
            Error::new(Code::AnsibleHostsRefused, message).with_candidates(candidates)
        })?;
        let allowed = inventory.hosts(manifest.hosts.iter().map(String::as_str)).map_err(|unknown| {
            let message = format!(
                "the manifest of playbook `{playbook}` names `{unknown}`, of which the inventory has no host"
            );
            Error::new(Code::AnsiblePlaybookInvalid, message)
        })?;
        let outside: Vec<&String> = wanted.difference(&allowed).collect();
        if !outside.is_empty() {
            let (outside, may) = (listed(&outside), manifest.hosts.join(", "));
            return refused(format!("playbook `{playbook}` may not be run on {outside}, only on {may}"));
        }
        let hosts: Vec<String> = wanted.intersection(played).cloned().collect();
        if hosts.is_empty() {
            return refused(format!("playbook `{playbook}` has nothing to do on `{}`", shown(limit, 80)));
        }
        let most = self.settings.max_hosts;
        if hosts.len() > most {
            return refused(format!(
                "`{}` is {}, and {most} is the limit",
                shown(limit, 80),
                count(hosts.len(), "host")
            ));
        }
        Ok(hosts)
    }

    /// The password of vaults, if one is configured.
    fn password(&self) -> Result<Option<String>> {
        let looked_up = self.settings.vault_password.as_ref().map(Secret::look_up).transpose();
        looked_up.map_err(|why| Error::new(Code::SecretMissing, format!("the vault's password {why}")))
    }

    fn program(&self) -> String {
        self.settings.programs.join("ansible-playbook").display().to_string()
    }

    /// Runs Ansible in a folder, to its end.
    async fn run(&self, folder: &Path, files: &Scratch, argv: Vec<String>, limit: Duration) -> Result<Ended> {
        let deadline = Instant::now() + limit;
        let late = || {
            let message = format!("Ansible did not answer in {} s", limit.as_secs());
            Error::new(Code::AnsibleUnavailable, message)
        };
        let Ok(Ok(_turn)) = timeout_at(deadline, self.turns.acquire()).await else { return Err(late()) };
        let program = argv.first().cloned().unwrap_or_default();
        let env = files.environment(self, folder);
        let directory = folder.to_owned();
        let program_run = Program { argv, env, stdin: None, directory, max_output: OUTPUT };
        let ended = process::run(program_run, deadline)
            .await
            .map_err(|error| unavailable(&format!("`{program}` cannot be started: {error}")))?;
        if ended.timed_out { Err(late()) } else { Ok(ended) }
    }

    /// That Ansible is there, and reads its inventory: how many playbooks and hosts there are, and what is wrong with
    /// each playbook that cannot be run.
    ///
    /// # Errors
    /// [`Code::AnsibleUnavailable`], or what is wrong with the folder.
    pub async fn answers(&self) -> Result<(usize, usize, Vec<Error>)> {
        let library = self.library()?;
        let names = library.names();
        let broken = names.iter().filter_map(|name| library.manifest(name).err()).collect();
        let nothing =
            Request { playbook: String::new(), limit: String::new(), vars: Arguments::new(), check: false };
        let hosts = self.look(&nothing, None).await?.0.all().len();
        Ok((names.len(), hosts, broken))
    }
}

/// The targets of a call: the playbook, with the digest of all that it can use, and each host.
fn targets(playbook: &str, digest: Digest, hosts: &[String]) -> Result<Vec<Target>> {
    let digest: String = digest.to_string().chars().take(DIGITS).collect();
    let names = std::iter::once(("playbook", format!("{playbook}@{digest}")));
    let names = names.chain(hosts.iter().map(|host| ("host", host.clone())));
    names.map(|(kind, name)| target(kind, &name)).collect()
}

/// The target of a playbook that cannot be looked at now.
pub(crate) fn unseen(playbook: &str) -> Result<Target> {
    target("playbook", playbook)
}

fn target(kind: &str, name: &str) -> Result<Target> {
    format!("{}/{SYSTEM}/{kind}/{name}", Target::EXTERNAL).parse().map_err(|error: Error| {
        Error::new(Code::AnsibleHostsRefused, error.message)
            .with_remedy("give the host a name of letters, digits, `.`, `_`, `-` in the inventory")
    })
}

/// Whether the request is one that the manifest lets in.
fn fits(request: &Request, manifest: &Manifest) -> Result<()> {
    let Request { playbook, limit, vars, check } = request;
    let invalid = |message: String| Err(Error::new(Code::ToolArgumentsInvalid, message));
    if *check && !manifest.check {
        return invalid(format!(
            "playbook `{playbook}` has no check mode: its manifest does not say `check = true`"
        ));
    }
    if let Some(bad) = names(limit).find(|name| !is_host(name)) {
        return invalid(format!(
            "`limit` has `{}`, and must be hosts and groups, with commas between them",
            shown(bad, 80)
        ));
    }
    let mut faults = manifest.faults(vars);
    if is_meaningful(&Value::Object(vars.clone())) {
        faults.push("a name in it means more to Ansible than a name".to_owned());
    }
    match faults.first() {
        None => Ok(()),
        Some(first) => {
            let message = format!("`vars` of playbook `{playbook}`: {first}");
            Err(Error::new(Code::ToolArgumentsInvalid, message).with_detail("faults", faults))
        }
    }
}

/// The hosts and groups of a limit.
fn names(limit: &str) -> impl Iterator<Item = &str> {
    limit.split(',').map(str::trim)
}

fn unavailable(why: &str) -> Error {
    Error::new(Code::AnsibleUnavailable, format!("Ansible cannot be used: {why}"))
}

/// What Ansible said from its error on, without the warnings before it.
fn reason(said: &str) -> &str {
    said.find("ERROR!").and_then(|at| said.get(at..)).unwrap_or(said)
}
