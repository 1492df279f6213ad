//! The fault harness: every scenario of a run's life, broken at every call that leaves the Engine, in every way.
//!
//! A *life* is one process: an Engine in a runtime of its own, which is dropped to kill it. What outlives it is
//! the [`World`](world::World): the store's data, the clock, and a cluster that a tool restarts services in. Each
//! call of a port goes through a numbered [gate](gate::Process::through), where it may fail, lose its reply, kill
//! the process or hold it for longer than its lease. Afterwards [`check`] asks whether every promise was kept.
//!
//! Time is tokio's, paused, and jumps from one timer to the next: nothing here waits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed unwrap in a test is a failed test"
)]

mod check;
mod client;
mod clock;
mod cluster;
mod gate;
mod life;
#[path = "../support/memory.rs"]
mod memory;
mod ports;
mod scenario;
mod sweep;
mod time;
mod tool;
mod world;
