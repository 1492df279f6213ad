//! Ansible as Debian packages it, for the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::debian;

/// The variable that tells the tests in which folder Ansible's programs are; set beforehand, it names others than Debian's.
pub(crate) const TEST_ANSIBLE: &str = "ASTRADESK_TEST_ANSIBLE";

/// Debian's Python, for which its packages of modules are built.
const PYTHON: &str = "/usr/bin/python3";
/// Ansible, and the modules that it needs.
const PACKAGES: &[&str] = &[
    "ansible-core",
    "python3-cffi-backend",
    "python3-cryptography",
    "python3-jinja2",
    "python3-markupsafe",
    "python3-packaging",
    "python3-resolvelib",
    "python3-yaml",
];
const PROGRAMS: [&str; 2] = ["ansible-playbook", "ansible-vault"];

/// The folder with the programs to test with: the one that is named, or one with Debian's.
pub(crate) fn ensure(cache: &Path) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(TEST_ANSIBLE).filter(|path| !path.is_empty()) {
        return Ok(named.into());
    }
    if !Path::new(PYTHON).exists() {
        bail!("{PYTHON} is missing: install Debian's python3");
    }
    let folder = debian::unpacked(cache, "ansible", PACKAGES)?;
    let programs = folder.join("programs");
    fs::create_dir_all(&programs).with_context(|| format!("cannot create `{}`", programs.display()))?;
    for name in PROGRAMS {
        let usr = folder.join("usr");
        let (usr, path) = (usr.display(), programs.join(name));
        // The unpacked modules lie where no Python looks.
        let script = format!(
            "#!/bin/sh\nPYTHONPATH='{usr}/lib/python3/dist-packages' exec {PYTHON} '{usr}/bin/{name}' \"$@\"\n"
        );
        fs::write(&path, script).with_context(|| format!("cannot write `{}`", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(programs)
}
