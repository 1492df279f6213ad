//! Evidence outside the store: signed checkpoints, verification offline, exports and the story of a run.
//!
//! | module | what it holds |
//! |---|---|
//! | [`note`] | C2SP signed notes, and the public keys that they are verified with |
//! | [`checkpoint`] | a signed statement on the end of the chain |
//! | [`verify`] | records and checkpoints one after the other, in constant memory |
//! | [`export`] | the file that is verified offline |
//! | [`cloud_events`] | records as CloudEvents |
//! | [`mod@story`] | what happened in a run, to be read |

pub mod checkpoint;
pub mod cloud_events;
pub mod export;
pub mod note;
pub mod story;
pub mod verify;

pub use checkpoint::{Checkpoint, Signer};
pub use note::TrustedKey;
pub use story::story;
pub use verify::{Report, Verifier};

#[cfg(test)]
mod tests;
