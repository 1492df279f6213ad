//! The paths through a run's life.

use super::{asked, cancelled, claimed, failed, given, intended, performed, person, run, verified, whose};
use astradesk_core::run::{Action, By, Event, OnFailure, Run, State, StepState, decide, next};
use astradesk_core::{Code, Timestamp};
use serde_json::json;

fn walk(steps: &[OnFailure], events: Vec<Event>) -> Run {
    events.into_iter().fold(run(steps), |run, event| {
        let by = whose(&run, &event);
        decide(&run, by, event, Timestamp::UNIX_EPOCH).expect("the event fits").0
    })
}

/// A claimed run with two steps that leave what they did, after these events.
fn two_steps(events: &[Event]) -> Run {
    walk(&[OnFailure::Leave; 2], [&[Event::Admitted, claimed("a")], events].concat())
}

/// A claimed run with one step that is to be undone, performed, after these events.
fn undoing(events: &[Event]) -> Run {
    let begun = [Event::Admitted, claimed("a"), intended(0), performed(0)];
    walk(&[OnFailure::Undo], [&begun, events].concat())
}

#[test]
fn the_actions_follow_the_state() {
    let prepare = |step| vec![Action::Prepare { step }];
    let unknown = Event::StepUnknown { step: 0, error: failed() };
    let stop = |undo| Event::CancelRequested { undo };
    let table: Vec<(Vec<Event>, &str, Vec<Action>)> = vec![
        (vec![], "submitted", vec![]),
        (vec![Event::Admitted], "queued", prepare(0)),
        (vec![asked(1, 0)], "awaiting_approval", vec![Action::RequestApproval]),
        (vec![asked(1, 0), given(&person("bo", &[]), 1)], "queued", prepare(0)),
        (vec![asked(2, 0), given(&person("bo", &[]), 1)], "awaiting_approval", vec![Action::RequestApproval]),
        (vec![asked(1, 0), Event::Rejected(failed())], "rejected", vec![]),
        (vec![asked(1, 0), Event::ApprovalExpired], "expired", vec![]),
        (vec![asked(1, 0), Event::Denied(failed())], "denied", vec![]),
        (vec![Event::Denied(failed())], "denied", vec![]),
        (vec![Event::Admitted, stop(false)], "cancelled", vec![]),
    ];
    for (events, state, actions) in table {
        let run = walk(&[OnFailure::Leave; 2], events.clone());
        assert_eq!((run.state.name(), next(&run)), (state, actions), "{events:?}");
    }
    let claimed: Vec<(Vec<Event>, &str, Vec<Action>)> = vec![
        (vec![], "queued", prepare(0)),
        (vec![Event::HandedOver], "queued", prepare(0)),
        (vec![intended(0)], "running", vec![Action::Perform { step: 0 }]),
        (vec![intended(0), intended(0)], "running", vec![Action::Perform { step: 0 }]),
        (vec![Event::StepFailed { step: 0, error: failed() }], "failed", vec![]),
        (vec![intended(0), performed(0)], "running", vec![Action::Verify { step: 0 }]),
        (vec![intended(0), performed(0), verified(0)], "running", prepare(1)),
        (
            vec![intended(0), performed(0), verified(0), intended(1), performed(1), verified(1)],
            "succeeded",
            vec![],
        ),
        (vec![intended(0), unknown], "outcome_unknown", vec![]),
        (vec![intended(0), stop(false)], "running", vec![Action::Perform { step: 0 }, Action::Interrupt]),
        (vec![intended(0), performed(0), stop(false), verified(0)], "cancelled", vec![]),
    ];
    for (events, state, actions) in claimed {
        let run = two_steps(&events);
        assert_eq!((run.state.name(), next(&run)), (state, actions), "{events:?}");
    }
}

#[test]
fn a_failed_step_skips_the_ones_after_it() {
    let begun = [Event::Admitted, claimed("a"), intended(0), performed(0), verified(0)];
    let run = walk(
        &[OnFailure::Leave; 3],
        [&begun[..], &[Event::StepFailed { step: 1, error: failed() }]].concat(),
    );
    assert_eq!(run.state, State::Failed { error: failed() });
    assert!(matches!(run.steps[0].state, StepState::Succeeded { .. }));
    assert!(matches!(run.steps[1].state, StepState::Failed { receipt: None, .. }));
    assert_eq!(run.steps[2].state, StepState::Skipped);
}

