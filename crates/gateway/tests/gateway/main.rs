//! The gateway over real connections, with a real Engine and an in-memory store.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests: a failed unwrap is a failed test"
)]

mod api;
mod approvals;
mod cancel;
mod forged;
mod govern;
mod health;
mod input;
mod issuers;
mod limits;
mod mcp;
mod openapi;
mod packs;
mod proxies;
mod repeats;
mod replicas;
mod routes;
mod support;
mod tokens;
mod webhooks;
