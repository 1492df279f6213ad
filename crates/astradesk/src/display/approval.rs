//! Approvals and previews, for people.

use super::plain::{behind, one_line};
use super::{BAD, DIM, GOOD, Mark, STRONG, WARN, line, mark, note, time, words};
use astradesk_core::approval::Approvals;
use astradesk_core::decision::Reason;
use astradesk_core::text::shown;
use astradesk_core::{Decision, FrozenCall, Principal, Requirement, Run, Timestamp};
use astradesk_runtime::engine::{Awaiting, PreviewedStep};
use serde_json::Value;
use std::io::IsTerminal as _;

/// The widest line, in characters.
const WIDTH: usize = 108;
/// The width of a field's name.
const NAME: usize = 9;
/// The most characters of somebody's name.
const NAMES: usize = 200;

/// A run that awaits approval, for who asked for it: what it needs, from whom, until when, and how to give it.
pub fn wanted(run: &Run, server: Option<&str>) {
    let Some(asked) = &run.approvals else { return };
    mark(Mark::Warning, format!("it needs {}, by somebody else than you", asked.required));
    reasons(asked);
    field("until", &format!("{} ({})", time(asked.expires_at), left(asked.expires_at)));
    field("digest", &asked.digest.to_string());
    note("  whoever approves it looks at it, and gives the digest that they saw:");
    line(format!("  astradesk {}approvals show {}", to(server), run.id));
    line(format!(
        "  astradesk {}approvals approve {} --digest {} --reason …",
        to(server),
        run.id,
        short(asked)
    ));
    note(format!("  watch it with: astradesk {}runs watch {}", to(server), run.id));
}

/// A run that awaits approval, in a few lines.
pub fn row(awaiting: &Awaiting) {
    let Awaiting { run, refused, .. } = awaiting;
    let Some(asked) = &run.approvals else { return };
    for step in &run.steps {
        let targets: Vec<String> = step.call.targets.iter().map(ToString::to_string).collect();
        line(format!("{STRONG}{}{STRONG:#} {}", step.call.tool, targets.join(", ")));
        if !step.call.arguments.is_empty() {
            let given: Vec<String> = pairs(&step.call).collect();
            wrapped("  ", &shown(&format!("with: {}", given.join(", ")), 300));
        }
    }
    line(format!("  run {}", run.id));
    line(format!(
        "  {} asked at {}; expires in {}",
        who(&run.principal),
        time(asked.asked_at),
        span(asked.expires_at)
    ));
    line(format!("  {}", standing(asked)));
    if let Some(reason) = &run.reason {
        wrapped("  ", &format!("why: {}", shown(reason, 300)));
    }
    if run.break_glass {
        line(format!("  {WARN}breaks the glass{WARN:#}"));
    }
    if let Some(refused) = refused {
        note(format!("  not for you: {} ({})", words(&refused.message), refused.code));
    }
}

/// Everything that an approver should know.
pub fn story(awaiting: &Awaiting, server: Option<&str>) {
    let Awaiting { run, refused, preview, risks } = awaiting;
    let Some(asked) = &run.approvals else { return };
    super::admitted(run, false);
    let roles: Vec<&str> = run.principal.roles.iter().map(astradesk_core::RoleName::as_str).collect();
    let roles = if roles.is_empty() { "none".to_owned() } else { roles.join(", ") };
    field("asked by", &format!("{} (roles: {roles}), by {}", who(&run.principal), run.source.as_str()));
    field("at", &time(asked.asked_at));
    match &run.input {
        Some(input) => field("said", &format!("“{}” (planned by {})", words(input), words(&run.planner))),
        None => field("said", "nothing: the tool was called directly"),
    }
    field("why", &run.reason.as_deref().map_or_else(|| "no reason was given".to_owned(), words));
    for (number, step) in (1..).zip(preview.iter().flatten()) {
        if run.steps.len() > 1 {
            note(format!("step {number}: {}", step.call.tool));
        }
        decision(&step.decision);
        changes(step);
    }
    reasons(asked);
    field(
        "needs",
        &format!("{}, until {} ({})", asked.required, time(asked.expires_at), left(asked.expires_at)),
    );
    if asked.given.is_empty() {
        field("has", "none");
    }
    for one in &asked.given {
        field("has", &format!("{} at {}: “{}”", who(&one.by), time(one.at), shown(&one.reason, 500)));
    }
    for risk in risks {
        styled("risk", &shown(risk, 500), WARN);
    }
    field("digest", &asked.digest.to_string());
    if let Some(error) = refused {
        line(format!("{BAD}✗ you may not approve it: {}{BAD:#} {}", error.code, words(&error.message)));
        return note(format!("  → {}", words(&error.remedy)));
    }
    note("to approve or reject what is shown here:");
    for verb in ["approve", "reject"] {
        let (to, digest) = (to(server), short(asked));
        line(format!("  astradesk {to}approvals {verb} {} --digest {digest} --reason …", run.id));
    }
}

