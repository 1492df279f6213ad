//! The agents of the pack.

pub mod ops;
