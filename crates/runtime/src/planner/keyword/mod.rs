//! The `KeywordPlanner`: deterministic, explainable, incapable of inventing a target.
//!
//! A sentence is cut into clauses at commas and conjunctions. Each clause must hold exactly one of the
//! phrases that the tools declare, and every other word of it must be a filler or fill one of that
//! tool's slots. A word that does neither is an error that names it. A negation, a question, a condition
//! or a quotation anywhere refuses the whole sentence: nothing of it is planned.
//!
//! | module | what it does |
//! |---|---|
//! | `words` | what was said, word by word |
//! | `vocabulary` | every phrase of every tool, and where they stand in a sentence |
//! | `sentence` | what makes a sentence no instruction, and its clauses |
//! | `clause` | one clause: its action, its slots, its leftover words |

mod clause;
mod sentence;
mod vocabulary;
mod words;

use crate::port::{Names, Planner};
use astradesk_core::plan::MAX_CALLS;
use astradesk_core::{Code, Error, Plan, Result, ToolSpec};
use async_trait::async_trait;

use std::sync::Arc;
use vocabulary::Vocabulary;

/// Plans by the words that tools declare.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeywordPlanner;

#[async_trait]
impl Planner for KeywordPlanner {
    fn name(&self) -> &'static str {
        "keyword"
    }

    async fn plan(&self, input: &str, tools: &[Arc<ToolSpec>], names: &dyn Names) -> Result<Plan> {
        let vocabulary = Vocabulary::new(tools);
        let words = words::words(input)?;
        let actions = vocabulary.actions(&words)?;
        sentence::refuse_what_is_no_instruction(&words, &actions)?;
        if actions.is_empty() {
            return Err(Error::new(
                Code::PlanNoAction,
                format!("no word of `{}` names an action", shown(input)),
            )
            .with_candidates(vocabulary.phrases()));
        }
        let mut clauses = sentence::clauses(&words, &actions);
        clauses.retain(|clause| !sentence::is_courtesy(&words, clause));
        if clauses.len() > MAX_CALLS {
            let message = format!("the input asks for {} steps, and {MAX_CALLS} is the limit", clauses.len());
            return Err(Error::new(Code::PlanTooLong, message));
        }
        let mut calls = Vec::with_capacity(clauses.len());
        for clause in clauses {
            calls.push(clause::call(&vocabulary, &words, &actions, clause, names).await?);
        }
        Ok(Plan { planner: self.name().to_owned(), calls })
    }
}

/// The beginning of what was said, safe to show.
fn shown(text: &str) -> String {
    astradesk_core::text::shown(text, 80)
}
