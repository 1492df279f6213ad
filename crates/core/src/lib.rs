//! The words of AstraDesk Ops and every pure decision on them.
//!
//! This crate knows no clock, no randomness, no network and no database: time and ids come in as
//! arguments, and what should happen comes out as data.
//!
//! | module | word |
//! |---|---|
//! | [`name`] | validated names: tools, agents, roles, Kubernetes names |
//! | [`principal`] | who asks |
//! | [`tool`] | what can be done, its effect, its arguments and the words that ask for it |
//! | [`target`] | what it is done to |
//! | [`consultation`] | what a language model was asked for a plan |
//! | [`plan`] | calls in order, frozen with their targets and a digest |
//! | [`decision`] | permit, deny or needs approval, with reasons |
//! | [`approval`] | who else must agree, and who has |
//! | [`facts`] | what is known of a target at the moment |
//! | [`guardrail`] | is this a sane moment |
//! | [`run`] | an admitted plan and its life: the state machine |
//! | [`evidence`] | the hash chain of what happened |
//! | [`text`], [`redact`] | text from outside, made safe to show and to keep |
//! | [`error`] | what went wrong, with a stable [`Code`] |

pub mod approval;
pub mod canonical;
pub mod code;
pub mod consultation;
pub mod decision;
pub mod error;
pub mod evidence;
pub mod facts;
pub mod guardrail;
pub mod name;
pub mod plan;
pub mod principal;
pub mod redact;
pub mod run;
pub mod target;
pub mod text;
pub mod tool;

pub use approval::{Approval, Approvals, Requirement};
pub use code::{Class, Code};
pub use consultation::Consultation;
pub use decision::Decision;
pub use error::{Error, Result};
pub use facts::Facts;
pub use guardrail::Guardrail;
pub use jiff::Timestamp;
pub use name::{AgentName, RoleName, ToolName};
pub use plan::{Call, FrozenCall, Plan, Understood};
pub use principal::{Principal, Source};
pub use run::{Run, RunId};
pub use target::Target;
pub use tool::{Arguments, Effect, ToolSpec};
