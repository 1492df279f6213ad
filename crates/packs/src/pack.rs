//! A pack that was read from its folder.

use crate::declared::Declared;
use crate::kubernetes::Objects;
use crate::manifest::Manifest;
use crate::mcp::Upstream;
use crate::prompt::DeclaredPrompt;
use crate::resource::DeclaredResource;
use crate::source::Source;
use astradesk_core::canonical::Digest;
use astradesk_core::{Arguments, Code, Error, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::planner::Language;
use astradesk_runtime::port::{Agent, Pack, Prompt, Resource, Tool};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// A pack that is declared by a `pack.toml`.
pub struct DeclaredPack {
    name: String,
    version: String,
    description: String,
    digest: Digest,
    tools: Vec<Arc<Declared>>,
    resources: Vec<Arc<DeclaredResource>>,
    prompts: Vec<Arc<DeclaredPrompt>>,
    languages: Vec<Arc<Language>>,
    upstream: Option<Arc<Upstream>>,
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
        Self::of(&name, &Source::read(&whole)?, objects)
    }

    /// The pack of the folder called `folder` with these files.
    pub(crate) fn of(folder: &str, source: &Source, objects: &Arc<dyn Objects>) -> Result<Self> {
        let read = Manifest::read(folder, source, objects)?;
        let Manifest { name, version, description, tools, resources, prompts, languages, upstream } = read;
        let tools = tools.into_iter().map(Arc::new).collect();
        let prompts = prompts.into_iter().map(Arc::new).collect();
        Ok(Self {
            name,
            version,
            description,
            digest: source.digest(),
            tools,
            resources,
            prompts,
            languages,
            upstream,
        })
    }

    /// The tools that are disabled, each with why.
    pub fn disabled(&self) -> BTreeMap<ToolName, Error> {
        let disabled = |tool: &Arc<Declared>| Some((tool.spec.name.clone(), tool.fault_in_full()?));
        self.tools.iter().filter_map(disabled).collect()
    }

    /// Its server, if it has one.
    pub(crate) fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.upstream.as_ref()
    }

    pub(crate) fn declared(&self) -> &[Arc<Declared>] {
        &self.tools
    }

    /// The digest of its files.
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

    /// The URIs of its resources.
    pub fn resource_uris(&self) -> Vec<String> {
        self.resources.iter().map(|resource| resource.uri().to_owned()).collect()
    }

    /// The names of its prompts.
    pub fn prompt_names(&self) -> Vec<String> {
        self.prompts.iter().map(|prompt| prompt.about().name.clone()).collect()
    }

    /// The tools for whose users its resources and prompts are.
    pub(crate) fn tools_read_about(&self) -> BTreeSet<ToolName> {
        let abouts =
            self.resources.iter().map(|one| one.about()).chain(self.prompts.iter().map(|one| one.about()));
        abouts.flat_map(|about| about.tools.clone()).collect()
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

    fn languages(&self) -> Vec<Arc<Language>> {
        self.languages.clone()
    }

    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        self.resources.iter().map(|resource| resource.clone() as Arc<dyn Resource>).collect()
    }

    fn prompts(&self) -> Vec<Arc<dyn Prompt>> {
        self.prompts.iter().map(|prompt| prompt.clone() as Arc<dyn Prompt>).collect()
    }
}
