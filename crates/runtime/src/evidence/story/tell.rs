//! Each kind of record in words: a sentence, and lines with what else it says.

use super::facts::{Facts, brief};
use serde::Deserialize as _;
use serde_json::Value;

/// The sentence of a record, then its details.
pub(super) fn record(mut body: Facts) -> Vec<String> {
    let kind = body.text("kind").unwrap_or_default();
    let who = who(body.object("principal"));
    let mut data = body.object("data");
    let mut lines = match kind.as_str() {
        "run.admitted" => asked(&who, &mut data, None),
        "run.previewed" => asked(&who, &mut data, Some("only what it would do: nothing was done")),
        "run.denied" => denied(&who, &mut data),
        "read.finished" => read(&who, &mut data),
        "run.claimed" => claimed(&mut data),
        "run.cancel_requested" => cancelled(&mut data),
        "run.finished" => finished(&mut data),
        "approval.requested" => requested(&mut data),
        "approval.given" => said("approved it", &mut data),
        "approval.revoked" => said("took the approval back", &mut data),
        "approval.rejected" => said("rejected it", &mut data),
        "approval.refused" => refused(&mut data),
        "approval.withdrawn" => withdrawn(&mut data),
        "guard.overridden" => overridden(&mut data),
        "step.intended" => intended(&mut data),
        "step.performed" => performed(&mut data),
        "model.consulted" => consulted(&who, &mut data),
        "request.refused" => {
            vec![format!("{who} asked for something that was refused: {}", fault(&mut data))]
        }
        _ => vec![kind],
    };
    lines.extend(data.rest());
    for known in ["seq", "prev", "run"] {
        body.take(known);
    }
    lines.extend(body.text("trace").map(|trace| format!("trace {trace}")));
    lines.extend(body.rest());
    lines
}

/// `anna (roles on-call, sre; by https://issuer.example.com)`, `agent-7 for anna (…)`
fn who(mut principal: Facts) -> String {
    let Some(subject) = principal.text("subject") else { return "somebody".to_owned() };
    let actor = principal.text("actor").map(|actor| format!("{actor} for ")).unwrap_or_default();
    let roles =
        principal.text("roles").map_or_else(|| "no role".to_owned(), |roles| format!("roles {roles}"));
    let issuer = principal.text("issuer").map(|issuer| format!("; by {issuer}")).unwrap_or_default();
    let more: Vec<String> = [format!("{roles}{issuer}")].into_iter().chain(principal.rest()).collect();
    format!("{actor}{subject} ({})", more.join("; "))
}

/// What was asked, in which words, and what was planned and decided.
fn asked(who: &str, data: &mut Facts, then: Option<&str>) -> Vec<String> {
    let by = data.text("source").map(|source| format!(" by {source}")).unwrap_or_default();
    let words = data.quoted("input").unwrap_or_else(|| "a call".to_owned());
    let mut lines = vec![format!("{who} asked{by}: {words}")];
    lines.extend(data.quoted("reason").map(|reason| format!("reason: {reason}")));
    lines.extend(data.is("break_glass").then(|| "guardrails are to be overridden".to_owned()));
    lines.extend(data.text("planner").map(|planner| format!("planned by {planner}:")));
    let calls = calls(data);
    let state = data.text("state");
    let verb = match (state.as_deref(), calls.len()) {
        (Some("awaiting_approval"), 0 | 1) => "approval is asked for by",
        // Some of them may permit a call for which nobody has to be asked.
        (Some("awaiting_approval"), _) => "decided by",
        _ => "permitted by",
    };
    lines.extend(calls);
    for decision in data.list("decisions") {
        lines.push(decided(Facts::of(decision)));
    }
    lines.extend(policies(data, verb));
    lines.extend(match state.as_deref() {
        Some("awaiting_approval") => Some("it waits for approval".to_owned()),
        Some("queued") | None => None,
        Some(state) => Some(format!("it is {state}")),
    });
    lines.extend(then.map(str::to_owned));
    lines
}

fn decided(mut decision: Facts) -> String {
    let mut error = decision.object("error");
    let required = decision.take("required");
    let why = reasons(decision.list("reasons")).join("; ");
    match decision.text("decision").as_deref() {
        Some("permit") => format!("permitted by {why}"),
        Some("needs_approval") => format!("needs {}: {why}", requirement(&required)),
        Some("deny") => {
            format!("denied: {}{}", fault(&mut error), if why.is_empty() { why } else { format!("; {why}") })
        }
        other => format!("{}: {why}", other.unwrap_or("decided")),
    }
}

