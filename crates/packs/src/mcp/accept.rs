//! What there is to accept of a server, and accepting it: a person sees each definition, or what is different in it,
//! and `pack.lock` keeps exactly what was seen.

use super::definition::{Definition, MAX_DEFINITION, differences};
use super::lock::{self, Lock, Pin};
use crate::declared::Action;
use crate::kubernetes::{NoCluster, Objects};
use crate::manifest::FILE;
use crate::pack::DeclaredPack;
use crate::source::Source;
use astradesk_core::canonical::Digest;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result, ToolName};
use astradesk_runtime::port::Pack as _;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most characters of a changed text that are shown: whoever accepts it must have seen it.
const WHOLE: usize = MAX_DEFINITION;

/// What a server defines, beside what was accepted of it.
#[derive(Debug, Serialize)]
pub struct Offer {
    /// The pack.
    pub pack: String,
    /// What the server calls itself.
    pub server: String,
    /// The tools of the pack that are in the server, in their order.
    pub tools: Vec<Offered>,
    /// What is accepted with [`accept`](Self::accept).
    pub digest: Digest,
    #[serde(skip)]
    dir: PathBuf,
    #[serde(skip)]
    source: Source,
    #[serde(skip)]
    accepted: Lock,
}

/// A tool, and what became of its definition.
#[derive(Debug, Serialize)]
pub struct Offered {
    /// The tool.
    pub tool: ToolName,
    /// Its name in the server.
    pub name: String,
    /// What became of its definition.
    pub change: Change,
    /// The digest of the definition as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What is different in it, if it has changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub difference: Vec<String>,
    /// The definition, if it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<Value>,
    /// What there is to think about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
}

/// What became of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is what was accepted.
    Same,
    /// Nobody has accepted any.
    New,
    /// It is another one than was accepted.
    Changed,
    /// The server does not have the tool, or not exactly once, or its definition is too large.
    Unfit,
}

impl Offer {
    /// Asks the server of the pack in the folder `dir` for its tools; with `only`, about this tool only. Nothing is
    /// written.
    ///
    /// # Errors
    /// The pack is not valid or has no server, there is no such tool, or the server cannot be spoken to.
    pub async fn of(dir: &Path, only: Option<&str>) -> Result<Self> {
        let wrong = |why: String| Error::new(Code::PackInvalid, why);
        let dir = dir.canonicalize().map_err(|error| {
            wrong(format!("the folder `{}` cannot be read: {error}", dir.display()))
                .with_remedy("name a pack of `packs.folder`, or the folder of a pack")
        })?;
        let folder = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let source = Source::read(&dir)?;
        let accepted =
            source.lock.as_ref().map(|text| Lock::read(&folder, text)).transpose()?.unwrap_or_default();
        // What was accepted may be why it is not valid.
        let pack = read(&folder, &source.with_lock(None))?;
        let upstream = pack.upstream().ok_or_else(|| {
            wrong(format!("the pack `{folder}` has no server, so there is nothing to accept"))
                .with_remedy(format!("its `{FILE}` needs a table `[server]` and tools of the kind `mcp`"))
        })?;
        let chosen = chosen(&pack, only)?;
        let (server, found) = upstream.tools().await?;
        let tools: Vec<Offered> = chosen
            .iter()
            .map(|(tool, name, is_read)| offered(tool, name, *is_read, &found, &accepted))
            .collect();
        let pins = tools.iter().filter_map(|tool| Some((tool.name.clone(), one(&found, &tool.name)?)));
        let mut lock =
            Lock { server, pins: pins.map(|(name, found)| (name, Pin::of(found.clone()))).collect() };
        let digests: Vec<Value> = lock.pins.values().map(|pin| json!(pin.digest)).collect();
        let digest = Digest::of_value(&json!([folder, digests]));
        let server = format!("{} {}", lock.server.name, lock.server.version);
        // What is not asked about stays as it is; what the pack does not have any more goes.
        let names: BTreeSet<&str> =
            pack.declared().iter().filter_map(|tool| in_server(&tool.action)).collect();
        for (name, pin) in &accepted.pins {
            if names.contains(name.as_str()) && !lock.pins.contains_key(name) {
                lock.pins.insert(name.clone(), pin.clone());
            }
        }
        Ok(Self { pack: folder, server, tools, digest, dir, source, accepted: lock })
    }

