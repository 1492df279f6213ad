//! How many sentences became what they mean.

use crate::case::{Case, Expected};
use crate::world::World;
use astradesk_core::{Plan, Result};
use serde_json::Value;
use std::collections::BTreeMap;

/// What came of one class.
#[derive(Debug, Default, Clone)]
pub struct Score {
    /// Sentences.
    pub cases: usize,
    /// Those that became what they mean.
    pub right: usize,
    /// Those that must not act and were planned: what must never be.
    pub acted: usize,
    /// What is not right, each with what was expected and what came of it.
    pub wrong: Vec<String>,
}

/// Of the sentences that must act, as many must be right, in a hundred.
const GOOD: usize = 98;

impl Score {
    /// Whether enough of them are right.
    pub fn is_good(&self) -> bool {
        self.right * 100 >= self.cases * GOOD
    }

    fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.right += other.right;
        self.acted += other.acted;
        self.wrong.extend(other.wrong.iter().cloned());
    }
}

/// The scores of every class.
pub async fn score(world: &World, cases: &[Case]) -> BTreeMap<String, Score> {
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    for case in cases {
        let score = scores.entry(case.class.clone()).or_default();
        let planned = world.plan(&case.sentence).await;
        let right = match (&case.expected, &planned) {
            (Expected::Plan(calls), Ok(plan)) => plan
                .calls
                .iter()
                .map(|call| (call.tool.to_string(), call.arguments.clone()))
                .eq(calls.iter().cloned()),
            (Expected::Refusal(codes), Err(error)) => codes.contains(&error.code),
            _ => false,
        };
        score.cases += 1;
        score.right += usize::from(right);
        score.acted += usize::from(case.must_not_act() && planned.is_ok());
        if !right {
            let came = came(&planned);
            let Case { line, sentence, expected, .. } = case;
            score.wrong.push(format!(
                "line {line}: {sentence:?}\n    expected {}\n    came     {came}",
                wanted(expected)
            ));
        }
    }
    scores
}

/// The scores of those that must act, and of those that must not.
pub fn halves(scores: &BTreeMap<String, Score>) -> (Score, Score) {
    let (mut act, mut not) = (Score::default(), Score::default());
    for (class, score) in scores {
        if class.starts_with("not-") { &mut not } else { &mut act }.add(score);
    }
    (act, not)
}

/// What became of a sentence.
pub fn came(planned: &Result<Plan>) -> String {
    match planned {
        Ok(plan) => shown(plan),
        Err(error) => format!("{}: {}", error.code, error.message),
    }
}

fn shown(plan: &Plan) -> String {
    let calls =
        plan.calls.iter().map(|call| format!("{} {}", call.tool, Value::Object(call.arguments.clone())));
    calls.collect::<Vec<_>>().join("; ")
}

fn wanted(expected: &Expected) -> String {
    match expected {
        Expected::Plan(calls) => {
            let calls =
                calls.iter().map(|(tool, arguments)| format!("{tool} {}", Value::Object(arguments.clone())));
            calls.collect::<Vec<_>>().join("; ")
        }
        Expected::Refusal(codes) => codes.iter().map(|code| code.as_str()).collect::<Vec<_>>().join(" or "),
    }
}
