//! The files that one start of Ansible needs, in a folder of its own, and how it is started with them.

use super::{Ansible, Request};
use astradesk_core::{Code, Error, Result};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The callback plugin that keeps the journal.
const JOURNAL: &str = include_str!("journal.py");
/// The search path if AstraDesk has none itself.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// The file with the hosts of a run.
pub(super) const HOSTS: &str = "hosts";
/// What reads as more than a value in a file of variables.
const MEANINGFUL: &str = "__ansible";

/// A folder for its owner only.
#[derive(Debug, Clone)]
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes the folder, unless it is there.
    pub(super) fn make(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The file of the journal.
    pub(super) fn journal(&self) -> PathBuf {
        self.file("journal")
    }

    /// Writes a file that only its owner may read, in the place of any other.
    fn put(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.file(name);
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())
    }

    /// Writes what Ansible is given: the variables, the plugin, the vault's password, and these files.
    pub(super) fn give(
        &self,
        request: &Request,
        password: Option<&str>,
        more: &[(&str, &str)],
    ) -> Result<()> {
        let give = || -> io::Result<()> {
            self.put("vars.json", &Value::from(unsafe_values(&request.vars)).to_string())?;
            self.put("plugins/astradesk.py", JOURNAL)?;
            self.put("none.cfg", "")?;
            for (name, text) in more {
                self.put(name, text)?;
            }
            password.map_or(Ok(()), |password| self.put("vault", password))
        };
        give().map_err(|error| {
            let message = format!("what Ansible needs cannot be written to `{}`: {error}", self.0.display());
            Error::new(Code::StoreUnavailable, message)
        })
    }

    /// Takes away the vault's password.
    pub(super) fn forget_password(&self) {
        let _ = fs::remove_file(self.file("vault"));
    }

    /// The whole environment of Ansible, run in `folder`. Its configuration is that of the folder, or none.
    pub(super) fn environment(&self, ansible: &Ansible, folder: &Path) -> Vec<(String, String)> {
        let path = |path: PathBuf| path.display().to_string();
        let own = folder.join("ansible.cfg");
        let config = if own.is_file() { own } else { self.file("none.cfg") };
        let mut environment = vec![
            ("PATH", std::env::var("PATH").unwrap_or_else(|_| PATH.to_owned())),
            ("LANG", "C.UTF-8".to_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
            ("ANSIBLE_CONFIG", path(config)),
            ("ANSIBLE_LOCAL_TEMP", path(self.file("tmp"))),
            ("ANSIBLE_RETRY_FILES_ENABLED", "0".to_owned()),
            ("ANSIBLE_NOCOLOR", "1".to_owned()),
            ("ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED", "1".to_owned()),
            ("ANSIBLE_CALLBACK_PLUGINS", path(self.file("plugins"))),
            ("ANSIBLE_STDOUT_CALLBACK", "astradesk".to_owned()),
            ("ASTRADESK_JOURNAL", path(self.journal())),
        ];
        let passed = ansible.settings.environment.iter().map(String::as_str).chain(["HOME"]);
        environment.extend(passed.filter_map(|name| Some((name, std::env::var(name).ok()?))));
        environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// How `ansible-playbook` is called.
    pub(super) fn playbook(&self, ansible: &Ansible, request: &Request, more: &[&str]) -> Vec<String> {
        let mut argv = vec![
            ansible.program(),
            "--inventory".to_owned(),
            ansible.settings.inventory.display().to_string(),
            "--extra-vars".to_owned(),
            format!("@{}", self.file("vars.json").display()),
        ];
        if ansible.settings.vault_password.is_some() {
            argv.extend(["--vault-password-file".to_owned(), self.file("vault").display().to_string()]);
        }
        argv.extend(more.iter().map(|&argument| argument.to_owned()));
        argv.push(format!("{}.yml", request.playbook));
        argv
    }

    /// The argument by which a playbook is run on these hosts only, and what the file has that it names.
    pub(super) fn limit(&self, hosts: &[String]) -> (String, String) {
        (format!("--limit=@{}", self.file(HOSTS).display()), hosts.join("\n"))
    }
}

/// The variables with every text marked, so that Ansible takes none of them for a template.
fn unsafe_values(vars: &Map<String, Value>) -> Map<String, Value> {
    vars.iter().map(|(name, value)| (name.clone(), unsafe_value(value))).collect()
}

fn unsafe_value(value: &Value) -> Value {
    match value {
        Value::String(text) => json!({"__ansible_unsafe": text}),
        Value::Array(items) => items.iter().map(unsafe_value).collect(),
        Value::Object(fields) => unsafe_values(fields).into(),
        plain => plain.clone(),
    }
}

/// Whether a name within the value would be more to Ansible than a name.
pub(super) fn is_meaningful(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(is_meaningful),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| name.starts_with(MEANINGFUL) || name.contains("{{") || is_meaningful(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_variable_is_a_template() {
        let vars = json!({"a": "{{ x }}", "b": ["{{ y }}", 1], "c": {"d": "z", "e": true}});
        let marked = Value::from(unsafe_values(vars.as_object().unwrap()));
        let text = |text: &str| json!({"__ansible_unsafe": text});
        let expected =
            json!({"a": text("{{ x }}"), "b": [text("{{ y }}"), 1], "c": {"d": text("z"), "e": true}});
        assert_eq!(marked, expected);
        for (value, meaningful) in [
            (json!({"a": [{"__ansible_vault": "x"}]}), true),
            (json!({"{{ x }}": 1}), true),
            (json!({"a": "__ansible_vault"}), false),
        ] {
            assert_eq!(is_meaningful(&value), meaningful, "{value}");
        }
    }
}
