//! The run's state machine: the paths by table, and its promises under any order of events.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap in a test is a failed test")]

use astradesk_core::run::{Action, Event, Run, RunId, State, Step, StepState, decide, next};
use astradesk_core::{Call, Code, Effect, Error, FrozenCall, Principal, Source, Timestamp, ToolName};
use proptest::prelude::*;
use serde_json::{Value, json};

fn run(steps: usize) -> Run {
    let call = FrozenCall::new(
        Call { tool: ToolName::parse("restart_service").unwrap(), arguments: serde_json::Map::new() },
        "1".into(),
        Effect::Write,
        vec!["kubernetes/prod/default/deployment/webapp".parse().unwrap()],
    );
    Run {
        id: RunId::parse("01890a5d-ac96-774b-bcce-b302099a8057").unwrap(),
        version: 1,
        principal: Principal { subject: "ada".into(), issuer: "local".into(), roles: [].into(), actor: None },
        source: Source::Cli,
        agent: None,
        input: None,
        planner: "direct".into(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        state: State::Submitted,
        steps: vec![Step { call, state: StepState::Pending }; steps],
        cancel_requested: false,
    }
}

fn failed() -> Error {
    Error::new(Code::RolloutCrashLoop, "it crashes")
}

fn walk(steps: usize, events: Vec<Event>) -> (Run, Vec<Action>) {
    events.into_iter().fold((run(steps), vec![]), |(run, _), event| {
        decide(&run, event, Timestamp::UNIX_EPOCH).expect("the event fits")
    })
}

fn step_through(step: usize) -> Vec<Event> {
    vec![
        Event::StepIntended { step },
        Event::StepPerformed { step, receipt: json!({}) },
        Event::StepVerified { step, output: json!({"ok": true}) },
    ]
}

#[test]
fn the_actions_follow_the_state() {
    let table: Vec<(Vec<Event>, &str, Vec<Action>)> = vec![
        (vec![], "submitted", vec![]),
        (vec![Event::Admitted], "queued", vec![Action::Prepare { step: 0 }]),
        (vec![Event::ApprovalNeeded], "awaiting_approval", vec![Action::RequestApproval]),
        (vec![Event::ApprovalNeeded, Event::Approved], "queued", vec![Action::Prepare { step: 0 }]),
        (vec![Event::ApprovalNeeded, Event::Rejected(failed())], "rejected", vec![]),
        (vec![Event::ApprovalNeeded, Event::ApprovalExpired], "expired", vec![]),
        (vec![Event::Denied(failed())], "denied", vec![]),
        (
            vec![Event::Admitted, Event::StepIntended { step: 0 }],
            "running",
            vec![Action::Perform { step: 0 }],
        ),
        (vec![Event::Admitted, Event::StepFailed { step: 0, error: failed() }], "failed", vec![]),
        (
            [vec![Event::Admitted], step_through(0)[..2].to_vec()].concat(),
            "running",
            vec![Action::Verify { step: 0 }],
        ),
        ([vec![Event::Admitted], step_through(0)].concat(), "running", vec![Action::Prepare { step: 1 }]),
        ([vec![Event::Admitted], step_through(0), step_through(1)].concat(), "succeeded", vec![]),
        (
            vec![
                Event::Admitted,
                Event::StepIntended { step: 0 },
                Event::StepUnknown { step: 0, error: failed() },
            ],
            "outcome_unknown",
            vec![],
        ),
        (vec![Event::Admitted, Event::CancelRequested], "cancelled", vec![]),
        (
            vec![Event::Admitted, Event::StepIntended { step: 0 }, Event::CancelRequested],
            "running",
            vec![Action::Perform { step: 0 }, Action::Interrupt],
        ),
    ];
    for (events, state, actions) in table {
        let (run, _) = walk(2, events.clone());
        assert_eq!((run.state.name(), next(&run)), (state, actions), "{events:?}");
    }
}

#[test]
fn a_failed_step_skips_the_ones_after_it() {
    let (run, _) = walk(
        3,
        [vec![Event::Admitted], step_through(0), vec![Event::StepFailed { step: 1, error: failed() }]]
            .concat(),
    );
    assert_eq!(run.state, State::Failed { error: failed() });
    assert!(matches!(run.steps[0].state, StepState::Succeeded { .. }));
    assert!(matches!(run.steps[1].state, StepState::Failed { .. }));
    assert_eq!(run.steps[2].state, StepState::Skipped);
}

#[test]
fn an_event_that_does_not_fit_is_refused_and_says_why() {
    let (done, _) = walk(1, [vec![Event::Admitted], step_through(0)].concat());
    let error = decide(&done, Event::CancelRequested, Timestamp::UNIX_EPOCH).unwrap_err();
    assert_eq!(error.code, Code::RunStateConflict);
    assert!(error.message.ends_with("is succeeded and can no longer be cancelled"), "{error}");
}

#[test]
fn a_stored_run_reads_back_the_same() {
    let (run, _) = walk(2, [vec![Event::Admitted], step_through(0)].concat());
    let text = serde_json::to_string(&run).unwrap();
    assert_eq!(serde_json::from_str::<Run>(&text).unwrap(), run);
}

fn any_event() -> impl Strategy<Value = Event> {
    let step = 0_usize..3;
    prop_oneof![
        Just(Event::Admitted),
        Just(Event::ApprovalNeeded),
        Just(Event::Denied(failed())),
        Just(Event::Approved),
        Just(Event::Rejected(failed())),
        Just(Event::ApprovalExpired),
        Just(Event::CancelRequested),
        step.clone().prop_map(|step| Event::StepIntended { step }),
        step.clone().prop_map(|step| Event::StepPerformed { step, receipt: Value::Null }),
        step.clone().prop_map(|step| Event::StepVerified { step, output: Value::Null }),
        step.clone().prop_map(|step| Event::StepFailed { step, error: failed() }),
        step.clone().prop_map(|step| Event::StepUnknown { step, error: failed() }),
        step.prop_map(|step| Event::StepCancelled { step, error: failed() }),
    ]
}

proptest! {
    #[test]
    fn no_order_of_events_breaks_a_promise(events in prop::collection::vec(any_event(), 0..60)) {
        let mut current = run(2);
        let mut intents = [0; 2];
        for (i, event) in events.into_iter().enumerate() {
            let at = Timestamp::from_second(i64::try_from(i).unwrap()).unwrap();
            let intended = match event { Event::StepIntended { step } => Some(step), _ => None };
            let Ok((after, actions)) = decide(&current, event, at) else { continue };

            prop_assert!(!current.state.is_final(), "nothing leaves a final state");
            prop_assert_eq!(after.version, current.version + 1);
            prop_assert_eq!(&actions, &next(&after), "what follows is derived from the state alone");
            prop_assert_eq!(after.state.is_final(), actions.is_empty());
            if let Some(step) = intended {
                intents[step] += 1;
                prop_assert_eq!(intents[step], 1, "an effect is intended once");
            }
            if after.state == State::Succeeded {
                let all = after.steps.iter().all(|s| matches!(s.state, StepState::Succeeded { .. }));
                prop_assert!(all, "success means that every step was verified");
            }
            for pair in after.steps.windows(2) {
                let begun = !matches!(pair[1].state, StepState::Pending | StepState::Skipped);
                prop_assert!(!begun || matches!(pair[0].state, StepState::Succeeded { .. }), "steps are in order");
            }
            current = after;
        }
    }
}
