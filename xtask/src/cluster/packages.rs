//! The Debian packages that the control plane needs, installed when this process may.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::proc;
use crate::ui::{self, Pace};

/// A program and the Debian package that brings it.
pub(super) struct Need {
    /// A name looked up in `PATH`, or an absolute path.
    pub(super) program: &'static str,
    /// The package.
    pub(super) package: &'static str,
}

/// What starting the control plane needs.
pub(super) const START: &[Need] =
    &[Need { program: "openssl", package: "openssl" }, Need { program: "curl", package: "curl" }];

/// Debian's etcd, when `KUBEBUILDER_ASSETS` brings none.
pub(super) const ETCD: &[Need] = &[Need { program: "etcd", package: "etcd-server" }];

/// What building Kubernetes needs.
pub(super) const BUILD: &[Need] = &[
    Need { program: super::build::GO, package: "golang-1.19-go" },
    Need { program: "dpkg-source", package: "dpkg-dev" },
    Need { program: "make", package: "make" },
    Need { program: "rsync", package: "rsync" },
];

/// Makes sure that the programs are there: installs their packages as root, says what is missing otherwise.
pub(super) fn ensure(needs: &[Need], log: &Path) -> Result<()> {
    let packages = missing(needs, is_there);
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    if proc::find("apt-get").is_none() {
        bail!(
            "the control plane needs `{list}` (Debian's names), and there is no apt-get here; install them, \
             or point KUBEBUILDER_ASSETS at a folder with kube-apiserver, kube-controller-manager, \
             kube-scheduler and etcd"
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the control plane needs `{list}`; run `sudo apt-get install --no-install-recommends {list}`");
    }
    ui::stage(&format!("install {list}"), Pace::Quick, || {
        let mut update = apt();
        update.args(["update", "-qq"]);
        proc::logged(&update, log)?;
        let mut install = apt();
        install.args(["install", "-qq", "-y", "--no-install-recommends"]).args(&packages);
        // The package's service must not start: the tests run an etcd of their own.
        install.env("RUNLEVEL", "1");
        proc::logged(&install, log)
    })?;
    match missing(needs, is_there).as_slice() {
        [] => Ok(()),
        still => bail!("`{}` was installed and its programs are not there", still.join(" ")),
    }
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn is_there(program: &str) -> bool {
    if program.starts_with('/') {
        proc::is_program(Path::new(program))
    } else {
        proc::find(program).is_some()
    }
}

fn missing(needs: &[Need], is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    needs.iter().filter(|need| !is_there(need.program)).map(|need| need.package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        assert_eq!(missing(BUILD, |program| program != "rsync"), ["rsync"]);
        assert!(missing(START, |_| true).is_empty());
    }
}
