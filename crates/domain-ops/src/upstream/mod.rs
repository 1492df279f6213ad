//! Systems that are asked over HTTP, such as an Alertmanager: one client, and what its failures mean for an effect.
//!
//! A read is asked again a few times; a write is sent once, and its failure says whether it may have arrived.

mod client;
pub(crate) mod once;
mod settings;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use client::Upstream;
pub(crate) use client::{Applied, Failure};
pub use settings::{Credentials, Settings};
