//! What packs give agents to read, for who may use the tools that it is for.

use super::Engine;
use crate::port::{About, Document, Prompt, Resource};
use crate::registry::Registered;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Principal, Result};
use std::sync::Arc;

impl Engine {
    /// What the principal may read, by its URI.
    pub fn resources(&self, principal: &Principal) -> Vec<Arc<dyn Resource>> {
        let usable = self.tools(principal);
        let all = self.0.registry.resources().into_iter();
        all.filter(|of| is_for(&usable, &of.pack, of.it.about())).map(|of| of.it).collect()
    }

    /// What is to be read at the URI, if it is there for the principal: a document of its own before one by a template.
    ///
    /// # Errors
    /// [`Code::RequestNotFound`], also for what the principal may not read.
    pub fn resource(&self, principal: &Principal, uri: &str) -> Result<Document> {
        let mut all = self.resources(principal);
        all.sort_by_key(|resource| resource.is_template());
        all.iter().find_map(|resource| resource.read(uri)).ok_or_else(|| {
            Error::new(Code::RequestNotFound, format!("there is no resource `{}`", shown(uri, 200)))
        })
    }

    /// The prompts that are there for the principal, by name.
    pub fn prompts(&self, principal: &Principal) -> Vec<Arc<dyn Prompt>> {
        let usable = self.tools(principal);
        let all = self.0.registry.prompts().into_iter();
        all.filter(|of| is_for(&usable, &of.pack, of.it.about())).map(|of| of.it).collect()
    }
}

/// Whether it is there for who may use these tools: every tool that it names; if it names none, any of its pack.
fn is_for(usable: &[Arc<Registered>], pack: &str, about: &About) -> bool {
    if about.tools.is_empty() {
        return usable.iter().any(|tool| tool.pack == pack);
    }
    about.tools.iter().all(|name| usable.iter().any(|tool| tool.spec().name == *name))
}
