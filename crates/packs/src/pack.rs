//! A pack that was read from its folder.

use crate::declared::Declared;
use crate::kubernetes::Objects;
use crate::manifest::{FILE, Manifest};
use astradesk_core::canonical::Digest;
use astradesk_core::text::shown;
use astradesk_core::{Arguments, Code, Error, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::port::{Agent, Pack, Tool};
use serde_json::Value;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

/// The largest file of a pack, in bytes.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 20;

/// A pack that is declared by a `pack.toml`.
pub struct DeclaredPack {
    name: String,
    version: String,
    description: String,
    digest: Digest,
    tools: Vec<Arc<Declared>>,
}

impl DeclaredPack {
    /// Reads the pack of a folder, whose tools patch `objects`.
    ///
    /// # Errors
    /// `pack.invalid` with file, tool and key.
    pub fn open(dir: &Path, objects: &Arc<dyn Objects>) -> Result<Self> {
        let whole = dir.canonicalize().map_err(|error| {
            let text = format!("the folder `{}` cannot be read: {error}", dir.display());
            Error::new(Code::PackInvalid, text)
        })?;
        let name = whole.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self::read(&name, &read_file(&whole, FILE)?, objects)
    }

    /// Reads the text of the `pack.toml` of the folder called `folder`.
    ///
    /// # Errors
    /// `pack.invalid` with file, tool and key.
    pub fn read(folder: &str, text: &str, objects: &Arc<dyn Objects>) -> Result<Self> {
        let Manifest { name, version, description, tools } = Manifest::read(folder, text, objects)?;
        let tools = tools.into_iter().map(Arc::new).collect();
        Ok(Self { name, version, description, digest: Digest::of(text), tools })
    }

    /// The digest of the file.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What the pack is for.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// What its tools are, in their order.
    pub fn specs(&self) -> Vec<Arc<ToolSpec>> {
        self.tools.iter().map(|tool| tool.spec.clone()).collect()
    }

    pub(crate) fn tool(&self, name: &ToolName) -> Option<&Declared> {
        self.tools.iter().find(|tool| tool.spec.name == *name).map(AsRef::as_ref)
    }
}

impl Declared {
    /// What a call would act on, and do; nobody is asked.
    pub(crate) fn look(&self, arguments: &Arguments) -> Result<(Vec<Target>, Value)> {
        Ok((self.targets_of(arguments)?, self.plan(arguments)?))
    }
}

impl Pack for DeclaredPack {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn tools(&self) -> Vec<Arc<dyn Tool>> {
        self.tools.iter().map(|tool| tool.clone() as Arc<dyn Tool>).collect()
    }

    fn agents(&self) -> Vec<Arc<dyn Agent>> {
        Vec::new()
    }
}

/// Reads a file of a pack, through symbolic links as mounted `ConfigMaps` have them.
///
/// # Errors
/// `pack.invalid`: it cannot be read, is no file, is too large, or is not text.
pub(crate) fn read_file(dir: &Path, name: &str) -> Result<String> {
    let folder = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let file = format!("{}/{name}", shown(&folder, 64));
    let wrong = |why: String| Error::new(Code::PackInvalid, format!("`{file}` {why}"));
    let path = dir.join(name);
    let unreadable = |error: std::io::Error| wrong(format!("cannot be read: {error}"));
    // Whatever else there is, such as a pipe, might never end.
    if !std::fs::metadata(&path).map_err(unreadable)?.is_file() {
        return Err(wrong("is not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(&path).map_err(unreadable)?;
    opened.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(wrong(format!("is larger than {MAX_FILE_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8 text".to_owned()))
}