/// What a language model was asked for, and what came of it.
fn consulted(who: &str, data: &mut Facts) -> Vec<String> {
    let asked = data.text("model").unwrap_or_default();
    let answered = data.text("answered_by").filter(|answered| *answered != asked);
    let as_model = answered.map(|answered| format!(" (it answered as {answered})")).unwrap_or_default();
    let at = data.text("endpoint").map(|endpoint| format!(" at {endpoint}")).unwrap_or_default();
    let again = match data.take("round").as_u64() {
        Some(round) if round > 1 => " again, and told why its answer was no plan",
        _ => "",
    };
    let fault = data.text("fault").map(|fault| format!(": {fault}")).unwrap_or_default();
    let came = match data.text("outcome").as_deref() {
        Some("plan") => "it gave a plan".to_owned(),
        outcome => format!("it gave none ({}){fault}", outcome.unwrap_or("no outcome is on record")),
    };
    let mut lines =
        vec![format!("the language model {asked}{as_model}{at} was asked for {who}{again}: {came}")];
    for said in data.list("prompt") {
        let mut said = Facts::of(said);
        let role = said.text("role").unwrap_or_default();
        lines.extend(said.text("content").map(|content| format!("{role}: {content}")));
    }
    lines
}

fn denied(who: &str, data: &mut Facts) -> Vec<String> {
    let verdict = if data.is("guardrail") { "refused by a guardrail" } else { "denied" };
    let error = fault(data);
    let why = reasons(data.list("reasons"));
    let mut lines = asked(who, data, None);
    lines.push(format!("{verdict}: {error}"));
    lines.extend(why.into_iter().map(|why| format!("policy {why}")));
    lines
}

fn read(who: &str, data: &mut Facts) -> Vec<String> {
    let error = data.take("error");
    let state = data.text("state").unwrap_or_else(|| "finished".to_owned());
    let mut lines = asked(who, data, None);
    lines.push(outcome(&state, error));
    lines
}

fn calls(data: &mut Facts) -> Vec<String> {
    let calls = data.list("calls").into_iter().enumerate();
    calls.map(|(index, one)| format!("{}. {}", index + 1, call(Facts::of(one)))).collect()
}

/// `restart_service on kubernetes/… with service=webapp (version 1, call 2d711642b726)`
fn call(mut call: Facts) -> String {
    let tool = call.text("tool").unwrap_or_else(|| "a tool".to_owned());
    let on = call.text("targets").map(|targets| format!(" on {targets}")).unwrap_or_default();
    let with = call.text("arguments").map(|arguments| format!(" with {arguments}")).unwrap_or_default();
    let outcome = call.text("outcome").map(|outcome| format!(": {outcome}")).unwrap_or_default();
    call.take("effect");
    let version = call.text("version").map(|version| format!("version {version}"));
    let digest = call.text("digest").map(|digest| format!("call {digest}"));
    let more: Vec<String> = version.into_iter().chain(digest).chain(call.rest()).collect();
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(", ")) };
    format!("{tool}{on}{with}{more}{outcome}")
}

fn policies(data: &mut Facts, verb: &str) -> Vec<String> {
    let set = data.text("policy_set").map(|set| format!(" (policy set {set})")).unwrap_or_default();
    let ids = data.text("policies");
    ids.map(|ids| format!("{verb} {ids}{set}")).into_iter().collect()
}

/// `POLICY: why`
fn reasons(reasons: Vec<Value>) -> Vec<String> {
    let told = |reason: Value| {
        let mut reason = Facts::of(reason);
        let policy = reason.text("policy").unwrap_or_default();
        reason.text("text").map_or_else(|| policy.clone(), |text| format!("{policy}: {text}"))
    };
    reasons.into_iter().map(told).collect()
}

/// `2 approvals by lead, sre`, as a requirement is written.
fn requirement(required: &Value) -> String {
    astradesk_core::Requirement::deserialize(required)
        .map_or_else(|_| format!("approval ({})", brief(required)), |required| required.to_string())
}

