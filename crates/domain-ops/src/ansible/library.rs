//! The folder of playbooks as it is at one moment: every byte that a run can use of it, and their digest.

use super::manifest::Manifest;
use astradesk_core::canonical::Digest;
use astradesk_core::text::{near, shown};
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::folder;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The most files, their most bytes, and how deep they may lie.
const FILES: usize = 4096;
const BYTES: u64 = 32 << 20;
const DEPTH: usize = 16;
/// The largest manifest, in bytes.
const MANIFEST: usize = 64 << 10;

/// The files of a folder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Library {
    files: BTreeMap<PathBuf, File>,
}

#[derive(Debug, Clone, PartialEq)]
struct File {
    bytes: Vec<u8>,
    executable: bool,
}

impl Library {
    /// Reads the folder until it holds still.
    ///
    /// # Errors
    /// [`Code::AnsibleUnavailable`] if it cannot be read, [`Code::AnsiblePlaybookInvalid`] if it has what it must not.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        folder::settled(|| Self::read_once(folder)).unwrap_or_else(|| {
            let message = format!("the folder `{}` of playbooks changes all the time", folder.display());
            Err(Error::new(Code::AnsibleUnavailable, message)
                .with_remedy("repeat it when nobody writes to it"))
        })
    }

    fn read_once(folder: &Path) -> Result<Self> {
        let cannot = |error: io::Error| {
            let message = format!("the folder `{}` of playbooks cannot be read: {error}", folder.display());
            Error::new(Code::AnsibleUnavailable, message)
        };
        let root = folder.canonicalize().map_err(cannot)?;
        let mut reading = Reading { root: &root, files: BTreeMap::new(), bytes: 0 };
        reading.folder(Path::new(""), 0).map_err(|fault| match fault {
            Fault::Io(error) => cannot(error),
            Fault::Not(why) => {
                let message = format!("the folder `{}` of playbooks {why}", folder.display());
                Error::new(Code::AnsiblePlaybookInvalid, message)
            }
        })?;
        Ok(Self { files: reading.files })
    }

    /// The digest of everything that a run can use.
    pub(crate) fn digest(&self) -> Digest {
        let files = self.files.iter().map(|(path, file)| {
            json!([path.to_string_lossy(), file.executable, Digest::of(&file.bytes).to_string()])
        });
        Digest::of_value(&files.collect())
    }

    /// The names of the playbooks, sorted: those that have a manifest.
    pub(crate) fn names(&self) -> Vec<String> {
        let stem = |path: &PathBuf| {
            let is_manifest = path.parent() == Some(Path::new("")) && path.extension()?.to_str()? == "toml";
            let name = path.file_stem()?.to_str().filter(|name| is_name(name))?;
            is_manifest.then(|| name.to_owned())
        };
        self.files.keys().filter_map(stem).collect()
    }

    /// The manifest of a playbook.
    pub(crate) fn manifest(&self, name: &str) -> Result<Manifest> {
        let file = |ending: &str| self.files.get(Path::new(&format!("{name}.{ending}")));
        let Some(manifest) = file("toml").filter(|_| is_name(name)) else {
            let (known, name) = (self.names(), shown(name, 80));
            let error = Error::new(
                Code::AnsiblePlaybookNotFound,
                format!("there is no playbook `{name}` with a manifest"),
            );
            return Err(error.with_candidates(if known.len() > 5 { near(&name, &known) } else { known }));
        };
        let invalid = |why: String| {
            Error::new(Code::AnsiblePlaybookInvalid, format!("the manifest `{name}.toml` {why}"))
        };
        if file("yml").is_none() {
            return Err(invalid(format!("stands alone: there is no `{name}.yml`")));
        }
        let text = std::str::from_utf8(&manifest.bytes).ok().filter(|text| text.len() <= MANIFEST);
        let text = text.ok_or_else(|| invalid("is too large, or no text".to_owned()))?;
        Manifest::read(text).map_err(invalid)
    }

    /// Writes all of it to a folder that is made for it, for its owner only.
    pub(crate) fn write(&self, to: &Path) -> io::Result<()> {
        let mut folders = fs::DirBuilder::new();
        folders.recursive(true).mode(0o700).create(to)?;
        for (path, file) in &self.files {
            let path = to.join(path);
            if let Some(parent) = path.parent() {
                folders.create(parent)?;
            }
            let mode = if file.executable { 0o700 } else { 0o600 };
            let mut new = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
            io::Write::write_all(&mut new, &file.bytes)?;
        }
        Ok(())
    }
}

/// Whether a text can be the name of a playbook.
pub(crate) fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    (1..=64).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with(['-', '_'])
}

