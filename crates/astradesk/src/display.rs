//! What a person sees: progress, results, errors. With `-o json`, one JSON document on standard output.

mod live;

pub mod approval;
mod plain;
pub mod policy;
mod series;

pub use live::Live;
pub use plain::words;

use crate::cli::Output;
use crate::exit;
use anstyle::{AnsiColor, Style};
use astradesk_core::run::{State, Step, StepState};
use astradesk_core::{Code, Error, Run, Timestamp, Understood};
use plain::{folded, one_line};
use serde::Serialize;
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write as _};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const WARN: Style = AnsiColor::Yellow.on_default().bold();
const DIM: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// Prints a line on standard output, coloured and folded when it is a terminal, and one line whatever is in it. A
/// reader that has gone away (`| head`) is no error.
pub fn line(text: impl AsRef<str>) {
    lines(&for_stream(text.as_ref(), std::io::stdout().is_terminal()));
}

fn for_stream(text: &str, is_terminal: bool) -> String {
    let line = one_line(text);
    if is_terminal { folded(&line, textwrap::termwidth()) } else { line }
}

fn lines(text: &str) {
    let _ = writeln!(anstream::stdout(), "{text}");
}

fn error_line(text: impl AsRef<str>) {
    let text = for_stream(text.as_ref(), std::io::stderr().is_terminal());
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// A warning, on standard error.
pub fn warn(text: impl AsRef<str>) {
    error_line(format!("{WARN}!{WARN:#} {}", text.as_ref()));
}

/// A headline.
pub fn title(text: &str) {
    line("");
    line(format!("{STRONG}{text}{STRONG:#}"));
}

/// A line that says less than the others.
pub fn note(text: impl AsRef<str>) {
    line(format!("{DIM}{}{DIM:#}", text.as_ref()));
}

/// A fact with a mark: good, bad, or a warning.
pub fn mark(mark: Mark, text: impl AsRef<str>) {
    let (style, sign) = mark.look();
    line(format!("{style}{sign}{style:#} {}", text.as_ref()));
}

/// How a fact is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// As wished.
    Good,
    /// Not as wished.
    Bad,
    /// To be looked at.
    Warning,
}

impl Mark {
    const fn look(self) -> (Style, &'static str) {
        match self {
            Self::Good => (GOOD, "✓"),
            Self::Bad => (BAD, "✗"),
            Self::Warning => (WARN, "!"),
        }
    }
}

/// Prints a JSON document.
pub fn json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => lines(&text),
        Err(error) => error_line(format!("the result is not JSON: {error}")),
    }
}

/// Prints an error with its code and what to do next: on standard error, or as JSON on standard output.
pub fn error(error: &Error, output: Output) {
    match output {
        Output::Json => json(&json!({"error": error})),
        Output::Text => explain(error, error_line),
    }
}

/// Prints a refusal that was looked for, on standard output.
pub fn refusal(error: &Error) {
    explain(error, line);
}

fn explain(error: &Error, print: impl Fn(String)) {
    print(format!("{BAD}✗ {}{BAD:#} {}", error.code, words(&error.message)));
    details(error, &print);
    print(format!("{DIM}  → {}{DIM:#}", words(&error.remedy)));
}

/// The facts of an error that help a person: candidates, sick pods, log lines.
fn details(error: &Error, print: &impl Fn(String)) {
    if let Some(Value::Array(candidates)) = error.details.get("candidates") {
        let names: Vec<&str> = candidates.iter().filter_map(Value::as_str).take(20).collect();
        if !names.is_empty() {
            print(format!("  candidates: {}", words(&names.join(", "))));
        }
    }
    for part in understood_by(error) {
        print(format!("  understood: {}", words(&understood(&part))));
    }
    if let Some(seconds) = error.details.get("retry_after").and_then(Value::as_u64) {
        print(format!("  it may be repeated in {seconds} s"));
    }
    if let Some(Value::Object(undo)) = error.details.get("undo_failed") {
        let text = |key: &str| undo.get(key).and_then(Value::as_str).unwrap_or_default();
        print(format!("  undoing it failed, too: {} {}", words(text("code")), words(text("message"))));
    }
    let pods = error.details.get("pods").and_then(Value::as_array);
    for pod in pods.into_iter().flatten().take(5) {
        let said =
            pod.get("message").and_then(Value::as_str).is_some_and(|said| error.message.contains(said));
        sick_pod(pod, !said, print);
    }
}

/// What a planner understood before it refused.
fn understood_by(error: &Error) -> Vec<Understood> {
    let told = error.details.get("understood").cloned().unwrap_or_default();
    serde_json::from_value(told).unwrap_or_default()
}

