//! Who commits here, and who else is alive: by the kernel where there is a file, and by beats.
//!
//! A process that died has lost the lock of its file, and is known to be dead at once. A process that hangs
//! keeps it, but beats no more, and is dead when its lease has ended.

use astradesk_core::Timestamp;
use astradesk_core::run::Holder;
use nix::unistd::gethostname;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// No lease is longer. One that ends later than this from now was written before the clock stepped back: its
/// holder is dead, or will soon have written another.
pub(crate) const LONGEST_LEASE: Duration = Duration::from_mins(1);

/// How long the lease of a holder is kept after its end.
pub(crate) const LEASE_KEPT: Duration = Duration::from_hours(24);

/// The presence of one store: its name, and the file that says that its process lives.
#[derive(Debug)]
pub(crate) struct Presence {
    holder: Holder,
    /// None for a store in memory, which no other process can have open.
    file: Option<Locked>,
}

/// A file that is locked until this is dropped.
#[derive(Debug)]
struct Locked {
    /// The files of all holders start so.
    prefix: OsString,
    _lock: File,
}

/// When the lease of each holder ends, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Leases(HashMap<String, i64>);

impl Presence {
    /// Of a store in memory.
    pub(crate) fn in_memory() -> Self {
        Self { holder: name(), file: None }
    }

    /// Of a store in the file `database`. Removes the files of those that died.
    ///
    /// Who calls this holds the lock that orders those who open the store: a file that was just created and is
    /// not locked yet would be taken for one of the dead.
    pub(crate) fn beside(database: &Path) -> io::Result<Self> {
        // By every name of the database, the files are the same.
        let mut prefix = fs::canonicalize(database)?.into_os_string();
        prefix.push(".holder-");
        bury(&prefix);
        let holder = name();
        let lock = fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(file_of(&prefix, holder.as_str()))?;
        lock.try_lock()?;
        Ok(Self { holder, file: Some(Locked { prefix, _lock: lock }) })
    }

    /// The name.
    pub(crate) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Removes the file: whoever looks for it finds that this holder is gone.
    pub(crate) fn leave(&self) {
        if let Some(Locked { prefix, .. }) = &self.file {
            remove(&file_of(prefix, self.holder.as_str()));
        }
    }

    /// Whether `holder` is dead at `now`. Removes its file if its process is gone.
    pub(crate) fn is_dead(&self, holder: &str, leases: &Leases, now: Timestamp) -> bool {
        if holder == self.holder.as_str() {
            return false;
        }
        let gone = match &self.file {
            // What no store has written is not made a path of.
            Some(_) if !is_name(holder) => true,
            Some(Locked { prefix, .. }) => is_gone(&file_of(prefix, holder)),
            None => false,
        };
        gone || !leases.covers(holder, now)
    }
}

impl Leases {
    /// Those that end at these times, in microseconds.
    pub(crate) fn new(ends: HashMap<String, i64>) -> Self {
        Self(ends)
    }

    fn covers(&self, holder: &str, now: Timestamp) -> bool {
        let now = now.as_microsecond();
        let latest = now.saturating_add(LONGEST_LEASE.as_micros() as i64);
        self.0.get(holder).is_some_and(|ends| (now + 1..=latest).contains(ends))
    }
}

/// A name that no other holder has, and in which an operator sees where the process is.
fn name() -> Holder {
    let host = gethostname().ok().and_then(|host| host.into_string().ok()).filter(|host| is_name(host));
    let host = host.as_deref().unwrap_or("local");
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let unique = unique.get(..12).unwrap_or(&unique);
    Holder::new(format!("{host}-{}-{unique}", std::process::id()))
}

fn is_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn file_of(prefix: &OsStr, holder: &str) -> PathBuf {
    let mut path = prefix.to_owned();
    path.push(holder);
    path.into()
}

/// Removes the files of holders that are gone.
fn bury(prefix: &OsStr) {
    let prefix = Path::new(prefix);
    let (Some(folder), Some(start)) = (prefix.parent(), prefix.file_name()) else { return };
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(start.as_encoded_bytes()) {
            is_gone(&entry.path());
        }
    }
}

/// Whether nobody has `file` locked, or it is not there; then it is removed.
///
/// Several may look at the same time and each finds the truth, because they share the lock that they take.
fn is_gone(file: &Path) -> bool {
    let found = match File::open(file) {
        Ok(found) => found,
        Err(error) => return error.kind() == io::ErrorKind::NotFound,
    };
    match found.try_lock_shared() {
        Ok(()) => {
            remove(file);
            true
        }
        // What cannot be found out is left to the lease.
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

/// A file that stays costs nothing but a look at the next opening.
fn remove(file: &Path) {
    if let Err(error) = fs::remove_file(file)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::debug!(error = %error, "the file of a holder stays");
    }
}
