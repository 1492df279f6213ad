//! Where policies come from: the settings, and the files of a folder.

use crate::Settings;
use astradesk_core::canonical::Digest;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result, RoleName};
use astradesk_runtime::folder::settled;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The most files of a folder.
pub const MAX_FILES: usize = 1_000;
/// The largest file, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where policies come from.
#[derive(Debug, Clone, Default)]
pub struct PolicySources {
    /// What the built-in policies are made of.
    pub settings: Settings,
    /// The folder with the policy files, every `*.cedar` in it (`policy.dir`). None: built-in policies only.
    pub dir: Option<PathBuf>,
    /// The roles that issuers give, beside those of the settings; policies that name another role are doubted.
    /// Empty: not known, and no role is doubted.
    pub known_roles: Vec<RoleName>,
}

/// A policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Its name, without the folder.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
}

/// Reads the policy files of `dir`, in the order of their names. A folder that changes while it is read is read
/// again, until two readings in a row agree: a set that was never there as a whole is never put in force. What has
/// the digest `known` is not read twice.
///
/// # Errors
/// `policy.set_invalid`: the folder or a file cannot be read, there is no policy file, there are too many, one is
/// too large or is not text, or it keeps changing.
pub(crate) fn read(dir: &Path, known: Option<Digest>) -> Result<Vec<File>> {
    let first = read_once(dir);
    if known.is_some() && first.as_ref().ok().map(|files| digest(files)) == known {
        return first;
    }
    settled(|| read_once(dir)).unwrap_or_else(|| {
        Err(invalid(format!("the folder `{}` changes again and again while it is read", dir.display())))
    })
}

/// A digest of the files, to tell whether anything has changed.
pub(crate) fn digest(files: &[File]) -> Digest {
    let texts = files.iter().map(|file| (file.name.clone(), file.text.clone().into()));
    Digest::of_value(&serde_json::Value::Object(texts.collect()))
}

fn read_once(dir: &Path) -> Result<Vec<File>> {
    let unreadable = |error: std::io::Error| {
        invalid(format!("the folder of policies `{}` cannot be read: {error}", dir.display()))
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.extension().is_some_and(|extension| extension == "cedar") && !name.starts_with('.') {
            paths.push((name, path));
        }
        if paths.len() > MAX_FILES {
            let text = format!("the folder `{}` has more than {MAX_FILES} policy files", dir.display());
            return Err(invalid(text));
        }
    }
    if paths.is_empty() {
        let text = format!("there is no `*.cedar` file in the folder `{}`", dir.display());
        return Err(invalid(text).with_remedy(
            "put the policy files there, or leave `policy.dir` empty to have the built-in policies only",
        ));
    }
    paths.sort_unstable();
    paths.into_iter().map(|(name, path)| read_file(&name, &path)).collect()
}

/// Reads one file, through symbolic links as mounted `ConfigMaps` have them.
fn read_file(name: &str, path: &Path) -> Result<File> {
    let name = shown(name, 128);
    let unreadable = |error: std::io::Error| invalid(format!("`{name}` cannot be read: {error}"));
    // Whatever else there is, such as a pipe, might never end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(invalid(format!("`{name}` is not a file")));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(invalid(format!("`{name}` is larger than {MAX_FILE_BYTES} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|_| invalid(format!("`{name}` is not UTF-8 text")))?;
    Ok(File { name, text })
}

/// A `policy.set_invalid` with this sentence.
pub(crate) fn invalid(text: impl Into<String>) -> Error {
    Error::new(Code::PolicySetInvalid, text)
}
