//! One process with all that it starts: run, bounded, killed as a group.

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a process that was asked to end may take before it is killed.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long its output may be waited for when it has ended: something that left its group may hold it open.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// What is to be run.
pub struct Program {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// What it is given on its standard input, if it has one.
    pub stdin: Option<String>,
    /// Where it runs.
    pub directory: PathBuf,
    /// The most bytes that are kept of what it prints, of each stream. The rest is read and dropped.
    pub max_output: usize,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
    /// Whether it was ended because its time was over.
    pub timed_out: bool,
    /// What it printed on standard output.
    pub stdout: Vec<u8>,
    /// What it printed on standard error.
    pub stderr: Vec<u8>,
    /// Whether it printed more on standard output than is kept.
    pub cut: bool,
}

impl Ended {
    /// What it said on standard error, else on standard output.
    pub fn said(&self) -> String {
        let said = if self.stderr.is_empty() { &self.stdout } else { &self.stderr };
        String::from_utf8_lossy(said).into_owned()
    }
}

/// The processes of a group, which do not outlive this.
#[derive(Debug)]
pub struct Group(Pid);

impl Group {
    /// The group that `child` leads, as what [`command`] makes does.
    pub fn of(child: &Child) -> io::Result<Self> {
        let pid = child.id().and_then(|id| Pid::from_raw(id as i32));
        pid.map(Self).ok_or_else(|| io::Error::other("it has no id"))
    }

    /// The group of this id, which must be known to be there still: ids are given again.
    pub fn named(id: i32) -> Option<Self> {
        Pid::from_raw(id).filter(|pid| !pid.is_init()).map(Self)
    }

    /// Asks its processes to end (SIGTERM).
    pub fn ask_to_end(&self) {
        self.send(Signal::TERM);
    }

    fn send(&self, signal: Signal) {
        // A group without processes is what is wanted.
        let _ = kill_process_group(self.0, signal);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.send(Signal::KILL);
    }
}

/// A program that is to be started without a shell, with nothing of our own environment, in a group of its own.
pub fn command(argv: Vec<String>, env: Vec<(String, String)>, directory: &Path) -> Command {
    let mut argv = argv.into_iter();
    let mut command = Command::new(argv.next().unwrap_or_default());
    command
        .args(argv)
        .env_clear()
        .envs(env)
        .current_dir(directory)
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it until `deadline`. Whatever it has started in its group is killed when it has ended.
pub async fn run(program: Program, deadline: Instant) -> io::Result<Ended> {
    let mut command = command(program.argv, program.env, &program.directory);
    command.stdin(if program.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
    // Listened to before the process is there, so that its end is not missed.
    let mut children = signal(SignalKind::child())?;
    let mut child = command.spawn()?;
    let group = Group::of(&child)?;
    let pid = group.0;
    let stdout = keep(child.stdout.take(), program.max_output);
    let stderr = keep(child.stderr.take(), program.max_output);
    feed(&mut child, program.stdin);

    let mut timed_out = false;
    let mut limit = deadline;
    while !has_ended(pid)? {
        tokio::select! {
            _ = children.recv() => {}
            () = sleep_until(limit) => {
                if timed_out { group.send(Signal::KILL) } else { group.ask_to_end() }
                limit = Instant::now() + LAST_WORDS;
                timed_out = true;
            }
        }
    }
    // It has ended and was not yet waited for, so its group is still its own and nobody else's.
    drop(group);
    let status = child.wait().await?;
    let (stdout, cut) = rest_of(stdout).await;
    let (stderr, _) = rest_of(stderr).await;
    let code = status.code().filter(|_| !timed_out);
    Ok(Ended { code, timed_out, stdout, stderr, cut })
}

/// Whether it has ended, without waiting for it: until then its id cannot be another's.
fn has_ended(pid: Pid) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    Ok(waitid(WaitId::Pid(pid), options)?.is_some())
}

/// Gives it its standard input, whether it reads it or not.
fn feed(child: &mut Child, text: Option<String>) {
    if let (Some(mut stdin), Some(text)) = (child.stdin.take(), text) {
        tokio::spawn(async move {
            let _ = stdin.write_all(text.as_bytes()).await;
        });
    }
}

/// What was read, and whether there was more.
type Kept = (Vec<u8>, bool);

/// Reads all of it and keeps the beginning.
fn keep(from: Option<impl AsyncRead + Unpin + Send + 'static>, most: usize) -> Stream {
    let (sender, kept) = tokio::sync::watch::channel((Vec::new(), false));
    let reading = tokio::spawn(async move {
        let Some(mut from) = from else { return };
        let mut chunk = vec![0; 16 << 10];
        while let Ok(read @ 1..) = from.read(&mut chunk).await {
            let new = chunk.get(..read).unwrap_or_default();
            sender.send_modify(|(kept, cut)| {
                let room = most.saturating_sub(kept.len()).min(new.len());
                kept.extend_from_slice(new.get(..room).unwrap_or_default());
                *cut |= room < new.len();
            });
        }
    });
    Stream { reading, kept }
}

/// An output that is read.
struct Stream {
    reading: JoinHandle<()>,
    kept: tokio::sync::watch::Receiver<Kept>,
}

/// What it printed, as far as it comes soon after its end.
async fn rest_of(mut stream: Stream) -> Kept {
    if timeout(LEFTOVERS, &mut stream.reading).await.is_err() {
        stream.reading.abort();
    }
    stream.kept.borrow().clone()
}