fn requested(data: &mut Facts) -> Vec<String> {
    let required = data.take("required");
    let until = data.text("expires_at").map(|until| format!(", until {until}")).unwrap_or_default();
    let digest = data.text("digest").map(|digest| format!(", of digest {digest}")).unwrap_or_default();
    let mut lines = vec![format!("policy asks for {}{digest}{until}", requirement(&required))];
    lines.extend(reasons(data.list("reasons")).into_iter().map(|why| format!("policy {why}")));
    match data.take("preview") {
        Value::Array(steps) => {
            for (index, step) in steps.into_iter().enumerate() {
                lines.extend(previewed(index, Facts::of(step)));
            }
        }
        Value::Object(mut failed) => {
            let mut error = Facts::of(failed.remove("error").unwrap_or_default());
            lines.push(format!("what it would do could not be found out: {}", fault(&mut error)));
        }
        _ => {}
    }
    lines
}

/// What a dry run said: in the words of its tool, which sum up the rest; without such words, all of it.
fn dry_run(number: usize, changes: Value) -> Vec<String> {
    let whole = brief(&changes);
    let mut changes = Facts::of(changes);
    let Some(summary) = changes.text("summary") else {
        let told = Some(whole).filter(|whole| !whole.is_empty());
        return told.map(|whole| format!("step {number} would change: {whole}")).into_iter().collect();
    };
    let mut lines = vec![format!("dry run of step {number}: {summary}")];
    lines.extend(changes.text("checked"));
    lines.extend(changes.text("warning").map(|warning| format!("warning: {warning}")));
    lines
}

/// What the approvers were shown of a step.
fn previewed(index: usize, mut step: Facts) -> Vec<String> {
    let number = index + 1;
    let mut lines = Vec::new();
    lines.extend(dry_run(number, step.take("changes")));
    lines.extend(
        step.list("objections")
            .into_iter()
            .map(|objection| format!("step {number} is objected to: {}", fault(&mut Facts::of(objection)))),
    );
    match step.take("refused") {
        Value::Null => {}
        refused => lines.push(format!("step {number} would be refused: {}", fault(&mut Facts::of(refused)))),
    }
    lines.extend(step.text("facts").map(|facts| format!("step {number} acts on what is known as: {facts}")));
    lines
}

/// What somebody said about the run.
fn said(what: &str, data: &mut Facts) -> Vec<String> {
    let by = who(data.object("by"));
    let digest = data.text("digest").map(|digest| format!(" (digest {digest})")).unwrap_or_default();
    let reason = data.quoted("reason").map(|reason| format!(": {reason}")).unwrap_or_default();
    let mut lines = vec![format!("{by} {what}{digest}{reason}")];
    lines.extend(match data.text("state").as_deref() {
        Some("awaiting_approval") => Some("it still waits for approval".to_owned()),
        Some("queued") => Some("that is enough: it may begin".to_owned()),
        Some(_) | None => None,
    });
    lines
}

fn refused(data: &mut Facts) -> Vec<String> {
    let by = who(data.object("by"));
    let wanted = match data.text("wanted").as_deref() {
        Some("approval.given") => "approve it".to_owned(),
        Some("approval.rejected") => "reject it".to_owned(),
        Some("approval.revoked") => "take an approval back".to_owned(),
        other => other.unwrap_or("decide on it").to_owned(),
    };
    let mut lines = vec![format!("{by} wanted to {wanted}, and was refused: {}", fault(data))];
    let mut said = data.object("said");
    lines.extend(said.quoted("reason").map(|reason| format!("reason: {reason}")));
    lines.extend(said.rest());
    lines
}

fn withdrawn(data: &mut Facts) -> Vec<String> {
    let asked = match data.take("asked") {
        Value::Null => format!(": {}", fault(data)),
        asked => format!(": policy asks for {} by now", requirement(&asked)),
    };
    let mut lines = vec![format!("the approvals so far no longer count{asked}")];
    for given in data.list("withdrawn") {
        lines.extend(said("had approved it", &mut Facts::of(given)));
    }
    lines
}

fn overridden(data: &mut Facts) -> Vec<String> {
    let of = step(data).map(|step| format!(" of {step}")).unwrap_or_default();
    let reason = data.quoted("reason").map(|reason| format!(", because {reason}")).unwrap_or_default();
    let mut lines = vec![format!("GUARDRAILS{of} WERE OVERRIDDEN{reason}")];
    for one in data.list("guardrails") {
        let mut one = Facts::of(one);
        let name = one.text("guardrail").map(|name| format!("{name}: ")).unwrap_or_default();
        lines.push(format!("{name}{}", fault(&mut one)));
    }
    lines
}

