//! A run of a playbook: begun once, watched until its end, stopped.

use super::outcome::{Stopped, Subject};
use super::scratch::{HOSTS, Scratch};
use super::story::Story;
use super::workplace::Workplace;
use super::{Ansible, OUTPUT, Plan, REHEARSING, Request, reason, unavailable};
use astradesk_core::{Code, Error, FrozenCall, Result};
use astradesk_runtime::port::{Fault, Progress, StepContext};
use astradesk_runtime::process::{self, Group};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often the journal is looked at.
const PAUSE: Duration = Duration::from_millis(100);
/// How long Ansible may take to end when it is asked to, before it is killed; and to be gone then.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// After its time limit, what nobody watches ends by itself.
const UNWATCHED: Duration = Duration::from_secs(30);
/// The most bytes that are read of a journal.
const JOURNAL: u64 = 64 << 20;

/// What is recorded before a playbook is begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    playbook: String,
    check: bool,
    hosts: Vec<String>,
    /// The digest of the folder of playbooks, of which a copy is run.
    digest: String,
}

/// A run that may have been begun.
struct Run {
    place: Workplace,
    journal: Journal,
    subject: Subject,
    deadline: Instant,
    progress: Progress,
}

impl Ansible {
    /// Checks that the call is what it was when it was frozen, and makes the copy of the playbooks that will be run.
    pub(crate) async fn intend(&self, step: &StepContext) -> Result<Value> {
        let plan = self.same(&step.call).await?;
        let intent = Intent {
            playbook: plan.request.playbook,
            check: plan.request.check,
            hosts: plan.hosts,
            digest: plan.library.digest().to_string(),
        };
        let (state, mark, library) = (self.settings.state.clone(), mark(step), plan.library);
        let copied =
            tokio::task::spawn_blocking(move || Workplace::make(&state, &mark, &library)?.prune(&state));
        let copied = copied.await.map_err(|error| Error::internal(error.to_string()))?;
        copied.map_err(|error| {
            let message =
                format!("the playbooks cannot be copied to `{}`: {error}", self.settings.state.display());
            Error::new(Code::StoreUnavailable, message)
        })?;
        serde_json::to_value(intent).map_err(|error| Error::internal(error.to_string()))
    }

    /// What a call would do, if it still is what it was when it was frozen.
    ///
    /// # Errors
    /// [`Code::AnsibleChanged`]: other bytes, or other hosts.
    pub(crate) async fn same(&self, call: &FrozenCall) -> Result<Plan> {
        let plan = self.plan(Request::of(&call.arguments)).await?;
        if plan.targets == call.targets {
            return Ok(plan);
        }
        let of = |kind: &str| call.targets.iter().filter(|target| target.kind() == kind).collect::<Vec<_>>();
        let what = if plan.targets.iter().filter(|target| target.kind() == "host").eq(of("host")) {
            "the folder of playbooks"
        } else {
            "the inventory"
        };
        let message = format!("{what} has changed since `{}` was asked for", plan.request.playbook);
        Err(Error::new(Code::AnsibleChanged, message))
    }

    /// What the playbook would change, by its check mode.
    pub(crate) async fn rehearse(&self, plan: &Plan) -> Result<Value> {
        let folder = tempfile::Builder::new().prefix("astradesk-ansible-").tempdir();
        let folder = folder.map_err(|error| unavailable(&error.to_string()))?;
        let files = Scratch::make(folder.path()).map_err(|error| unavailable(&error.to_string()))?;
        let (tree, password) = (files.file("tree"), self.password()?);
        plan.library.write(&tree).map_err(|error| unavailable(&error.to_string()))?;
        let (limit, hosts) = files.limit(&plan.hosts);
        files.give(&plan.request, password.as_deref(), &[(HOSTS, &hosts)])?;
        let argv = files.playbook(self, &plan.request, &[&limit, "--check", "--diff"]);
        let ended = self.run(&tree, &files, argv, REHEARSING).await?;
        let mut journal = Journal::new(files.journal(), password);
        journal.read().map_err(|error| unavailable(&error.to_string()))?;
        let subject =
            Subject { playbook: plan.request.playbook.clone(), check: true, hosts: plan.hosts.clone() };
        subject.judge(&journal.story, reason(&ended.said()))
    }

