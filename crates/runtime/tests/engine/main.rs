//! The Engine's promises, with a scripted tool: what is done, once, in which order, with which evidence.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed unwrap in a test is a failed test"
)]

mod approving;
mod asking;
mod asking_anew;
mod attacks;
mod concurring;
mod consulting;
mod executing;
mod guarding;
mod keeping;
mod lives;
#[path = "../support/memory.rs"]
mod memory;
mod overriding;
mod policy;
mod script;
mod shown;
mod store;
mod stranded;
mod submitting;
mod world;
