//! The ports: what the Engine needs from outside, as traits. Adapters live in the other crates.

mod agent;
mod clock;
mod pack;
mod planner;
mod policy;
mod reading;
mod store;
mod tool;

pub use agent::Agent;
pub use clock::{Clock, SystemClock};
pub use pack::{Pack, PackStatus, Packs, ServerStatus};
pub use planner::{Names, Planner};
pub use policy::{Considered, Explanation, Policy, PolicyRequest, PolicyStatus};
pub use reading::{
    About, Block, Content, Document, Message, OWN_PROMPTS, OWN_SCHEME, Prompt, PromptArgument, Resource,
    Speaker,
};
pub use store::{
    Announcement, Attempted, Change, CommitError, Committed, Cut, EventDraft, EvidenceFilter, IdempotencyKey,
    LockChange, RunEvent, RunFilter, RunPage, Spend, Store,
};
pub use tool::{Fault, Progress, ProgressReport, StepContext, Tool};
