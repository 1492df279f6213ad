//! Evidence outside the store: signed checkpoints, verification offline, exports and the story of a run.
//!
//! | module | what it holds |
//! |---|---|
//! | [`note`] | C2SP signed notes, and the public keys that they are verified with |
//! | [`checkpoint`] | a signed statement on the end of the chain |
//! | [`verify`] | records and checkpoints one after the other, in constant memory |
//! | [`export`] | the file that is verified offline; CloudEvents |
//! | [`story`] | what happened in a run, to be read |

pub mod checkpoint;
pub mod note;

pub use checkpoint::{Checkpoint, Signer};
pub use note::TrustedKey;
