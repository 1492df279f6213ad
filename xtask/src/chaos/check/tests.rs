//! Small made-up histories, each with one violation, and each must be found.

use serde_json::json;

use super::super::clients::Wish;
use super::*;

const RUN: &str = "run-1";
const OBJECT: &str = "deployments/web-00";

/// The object with a template that bears these marks one after the other; `…/1` is an undo.
fn history(marks: &[&str]) -> History {
    let mut history = History::default();
    let mut annotations = json!({});
    for generation in 0..=marks.len() {
        let mut undo = json!({});
        if let Some(mark) = generation.checked_sub(1).and_then(|index| marks.get(index)) {
            if mark.ends_with("/1") {
                undo = json!({"astradesk.dev/undo": mark});
                annotations = json!({});
            } else {
                let at = generation.to_string();
                annotations = json!({"astradesk.dev/run": mark, "kubectl.kubernetes.io/restartedAt": at});
            }
        }
        let metadata = json!({"name": "web-00", "uid": "u", "resourceVersion": "1", "generation": generation + 1,
            "annotations": undo});
        let spec = json!({"template": {"metadata": {"annotations": annotations}}});
        let object = json!({"metadata": metadata, "spec": spec});
        history.take("deployments", &json!({"type": "MODIFIED", "object": object}));
    }
    history
}

fn run(state: &str, service: &str, steps: &[&str]) -> Value {
    let call = json!({"arguments": {"service": service, "timeout": "300s"}});
    let steps: Vec<Value> = steps.iter().map(|step| json!({"step": step, "call": call})).collect();
    json!({"state": state, "steps": steps, "principal": {"subject": "a"}})
}

fn records(run: &str, kinds: &[(&str, Value)]) -> Vec<Record> {
    let record = |(index, (kind, data)): (usize, &(&str, Value))| Record {
        seq: index as u64 + 1,
        kind: (*kind).to_owned(),
        run: Some(run.to_owned()),
        data: data.clone(),
    };
    kinds.iter().enumerate().map(record).collect()
}

fn whole_life(state: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("run.admitted", json!({})),
        ("step.intended", json!({"step": 0})),
        ("step.performed", json!({"step": 0})),
        ("run.finished", json!({"state": state})),
    ]
}

fn answer(run: &str) -> Answer {
    let wish = Wish { key: "k".to_owned(), service: "web-00".to_owned(), limit: 300, ..Wish::default() };
    Answer { wish, status: 202, run: Some(run.to_owned()), ..Answer::default() }
}

/// One restart, as it should be.
fn sound() -> Facts {
    Facts {
        history: history(&[RUN]),
        revisions: vec![RUN.to_owned()],
        records: records(RUN, &whole_life("succeeded")),
        runs: [(RUN.to_owned(), run("succeeded", "web-00", &["succeeded"]))].into(),
        answers: vec![answer(RUN), answer(RUN)],
        ..Facts::default()
    }
}

/// What is found after a change of the sound facts.
fn found(change: impl FnOnce(&mut Facts)) -> Vec<&'static str> {
    let mut facts = sound();
    change(&mut facts);
    let mut what: Vec<&str> = check(&facts).0.iter().map(|violation| violation.what).collect();
    what.dedup();
    what
}

fn set_life(facts: &mut Facts, kinds: &[(&str, Value)]) {
    facts.records = records(RUN, kinds);
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(check(&sound()).0, []);
    let (found, counts) = check(&Facts {
        history: history(&[RUN, "run-1/1"]),
        records: records(
            RUN,
            &[
                ("run.admitted", json!({})),
                ("step.intended", json!({"step": 0})),
                ("step.intended", json!({"step": 0})),
                ("step.performed", json!({"step": 0})),
                ("step.intended", json!({"step": 1})),
                ("step.performed", json!({"step": 1})),
                ("run.finished", json!({"state": "failed"})),
            ],
        ),
        runs: [(RUN.to_owned(), run("failed", "web-00", &["failed", "succeeded"]))].into(),
        ..Facts::default()
    });
    assert_eq!((found, counts.restarts, counts.undos, counts.performed), (Vec::new(), 1, 1, 2));
}

#[test]
fn a_double_effect_is_found() {
    assert_eq!(found(|facts| facts.history = history(&[RUN, RUN])), ["double effect"]);
    assert_eq!(found(|facts| facts.history = history(&[RUN, "run-1/1", RUN]))[0], "double effect");
    // Of which the last undo is on record nowhere, too.
    let twice_undone = found(|facts| facts.history = history(&[RUN, "run-1/1", "run-1/1"]));
    assert!(twice_undone.contains(&"effect without evidence"), "{twice_undone:?}");
}

#[test]
fn a_lost_run_is_found() {
    assert_eq!(found(|facts| facts.answers.push(answer("run-2"))), ["lost run", "key with two runs"]);
    let still = |facts: &mut Facts| {
        facts.runs.insert(RUN.to_owned(), run("running", "web-00", &["performed"]));
    };
    assert_eq!(found(still), ["lost run"]);
    assert!(found(|facts| facts.runs.clear()).contains(&"lost run"));
    let hidden = Answer { act: Act::Read, status: 404, ..answer(RUN) };
    assert_eq!(found(|facts| facts.answers.push(hidden)), ["lost run"]);
}

