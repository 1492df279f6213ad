//! kubectl as Debian packages it, for the tests: a client of the sandbox that nobody here wrote.
//!
//! The package is unpacked into the cache, so that a kubectl that is installed stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::proc;
use crate::ui::{self, Pace};

/// The variable that tells the tests which kubectl to run; set beforehand, it names another one than Debian's.
pub(crate) const TEST_KUBECTL: &str = "ASTRADESK_TEST_KUBECTL";
/// Debian's package.
const PACKAGE: &str = "kubernetes-client";

/// The kubectl to test with: the one that is named, or Debian's, downloaded once.
pub(crate) fn ensure(cache: &Path) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(TEST_KUBECTL).filter(|path| !path.is_empty()) {
        return Ok(named.into());
    }
    let folder = cache.join("kubectl");
    let program = folder.join("usr/bin/kubectl");
    if !proc::is_program(&program) {
        ui::stage("download Debian's kubectl (once)", Pace::Quick, || download(cache, &folder))?;
    }
    Ok(program)
}

/// Unpacks the package beside its place and renames it into it, so that a download that was cut leaves nothing.
fn download(cache: &Path, folder: &Path) -> Result<()> {
    let work = cache.join(format!("kubectl-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("cannot create `{}`", work.display()))?;
    proc::remove_at_end(&work);
    let log = cache.join("kubectl.log");
    let get = || {
        let mut apt = Command::new("apt-get");
        // The package lies in this user's folder, where apt's own user may not write.
        apt.args(["-oAPT::Sandbox::User=root", "download", "-qq", PACKAGE]).current_dir(&work);
        proc::logged(&apt, &log)
    };
    // A fresh machine has no lists yet, and only root may fetch them.
    let got = get().or_else(|error| {
        proc::logged(Command::new("apt-get").args(["update", "-qq"]), &log).map_err(|_| error)?;
        get()
    });
    got.with_context(|| format!("apt does not bring Debian's {PACKAGE}"))?;
    let package = fs::read_dir(&work).context("cannot list the download")?.flatten().next();
    let package = package.context("apt downloaded no package")?.path();
    let unpacked = work.join("unpacked");
    proc::logged(Command::new("dpkg-deb").arg("-x").arg(package).arg(&unpacked), &log)?;
    let _ = fs::remove_dir_all(folder);
    fs::rename(&unpacked, folder)
        .with_context(|| format!("cannot move kubectl to `{}`", folder.display()))?;
    let _ = fs::remove_dir_all(&work);
    Ok(())
}
