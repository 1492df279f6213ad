//! Tokens and cost of the last hour: of this process, in memory. What a question may cost is taken before it is
//! sent, and put right by what its server has counted.

use crate::settings::Budget;
use astradesk_core::consultation::Usage;
use astradesk_core::{Code, Error, Result};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);
/// Bytes of a token, about, where nobody has counted.
const BYTES_PER_TOKEN: usize = 3;

/// What was used in the last hour.
pub(crate) struct Ledger {
    budget: Budget,
    spent: Mutex<Spent>,
}

#[derive(Default)]
struct Spent {
    entries: VecDeque<Entry>,
    next: u64,
}

struct Entry {
    id: u64,
    at: Duration,
    usage: Usage,
}

/// What was taken for one question.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Taken(u64);

impl Ledger {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { budget, spent: Mutex::default() }
    }

    /// Takes what a question of so many bytes may use, with an answer of at most so many tokens.
    ///
    /// # Errors
    /// [`Code::LlmBudgetExhausted`]; nothing was taken.
    pub(crate) fn take(&self, now: Duration, bytes: usize, max_tokens: u32) -> Result<Taken> {
        let wanted = Usage { prompt_tokens: reckoned(bytes), completion_tokens: u64::from(max_tokens) };
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        while spent.entries.front().is_some_and(|entry| entry.at + HOUR <= now) {
            spent.entries.pop_front();
        }
        let with = spent.entries.iter().map(|entry| entry.usage).chain([wanted]).fold(Usage::default(), sum);
        if tokens(with) > self.budget.tokens {
            return Err(exhausted(format!(
                "{} tokens of this hour are used, this may take {}, and {} is the limit (`llm.tokens_per_hour`)",
                tokens(with) - tokens(wanted),
                tokens(wanted),
                self.budget.tokens
            )));
        }
        if let Some(limit) = self.budget.cost.filter(|limit| self.cost(with) > *limit) {
            return Err(exhausted(format!(
                "with this the hour would cost {:.4}, and {limit} is the limit (`llm.cost_per_hour`)",
                self.cost(with)
            )));
        }
        let id = spent.next;
        spent.next += 1;
        spent.entries.push_back(Entry { id, at: now, usage: wanted });
        Ok(Taken(id))
    }

    /// Puts right what was taken: it was this much.
    pub(crate) fn settle(&self, taken: Taken, usage: Usage) {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = spent.entries.iter_mut().find(|entry| entry.id == taken.0) {
            entry.usage = usage;
        }
    }

    fn cost(&self, usage: Usage) -> f64 {
        let of = |tokens: u64, price: f64| tokens as f64 / 1000.0 * price;
        of(usage.prompt_tokens, self.budget.prompt_price)
            + of(usage.completion_tokens, self.budget.completion_price)
    }
}

/// The tokens of so many bytes, about.
pub(crate) fn reckoned(bytes: usize) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN) as u64
}

fn sum(a: Usage, b: Usage) -> Usage {
    Usage {
        prompt_tokens: a.prompt_tokens.saturating_add(b.prompt_tokens),
        completion_tokens: a.completion_tokens.saturating_add(b.completion_tokens),
    }
}

fn tokens(usage: Usage) -> u64 {
    usage.prompt_tokens.saturating_add(usage.completion_tokens)
}

fn exhausted(message: String) -> Error {
    Error::new(Code::LlmBudgetExhausted, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn tokens_run_out_are_put_right_and_come_back_after_an_hour() {
        let ledger =
            Ledger::new(Budget { tokens: 250, cost: None, prompt_price: 0.0, completion_price: 0.0 });
        let first = ledger.take(AT(0), 300, 100).unwrap();
        assert_eq!(ledger.take(AT(1), 300, 100).unwrap_err().code, Code::LlmBudgetExhausted);
        ledger.settle(first, Usage { prompt_tokens: 40, completion_tokens: 5 });
        ledger.take(AT(1), 300, 100).unwrap();
        assert!(ledger.take(AT(3599), 300, 100).is_err());
        ledger.take(AT(3601), 300, 100).unwrap();
        // A server that counts nonsense uses the hour up; it does not break the count.
        let odd = ledger.take(AT(7300), 3, 1).unwrap();
        ledger.settle(odd, Usage { prompt_tokens: u64::MAX, completion_tokens: u64::MAX });
        assert!(ledger.take(AT(7301), 3, 1).is_err());
    }

    #[test]
    fn cost_runs_out() {
        let budget = Budget { tokens: 1_000_000, cost: Some(0.5), prompt_price: 1.0, completion_price: 2.0 };
        let ledger = Ledger::new(budget);
        // 100 tokens at 1, 100 at 2, for each 1000: 0.3.
        ledger.take(AT(0), 300, 100).unwrap();
        let error = ledger.take(AT(0), 300, 100).unwrap_err();
        assert!(error.message.contains("0.6000"), "{}", error.message);
    }
}
