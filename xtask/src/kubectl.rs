//! kubectl as Debian packages it, for the tests: a client of the sandbox that nobody here wrote.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::debian;

/// The variable that tells the tests which kubectl to run; set beforehand, it names another one than Debian's.
pub(crate) const TEST_KUBECTL: &str = "ASTRADESK_TEST_KUBECTL";

/// The kubectl to test with: the one that is named, or Debian's.
pub(crate) fn ensure(cache: &Path) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(TEST_KUBECTL).filter(|path| !path.is_empty()) {
        return Ok(named.into());
    }
    Ok(debian::unpacked(cache, "kubectl", &["kubernetes-client"])?.join("usr/bin/kubectl"))
}