/// What a plan would do, step by step.
pub fn preview(all: &[PreviewedStep]) {
    for step in all {
        let targets: Vec<String> = step.call.targets.iter().map(ToString::to_string).collect();
        line(format!("{STRONG}{}{STRONG:#} {}", step.call.tool, targets.join(", ")));
        arguments(&step.call);
        decision(&step.decision);
        changes(step);
        for objection in &step.objections {
            styled("guard", &format!("{}: {}", objection.code, words(&objection.message)), WARN);
        }
        if let Some(refused) = &step.refused {
            styled("refused", &format!("{}: {}", refused.code, words(&refused.message)), BAD);
        }
    }
    note("nothing was done");
}

/// What a call is given, an argument a line, and nothing left out.
pub(super) fn arguments(call: &FrozenCall) {
    for (number, pair) in pairs(call).enumerate() {
        field(if number == 0 { "with" } else { "" }, &pair);
    }
}

/// `key=value` with the value as JSON, so that no text can pass for another argument.
fn pairs(call: &FrozenCall) -> impl Iterator<Item = String> {
    call.arguments.iter().map(|(key, value)| shown(&format!("{key}={value}"), usize::MAX))
}

/// What policy says of a step.
fn decision(decision: &Decision) {
    let by = |reasons: &[Reason]| {
        let policies: Vec<&str> = reasons.iter().map(|reason| reason.policy.as_str()).collect();
        words(&policies.join(", "))
    };
    match decision {
        Decision::Permit { reasons } => styled("policy", &format!("permits it ({})", by(reasons)), GOOD),
        Decision::Deny { error, .. } => {
            styled("policy", &format!("{}: {}", error.code, words(&error.message)), BAD);
        }
        Decision::NeedsApproval { required, reasons } => {
            styled("policy", &format!("asks for {required} ({})", by(reasons)), WARN);
        }
    }
}

/// What a step would change, in the words of its tool.
fn changes(step: &PreviewedStep) {
    let Some(changes) = &step.changes else { return };
    let text = |key: &str| changes.get(key).and_then(Value::as_str);
    match text("summary") {
        Some(summary) => field("dry run", &words(summary)),
        None => field("dry run", &words(&changes.to_string())),
    }
    for one in changes.get("difference").and_then(Value::as_array).into_iter().flatten() {
        let of = |key: &str| one.get(key).and_then(Value::as_str).map_or_else(|| "nothing".to_owned(), words);
        field("", &format!("{}: {} → {}", of("path"), of("before"), of("after")));
    }
    for one in changes.get("parts").and_then(Value::as_array).into_iter().flatten() {
        field("", &one.as_str().map_or_else(|| words(&one.to_string()), words));
    }
    if let Some(checked) = text("checked") {
        field("", &words(checked));
    }
    if let Some(warning) = text("warning") {
        styled("warning", &words(warning), WARN);
    }
}

/// What is needed, what there is, and until when.
pub fn standing(asked: &Approvals) -> String {
    let given: Vec<String> = asked.given.iter().map(|one| who(&one.by)).collect();
    let has =
        if given.is_empty() { "none".to_owned() } else { format!("{} ({})", given.len(), given.join(", ")) };
    format!("needs {}; has {has}; until {}", asked.required, time(asked.expires_at))
}

/// What has changed in who has approved.
pub(super) fn news(before: Option<&[String]>, now: &[String], required: &Requirement) -> Option<String> {
    if before.is_none() && now.is_empty() {
        return Some(format!("waits for {required}"));
    }
    let before = before.unwrap_or_default();
    let count = format!("{} of {required}", now.len());
    if let Some(new) = now.iter().find(|one| !before.contains(one)) {
        return Some(format!("{} approved it: {count}", shown(new, NAMES)));
    }
    let gone = before.iter().find(|one| !now.contains(one))?;
    Some(if now.is_empty() && before.len() > 1 {
        format!("what was approved no longer counts: {count}")
    } else {
        format!("the approval of {} no longer counts: {count}", shown(gone, NAMES))
    })
}