#[test]
fn a_key_with_two_runs_is_found() {
    let other = || run("cancelled", "web-00", &["skipped"]);
    let life = [("run.admitted", json!({})), ("run.finished", json!({"state": "cancelled"}))];
    let second = |facts: &mut Facts| {
        facts.runs.insert("run-2".to_owned(), other());
        facts.records.extend(records("run-2", &life));
    };
    // Nobody was told of the second: its arguments give it away.
    assert_eq!(found(second), ["key with two runs"]);
    let told = |facts: &mut Facts| {
        second(facts);
        if let Some(run) = facts.runs.get_mut("run-2") {
            run["steps"][0]["call"]["arguments"]["timeout"] = "301s".into();
        }
        facts.answers.push(answer("run-2"));
    };
    assert_eq!(found(told), ["key with two runs"]);
}

#[test]
fn missing_evidence_is_found() {
    for missing in 0..4 {
        let what = found(|facts| {
            let mut life = whole_life("succeeded");
            life.remove(missing);
            set_life(facts, &life);
        });
        assert!(what.contains(&"evidence"), "{missing}: {what:?}");
    }
    let mut life = whole_life("succeeded");
    life.push(("step.performed", json!({"step": 0})));
    assert_eq!(found(|facts| set_life(facts, &life)), ["evidence"]);
    assert_eq!(found(|facts| set_life(facts, &whole_life("failed"))), ["evidence"]);
    let broken = |facts: &mut Facts| facts.broken.push("record 2 has not the hash that it names".to_owned());
    assert_eq!(found(broken), ["broken evidence"]);
}

#[test]
fn effects_and_evidence_must_agree() {
    let unperformed = |state: &'static str| {
        move |facts: &mut Facts| {
            set_life(
                facts,
                &[
                    ("run.admitted", json!({})),
                    ("step.intended", json!({"step": 0})),
                    ("run.finished", json!({"state": state})),
                ],
            );
            facts.runs.insert(RUN.to_owned(), run(state, "web-00", &["failed"]));
        }
    };
    assert_eq!(found(unperformed("failed")), ["effect without evidence"]);
    assert_eq!(found(unperformed("cancelled")), ["effect without evidence"]);
    // There it may be so.
    assert_eq!(found(unperformed("outcome_unknown")), [""; 0]);
    let nowhere = |facts: &mut Facts| {
        facts.history = history(&["run-0"]);
        facts.revisions.clear();
        facts.runs.insert("run-0".to_owned(), run("outcome_unknown", "web-00", &["unknown"]));
        if let Some(run) = facts.runs.get_mut("run-0") {
            run["steps"][0]["call"]["arguments"]["timeout"] = "301s".into();
        }
        let end = ("run.finished", json!({"state": "outcome_unknown"}));
        let life = [("run.admitted", json!({})), ("step.intended", json!({"step": 0})), end];
        facts.records.splice(0..0, records("run-0", &life));
    };
    assert_eq!(found(nowhere), ["lost effect"]);
}

#[test]
fn a_change_that_no_run_made_is_found() {
    assert!(found(|facts| facts.history = history(&[RUN, "run-9"])).contains(&"lost run"));
    assert_eq!(found(|facts| facts.revisions.push("run-9".to_owned())), ["foreign change"]);
    let other = |facts: &mut Facts| {
        facts.runs.insert(RUN.to_owned(), run("succeeded", "web-01", &["succeeded"]));
    };
    assert!(found(other).contains(&"wrong object"));
    assert_eq!(
        found(|facts| {
            if let Some(object) = facts.history.objects.get_mut(OBJECT) {
                object.wrong.push("it was deleted".to_owned());
                object.generations.1 += 1;
            }
        }),
        ["foreign change"]
    );
}

#[test]
fn two_runs_at_one_target_are_found() {
    let what = found(|facts| {
        facts.runs.insert("run-2".to_owned(), run("outcome_unknown", "web-00", &["unknown"]));
        if let Some(run) = facts.runs.get_mut("run-2") {
            run["steps"][0]["call"]["arguments"]["timeout"] = "301s".into();
        }
        let end = ("run.finished", json!({"state": "outcome_unknown"}));
        let other =
            records("run-2", &[("run.admitted", json!({})), ("step.intended", json!({"step": 0})), end]);
        facts.records.splice(3..3, other);
    });
    assert_eq!(what, ["target not locked"]);
}

#[test]
fn wrong_answers_are_found() {
    let contradiction = Answer { act: Act::Contradict, status: 202, ..answer(RUN) };
    assert_eq!(found(|facts| facts.answers.push(contradiction)), ["contradiction accepted"]);
    let defect = Answer { status: 500, code: Some("internal.error".to_owned()), run: None, ..answer(RUN) };
    assert_eq!(found(|facts| facts.answers.push(defect)), ["internal error"]);
    let denied = Answer { status: 403, code: Some("policy.denied".to_owned()), ..answer(RUN) };
    assert_eq!(found(|facts| facts.answers.push(denied)), ["request not understood"]);
    let mut elsewhere = answer(RUN);
    elsewhere.wish.service = "web-07".to_owned();
    assert_eq!(found(|facts| facts.answers.push(elsewhere)), ["wrong run"]);
}

#[test]
fn an_idle_chaos_is_no_proof() {
    let (found, _) = check(&Facts::default());
    assert_eq!(found.first().map(|violation| violation.what), Some("nothing happened"));
}
