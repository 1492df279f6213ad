//! Packs: tools and agents that come together.

use crate::port::{Agent, Tool};
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
}