#[test]
fn an_effect_that_failed_is_undone_as_a_step_of_its_own() {
    let run = undoing(&[Event::StepFailed { step: 0, error: failed() }]);
    assert_eq!((run.state.name(), run.steps.len(), run.steps[1].undoes), ("running", 2, Some(0)));
    assert_eq!(run.steps[1].call, run.steps[0].call);
    assert_eq!(next(&run), [Action::Prepare { step: 1 }]);
    let receipt = |run: &Run| match &run.steps[0].state {
        StepState::Failed { receipt, .. } => receipt.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(receipt(&run), Some(json!({"generation": 2})));
}

#[test]
fn a_run_that_was_undone_ends_as_its_step_did() {
    let fail = |step| Event::StepFailed { step, error: failed() };
    let undone = undoing(&[fail(0), intended(1), performed(1), verified(1)]);
    assert_eq!(
        undone.state,
        State::Failed {
            error: failed()
                .with_detail("undone", true)
                .with_remedy("it was undone; correct the cause before you repeat it")
        }
    );

    let stuck = undoing(&[fail(0), intended(1), fail(1)]);
    let undo = json!({"code": failed().code, "message": failed().message});
    assert_eq!(stuck.state, State::Failed { error: failed().with_detail("undo_failed", undo) });
    assert_eq!(stuck.steps.len(), 2);

    let asked = [Event::CancelRequested { undo: true }, fail(0), intended(1), performed(1)];
    for last in [fail(1), Event::StepCancelled { step: 1, error: cancelled() }] {
        let ended = undoing(&[&asked[..], &[last]].concat());
        assert_eq!((ended.state.is_final(), ended.steps.len()), (true, 2), "an undo is not undone");
    }

    let unclear = undoing(&[fail(0), intended(1), Event::StepUnknown { step: 1, error: failed() }]);
    assert_eq!(unclear.state, State::OutcomeUnknown { error: failed() });
}

#[test]
fn a_run_that_is_cancelled_leaves_its_effect_or_undoes_it() {
    let stop = |undo| Event::CancelRequested { undo };
    let stopped = |step| Event::StepCancelled { step, error: cancelled() };
    let left = two_steps(&[intended(0), performed(0), stop(false), stopped(0)]);
    assert_eq!((left.state.name(), left.steps.len()), ("cancelled", 2));

    let undone = [intended(0), performed(0), stop(true), stopped(0), intended(2), performed(2), verified(2)];
    let undone = two_steps(&undone);
    assert_eq!((undone.state.name(), undone.steps[2].undoes), ("cancelled", Some(0)));
    assert_eq!(undone.steps[1].state, StepState::Skipped);

    let nothing_done = two_steps(&[intended(0), performed(0), verified(0), stop(true), stopped(1)]);
    assert_eq!((nothing_done.state.name(), nothing_done.steps.len()), ("cancelled", 2));
}

#[test]
fn only_the_last_claim_counts() {
    let first = two_steps(&[intended(0)]);
    let taken = decide(&first, By::Anyone, claimed("b"), Timestamp::UNIX_EPOCH).unwrap().0;
    assert_eq!((first.fence, taken.fence), (1, 2));
    for by in [By::Holder(first.fence), By::Anyone] {
        let error = decide(&taken, by, performed(0), Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(error.code, Code::RunClaimLost);
    }
    decide(&taken, By::Holder(2), performed(0), Timestamp::UNIX_EPOCH).unwrap();

    let left = decide(&taken, By::Holder(2), Event::HandedOver, Timestamp::UNIX_EPOCH).unwrap().0;
    let error = decide(&left, By::Holder(2), performed(0), Timestamp::UNIX_EPOCH).unwrap_err();
    assert_eq!(error.code, Code::RunClaimLost, "nobody holds it");
}

#[test]
fn an_event_that_does_not_fit_is_refused_and_says_why() {
    let stop = Event::CancelRequested { undo: false };
    let refused = |run: &Run| {
        let error = decide(run, By::Anyone, stop.clone(), Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(error.code, Code::RunStateConflict);
        error.message
    };
    let done = undoing(&[verified(0)]);
    assert!(refused(&done).ends_with("is succeeded and can no longer be cancelled"), "{}", refused(&done));
    let stopping = two_steps(&[intended(0), stop.clone()]);
    assert!(refused(&stopping).ends_with("is being cancelled already"), "{}", refused(&stopping));
}

#[test]
fn a_stored_run_reads_back_the_same() {
    let run = undoing(&[Event::StepFailed { step: 0, error: failed() }, intended(1)]);
    let text = serde_json::to_string(&run).unwrap();
    assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), run);
}
