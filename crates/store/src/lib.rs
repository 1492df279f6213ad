//! SQL behind the Store port: SQLite, in one file, durable when [`commit`](astradesk_runtime::port::Store::commit)
//! returns.
//!
//! | module | what it holds |
//! |---|---|
//! | `store` | [`SqliteStore`]: opening, closing, the port |
//! | `change` | a change as rows, made by the caller, so that the writer has little left to do |
//! | `view` | the pure decision whether a change may be kept: versions, locks, allowances, idempotency keys |
//! | `spend` | what was taken from allowances |
//! | `writer` | the one task that writes: many callers' changes in one transaction |
//! | `look` | what a group is checked against, read in its transaction |
//! | `script` | the rows of a group as SQL |
//! | `errand` | what is written without a change |
//! | `prune` | what is removed when it is old |
//! | `outbox` | what others are to be told |
//! | `read` | what is read as it stands |
//! | `evidence` | the chain as it is searched, and where it begins |
//! | `file` | [`EvidenceFile`]: the evidence of a file, without a server |
//! | `file::columns` | whether what searches go by is what the records say |
//! | `span` | what each span of the chain holds, so that a search can leave out the others |
//! | `claim` | which runs can be claimed, and which are to be cancelled |
//! | `holder` | who commits here, and who else is alive |
//! | `error` | what the database says, as `store.unavailable` |
//!
//! # How a commit goes
//!
//! ```text
//! caller ──change as rows──▶ bounded queue ──▶ writer: BEGIN IMMEDIATE, head of the chain
//!                                                      what the changes must be checked against
//!                                                      each change: kept whole, or refused
//!                                                      one script of INSERTs, COMMIT (one fsync)
//! caller ◀──────────────────verdict────────────────────┘
//! ```
//!
//! The writer takes what is waiting, so that the more callers there are, the more of them share one
//! fsync.
//!
//! # Invariants
//!
//! * Nothing is written before every check of its change has passed; so a refused change leaves nothing
//!   behind, and takes no other change of its group with it.
//! * The head of the chain, versions, locks and keys are read inside the transaction that uses them, and
//!   never remembered beyond it: another process may write to the same file.
//! * A lock is held until its run has finished, by nobody but that run; time does not open it.
//! * A holder is alive while its file is locked and its lease lasts. The lease is of the wall clock, so a
//!   clock that steps may take a run from a holder that lives; what that one commits then is stale.
//! * Where the chain begins is written before anything is removed from it; so it verifies from there,
//!   wherever a removal breaks off.
//! * No error carries a value from the database.

mod change;
mod claim;
mod errand;
mod error;
mod evidence;
mod file;
mod holder;
mod look;
mod outbox;
mod prune;
mod read;
mod script;
mod span;
mod spend;
mod store;
mod view;
mod writer;

#[cfg(test)]
mod tests;

pub use file::{Entry, EvidenceFile};
pub use store::{Options, SqliteStore};