/// Which words were understood as what.
pub fn understood(part: &Understood) -> String {
    let mut said = vec![format!("`{}` as {}", part.words, part.tool)];
    said.extend(part.arguments.iter().map(|heard| {
        let value = heard.value.as_str().map_or_else(|| heard.value.to_string(), str::to_owned);
        format!("`{}` as {}={value}", heard.words, heard.name)
    }));
    let missing = part.missing.iter().map(|argument| format!("no {argument}"));
    said.into_iter().chain(missing).collect::<Vec<_>>().join(", ")
}

/// What is about to happen.
pub fn admitted(run: &Run, replayed: bool) {
    for step in &run.steps {
        let targets: Vec<String> = step.call.targets.iter().map(ToString::to_string).collect();
        let undo = if step.undoes.is_some() { "undo of " } else { "" };
        line(format!("{STRONG}{undo}{}{STRONG:#} {}", step.call.tool, targets.join(", ")));
        approval::arguments(&step.call);
    }
    let again = if replayed { ", of an earlier request with this idempotency key" } else { "" };
    note(format!("run {}{again}", run.id));
    if run.break_glass {
        mark(
            Mark::Warning,
            format!("{WARN}breaking the glass{WARN:#}: guardrails are overridden, which is recorded"),
        );
    }
}

/// How far a run has come, in whose hands it is, and until when its last step must begin.
pub fn life(run: &Run) {
    for (number, step) in (1..).zip(&run.steps) {
        let begun = step.begun_at.map(|at| format!(", begun {}", time(at))).unwrap_or_default();
        let name = state_of(step);
        note(match &step.state {
            StepState::Intended { attempt, .. } => format!("step {number} {name}, attempt {attempt}{begun}"),
            _ => format!("step {number} {name}{begun}"),
        });
    }
    let (by, state) = (approval::who(&run.principal), run.state.name().replace('_', " "));
    let since = if run.state.is_final() { "at" } else { "since" };
    note(format!("submitted {} by {by}; {state} {since} {}", time(run.created_at), time(run.updated_at)));
    if run.state.is_final() {
        return;
    }
    if run.cancel_requested {
        let effect = if run.undo_requested { "undone" } else { "left as it is" };
        note(format!("it is being cancelled; an effect that has begun is {effect}"));
    }
    if run.state == State::AwaitingApproval {
        return;
    }
    match &run.holder {
        Some(holder) => note(format!("held by {}, claim {}", words(&holder.to_string()), run.fence)),
        None => note("held by nobody: `astradesk serve` or `astradesk runs watch` takes it over"),
    }
    if run.steps.iter().any(|step| matches!(step.state, StepState::Pending)) {
        note(format!("its last step must begin by {}", time(run.deadline)));
    }
}

fn state_of(step: &Step) -> &'static str {
    match &step.state {
        StepState::Pending => "has not begun",
        StepState::Intended { .. } => "is being performed",
        StepState::Performed { .. } => "was performed and is being verified",
        StepState::Succeeded { .. } => "succeeded",
        StepState::Failed { error, .. } if error.code == Code::RunCancelled => "was cancelled",
        StepState::Failed { .. } => "failed",
        StepState::Unknown { .. } => "has an unknown outcome",
        StepState::Skipped => "was not performed",
    }
}

pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// What came of a run; gives the exit code.
pub fn outcome(run: &Run, output: Output) -> u8 {
    if output == Output::Json {
        json(run);
        return exit::state(&run.state);
    }
    let reply = astradesk_domain_ops::agents::ops::reply(run);
    // A line a step, and each made safe for itself.
    let tell = |sign: Mark| {
        let mut lines = reply.lines().map(words);
        mark(sign, lines.next().unwrap_or_default());
        lines.for_each(|more| line(format!("  {more}")));
    };
    match &run.state {
        State::Succeeded => {
            tell(Mark::Good);
            run.steps.iter().for_each(facts);
        }
        State::Failed { error }
        | State::Denied { error }
        | State::Rejected { error }
        | State::OutcomeUnknown { error } => {
            // Of several steps, what became of each; the last line is the error itself.
            let begun = matches!(run.state, State::Failed { .. } | State::OutcomeUnknown { .. });
            let several = begun && run.steps.iter().filter(|step| step.undoes.is_none()).count() > 1;
            let steps = reply.lines().count().saturating_sub(1);
            reply.lines().take(if several { steps } else { 0 }).for_each(|step| note(words(step)));
            explain(error, line);
        }
        State::Submitted | State::AwaitingApproval | State::Queued | State::Running { .. } => {
            tell(Mark::Warning);
        }
        State::Cancelled => tell(Mark::Warning),
        State::Expired => tell(Mark::Bad),
    }
    exit::state(&run.state)
}

/// The most lines of what an MCP server has answered that are shown.
const SAID: usize = 200;

