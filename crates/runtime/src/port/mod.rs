//! The ports: what the Engine needs from outside, as traits. Adapters live in the other crates.

mod agent;
mod clock;
mod pack;
mod planner;
mod policy;
mod store;
mod tool;

pub use agent::Agent;
pub use clock::{Clock, SystemClock};
pub use pack::Pack;
pub use planner::{Names, Planner};
pub use policy::{Policy, PolicyRequest};
pub use store::{
    Change, CommitError, Committed, EventDraft, IdempotencyKey, LockChange, RunEvent, RunFilter, RunPage,
    Store,
};
pub use tool::{Fault, Progress, ProgressReport, StepContext, Tool};
