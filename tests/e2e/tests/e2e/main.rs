//! What AstraDesk promises, seen from outside. See the library for how.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed unwrap in a test is a failed test"
)]

mod abuse;
mod alerts;
mod ansible;
mod aws;
mod churn;
mod cli;
mod clusters;
mod failures;
mod faults;
mod flood;
mod governance;
mod incident;
mod llm;
mod mcp;
mod metrics;
mod nodes;
mod once;
mod operations;
mod packs;
mod pages;
mod random;
mod refusals;
mod restart;
mod store;
mod takeover;
mod tokens;
mod undo;
mod upstreams;
