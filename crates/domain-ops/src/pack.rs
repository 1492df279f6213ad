//! The pack: tools and agents that register together.

use crate::agents::ops::OpsAgent;
use astradesk_core::Result;
use astradesk_runtime::port::{Agent, Pack, Planner, Tool};
use std::sync::Arc;

/// The Operations pack: its agent, and the tools of the systems that there are.
pub struct OperationsPack {
    tools: Vec<Arc<dyn Tool>>,
    agents: Vec<Arc<dyn Agent>>,
}

impl OperationsPack {
    /// The pack's name.
    pub const NAME: &'static str = "operations";

    /// The pack with an agent that plans with `planner`, and without any tool yet.
    pub fn new(planner: Arc<dyn Planner>) -> Result<Self> {
        Ok(Self { tools: Vec::new(), agents: vec![Arc::new(OpsAgent::new(planner)?)] })
    }

    /// The pack with the tools of one more system, such as [`crate::tools::kubernetes::tools`].
    #[must_use]
    pub fn with(mut self, tools: Vec<Arc<dyn Tool>>) -> Self {
        self.tools.extend(tools);
        self
    }
}

impl Pack for OperationsPack {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn tools(&self) -> Vec<Arc<dyn Tool>> {
        self.tools.clone()
    }

    fn agents(&self) -> Vec<Arc<dyn Agent>> {
        self.agents.clone()
    }
}
