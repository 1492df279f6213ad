//! Cedar behind the Policy port: may this principal do this to that?
//!
//! | module | what it holds |
//! |---|---|
//! | `settings` | [`Settings`]: what the environment variables say |
//! | `builtin` | the built-in policies, as Cedar text made from the settings |
//! | `cedar` | [`CedarPolicy`]: the decision |
//! | `denial` | the words of a denial |
//!
//! # How a call becomes a request
//!
//! One request for each target of the call; every one of them must be permitted, and a call without a
//! target is denied.
//!
//! | Cedar | what it is |
//! |---|---|
//! | principal | `Principal::"issuer#subject"`, in a `Role::"…"` for each of its roles |
//! | action | `Action::"read"`, `Action::"write"` or `Action::"execute"`: the tool's effect |
//! | resource | `Target::"kubernetes/prod/default/deployment/webapp"`, with its parts as attributes |
//! | context | `tool`, `source`, `planner`, `dry_run`, `time` |
//!
//! **Why the action is the effect and not the tool.** Tools come and go at run time. As actions they would
//! have to be in the schema: it would change with the registry, and policies that were valid would stop
//! being so. So the schema is one fixed file with three actions, everything is validated strictly against
//! it, once, and a policy that is about one tool says so: `when { context.tool == "restart_service" }`.
//!
//! # Invariants
//!
//! * The decision is Cedar's alone. The settings give the words of a denial, never the denial.
//! * Cedar skips a policy that it cannot evaluate, a `forbid` too. Here, any such error is a denial.
//! * No name is ever pasted into policy text: Cedar's own constructors write every value in it.
//! * Nothing permits `execute`.

mod builtin;
mod cedar;
mod denial;
mod settings;

pub use cedar::{CedarPolicy, PolicySources};
pub use settings::Settings;
