//! A small disk of one process's own, which can be filled and emptied from outside.
//!
//! It is a tmpfs, mounted by `unshare` of util-linux in a user and mount namespace that only the process is in.

use crate::gateway::Settings;
use crate::place::skipped;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How large it is. One with a store in it is far from full.
const SIZE: &str = "size=32m";

/// The disk of a running process.
pub struct Disk {
    /// Where it is seen from outside.
    folder: PathBuf,
}

/// Whether a process may have one; says so loudly when it may not, and fails where `CI` is set.
pub fn is_available() -> bool {
    let tried = unshare().args(["mount", "-t", "tmpfs", "tmpfs"]).arg(std::env::temp_dir()).output();
    let why = match &tried {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    skipped(&format!("`unshare --user --map-root-user --mount` may not mount a disk here: {why}"))
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount"]);
    command
}

/// A command that runs `binary` with the folder of [`of`](Disk::of) on a disk, mounted `rw` or `ro`; its
/// arguments come after.
pub(crate) fn command(settings: &Settings, mode: &str, binary: &str) -> Command {
    const SCRIPT: &str =
        r#"mount -t tmpfs -o "$1" tmpfs "$2" && mount -o "remount,$3" "$2" && shift 3 && exec "$@""#;
    let folder = folder(settings);
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = unshare();
    command.args(["sh", "-c", SCRIPT, "sh", SIZE]).arg(folder).args([mode, binary]);
    command
}

/// Where the process finds it.
pub(crate) fn folder(settings: &Settings) -> PathBuf {
    settings.state.join("disk")
}

impl Disk {
    /// The disk of a process that [`command`] started.
    pub(crate) fn of(process: u32, settings: &Settings) -> Self {
        let folder = folder(settings);
        let inside = folder.strip_prefix("/").unwrap();
        Self { folder: Path::new("/proc").join(process.to_string()).join("root").join(inside) }
    }

    /// A file on it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes until there is no space left.
    pub fn fill(&self) {
        let mut file = std::fs::File::create(self.file("filling")).unwrap();
        // In pages, which is how it is given out.
        let error = std::iter::repeat_with(|| file.write_all(&[0; 4096])).find_map(Result::err).unwrap();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    /// Takes away what filled it.
    pub fn empty(&self) {
        std::fs::remove_file(self.file("filling")).unwrap();
    }
}
