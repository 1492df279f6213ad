//! Planners that are compiled in.

pub mod keyword;

pub use keyword::KeywordPlanner;
