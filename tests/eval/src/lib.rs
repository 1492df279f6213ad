//! What the `KeywordPlanner` makes of sentences, held to what they mean.
//!
//! `sentences.txt` has, by class, what people say and what it must become: calls, or a refusal with its code. It was written
//! without a look at the planner's words. [`world`] holds the tools and names that it speaks of, [`case`] reads it,
//! [`score`] counts.

pub mod case;
pub mod score;
pub mod world;
