//! Decisions and cases, for people.

use super::approval::field;
use super::{BAD, DIM, GOOD, Mark, STRONG, WARN, line, mark, note, words};
use astradesk_core::text::shown;
use astradesk_core::{Decision, Error};
use astradesk_runtime::case::CaseOutcome;
use astradesk_runtime::port::{Explanation, PolicyStatus};

/// Which policies decided, and what would have changed the decision.
pub fn explanation(title: &str, explanation: &Explanation) {
    line(format!("{STRONG}{}{STRONG:#}", words(title)));
    match &explanation.decision {
        Decision::Permit { .. } => line(format!("{GOOD}✓ permit{GOOD:#}")),
        Decision::NeedsApproval { required, .. } => {
            line(format!("{WARN}! needs approval{WARN:#}: {required}"));
        }
        Decision::Deny { error, .. } => denial(error),
    }
    let (Decision::Permit { reasons }
    | Decision::Deny { reasons, .. }
    | Decision::NeedsApproval { reasons, .. }) = &explanation.decision;
    for one in &explanation.policies {
        let file = one.file.as_deref().map(|file| format!("  {file}")).unwrap_or_default();
        field("policy", &words(&format!("{} ({}) on {}{file}", one.policy, one.effect, one.target)));
        for reason in reasons.iter().filter(|reason| reason.policy == one.policy) {
            field("", &shown(&reason.text, 500));
        }
    }
    if explanation.policies.is_empty() {
        field("policy", "none applies, and what no policy permits is denied");
    }
    for sentence in &explanation.otherwise {
        field("else", &shown(sentence, 500));
    }
    note(format!("policy set {}", short(&explanation.set.to_string())));
}

fn denial(error: &Error) {
    line(format!("{BAD}✗ deny{BAD:#}: {} {}", error.code, words(&error.message)));
}

/// Each case, with what is not as it should be; gives how many failed.
pub fn cases(file: &str, outcomes: &[CaseOutcome]) -> usize {
    line(format!("{STRONG}{}{STRONG:#}", words(file)));
    for outcome in outcomes {
        let (style, sign) = match outcome.passed {
            Some(true) => (GOOD, "✓ passed"),
            Some(false) => (BAD, "✗ FAILED"),
            None => (WARN, "! asked "),
        };
        let said =
            outcome.explanation.as_ref().map(|explanation| word(&explanation.decision)).unwrap_or_default();
        line(format!("  {style}{sign}{style:#}  {said:<26} {}", shown(&outcome.name, 68)));
        for fault in &outcome.faults {
            line(format!("            {DIM}→{DIM:#} {}", shown(fault, 300)));
        }
    }
    outcomes.iter().filter(|outcome| outcome.passed == Some(false)).count()
}

fn word(decision: &Decision) -> String {
    match decision {
        Decision::Permit { .. } => "permit".to_owned(),
        Decision::Deny { error, .. } => error.code.to_string(),
        Decision::NeedsApproval { required, .. } => required.to_string(),
    }
}

/// A policy set: what is in force, what is doubtful about it, and why the files are not in force if they are not.
pub fn status(status: &PolicyStatus, files: usize) {
    let PolicyStatus { digest, policies, problem, warnings, .. } = status;
    if let Some(problem) = problem {
        super::refusal(problem);
    } else {
        let what =
            format!("{policies} policies, the built-in ones and those of {files} file(s), fit the schema");
        mark(Mark::Good, what);
        field("set", &digest.to_string());
    }
    for warning in warnings {
        mark(Mark::Warning, shown(warning, 1000));
    }
}

/// The beginning of a digest.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