enum Fault {
    Io(io::Error),
    Not(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

struct Reading<'a> {
    root: &'a Path,
    files: BTreeMap<PathBuf, File>,
    bytes: u64,
}

impl Reading<'_> {
    fn folder(&mut self, within: &Path, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH {
            return Err(Fault::Not(format!("has folders that lie more than {DEPTH} deep")));
        }
        for entry in fs::read_dir(self.root.join(within))? {
            let entry = entry?;
            let name = entry.file_name();
            // What git and mounted volumes keep for themselves.
            if name == ".git" || name.as_encoded_bytes().starts_with(b"..") {
                continue;
            }
            let path = within.join(&name);
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.folder(&path, depth + 1)?;
            } else {
                self.file(path, kind.is_symlink())?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: PathBuf, is_link: bool) -> Result<(), Fault> {
        let whole = self.root.join(&path);
        if is_link && !whole.canonicalize()?.starts_with(self.root) {
            return Err(Fault::Not(format!(
                "has the symbolic link `{}`, which leads out of it",
                path.display()
            )));
        }
        let file = fs::File::open(&whole)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Fault::Not(format!(
                "has `{}`, which is neither a file nor a folder",
                path.display()
            )));
        }
        let mut bytes = Vec::new();
        file.take(BYTES + 1 - self.bytes).read_to_end(&mut bytes)?;
        self.bytes += bytes.len() as u64;
        if self.bytes > BYTES || self.files.len() == FILES {
            return Err(Fault::Not(format!("has more than {FILES} files or {} MiB", BYTES >> 20)));
        }
        let executable = metadata.permissions().mode() & 0o100 != 0;
        self.files.insert(path, File { bytes, executable });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("say.yml", "- hosts: web"),
            ("say.toml", "description = \"says something\"\nhosts = [\"web\"]"),
            ("alone.toml", "description = \"x\"\nhosts = [\"web\"]"),
            ("broken.toml", "hosts = 1"),
            ("broken.yml", "- hosts: web"),
            ("roles/nginx/tasks/main.yml", "[]"),
            (".git/HEAD", "x"),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_library_has_the_playbooks_that_have_a_manifest() {
        let folder = folder();
        let library = Library::read(folder.path()).unwrap();
        assert_eq!(library.names(), ["alone", "broken", "say"]);
        assert_eq!(library.manifest("say").unwrap().hosts, ["web"]);
        for (name, code) in [
            ("alone", Code::AnsiblePlaybookInvalid),
            ("broken", Code::AnsiblePlaybookInvalid),
            ("none", Code::AnsiblePlaybookNotFound),
            ("../say", Code::AnsiblePlaybookNotFound),
            ("roles/nginx/tasks/main", Code::AnsiblePlaybookNotFound),
            ("", Code::AnsiblePlaybookNotFound),
        ] {
            assert_eq!(library.manifest(name).unwrap_err().code, code, "{name}");
        }
        assert!(library.manifest("sey").unwrap_err().details["candidates"].to_string().contains("say"));
        assert_eq!(Library::read(&folder.path().join("none")).unwrap_err().code, Code::AnsibleUnavailable);
    }

    #[test]
    fn every_byte_of_it_is_in_its_digest_and_in_its_copy() {
        let folder = folder();
        let first = Library::read(folder.path()).unwrap();
        let copy = tempfile::tempdir().unwrap();
        let to = copy.path().join("tree");
        first.write(&to).unwrap();
        assert_eq!(Library::read(&to).unwrap().digest(), first.digest());
        assert!(!to.join(".git").exists());
        fs::write(folder.path().join("roles/nginx/tasks/main.yml"), "[ ]").unwrap();
        let second = Library::read(folder.path()).unwrap();
        assert_ne!(second.digest(), first.digest(), "a role is changed");
        fs::write(folder.path().join(".git/HEAD"), "y").unwrap();
        assert_eq!(Library::read(folder.path()).unwrap().digest(), second.digest());
        fs::set_permissions(folder.path().join("say.yml"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(Library::read(folder.path()).unwrap().digest(), second.digest());
    }

    #[test]
    fn what_leads_out_of_it_is_refused() {
        let folder = folder();
        let link = |to: &str| std::os::unix::fs::symlink(to, folder.path().join("link.yml")).unwrap();
        link("say.yml");
        Library::read(folder.path()).unwrap();
        for (to, why) in [("/etc/passwd", "leads out"), ("../x", "cannot be read"), ("roles", "neither")] {
            fs::remove_file(folder.path().join("link.yml")).unwrap();
            link(to);
            let said = Library::read(folder.path()).unwrap_err().message;
            assert!(said.contains(why), "{to}: {said}");
        }
    }
}
