//! The `LlmPlanner`: a language model behind any OpenAI-compatible `chat/completions`, as a planner.
//!
//! What it answers is untrusted input. It may name tools that the principal may use, with arguments that fit their
//! schemas and that stand in the sentence, word for word; anything else is no plan. A plan goes through the Engine's
//! one door like anybody's request, and policy knows who planned it.
//!
//! Into the question go the sentence, without what looks like a secret, and the definitions of the tools that the
//! principal may use. No log, annotation, event, result, history or document ever does.
//!
//! | module | what it does |
//! |---|---|
//! | [`settings`] | where the model is, and every limit |
//! | [`offer`] | what the model is told of a tool, and what a call of it may say |
//! | [`question`] | pure: the question, as bytes |
//! | [`answer`] | pure: from an answer's bytes to calls, or why not |
//! | `json` | pure: JSON without a second meaning |
//! | [`said`] | pure: the words of the sentence, and whether a value stands in it |
//! | [`grounding`] | pure: whether a call says nothing that was not said |
//! | `exchange` | one question and its answer, with retries, limits and the key |
//! | `budget` | tokens and cost of the last hour |
//! | `planner` | all of it in order, one repair round included |

pub mod answer;
mod budget;
mod exchange;
pub mod grounding;
mod json;
pub mod offer;
mod planner;
pub mod question;
pub mod said;
pub mod settings;

pub use planner::LlmPlanner;
pub use settings::{Key, Mode, Settings};
