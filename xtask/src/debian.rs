//! Programs as Debian packages them, for the tests.
//!
//! The packages are unpacked into the cache, so that what is installed stays as it is, and nobody need be root.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::proc;
use crate::ui::{self, Pace};

/// The folder in `cache` called `name` with the contents of these packages, downloaded once. What they depend on is not
/// there, unless it is named too.
pub(crate) fn unpacked(cache: &Path, name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = cache.join(name);
    if !folder.is_dir() {
        ui::stage(&format!("download Debian's {name} (once)"), Pace::Quick, || {
            download(cache, name, packages, &folder)
        })?;
    }
    Ok(folder)
}

/// Unpacks the packages beside their place and renames them into it, so that a download that was cut leaves nothing.
fn download(cache: &Path, name: &str, packages: &[&str], folder: &Path) -> Result<()> {
    let work = cache.join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("cannot create `{}`", work.display()))?;
    proc::remove_at_end(&work);
    let log = cache.join(format!("{name}.log"));
    let get = || {
        let mut apt = Command::new("apt-get");
        // The packages lie in this user's folder, where apt's own user may not write.
        apt.args(["-oAPT::Sandbox::User=root", "download", "-qq"]).args(packages).current_dir(&work);
        proc::logged(&apt, &log)
    };
    // A fresh machine has no lists yet, and only root may fetch them.
    let got = get().or_else(|error| {
        proc::logged(Command::new("apt-get").args(["update", "-qq"]), &log).map_err(|_| error)?;
        get()
    });
    got.with_context(|| format!("apt does not bring Debian's {}", packages.join(", ")))?;
    let unpacked = work.join("unpacked");
    for package in fs::read_dir(&work).context("cannot list the download")?.flatten() {
        let package = package.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            proc::logged(Command::new("dpkg-deb").arg("-x").arg(package).arg(&unpacked), &log)?;
        }
    }
    fs::rename(&unpacked, folder).with_context(|| format!("cannot move {name} to `{}`", folder.display()))?;
    let _ = fs::remove_dir_all(&work);
    Ok(())
}