fn claimed(data: &mut Facts) -> Vec<String> {
    let by = data.text("by").unwrap_or_else(|| "somebody".to_owned());
    let from = data.text("from").map(|from| format!(" from {from}")).unwrap_or_default();
    let fence = data.text("fence").map(|fence| format!(" (claim {fence})")).unwrap_or_default();
    let state = data.text("state").map(|state| format!(", {state}")).unwrap_or_default();
    vec![format!("taken over by {by}{from}{fence}{state}")]
}

fn cancelled(data: &mut Facts) -> Vec<String> {
    let by = data.text("by").unwrap_or_else(|| "somebody".to_owned());
    let effect = match data.text("on_effect").as_deref() {
        Some("undo") => ", and to undo what was done",
        _ => "",
    };
    let state = data.text("state").map(|state| format!(" while it was {state}")).unwrap_or_default();
    vec![format!("{by} asked to cancel it{effect}{state}")]
}

fn intended(data: &mut Facts) -> Vec<String> {
    let place = step(data).unwrap_or_else(|| "a step".to_owned());
    let again = match data.text("attempt").as_deref() {
        None | Some("0" | "1") => String::new(),
        Some(attempt) => format!(", attempt {attempt}"),
    };
    let undo = match data.take("undoes") {
        Value::Null | Value::Bool(false) => "",
        _ => " (an undo)",
    };
    let mut lines =
        vec![format!("{place}{undo} is about to be performed{again}: {}", call(data.object("call")))];
    lines.extend(policies(data, "permitted again by"));
    lines.extend(data.text("intent").map(|intent| format!("bound to: {intent}")));
    lines
}

fn performed(data: &mut Facts) -> Vec<String> {
    let step = step(data).unwrap_or_else(|| "a step".to_owned());
    let mut lines = vec![format!("{step} has taken effect, and is being verified")];
    lines.extend(data.text("receipt").map(|receipt| format!("receipt: {receipt}")));
    lines
}

fn finished(data: &mut Facts) -> Vec<String> {
    let state = data.text("state").unwrap_or_else(|| "finished".to_owned());
    let after = data.take("milliseconds").as_f64().map(|ms| format!(" after {:.1} s", ms / 1000.0));
    let error = data.take("error");
    let mut lines = vec![format!("{}{}", outcome(&state, error), after.unwrap_or_default())];
    for (index, one) in data.list("steps").into_iter().enumerate() {
        lines.push(format!("step {}{}", index + 1, ended(Facts::of(one))));
    }
    lines
}

/// What became of a step.
fn ended(mut step: Facts) -> String {
    let mut state = step.object("state");
    let undoes =
        step.take("undoes").as_u64().map(|of| format!(" (undo of step {})", of + 1)).unwrap_or_default();
    let word = state.text("step").unwrap_or_else(|| "ended".to_owned());
    let mut output = state.object("output");
    let told = match (output.text("summary"), state.take("error")) {
        (Some(summary), _) => format!(": {summary}"),
        (None, Value::Null) => String::new(),
        (None, error) => format!(": {}", fault(&mut Facts::of(error))),
    };
    format!("{undoes} {word}{told}")
}

fn outcome(state: &str, error: Value) -> String {
    let told = match error {
        Value::Null => String::new(),
        error => format!(": {}", fault(&mut Facts::of(error))),
    };
    let ended = match state {
        "succeeded" | "failed" => format!("it {state}"),
        "outcome_unknown" => "it ended, and its outcome is unknown".to_owned(),
        _ => format!("it was {state}"),
    };
    format!("{ended}{told}")
}

/// `step 2`, from a place that counts from 0.
fn step(data: &mut Facts) -> Option<String> {
    data.take("step").as_u64().map(|step| format!("step {}", step + 1))
}

/// `MESSAGE (code)`
fn fault(error: &mut Facts) -> String {
    match (error.text("message"), error.text("code")) {
        (Some(message), Some(code)) => format!("{message} ({code})"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => "no reason is on record".to_owned(),
    }
}