/// What a read found, beyond its summary: services as a table, sick pods with their last words, events, metrics, and the
/// texts of an MCP server.
fn facts(step: &Step) {
    let StepState::Succeeded { output, .. } = &step.state else { return };
    let list = |key: &str| output.get(key).and_then(Value::as_array).into_iter().flatten();
    let text = |value: &Value, key: &str| match value.get(key) {
        Some(Value::String(text)) => words(text),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => words(&other.to_string()),
    };
    for service in list("services") {
        line(format!(
            "  {:<28} {:<12} {:>3}/{:<3} {:<12} restarted {}",
            text(service, "name"),
            text(service, "kind"),
            text(service, "ready"),
            text(service, "wanted"),
            text(service, "rollout"),
            text(service, "restarted_at"),
        ));
    }
    list("sick_pods").for_each(|pod| sick_pod(pod, true, &line));
    list("logs").for_each(log);
    list("groups").for_each(alerts);
    list("metrics").for_each(series::metric);
    list("series").for_each(series::one);
    for event in list("warnings").chain(list("events")) {
        note(format!(
            "  {} {}× {}: {} ({})",
            text(event, "last_seen"),
            text(event, "count"),
            text(event, "reason"),
            text(event, "message"),
            text(event, "object"),
        ));
    }
    let said = list("content").filter_map(|block| block.get("text").and_then(Value::as_str));
    let mut said = said.flat_map(str::lines);
    said.by_ref().take(SAID).for_each(|text| line(format!("  {}", words(&text.replace('\t', " ")))));
    let more = said.count();
    if more > 0 {
        note(format!("  and {more} more lines: `-o json` has all of them"));
    }
    if let Some(restart) = output.get("last_restart").filter(|restart| restart.is_object()) {
        note(format!(
            "  last restarted {} by {}, run {}",
            text(restart, "at"),
            text(restart, "by"),
            text(restart, "run")
        ));
    }
}

/// The lines of one container, and what is said of those that are not there.
fn log(log: &Value) {
    let text = |key: &str| words(log.get(key).and_then(Value::as_str).unwrap_or_default());
    let note = Some(text("note")).filter(|note| !note.is_empty()).map(|note| format!(" ({note})"));
    line(format!("  {}/{}{}", text("pod"), text("container"), note.unwrap_or_default()));
    for one in log.get("lines").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        line(format!("{DIM}  │ {}{DIM:#}", words(one)));
    }
}

/// A group of alerts: since when each fires, what it says, and by whose silence nobody is notified of it.
fn alerts(group: &Value) {
    let text = |value: &Value, key: &str| words(value.get(key).and_then(Value::as_str).unwrap_or_default());
    let list =
        |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    for alert in list(group, "alerts") {
        let severity =
            alert.pointer("/labels/severity").and_then(Value::as_str).map(|is| format!(" {}", words(is)));
        let says = Some(text(&alert, "says")).filter(|says| !says.is_empty()).map(|says| format!(": {says}"));
        line(format!(
            "  {}{} {} since {}, for {}{}",
            text(&alert, "alert"),
            severity.unwrap_or_default(),
            text(&alert, "state"),
            text(&alert, "since"),
            text(group, "receiver"),
            says.unwrap_or_default(),
        ));
        for silence in list(&alert, "silenced_by") {
            let (id, by, until) = (text(&silence, "id"), text(&silence, "by"), text(&silence, "until"));
            note(format!("  │ silence {id} by {by} until {until}: {}", text(&silence, "comment")));
        }
    }
}

/// A pod that is not well: why, and the last lines of its log.
fn sick_pod(pod: &Value, with_message: bool, print: &impl Fn(String)) {
    let text = |key: &str| words(pod.get(key).and_then(Value::as_str).unwrap_or_default());
    let exit_code = pod.get("exit_code").and_then(Value::as_i64).map(|code| format!(", exit code {code}"));
    let message = if with_message { format!(": {}", text("message")) } else { String::new() };
    print(format!("  {} {}{}{message}", text("name"), text("cause"), exit_code.unwrap_or_default()));
    let log = pod.get("log").and_then(Value::as_array);
    for line in log.into_iter().flatten().filter_map(Value::as_str) {
        print(format!("{DIM}  │ {}{DIM:#}", words(&line.replace('\t', " "))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn an_error_by_somebody_else_has_the_lines_that_this_program_gives_it() {
        let hostile = "it ended)\n✓ 9 records, unbroken\u{1b}[8m";
        let error = Error::new(Code::EvidenceBroken, hostile)
            .with_remedy(hostile)
            .with_candidates([hostile.to_owned()])
            .with_detail("undo_failed", json!({"code": hostile, "message": hostile}))
            .with_detail(
                "pods",
                json!([{"name": hostile, "cause": hostile, "message": hostile, "log": [hostile]}]),
            );
        let told = RefCell::new(Vec::new());
        explain(&error, |line| told.borrow_mut().push(line));
        let told = told.into_inner();
        assert_eq!(told.len(), 6, "{told:#?}");
        for line in told {
            assert!(
                line.contains("it ended)\\u{a}✓") && !line.contains('\n') && !line.contains("\u{1b}[8m"),
                "{line:?}"
            );
        }
    }
}
