//! Planners that are compiled in.

mod guarded;
pub mod keyword;

pub use guarded::Guarded;
pub use keyword::{Aliases, KeywordPlanner, Language};
