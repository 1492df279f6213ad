//! Ports, the Engine and its promises, the ToolRegistry, the KeywordPlanner, and signed evidence.
//!
//! | module | what it holds |
//! |---|---|
//! | [`port`] | the traits that the other crates implement: Store, Tool, Planner, Agent, Policy, Clock, Pack |
//! | [`engine`] | the one door: admission, execution, recovery, reading |
//! | [`registry`] | which tools and agents there are, at run time |
//! | [`planner`] | the `KeywordPlanner` |
//! | [`schema`] | the schemas of arguments, and what does not fit them |
//! | [`key`] | Ed25519 keys in files |
//! | [`secret`], [`address`] | what the configuration names: where secrets are, where servers are |
//! | [`evidence`] | signed checkpoints of the chain, and its verification offline |
//! | [`folder`] | folders that are followed while they change |
//! | [`process`] | programs that are run without a shell, bounded, and killed as a group |
//!
//! **Invariant.** Nothing but [`engine`] can make a [`Permit`], and no tool performs anything without one.

pub mod address;
pub mod case;
pub mod engine;
pub mod evidence;
pub mod folder;
pub mod key;
pub mod planner;
pub mod port;
pub mod process;
pub mod registry;
pub mod schema;
pub mod secret;

pub use engine::{Engine, Permit};
pub use registry::ToolRegistry;
