//! The folder of one run of a playbook, and whether Ansible lives in it.
//!
//! Its `lock` is the standard input of Ansible, and locked: the lock is held as long as Ansible lives, whoever started it and
//! whatever became of them, and the kernel gives it back when it has died. So nobody need trust the number of a process.

use super::library::Library;
use super::scratch::{HOSTS, Scratch};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// After how long what is left of a run is removed.
const KEPT: Duration = Duration::from_hours(24 * 7);

/// The folder of one run.
#[derive(Debug, Clone)]
pub(super) struct Workplace(pub(super) Scratch);

impl Workplace {
    /// The folder of the run with this mark, if it is there.
    pub(super) fn find(state: &Path, mark: &str) -> io::Result<Option<Self>> {
        let path = folder(state, mark);
        if path.is_dir() { Scratch::make(path).map(|scratch| Some(Self(scratch))) } else { Ok(None) }
    }

    /// Makes the folder, with a copy of the library. What an earlier intent of the run left there was not begun.
    pub(super) fn make(state: &Path, mark: &str, library: &Library) -> io::Result<Self> {
        let path = folder(state, mark);
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        let workplace = Self(Scratch::make(path)?);
        library.write(&workplace.tree())?;
        Ok(workplace)
    }

    /// The copy of the playbooks.
    pub(super) fn tree(&self) -> PathBuf {
        self.0.file("tree")
    }

    /// What Ansible prints.
    pub(super) fn output(&self) -> PathBuf {
        self.0.file("output")
    }

    /// How many reports of the journal were told already.
    pub(super) fn told(&self) -> usize {
        fs::read_to_string(self.0.file("told")).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Remembers it.
    pub(super) fn tell(&self, reports: usize) {
        // At worst somebody is told twice.
        let _ = fs::write(self.0.file("told"), reports.to_string());
    }

    /// The lock, unless Ansible lives.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        let file = File::options().read(true).append(true).create(true).open(self.0.file("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Removes what is not needed any more once Ansible has ended. The journal stays: it may be asked for again.
    pub(super) fn tidy(&self) {
        self.0.forget_password();
        for name in ["vars.json", HOSTS, "none.cfg"] {
            let _ = fs::remove_file(self.0.file(name));
        }
        for name in ["tree", "plugins", "tmp"] {
            let _ = fs::remove_dir_all(self.0.file(name));
        }
    }

    /// Removes what is left of runs that are much older than this one.
    pub(super) fn prune(&self, state: &Path) -> io::Result<()> {
        let now = fs::metadata(self.tree())?.modified()?;
        for entry in fs::read_dir(state.join("ansible"))?.flatten().filter(|entry| entry.path().is_dir()) {
            let age = now.duration_since(entry.metadata()?.modified()?);
            let is_old = age.is_ok_and(|age| age > KEPT);
            if is_old && Self(Scratch::make(entry.path())?).lock()?.is_some() {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }
}

fn folder(state: &Path, mark: &str) -> PathBuf {
    state.join("ansible").join(mark)
}