fn reasons(asked: &Approvals) {
    for reason in &asked.reasons {
        field("policy", &words(&format!("{}: {}", reason.policy, reason.text)));
    }
}

/// Who, and who acts for them.
pub(super) fn who(principal: &Principal) -> String {
    let subject = shown(&principal.subject, NAMES);
    match &principal.actor {
        Some(actor) => format!("{} for {subject}", shown(actor, NAMES)),
        None => subject,
    }
}

fn to(server: Option<&str>) -> String {
    // Whoever has it in the environment needs no flag.
    match server {
        Some(server) if std::env::var_os("ASTRADESK_SERVER").is_none() => format!("--server {server} "),
        _ => String::new(),
    }
}

fn short(asked: &Approvals) -> String {
    asked.digest.to_string().chars().take(8).collect()
}

fn left(until: Timestamp) -> String {
    let seconds = until.duration_since(Timestamp::now()).as_secs();
    if seconds <= 0 { "it has passed".to_owned() } else { format!("in {}", span(until)) }
}

/// How long it is until then, in the largest two units.
fn span(until: Timestamp) -> String {
    // To the nearest minute: what expires in an hour does not begin with 59 min.
    let seconds = until.duration_since(Timestamp::now()).as_secs().max(0);
    let seconds = if seconds < 60 { seconds } else { seconds + 30 };
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours / 24, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {} h", hours % 24),
    }
}

/// A fact with its name.
pub(super) fn field(name: &str, text: &str) {
    wrapped(&format!("{DIM}{name:<NAME$}{DIM:#}"), text);
}

fn styled(name: &str, text: &str, style: anstyle::Style) {
    wrapped(&format!("{style}{name:<NAME$}{style:#}"), text);
}

/// Lines as wide as the terminal, and at most [`WIDTH`] columns, behind `head`, which is [`NAME`] wide unless it is
/// shorter.
fn wrapped(head: &str, text: &str) {
    let indent = " ".repeat(if head.trim().is_empty() { head.len() } else { NAME });
    let width = if std::io::stdout().is_terminal() { textwrap::termwidth().min(WIDTH) } else { WIDTH };
    // Before it is broken, or somebody's line break would begin a line of ours.
    behind(&one_line(text), head, &indent, width).lines().for_each(line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_is_told_what_is_new() {
        let required = Requirement { count: 2, ..Requirement::default() };
        let told = |before: Option<&[&str]>, now: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            news(before.map(own).as_deref(), &own(now), &required).unwrap_or_default()
        };
        assert_eq!(told(None, &[]), "waits for 2 approvals");
        assert_eq!(told(None, &["bob"]), "bob approved it: 1 of 2 approvals");
        assert_eq!(told(Some(&[]), &["bob"]), "bob approved it: 1 of 2 approvals");
        assert_eq!(told(Some(&["bob"]), &["bob", "eve"]), "eve approved it: 2 of 2 approvals");
        assert_eq!(told(Some(&["bob"]), &[]), "the approval of bob no longer counts: 0 of 2 approvals");
        assert_eq!(told(Some(&["bob", "eve"]), &[]), "what was approved no longer counts: 0 of 2 approvals");
        assert_eq!(told(Some(&["bob"]), &["bob"]), "");
        assert_eq!(told(Some(&[]), &["b\n\u{202e}"]), "b\\u{a}\\u{202e} approved it: 1 of 2 approvals");
    }

    #[test]
    fn no_argument_passes_for_another_one() {
        let call = serde_json::json!({
            "tool": "scale", "version": "1", "effect": "write", "targets": [], "digest": "ab".repeat(32),
            "arguments": {"a": "x\", b=\"y", "n": 3, "text": "1\n2\u{202e}"},
        });
        let call: FrozenCall = serde_json::from_value(call).unwrap();
        let told: Vec<String> = pairs(&call).collect();
        assert_eq!(told, [r#"a="x\", b=\"y""#, "n=3", r#"text="1\n2\u{202e}""#]);
    }
}
