use super::{offset, story};
use astradesk_core::canonical::{self, Digest};
use astradesk_core::evidence::Record;
use serde_json::{Value, json};

fn record(seq: u64, at: &str, kind: &str, data: &Value) -> Record {
    let body = json!({
        "seq": seq, "prev": Digest::ZERO, "at": at, "kind": kind, "run": "01890a5d-ac96-774b-bcce-b302099a8057",
        "principal": {"subject": "anna", "issuer": "https://id.example.com", "roles": ["sre"], "actor": "agent-7"},
        "data": data,
    });
    let body = canonical::text(&body);
    Record { seq, hash: Digest::of(&body), body }
}

fn told(records: &[Record]) -> String {
    story(records).join("\n")
}

#[test]
fn the_whole_life_of_an_approved_run_reads_as_a_story() {
    let digest = Digest::of("x");
    let call = json!({"tool": "restart_service", "version": "1", "effect": "write", "digest": digest,
        "targets": ["kubernetes/prod/default/deployment/webapp"], "arguments": {"service": "webapp"}});
    let berta = json!({"subject": "berta", "issuer": "https://id.example.com", "roles": ["lead"]});
    let records = [
        record(
            7,
            "2026-03-01T09:30:00Z",
            "run.admitted",
            &json!({
            "input": "restart webapp", "planner": "keyword", "source": "http", "reason": "stale cache", "break_glass": true,
            "calls": [call], "state": "awaiting_approval", "policies": ["team.restart"], "policy_set": Digest::of("p")}),
        ),
        record(
            8,
            "2026-03-01T09:30:00.002Z",
            "approval.requested",
            &json!({
            "digest": digest, "required": {"count": 1, "roles": {"lead": 1}}, "expires_at": "2026-03-01T10:30:00Z",
            "reasons": [{"policy": "team.two_people", "text": "a lead agrees"}],
            "preview": [{"call": call, "objections": [{"code": "guard.frozen", "message": "frozen until Monday"}],
                "changes": {"restartedAt": "now"}}]}),
        ),
        record(
            9,
            "2026-03-01T09:31:00Z",
            "approval.refused",
            &json!({
            "by": {"subject": "anna", "issuer": "https://id.example.com", "roles": ["lead"]}, "wanted": "approval.given",
            "said": {"reason": "me too"}, "code": "approval.self", "message": "`anna` asked for it"}),
        ),
        record(
            10,
            "2026-03-01T09:33:12Z",
            "approval.given",
            &json!({
            "by": berta, "digest": digest, "reason": "go on", "state": "queued"}),
        ),
        record(
            11,
            "2026-03-01T11:35:00Z",
            "guard.overridden",
            &json!({
            "step": 0, "reason": "stale cache",
            "guardrails": [{"guardrail": "weekend", "code": "guard.frozen", "message": "frozen until Monday"}]}),
        ),
        record(
            12,
            "2026-03-01T11:35:00Z",
            "step.intended",
            &json!({
            "step": 0, "attempt": 2, "call": call, "undoes": false, "policies": ["team.restart"],
            "intent": {"uid": "u-1", "generation": 4}}),
        ),
        record(
            13,
            "2026-03-01T11:35:01Z",
            "step.performed",
            &json!({"step": 0, "receipt": {"generation": 5}}),
        ),
        record(
            14,
            "2026-03-03T11:35:09.5Z",
            "run.finished",
            &json!({
            "state": "succeeded", "error": null, "milliseconds": 9500,
            "steps": [{"digest": digest, "undoes": null, "state": {"step": "succeeded", "output": {"summary": "webapp was restarted"}}}]}),
        ),
    ];
    let short = &digest.to_string()[..12];
    let set = &Digest::of("p").to_string()[..12];
    let expected = format!(
        r#"run 01890a5d-ac96-774b-bcce-b302099a8057, 2026-03-01T09:30:00Z, from record 7
   +0.000 s  agent-7 for anna (roles sre; by https://id.example.com) asked by http: "restart webapp"
               reason: "stale cache"
               guardrails are to be overridden
               planned by keyword:
               1. restart_service on kubernetes/prod/default/deployment/webapp with service=webapp (version 1, call {short})
               approval is asked for by team.restart (policy set {set})
               it waits for approval
   +0.002 s  policy asks for 1 approval by `lead`, of digest {short}, until 2026-03-01T10:30:00Z
               policy team.two_people: a lead agrees
               step 1 would change: restartedAt=now
               step 1 is objected to: frozen until Monday (guard.frozen)
    +1m 00s  anna (roles lead; by https://id.example.com) wanted to approve it, and was refused: `anna` asked for it (approval.self)
               reason: "me too"
    +3m 12s  berta (roles lead; by https://id.example.com) approved it (digest {short}): "go on"
               that is enough: it may begin
    +2h 05m  GUARDRAILS of step 1 WERE OVERRIDDEN, because "stale cache"
               weekend: frozen until Monday (guard.frozen)
    +2h 05m  step 1 is about to be performed, attempt 2: restart_service on kubernetes/prod/default/deployment/webapp with service=webapp (version 1, call {short})
               permitted again by team.restart
               bound to: generation=4, uid=u-1
    +2h 05m  step 1 has taken effect, and is being verified
               receipt: generation=5
    +2d 02h  it succeeded after 9.5 s
               step 1 succeeded: webapp was restarted"#
    );
    let told = told(&records);
    assert_eq!(told, expected, "\n{told}");
}

#[test]
fn a_dry_run_is_told_in_the_words_of_its_tool() {
    let preview = json!([
        {"changes": {"summary": "would replace all 3 pods", "patch": {"a": 1}, "checked": "the API server agreed",
            "warning": "`argo` may revert it"}},
        {"changes": {"patch": {"a": 1}}},
        {"changes": null},
    ]);
    let told =
        story(&[record(1, "2026-03-01T09:30:00Z", "approval.requested", &json!({"preview": preview}))]);
    let said: Vec<&str> = told.iter().skip(2).map(|line| line.trim()).collect();
    let expected = [
        "dry run of step 1: would replace all 3 pods",
        "the API server agreed",
        "warning: `argo` may revert it",
        "step 2 would change: patch={a=1}",
    ];
    assert_eq!(said, expected, "{told:#?}");
}

#[test]
fn what_decided_is_said_of_what_it_decided() {
    let told = |state: &str, calls: &[&str]| {
        let calls: Vec<Value> = calls.iter().map(|tool| json!({"tool": tool})).collect();
        let data = json!({"policies": ["p"], "state": state, "calls": calls});
        told(&[record(1, "2026-03-01T09:30:00Z", "run.admitted", &data)])
    };
    assert!(told("awaiting_approval", &["a"]).contains("\n               approval is asked for by p"));
    assert!(told("awaiting_approval", &["a", "b"]).contains("\n               decided by p"));
    assert!(told("queued", &["a"]).contains("\n               permitted by p"));
}

#[test]
fn what_is_not_known_reads_sensibly() {
    let told = told(&[
        record(
            1,
            "2026-03-01T09:30:00Z",
            "step.dreamt",
            &json!({"of": {"sheep": 3}, "empty": [], "nothing": null}),
        ),
        record(2, "2026-03-01T09:29:59Z", "run.cancel_requested", &json!({"by": "id#anna", "mood": "bad"})),
        record(3, "2026-03-01T09:30:00Z", "run.finished", &json!("nonsense")),
        Record { seq: 4, hash: Digest::ZERO, body: "nonsense".to_owned() },
    ]);
    let expected = "run 01890a5d-ac96-774b-bcce-b302099a8057, 2026-03-01T09:30:00Z, from record 1
   +0.000 s  step.dreamt
               of: sheep=3
   -1.000 s  id#anna asked to cancel it
               mood: bad
   +0.000 s  it was finished
record 4 is not one that this version can read";
    assert_eq!(told, expected, "\n{told}");
}

#[test]
fn nobody_can_write_lines_of_their_own_into_it() {
    let told = story(&[record(
        1,
        "2026-03-01T09:30:00Z",
        "run.denied",
        &json!({
        "input": "restart\n   +0.000 s  berta approved it\u{1b}[2J\"", "code": "policy.denied", "message": "no\rno",
        "reasons": [{"policy": "p\n", "text": "x"}], "more\n": "y\n", "calls": [{"tool": "t\n", "arguments": {"a\n": "b\n"}}]}),
    )]);
    assert_eq!(told.len(), 6, "{told:#?}");
    assert!(told[1].ends_with(r#"it\u{1b}[2J\"""#), "{told:#?}");
    assert!(told.iter().all(|line| !line.contains(char::is_control)), "{told:#?}");
}

#[test]
fn times_are_told_in_the_units_that_people_use() {
    let at = |text: &str| text.parse().unwrap();
    let from = at("2026-03-01T09:30:00Z");
    for (to, expected) in [
        ("2026-03-01T09:30:59.999Z", "+59.999 s"),
        ("2026-03-01T09:31:00Z", "+1m 00s"),
        ("2026-03-01T10:29:59Z", "+59m 59s"),
        ("2026-03-01T10:30:00Z", "+1h 00m"),
        ("2026-03-02T09:30:00Z", "+1d 00h"),
        ("2026-03-01T09:29:00Z", "-1m 00s"),
    ] {
        assert_eq!(offset(from, at(to)), expected);
    }
}

#[test]
fn a_question_to_a_language_model_is_told_with_what_left() {
    let asked = json!({
        "endpoint": "https://llm.example.com/v1", "model": "small", "answered_by": "small-2026", "round": 1, "attempts": 1,
        "instructions": "1", "prompt": [{"role": "user", "content": "bounce webapp"}],
        "tools": [{"tool": "restart_service", "version": "1"}], "question_digest": Digest::of("q"),
        "answer_digest": Digest::of("a"), "answer_bytes": 9, "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        "milliseconds": 812, "outcome": "plan.invalid", "fault": "there is no tool `nuke`", "request_digest": Digest::of("r")});
    let mut again = asked.clone();
    again["round"] = json!(2);
    again["outcome"] = json!("plan");
    again["answered_by"] = json!("small");
    again["fault"] = Value::Null;
    let at = "2026-03-01T09:30:00Z";
    let told = told(&[record(1, at, "model.consulted", &asked), record(2, at, "model.consulted", &again)]);
    for expected in [
        "the language model small (it answered as small-2026) at https://llm.example.com/v1 was asked for agent-7 for anna \
         (roles sre; by https://id.example.com): it gave none (plan.invalid): there is no tool `nuke`",
        "user: bounce webapp",
        "usage: completion_tokens=3, prompt_tokens=7",
        "the language model small at https://llm.example.com/v1 was asked for agent-7 for anna (roles sre; by \
         https://id.example.com) again, and told why its answer was no plan: it gave a plan",
    ] {
        assert!(told.contains(expected), "{expected}\nis not in\n{told}");
    }
}
