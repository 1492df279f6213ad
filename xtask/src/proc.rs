//! Processes that never outlive this one.
//!
//! Every child is recorded in one registry. A thread waits for SIGINT, SIGTERM and SIGHUP, ends what is
//! recorded and exits with `128 + signal`. Children that are told to die with their parent are started
//! through `setpriv --pdeathsig KILL` (util-linux), so that not even a killed xtask leaves one behind;
//! the parent there is the *thread* that starts them, which is why only the main thread may.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{IsTerminal as _, Read as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::Pid;
pub(crate) use rustix::process::Signal;

/// How long a process may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How often an awaited condition is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(25);

/// What must be ended before this process ends.
#[derive(Default)]
struct Registry {
    /// Process id, and whether it leads a group of its own.
    children: BTreeMap<i32, bool>,
    /// Folders that are removed at the end.
    folders: Vec<PathBuf>,
    /// The end has begun: nothing may be started any more.
    closed: bool,
}

static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { children: BTreeMap::new(), folders: Vec::new(), closed: false });
/// Held by whoever ends everything, so that the main thread does not exit in the middle of a signal's work.
static ENDING: Mutex<()> = Mutex::new(());

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the thread that ends everything upon a signal.
pub(crate) fn handle_signals() -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .context("cannot listen for signals")?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _ending = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
            end_recorded();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Ends every recorded child and removes every recorded folder. After a signal it does not return.
pub(crate) fn end_everything() {
    let _ending = ENDING.lock().unwrap_or_else(PoisonError::into_inner);
    end_recorded();
}

