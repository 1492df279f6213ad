//! Cedar behind the Policy port: may this principal do this to that?
//!
//! | module | what it holds |
//! |---|---|
//! | `settings` | [`Settings`]: what the environment variables say |
//! | `builtin` | the built-in policies, as Cedar text made from the settings |
//! | `source`, `parse` | [`PolicySources`]: the files, and their policies with name and place |
//! | `schema` | the schema: `schema.cedarschema`, and an action for every tool |
//! | `scan`, `needs`, `keys` | what a policy speaks of, asks about, and can matter for, without evaluating it |
//! | `lint` | what can never match |
//! | `index` | the policies that can matter for a request, without looking at the others |
//! | `set` | a set of policies that has passed every check |
//! | `request`, `tally` | from a call to a request of Cedar; who has agreed |
//! | `verdict`, `approval` | the decision; which approvals would change it |
//! | `explain` | why, and what would have changed it |
//! | `cedar` | [`CedarPolicy`]: the set in force, and how it is replaced |
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
//! | action | `Action::"restart_service"`: the tool, in the group `read`, `write` or `execute` |
//! | resource | `Target::"kubernetes/prod/default/deployment/webapp"`, with its parts and facts as attributes |
//! | context | `Call` in `schema.cedarschema` |
//!
//! # Invariants
//!
//! * The decision is Cedar's alone. The settings give the words of a denial, never the denial.
//! * Cedar skips a policy that it cannot evaluate, a `forbid` too. Here, any such error is a denial.
//! * The index leaves out only policies that are neither satisfied by a request nor fail on it.
//! * No name is ever pasted into policy text: Cedar's own constructors write every value in it.
//! * A tool that the set does not know cannot be called. Nothing built in permits `execute` or `break_glass`.
//! * A set that is not valid is never in force; while there has been no valid one, everything is denied.

mod approval;
mod builtin;
mod cedar;
mod denial;
mod explain;
mod index;
mod keys;
mod lint;
mod needs;
mod parse;
mod request;
mod scan;
mod schema;
mod set;
mod settings;
mod source;
mod tally;
#[cfg(test)]
mod tests;
mod verdict;

pub use cedar::CedarPolicy;
pub use settings::Settings;
pub use source::{MAX_FILE_BYTES, MAX_FILES, PolicySources};