    /// Whether there is anything to accept.
    pub fn has_news(&self) -> bool {
        self.tools.iter().any(|tool| matches!(tool.change, Change::New | Change::Changed))
    }

    /// Writes down that these definitions are accepted.
    ///
    /// # Errors
    /// `pack.invalid`: with them the pack would not be valid, or the file cannot be written.
    pub fn accept(&self) -> Result<()> {
        let text = self.accepted.text()?;
        read(&self.pack, &self.source.with_lock(Some(text.clone())))?;
        let path = self.dir.join(lock::FILE);
        let fresh = self.dir.join(format!("{}.new", lock::FILE));
        let written = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, &path));
        written.map_err(|error| {
            let message = format!("`{}` cannot be written: {error}", path.display());
            Error::new(Code::PackInvalid, message).with_remedy("accept it where the folder can be written")
        })
    }
}

fn read(folder: &str, source: &Source) -> Result<DeclaredPack> {
    let objects: Arc<dyn Objects> = Arc::new(NoCluster::new()?);
    DeclaredPack::of(folder, source, &objects)
}

fn in_server(action: &Action) -> Option<&str> {
    match action {
        Action::Mcp(mcp) => Some(mcp.name()),
        Action::Http(_) | Action::Command(_) | Action::Patch(_) => None,
    }
}

/// The tools that it is about: the tool, its name in the server, and whether it is declared a read.
fn chosen(pack: &DeclaredPack, only: Option<&str>) -> Result<Vec<(ToolName, String, bool)>> {
    let all = pack.declared().iter().filter_map(|tool| {
        let is_read = tool.effect() == astradesk_core::Effect::Read;
        Some((tool.spec.name.clone(), in_server(&tool.action)?.to_owned(), is_read))
    });
    let all: Vec<_> = all.collect();
    let Some(only) = only else { return Ok(all) };
    let chosen: Vec<_> = all.iter().filter(|(tool, ..)| tool.as_str() == only).cloned().collect();
    if chosen.is_empty() {
        let message = format!("the pack `{}` has no tool `{}` of its server", pack.name(), shown(only, 64));
        return Err(Error::new(Code::ToolNotFound, message)
            .with_candidates(all.iter().map(|(tool, ..)| tool.to_string())));
    }
    Ok(chosen)
}

/// The definition that can be accepted: there is exactly one of this name, and it is not too large.
fn one<'a>(found: &'a [Definition], name: &str) -> Option<&'a Definition> {
    let mut named = found.iter().filter(|definition| definition.name() == name);
    named.next().filter(|definition| named.next().is_none() && !definition.is_too_large())
}

fn offered(tool: &ToolName, name: &str, is_read: bool, found: &[Definition], accepted: &Lock) -> Offered {
    let now = one(found, name);
    let pin = accepted.pins.get(name);
    let change = match (now, pin) {
        (None, _) => Change::Unfit,
        (Some(_), None) => Change::New,
        (Some(now), Some(pin)) if now.digest() == pin.digest => Change::Same,
        (Some(_), Some(_)) => Change::Changed,
    };
    let difference =
        now.zip(pin).map(|(now, pin)| differences(&pin.definition, now, WHOLE)).unwrap_or_default();
    let mut doubts = Vec::new();
    if now.is_none() {
        let why = match found.iter().filter(|definition| definition.name() == name).count() {
            0 => "the server does not have it".to_owned(),
            1 => format!("its definition is larger than {MAX_DEFINITION} bytes"),
            several => format!("the server has {several} tools of that name"),
        };
        doubts.push(why);
    }
    if let (true, Some(hint)) = (is_read, now.and_then(Definition::is_no_read)) {
        doubts.push(format!("the pack declares it a `read`, and the server says that it is none: {hint}"));
    }
    Offered {
        tool: tool.clone(),
        name: name.to_owned(),
        change,
        digest: now.map(Definition::digest),
        difference,
        definition: now.filter(|_| change == Change::New).map(|now| now.as_value().clone()),
        doubts,
    }
}
