//! The files of a pack as they are read together: `pack.toml`, those that it names, and `pack.lock`.

use crate::manifest::FILE;
use crate::mcp::lock;
use astradesk_core::canonical::Digest;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Component, Path};
use std::sync::Arc;

/// The largest file of a pack, in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 20;
/// The most bytes that the files have together which a `pack.toml` names.
pub(crate) const MAX_NAMED_BYTES: usize = 4 << 20;

/// The files of a pack.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    /// The text of the `pack.toml`.
    pub(crate) manifest: String,
    /// The text of the `pack.lock`, if there is one.
    pub(crate) lock: Option<String>,
    /// The files that it names, those that could be read and why others could not.
    named: BTreeMap<String, Result<Arc<[u8]>>>,
}

impl Source {
    /// A `pack.toml` alone.
    #[cfg(test)]
    pub(crate) fn of(manifest: &str) -> Self {
        Self { manifest: manifest.to_owned(), lock: None, named: BTreeMap::new() }
    }

    /// The same with another `pack.lock`.
    pub(crate) fn with_lock(&self, lock: Option<String>) -> Self {
        Self { lock, ..self.clone() }
    }

    /// Reads the files of a folder.
    ///
    /// # Errors
    /// `pack.invalid`: its `pack.toml`, or its `pack.lock`, cannot be read.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let manifest = read_text(dir, FILE)?;
        let lock = if dir.join(lock::FILE).exists() { Some(read_text(dir, lock::FILE)?) } else { None };
        let (mut named, mut room) = (BTreeMap::new(), MAX_NAMED_BYTES);
        for name in names(&manifest) {
            let read = if is_within(&name) { read_file(dir, &name) } else { Err(outside(&name)) };
            let read = read.and_then(|bytes| {
                room = room.checked_sub(bytes.len()).ok_or_else(|| too_much(&name))?;
                Ok(bytes.into())
            });
            named.insert(name, read);
        }
        Ok(Self { manifest, lock, named })
    }

    /// The digest of all of it.
    pub(crate) fn digest(&self) -> Digest {
        if self.named.is_empty() && self.lock.is_none() {
            return Digest::of(&self.manifest);
        }
        let of = |read: &Result<Arc<[u8]>>| match read {
            Ok(bytes) => Digest::of(bytes).to_string(),
            Err(error) => error.message.clone(),
        };
        let named: BTreeMap<&String, String> =
            self.named.iter().map(|(name, read)| (name, of(read))).collect();
        Digest::of_value(&json!({"manifest": self.manifest, "lock": self.lock, "named": named}))
    }

    /// A file that the `pack.toml` names.
    ///
    /// # Errors
    /// A sentence on why it is not there.
    pub(crate) fn file(&self, name: &str) -> Result<Arc<[u8]>, String> {
        match self.named.get(name) {
            Some(Ok(bytes)) => Ok(bytes.clone()),
            Some(Err(error)) => Err(error.message.clone()),
            None => Err(format!("there is no file `{}`", shown(name, 64))),
        }
    }
}

/// The files that a `pack.toml` names, as far as it can be read: `file` of resources, `image` of messages.
fn names(manifest: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if !(manifest.contains("resources") || manifest.contains("prompts")) {
        return names;
    }
    let Ok(table) = toml::from_str::<toml::Table>(manifest) else { return names };
    let list = |table: &toml::Table, key: &str| -> Vec<toml::Table> {
        let items = table.get(key).and_then(toml::Value::as_array).into_iter().flatten();
        items.filter_map(toml::Value::as_table).cloned().collect()
    };
    let text =
        |table: &toml::Table, key: &str| table.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    names.extend(list(&table, "resources").iter().filter_map(|resource| text(resource, "file")));
    for prompt in list(&table, "prompts") {
        names.extend(list(&prompt, "messages").iter().filter_map(|message| text(message, "image")));
    }
    names
}

/// Whether the path stays within the folder that it begins in.
fn is_within(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

fn outside(name: &str) -> Error {
    let text = format!("`{}` must be a path within the pack's folder, without `..`", shown(name, 64));
    Error::new(Code::PackInvalid, text)
}

fn too_much(name: &str) -> Error {
    let text =
        format!("with `{}` the files have more than {MAX_NAMED_BYTES} bytes together", shown(name, 64));
    Error::new(Code::PackInvalid, text)
}

/// Reads a text of a pack.
///
/// # Errors
/// `pack.invalid`: as [`read_file`], or it is not UTF-8.
pub(crate) fn read_text(dir: &Path, name: &str) -> Result<String> {
    let wrong = |_| unreadable(dir, name, "is not UTF-8 text");
    String::from_utf8(read_file(dir, name)?).map_err(wrong)
}

/// Reads a file of a pack, through symbolic links as mounted `ConfigMaps` have them.
///
/// # Errors
/// `pack.invalid`: it cannot be read, is no file, or is too large.
fn read_file(dir: &Path, name: &str) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| unreadable(dir, name, &format!("cannot be read: {error}"));
    let path = dir.join(name);
    // Whatever else there is, such as a pipe, might never end.
    if !std::fs::metadata(&path).map_err(failed)?.is_file() {
        return Err(unreadable(dir, name, "is not a file"));
    }
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(&path).map_err(failed)?;
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(dir, name, &format!("is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(bytes)
}

fn unreadable(dir: &Path, name: &str, why: &str) -> Error {
    let folder = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Error::new(Code::PackInvalid, format!("`{}/{}` {why}", shown(&folder, 64), shown(name, 64)))
}