    /// Begins the run, unless it was begun already. Once it has, this gives the receipt.
    pub(crate) async fn begin(&self, step: &StepContext) -> Result<Value, Fault> {
        let mut run = self.run_of(step, &step.intent).map_err(Fault::Unknown)?;
        let mut started = None;
        loop {
            // First the lock: what has ended has written everything.
            let lock = run.place.lock().map_err(|error| run.unclear(&error))?;
            run.journal.read().map_err(|error| run.unclear(&error))?;
            if run.journal.story.group.is_some() {
                run.place.0.forget_password();
                return Ok(step.intent.clone());
            }
            match lock {
                Some(lock) if started.is_none() => {
                    started = Some(self.start(&run, &step.call, lock).map_err(Fault::Failed)?);
                }
                Some(_) => return Err(Fault::Failed(run.not_begun())),
                None if Instant::now() >= run.deadline && started.is_some() => {
                    drop(started.and_then(Group::named));
                    run.until_gone().await;
                    return Err(Fault::Failed(run.late()));
                }
                None if Instant::now() >= run.deadline => {
                    return Err(Fault::Unknown(run.subject.stopped(&run.journal.story, Stopped::Died)));
                }
                None => {}
            }
            sleep(PAUSE).await;
        }
    }

    /// Starts Ansible, which holds the lock from now on; the id of its group.
    fn start(&self, run: &Run, call: &FrozenCall, lock: File) -> Result<i32> {
        let (files, request) = (&run.place.0, Request::of(&call.arguments));
        let (limit, hosts) = files.limit(&run.subject.hosts);
        files.give(&request, self.password()?.as_deref(), &[(HOSTS, &hosts)])?;
        let left = run.deadline.saturating_duration_since(Instant::now()) + UNWATCHED;
        let timeout = ["timeout", "-k", "10", &left.as_secs().to_string()].map(str::to_owned);
        let more: &[&str] = if request.check { &[&limit, "--check", "--diff"] } else { &[&limit] };
        let argv = files.playbook(self, &request, more);
        let tree = run.place.tree();
        let env = files.environment(self, &tree);
        let start = || -> io::Result<i32> {
            let output = File::options().append(true).create(true).open(run.place.output())?;
            let mut command = process::command([timeout.to_vec(), argv].concat(), env, &tree);
            command.stdin(Stdio::from(lock)).stdout(output.try_clone()?).stderr(output);
            command
                .spawn()?
                .id()
                .map_or_else(|| Err(io::Error::other("it is gone at once")), |id| Ok(id as i32))
        };
        start().map_err(|error| unavailable(&format!("it cannot be started: {error}")))
    }

    /// Watches the run until its end, and says what came of it.
    pub(crate) async fn watch(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        let mut run = self.run_of(step, receipt).map_err(Fault::Unknown)?;
        let told = run.place.told();
        loop {
            let is_gone = run.place.lock().map_err(|error| run.unclear(&error))?.is_some();
            run.read_and_tell(told).await.map_err(|error| run.unclear(&error))?;
            let story = &run.journal.story;
            if is_gone {
                run.place.tidy();
                return if story.has_ended || story.has_given_up {
                    run.subject.judge(story, &run.said()).map_err(Fault::Failed)
                } else {
                    Err(Fault::Unknown(run.subject.stopped(story, Stopped::Died)))
                };
            }
            let how = if Instant::now() >= run.deadline { Some(Stopped::Late) } else { run.is_flooded() };
            if let Some(how) = how {
                return Err(Fault::Failed(run.end(how).await));
            }
            sleep(PAUSE).await;
        }
    }

    /// Stops the run, and says what had been done.
    pub(crate) async fn stop(&self, step: &StepContext, receipt: &Value) -> Option<Error> {
        let mut run = self.run_of(step, receipt).ok()?;
        run.journal.read().ok()?;
        Some(run.end(Stopped::Cancelled).await)
    }

