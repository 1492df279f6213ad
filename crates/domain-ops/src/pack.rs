//! The pack: tools and agents that register together.

use crate::agents::ops::OpsAgent;
use crate::kubernetes::{Bounds, Cluster};
use crate::tools::kubernetes::{
    GetServiceLogs, GetServiceStatus, ListServices, RestartService, RollbackService, ScaleService,
};
use astradesk_core::Result;
use astradesk_core::run::OnFailure;
use astradesk_runtime::port::{Agent, Pack, Planner, Tool};
use std::sync::Arc;

/// The Operations pack on one cluster.
pub struct OperationsPack {
    tools: Vec<Arc<dyn Tool>>,
    agents: Vec<Arc<dyn Agent>>,
}

impl OperationsPack {
    /// The pack's name.
    pub const NAME: &'static str = "operations";

    /// The pack with its tools on `cluster`, an agent that plans with `planner`, what becomes of a failed
    /// restart when the call does not say, and how many replicas a service may be given.
    pub fn new(
        cluster: &Cluster,
        planner: Arc<dyn Planner>,
        on_failure: OnFailure,
        replicas: Bounds,
    ) -> Result<Self> {
        Ok(Self {
            tools: vec![
                Arc::new(RestartService::new(cluster.clone(), on_failure)?),
                Arc::new(RollbackService::new(cluster.clone())?),
                Arc::new(ScaleService::new(cluster.clone(), replicas)?),
                Arc::new(GetServiceStatus::new(cluster.clone())?),
                Arc::new(GetServiceLogs::new(cluster.clone())?),
                Arc::new(ListServices::new(cluster.clone())?),
            ],
            agents: vec![Arc::new(OpsAgent::new(planner)?)],
        })
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
