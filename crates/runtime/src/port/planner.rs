//! Planners: from a sentence to calls.

use crate::planner::Language;
use astradesk_core::{Consultation, Error, Plan, Result, ToolName, ToolSpec};
use async_trait::async_trait;
use std::sync::Arc;

/// Turns an instruction into a plan, or says why it cannot. A planner never defaults a target, a
/// namespace or a number, and nothing that it gives is trusted: it goes through the Engine's one door.
#[async_trait]
pub trait Planner: Send + Sync + 'static {
    /// The planner's name, as runs and evidence show it.
    fn name(&self) -> &str;

    /// The plan for `input`.
    async fn plan(&self, input: &str, tools: &[Arc<ToolSpec>], names: &dyn Names) -> Result<Plan>;
}

/// What names exist, asked of the tools themselves on behalf of a principal; and where a planner that asks
/// somebody else puts that on record.
#[async_trait]
pub trait Names: Send + Sync {
    /// The names that `argument` of `tool` may take, sorted. `None` for a principal who may not use the tool
    /// at all: they do not learn which names exist, and policy refuses whatever they name.
    async fn candidates(&self, tool: &ToolName, argument: &str) -> Result<Option<Vec<String>>>;

    /// The languages that are understood besides those that are built in.
    fn languages(&self) -> Vec<Arc<Language>> {
        Vec::new()
    }

    /// Those of `candidates` that the principal may use `tool` on: the only ones that are shown to them.
    async fn permitted(&self, tool: &ToolName, argument: &str, candidates: &[String]) -> Vec<String>;

    /// Whether the principal may use the tool on anything: nothing of any other leaves AstraDesk.
    fn may_use(&self, tool: &ToolSpec) -> bool {
        let _ = tool;
        false
    }

    /// Puts on record what a language model was asked, before its answer is used.
    ///
    /// # Errors
    /// It is not on record, and the answer must not be used.
    async fn consulted(&self, consultation: Consultation) -> Result<()> {
        let _ = consultation;
        Err(Error::internal("nobody keeps on record what a model was asked"))
    }
}
