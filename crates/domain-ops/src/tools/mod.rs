//! The tools of the pack: one module a system, one file a tool.

pub mod alertmanager;
pub mod ansible;
pub mod kubernetes;
pub mod prometheus;
mod words;
