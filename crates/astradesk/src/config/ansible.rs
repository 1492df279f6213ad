//! `[ansible]`: the playbooks that may be run, and how.

use super::load::{invalid, within};
use super::upstream::secret;
use astradesk_core::Result;
use astradesk_domain_ops::ansible::Settings;
use serde::Deserialize;
use std::path::PathBuf;

/// `[ansible]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ansible {
    /// The folder with the playbooks; empty: none.
    pub folder: PathBuf,
    /// The inventory.
    pub inventory: PathBuf,
    /// The folder with `ansible-playbook`; empty: it is searched for.
    pub programs: PathBuf,
    /// Where the password of vaults is; empty: none.
    pub vault_password: String,
    /// The environment variables that Ansible is given.
    pub environment: Vec<String>,
    /// The most hosts of a run.
    pub max_hosts: usize,
}

impl Ansible {
    /// How Ansible is run; none if no folder is configured.
    ///
    /// # Errors
    /// [`astradesk_core::Code::ConfigInvalid`], also for what is not used yet.
    pub fn settings(&self, state: PathBuf) -> Result<Option<Settings>> {
        let password = (!self.vault_password.is_empty()).then_some(self.vault_password.as_str());
        let vault_password = password.map(|text| secret("ansible.vault_password", text)).transpose()?;
        within("ansible.max_hosts", self.max_hosts, 1..=200)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if let Some(name) = self.environment.iter().find(|name| name.is_empty() || !name.bytes().all(plain)) {
            return Err(invalid(format!(
                "`ansible.environment` has `{name}`, which is no name of a variable"
            )));
        }
        if self.folder.as_os_str().is_empty() {
            return Ok(None);
        }
        for (key, path) in [("folder", &self.folder), ("programs", &self.programs)] {
            if path.is_relative() && !path.as_os_str().is_empty() {
                return Err(invalid(format!(
                    "`ansible.{key}` is `{}`, and must be an absolute path",
                    path.display()
                )));
            }
        }
        Ok(Some(Settings {
            folder: self.folder.clone(),
            inventory: self.inventory.clone(),
            programs: self.programs.clone(),
            vault_password,
            environment: self.environment.clone(),
            max_hosts: self.max_hosts,
            state,
        }))
    }
}
