//! Agents: who turns what was said into a plan, and what came of it into a reply.

use crate::port::Names;
use astradesk_core::{AgentName, Plan, Result, Run, ToolSpec};
use async_trait::async_trait;
use std::sync::Arc;

/// An agent. It plans and reports; it never performs anything, which is the Engine's business alone.
#[async_trait]
pub trait Agent: Send + Sync + 'static {
    /// The agent's name.
    fn name(&self) -> &AgentName;

    /// One sentence on what the agent is for.
    fn description(&self) -> &str;

    /// The plan for `input`, made of `tools`: all of the registry, since planning permits nothing; what a
    /// principal may do is for policy to say, with its own words.
    async fn plan(&self, input: &str, tools: &[Arc<ToolSpec>], names: &dyn Names) -> Result<Plan>;

    /// What is said of a run that has ended: the same words for the same facts.
    fn reply(&self, run: &Run) -> String;
}