    /// The run of a step, by its intent, which is its receipt as well.
    fn run_of(&self, step: &StepContext, intent: &Value) -> Result<Run> {
        let unclear = |why: String| {
            let message = format!("what came of `{}` could not be established: {why}", step.call.tool);
            Error::new(Code::RunOutcomeUnknown, message)
        };
        let intent: Intent = serde_json::from_value(intent.clone())
            .map_err(|error| unclear(format!("its intent cannot be read: {error}")))?;
        let state = &self.settings.state;
        let place = Workplace::find(state, &mark(step))
            .map_err(|error| unclear(format!("its journal cannot be read: {error}")))?
            .ok_or_else(|| unclear(format!("its journal is not in `{}`", state.display())))?;
        // Without its password nothing more can be hidden; that it is gone must not hide what was done.
        let journal = Journal::new(place.0.journal(), self.password().unwrap_or_default());
        let Intent { playbook, check, hosts, .. } = intent;
        let subject = Subject { playbook, check, hosts };
        Ok(Run { place, journal, subject, deadline: step.deadline, progress: step.progress.clone() })
    }
}

impl Run {
    /// Reads on in the journal and tells what happened, without the first reports that were told before.
    async fn read_and_tell(&mut self, told: usize) -> io::Result<()> {
        let before = self.journal.reports;
        for (place, (message, data)) in self.journal.read()?.into_iter().enumerate() {
            if before + place >= told {
                self.progress.report(message, data);
                // Whoever keeps the reports has its turn.
                tokio::task::yield_now().await;
            }
        }
        if self.journal.reports > before {
            self.place.tell(self.journal.reports.max(told));
        }
        Ok(())
    }

    /// Kills Ansible with all that it has started here, and says what had been done.
    async fn end(&mut self, how: Stopped) -> Error {
        if let Some(group) = self.journal.story.group.filter(|_| self.is_alive()).and_then(Group::named) {
            group.ask_to_end();
            self.until_gone().await;
        }
        self.until_gone().await;
        let _ = self.journal.read();
        self.place.tidy();
        self.subject.stopped(&self.journal.story, how)
    }

    fn is_alive(&self) -> bool {
        self.place.lock().is_ok_and(|lock| lock.is_none())
    }

    async fn until_gone(&self) {
        let limit = Instant::now() + LAST_WORDS;
        while self.is_alive() && Instant::now() < limit {
            sleep(PAUSE).await;
        }
    }

    fn is_flooded(&self) -> Option<Stopped> {
        let printed = std::fs::metadata(self.place.output()).map_or(0, |file| file.len());
        (printed > OUTPUT as u64).then_some(Stopped::Flooded)
    }

    /// What Ansible printed last.
    fn said(&self) -> String {
        let mut text = Vec::new();
        if let Ok(file) = File::open(self.place.output()) {
            let _ = file.take(OUTPUT as u64).read_to_end(&mut text);
        }
        let text = String::from_utf8_lossy(&text);
        reason(&text).to_owned()
    }

    fn not_begun(&self) -> Error {
        let said = self.journal.story.shown(&self.said(), 1000);
        self.place.tidy();
        unavailable(&format!("it ended before anything was done: {said}"))
    }

    fn late(&self) -> Error {
        self.place.tidy();
        let message = format!("the time limit passed before playbook `{}` began", self.subject.playbook);
        Error::new(Code::ToolTimedOut, message)
    }

    fn unclear(&self, error: &io::Error) -> Fault {
        let message = format!("what came of playbook `{}` cannot be seen: {error}", self.subject.playbook);
        Fault::Unknown(Error::new(Code::RunOutcomeUnknown, message))
    }
}

/// A journal that is read while it is written.
struct Journal {
    path: PathBuf,
    read: u64,
    /// How many reports there were.
    reports: usize,
    story: Story,
}

impl Journal {
    fn new(path: PathBuf, secret: Option<String>) -> Self {
        Self { path, read: 0, reports: 0, story: Story::without(secret) }
    }

    /// Reads the lines that are new, and gives what is to be told of them.
    fn read(&mut self) -> io::Result<Vec<super::story::Report>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut lines = BufReader::new(file.take(JOURNAL.saturating_sub(self.read)));
        let (mut reports, mut line) = (Vec::new(), String::new());
        // A line without an end is still being written, or was cut.
        while lines.read_line(&mut line)? > 0 && line.ends_with('\n') {
            self.read += line.len() as u64;
            reports.extend(self.story.go_on(&line));
            line.clear();
        }
        self.reports += reports.len();
        Ok(reports)
    }
}

/// What distinguishes the step of a run from every other one.
fn mark(step: &StepContext) -> String {
    format!("{}-{}", step.run, step.step)
}
