//! Packs: tools and agents that come together.

use crate::planner::Language;
use crate::port::{Agent, Prompt, Resource, Tool};
use astradesk_core::canonical::Digest;
use astradesk_core::{Error, Timestamp, ToolName};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tools and agents that register together.
pub trait Pack: Send + Sync {
    /// The pack's name.
    fn name(&self) -> &str;

    /// The pack's version.
    fn version(&self) -> &str;

    /// Its tools.
    fn tools(&self) -> Vec<Arc<dyn Tool>>;

    /// Its agents.
    fn agents(&self) -> Vec<Arc<dyn Agent>>;

    /// The languages whose words it brings.
    fn languages(&self) -> Vec<Arc<Language>> {
        Vec::new()
    }

    /// What agents can read of it.
    fn resources(&self) -> Vec<Arc<dyn Resource>> {
        Vec::new()
    }

    /// The procedures that it has for agents.
    fn prompts(&self) -> Vec<Arc<dyn Prompt>> {
        Vec::new()
    }
}

/// Packs that come, change and go while AstraDesk runs.
#[async_trait]
pub trait Packs: Send + Sync + 'static {
    /// Looks at where they come from, and puts in force what has changed: each as a whole or not at all. It may
    /// block. Whether anything else is in force now.
    fn reload(&self) -> bool;

    /// Looks after the servers that packs have: connects to those that are not connected, and looks at what they
    /// define. It ends within half a minute, and may be dropped.
    async fn tend(&self) {}

    /// What is known of each, by its name.
    fn status(&self) -> Vec<PackStatus>;
}

/// What is known of a pack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PackStatus {
    /// Its name.
    pub name: String,
    /// The version in force; absent if none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The digest of the definition in force; absent for packs that are compiled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Since when it is in force; absent for packs that are compiled in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The tools in force.
    pub tools: Vec<ToolName>,
    /// The URIs, and templates of URIs, of what agents can read of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// The names of its prompts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,
    /// Its server; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerStatus>,
    /// The tools in force that are disabled, each with why: every call of them is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disabled: BTreeMap<ToolName, Error>,
    /// Why the pack as it is now is not in force, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Error>,
    /// What is valid and hardly meant, such as a tool that no policy permits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
}

/// What is known of the MCP server of a pack.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its host, or the name of its program.
    pub address: String,
    /// What it calls itself; absent before it was spoken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The version that it says it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it called itself when its definitions were accepted, if that was something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// Why it cannot be spoken to, if it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Error>,
}