fn end_recorded() {
    let (children, folders) = {
        let mut registry = registry();
        registry.closed = true;
        (std::mem::take(&mut registry.children), std::mem::take(&mut registry.folders))
    };
    end_all(&children.into_iter().collect::<Vec<_>>());
    for folder in folders {
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// Records a folder that is removed at the end, also after a signal.
pub(crate) fn remove_at_end(folder: &Path) {
    registry().folders.push(folder.to_owned());
}

/// Records a child; one that was started while the end had begun is killed.
fn record(child: &Child, group: bool) {
    let pid = child.id() as i32;
    let mut registry = registry();
    if registry.closed {
        signal(pid, group, Signal::KILL);
    }
    registry.children.insert(pid, group);
}

/// Sends SIGTERM to all, waits, and kills those that are still there after the grace.
///
/// Each is a process id and whether it leads a group.
pub(crate) fn end_all(processes: &[(i32, bool)]) {
    for &(pid, group) in processes {
        signal(pid, group, Signal::TERM);
    }
    let deadline = Instant::now() + GRACE;
    for &(pid, group) in processes {
        while is_alive(pid) {
            if Instant::now() > deadline {
                signal(pid, group, Signal::KILL);
                break;
            }
            std::thread::sleep(POLL);
        }
        if group {
            // Members that ignored SIGTERM outlive their leader.
            signal(pid, group, Signal::KILL);
        }
    }
}

/// Sends a signal to the group that a child leads, which has not been waited for.
pub(crate) fn send(child: &Child, what: Signal) {
    signal(child.id() as i32, true, what);
}

/// Kills the group that a child leads with SIGKILL, and waits for the child.
pub(crate) fn kill(child: &mut Child) -> Result<ExitStatus> {
    send(child, Signal::KILL);
    let status = child.wait().context("cannot wait for a process")?;
    registry().children.remove(&(child.id() as i32));
    Ok(status)
}

/// How a child ended, once it has.
pub(crate) fn ended(child: &mut Child) -> Result<Option<ExitStatus>> {
    let status = child.try_wait().context("cannot wait for a process")?;
    if status.is_some() {
        registry().children.remove(&(child.id() as i32));
    }
    Ok(status)
}

fn signal(pid: i32, group: bool, signal: Signal) {
    let Some(pid) = Pid::from_raw(pid) else { return };
    // It may have ended by itself: then there is nothing to do.
    let _ = if group {
        rustix::process::kill_process_group(pid, signal)
    } else {
        rustix::process::kill_process(pid, signal)
    };
}

/// Whether the process runs: a zombie does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// When the process started, in clock ticks since the boot: with the id it names a process for good.
pub(crate) fn started_at(pid: i32) -> Option<u64> {
    stat(pid).map(|(_, started)| started)
}

fn stat(pid: i32) -> Option<(char, u64)> {
    parse_stat(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// State and start time of a line of `/proc/PID/stat` (proc(5)): the name, in brackets, may hold anything.
fn parse_stat(line: &str) -> Option<(char, u64)> {
    let mut fields = line.get(line.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state is field 3, the start time field 22.
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// Whether a child dies when this process does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It does.
    Bound,
    /// It goes on after [`let_go`], until `cluster stop`.
    Detached,
}

/// Starts a background process whose output goes to `log`.
pub(crate) fn background(command: &Command, log: &Path, life: Life) -> Result<Child> {
    let name = name_of(command);
    let file = File::create(log).with_context(|| format!("cannot write `{}`", log.display()))?;
    let mut bound = match life {
        Life::Bound => with_death_signal(command),
        Life::Detached => copy(command, Command::new(command.get_program())),
    };
    let child = bound
        .stdin(Stdio::null())
        .stdout(file.try_clone().context("cannot duplicate the log's handle")?)
        .stderr(file)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start `{name}`"))?;
    record(&child, true);
    Ok(child)
}

/// Starts a background process whose standard output this one reads; what it complains about goes to `log`.
pub(crate) fn piped(command: &Command, log: &Path) -> Result<Child> {
    let name = name_of(command);
    let file = File::create(log).with_context(|| format!("cannot write `{}`", log.display()))?;
    let child = with_death_signal(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(file)
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start `{name}`"))?;
    record(&child, true);
    Ok(child)
}

/// Leaves the children that were started until now to themselves.
pub(crate) fn let_go() {
    registry().children.clear();
}

/// Runs a command to its end with its output appended to `log`; a failure shows the log's tail.
pub(crate) fn logged(command: &Command, log: &Path) -> Result<()> {
    let name = name_of(command);
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write `{}`", log.display()))?;
    let mut bound = with_death_signal(command);
    bound
        .stdin(Stdio::null())
        .stdout(file.try_clone().context("cannot duplicate the log's handle")?)
        .stderr(file)
        .process_group(0);
    let status = wait(bound.spawn().with_context(|| format!("cannot start `{name}`"))?, true)?;
    if !status.success() {
        bail!("`{name}` failed ({status}); the end of `{}`:\n{}", log.display(), tail(log, 30));
    }
    Ok(())
}

/// Runs a command to its end on this terminal.
pub(crate) fn foreground(command: &Command) -> Result<ExitStatus> {
    let name = name_of(command);
    let mut command = with_death_signal(command);
    // On a terminal the child must stay in the foreground group, or it could not read from it.
    let group = !std::io::stdin().is_terminal();
    if group {
        command.process_group(0);
    }
    wait(command.spawn().with_context(|| format!("cannot start `{name}`"))?, group)
}

fn wait(mut child: Child, group: bool) -> Result<ExitStatus> {
    record(&child, group);
    let status = child.wait().context("cannot wait for a process");
    registry().children.remove(&(child.id() as i32));
    status
}

/// The code to end with when a child ended so: its own, or `128 + signal` as a shell says it.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Runs a command to its end in silence; a failure shows what it said, its longest lines shortened.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    let name = name_of(command);
    let (mut reader, writer) = std::io::pipe().context("cannot make a pipe")?;
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().context("cannot duplicate a pipe")?)
        .stderr(writer)
        .process_group(0);
    let child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
    // The command holds the pipe's writing ends: the end of the output is not seen before they are closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut said = Vec::new();
    record(&child, true);
    reader.read_to_end(&mut said).context("cannot read a command's output")?;
    let status = wait(child, true)?;
    if !status.success() {
        bail!("`{name}` failed ({status}):\n{}", shortened(&String::from_utf8_lossy(&said)));
    }
    Ok(())
}

/// The text with at most 500 characters a line: a dump in one line must not hide what is around it.
fn shortened(text: &str) -> String {
    let cut = |line: &str| match line.char_indices().nth(500) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or(line)),
        None => line.to_owned(),
    };
    text.trim_end().lines().map(cut).collect::<Vec<_>>().join("\n")
}

/// The standard output of a command that must succeed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = name_of(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{name}`"))?;
    if !output.status.success() {
        bail!("`{name}` failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The program's name and its first argument, for messages.
fn name_of(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    if let Some(first) = command.get_args().next() {
        name.push(' ');
        name.push_str(&first.to_string_lossy());
    }
    name
}

/// The same command, wrapped so that the kernel kills it when its parent is gone.
fn with_death_signal(command: &Command) -> Command {
    let Some(setpriv) = find("setpriv") else {
        return copy(command, Command::new(command.get_program()));
    };
    let mut wrapped = Command::new(setpriv);
    wrapped.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
    copy(command, wrapped)
}

/// Gives `to` the arguments, the environment and the folder of `from`.
fn copy(from: &Command, mut to: Command) -> Command {
    to.args(from.get_args());
    for (key, value) in from.get_envs() {
        match value {
            Some(value) => to.env(key, value),
            None => to.env_remove(key),
        };
    }
    if let Some(folder) = from.get_current_dir() {
        to.current_dir(folder);
    }
    to
}

/// The path of a program, looked up in `PATH`.
pub(crate) fn find(program: impl AsRef<OsStr>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program.as_ref())).find(|file| is_program(file))
}

/// Whether the file is there and may be executed.
pub(crate) fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The last `lines` lines of a file; empty when it cannot be read.
pub(crate) fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let last = all.iter().skip(all.len().saturating_sub(lines));
    last.map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_past_a_hostile_name() {
        let line = "4242 (a ) R (b) S 1 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 0 0";
        assert_eq!(parse_stat(line), Some(('S', 987_654)));
        assert_eq!(parse_stat("nonsense"), None);
        assert_eq!(parse_stat("1 (short) S 1"), None);
    }

    #[test]
    fn this_process_is_alive_and_has_a_start() {
        let pid = std::process::id() as i32;
        assert!(is_alive(pid));
        assert!(started_at(pid).is_some());
    }

    #[test]
    fn a_failure_shows_what_was_said_and_no_line_of_it_whole_that_is_a_dump() {
        let mut command = Command::new("sh");
        command.args(["-c", "printf 'é%.0s' $(seq 600); echo; echo the cause; exit 1"]);
        let error = quiet(&mut command).unwrap_err().to_string();
        assert!(error.ends_with(&format!("\n{}…\nthe cause", "é".repeat(500))), "{error}");
    }

    #[test]
    fn a_failure_shows_the_end_of_its_log() {
        let log = std::env::temp_dir().join(format!("xtask-proc-{}.log", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", "for i in 1 2 3; do echo line $i; done; exit 3"]);
        let error = logged(&command, &log).unwrap_err().to_string();
        let _ = std::fs::remove_file(&log);
        assert!(error.contains("`sh -c` failed") && error.contains("line 3"), "{error}");
    }
}
