//! The promises of a run, under any order of events, duplicates and outdated claims.

use super::{asked, cancelled, claimed, failed, given, is_holders, person, run};
use astradesk_core::approval::is_same_person;
use astradesk_core::run::{By, Event, Holder, OnFailure, Run, State, Step, StepState, decide, next};
use astradesk_core::{Code, Principal, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Who contends for the run.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// What somebody tries.
#[derive(Debug, Clone)]
enum Try {
    /// Contender `0` claims the run.
    Claim(usize),
    /// The contender brings an event of the step in progress, or of another, with the fence of its last claim.
    Bring(usize, Kind, Option<usize>),
    /// Whoever holds the run brings an event of the step in progress, or of another.
    GoOn(Kind, Option<usize>),
    /// Whoever holds the run brings what comes next if all goes well.
    Next,
    /// Somebody who claimed nothing brings an event.
    Say(Event),
    /// What was brought last comes again.
    Again,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Intended,
    Performed,
    Verified,
    Failed,
    Unknown,
    Cancelled,
    HandedOver,
}

fn event(kind: Kind, step: usize) -> Event {
    match kind {
        Kind::Intended => Event::StepIntended { step, intent: Value::Null },
        Kind::Performed => Event::StepPerformed { step, receipt: json!({"step": step}) },
        Kind::Verified => Event::StepVerified { step, output: Value::Null },
        Kind::Failed => Event::StepFailed { step, error: failed() },
        Kind::Unknown => Event::StepUnknown { step, error: failed() },
        Kind::Cancelled => Event::StepCancelled { step, error: cancelled() },
        Kind::HandedOver => Event::HandedOver,
    }
}

fn any_kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        6 => Just(Kind::Intended),
        6 => Just(Kind::Performed),
        4 => Just(Kind::Verified),
        4 => Just(Kind::Failed),
        1 => Just(Kind::Unknown),
        4 => Just(Kind::Cancelled),
        1 => Just(Kind::HandedOver),
    ]
}

/// `ada` is who asked.
fn any_person() -> impl Strategy<Value = Principal> {
    let leads = || ["bo", "cy", "ada"].map(|name| person(name, &["lead"]));
    let agent = Principal { actor: Some("bot".into()), ..person("dee", &["lead"]) };
    let any = [leads().to_vec(), vec![person("dee", &[]), person("ADA", &["lead"]), agent]].concat();
    prop::sample::select(any)
}

fn any_try() -> impl Strategy<Value = Try> {
    let said = prop_oneof![
        6 => Just(Event::Admitted),
        3 => (1_u32..3, 0_u32..2).prop_map(|(count, leads)| asked(count, leads)),
        6 => (any_person(), 0_i64..120).prop_map(|(by, second)| given(&by, second)),
        2 => any_person().prop_map(Event::ApprovalRevoked),
        1 => Just(Event::Denied(failed())),
        1 => Just(Event::Rejected(failed())),
        1 => Just(Event::ApprovalExpired),
        1 => any_kind().prop_map(|kind| event(kind, 0)),
    ];
    let another = prop::option::weighted(0.2, 0_usize..4);
    prop_oneof![
        2 => (0..NAMES.len()).prop_map(Try::Claim),
        3 => (0..NAMES.len(), any_kind(), another.clone())
            .prop_map(|(who, kind, step)| Try::Bring(who, kind, step)),
        5 => (any_kind(), another).prop_map(|(kind, step)| Try::GoOn(kind, step)),
        6 => Just(Try::Next),
        4 => said.prop_map(Try::Say),
        1 => any::<bool>().prop_map(|undo| Try::Say(Event::CancelRequested { undo })),
        1 => Just(Try::Again),
    ]
}

fn any_steps() -> impl Strategy<Value = Vec<OnFailure>> {
    prop::collection::vec(prop_oneof![Just(OnFailure::Leave), Just(OnFailure::Undo)], 1..4)
}

/// What was tried, as the state machine takes it.
fn said(attempt: &Try, run: &Run, fences: [u64; 3], last: &(By, Event)) -> (By, Event) {
    let current = match run.state {
        State::Running { step } => step,
        _ => 0,
    };
    match attempt {
        Try::Claim(who) => (By::Anyone, claimed(NAMES[*who])),
        Try::Bring(who, kind, step) => (By::Holder(fences[*who]), event(*kind, step.unwrap_or(current))),
        Try::GoOn(kind, step) => (By::Holder(run.fence), event(*kind, step.unwrap_or(current))),
        Try::Next => (By::Holder(run.fence), event(kind_after(run, current), current)),
        Try::Say(event) => (By::Anyone, event.clone()),
        Try::Again => last.clone(),
    }
}

fn kind_after(run: &Run, step: usize) -> Kind {
    match run.steps.get(step).map(|step| &step.state) {
        Some(StepState::Intended { .. }) => Kind::Performed,
        Some(StepState::Performed { .. }) => Kind::Verified,
        _ => Kind::Intended,
    }
}

/// Counts what was accepted.
#[derive(Default)]
struct Seen {
    intents: Vec<(u32, Timestamp)>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn no_order_of_events_and_claims_breaks_a_promise(
        steps in any_steps(),
        begun in any::<bool>(),
        tries in prop::collection::vec((any_try(), 0_i64..40), 0..60),
    ) {
        let mut current = run(&steps);
        let mut fences = [0; 3];
        let mut seen = Seen::default();
        let mut last = (By::Anyone, Event::Admitted);
        let begin = [(Try::Say(Event::Admitted), 0), (Try::Claim(0), 0)];
        for (attempt, second) in begin.into_iter().filter(|_| begun).chain(tries) {
            let (by, event) = said(&attempt, &current, fences, &last);
            last = (by, event.clone());
            let at = Timestamp::from_second(second).unwrap();
            let entitled = current.holder.is_some() && by == By::Holder(current.fence);
            match decide(&current, by, event.clone(), at) {
                Err(error) if is_holders(&event) && !entitled => {
                    prop_assert_eq!(error.code, Code::RunClaimLost);
                }
                Err(error) if error.code.as_str().starts_with("approval.") => {
                    prop_assert!(matches!(event, Event::ApprovalGiven(_) | Event::ApprovalRevoked(_)));
                }
                Err(error) => prop_assert_eq!(error.code, Code::RunStateConflict),
                Ok((after, actions)) => {
                    prop_assert!(!is_holders(&event) || entitled, "an outdated claim was let through");
                    prop_assert_eq!(&actions, &next(&after), "what follows is derived from the state alone");
                    prop_assert_eq!(after.state.is_final(), actions.is_empty());
                    follows(&current, &event, &after, at)?;
                    counts(&event, &after, &mut seen)?;
                    holds(&after)?;
                    if let Try::Claim(who) = attempt {
                        fences[who] = after.fence;
                    }
                    current = after;
                }
            }
        }
    }
}

/// What must be true of a change.
fn follows(before: &Run, event: &Event, after: &Run, at: Timestamp) -> Result<(), TestCaseError> {
    prop_assert!(!before.state.is_final(), "nothing leaves a final state");
    prop_assert_eq!(after.version, before.version + 1);
    prop_assert_eq!(after.updated_at, at.max(before.updated_at), "a history does not go back");
    let claims = u64::from(matches!(event, Event::Claimed(_)));
    prop_assert_eq!(after.fence, before.fence + claims, "a fence counts claims and nothing else");
    if let Event::Claimed(holder) = event {
        prop_assert_eq!(after.holder.as_ref(), Some(holder));
    }
    match event {
        Event::CancelRequested { undo } => {
            prop_assert!(!before.cancel_requested, "a run is cancelled once");
            prop_assert_eq!((after.cancel_requested, after.undo_requested), (true, *undo));
        }
        Event::StepCancelled { .. } => prop_assert!(before.cancel_requested, "somebody asked for it"),
        _ => prop_assert_eq!(
            (after.cancel_requested, after.undo_requested),
            (before.cancel_requested, before.undo_requested)
        ),
    }
    if before.state == State::AwaitingApproval && after.state == State::Queued {
        let approvals = after.approvals.as_ref().expect("it awaited some");
        prop_assert!(approvals.are_met(), "nothing goes on with too few approvals");
    }
    let given = after.approved_by();
    for (place, one) in given.iter().enumerate() {
        prop_assert!(!is_same_person(&one.by, &after.principal), "nobody approves their own run");
        prop_assert!(one.by.actor.is_none(), "no agent approves");
        prop_assert!(
            given[..place].iter().all(|other| !is_same_person(&one.by, &other.by)),
            "each counts once"
        );
    }
    for (was, is) in before.steps.iter().zip(&after.steps) {
        prop_assert_eq!((&was.call, was.undoes), (&is.call, is.undoes), "a step is what it was");
        prop_assert!(was.begun_at.is_none() || was.begun_at == is.begun_at, "a step begins once");
        prop_assert!(!has_ended(was) || was.state == is.state, "nothing happens to a step that has ended");
    }
    Ok(())
}

/// What must be true of a step's intents.
fn counts(event: &Event, after: &Run, seen: &mut Seen) -> Result<(), TestCaseError> {
    let Event::StepIntended { step, .. } = event else { return Ok(()) };
    if seen.intents.len() <= *step {
        seen.intents.resize(step + 1, (0, after.updated_at));
    }
    let (intents, first) = &mut seen.intents[*step];
    if *intents == 0 {
        *first = after.updated_at;
    }
    *intents += 1;
    prop_assert_eq!(after.steps[*step].begun_at, Some(*first));
    let StepState::Intended { attempt, .. } = after.steps[*step].state else {
        return Err(TestCaseError::fail("the step was intended, and is not"));
    };
    prop_assert_eq!(attempt, *intents);
    Ok(())
}

/// What must be true of every run.
fn holds(run: &Run) -> Result<(), TestCaseError> {
    let undos: Vec<(usize, usize)> =
        run.steps.iter().enumerate().filter_map(|(step, s)| s.undoes.map(|undone| (step, undone))).collect();
    prop_assert!(undos.len() <= 1, "at most one step undoes");
    if let Some((undo, undone)) = undos.first() {
        prop_assert_eq!(undo + 1, run.steps.len(), "it is the last one");
        prop_assert!(run.steps[..*undo].iter().all(has_ended), "nothing else is done any more");
        prop_assert!(
            matches!(&run.steps[*undone].state, StepState::Failed { receipt: Some(_), .. }),
            "only what was performed and failed is undone"
        );
        prop_assert!(
            run.undo_requested || run.steps[*undone].on_failure == OnFailure::Undo,
            "it was asked for"
        );
    }
    in_order(run)?;
    if run.state.is_final() {
        prop_assert_eq!(&run.holder, &None::<Holder>, "nobody holds what has ended");
        prop_assert!(run.steps.iter().all(has_ended), "every step of it has ended");
        prop_assert_eq!(&run.state, &end_of(run, undos.first().copied()));
    } else if let State::Running { step } = run.state {
        prop_assert!(!has_ended(&run.steps[step]), "a run works on a step that has not ended");
    }
    Ok(())
}

/// Each step begins only after the one before it succeeded, or to undo one.
fn in_order(run: &Run) -> Result<(), TestCaseError> {
    for pair in run.steps.windows(2) {
        let begun = pair[1].begun_at.is_some();
        let succeeded = matches!(pair[0].state, StepState::Succeeded { .. });
        prop_assert!(!begun || succeeded || pair[1].undoes.is_some(), "steps are in order");
    }
    for step in &run.steps {
        let begun = matches!(
            step.state,
            StepState::Intended { .. }
                | StepState::Performed { .. }
                | StepState::Succeeded { .. }
                | StepState::Unknown { .. }
        );
        prop_assert!(!begun || step.begun_at.is_some(), "a step that was begun says when");
    }
    Ok(())
}

fn has_ended(step: &Step) -> bool {
    !matches!(step.state, StepState::Pending | StepState::Intended { .. } | StepState::Performed { .. })
}

/// How a run must have ended, by its steps alone where they say it.
fn end_of(run: &Run, undo: Option<(usize, usize)>) -> State {
    let unknown = run.steps.iter().find_map(|step| match &step.state {
        StepState::Unknown { error, .. } => Some(error.clone()),
        _ => None,
    });
    if let Some(error) = unknown {
        return State::OutcomeUnknown { error };
    }
    let error_of = |step: usize| match &run.steps[step].state {
        StepState::Failed { error, .. } => Some(error.clone()),
        _ => None,
    };
    if let Some((undo, undone)) = undo {
        let cause = error_of(undone).expect("what is undone has failed");
        return match error_of(undo) {
            Some(error) if error.code == Code::RunCancelled => State::Cancelled,
            Some(error) => {
                let failed = json!({"code": error.code, "message": error.message});
                State::Failed { error: cause.with_detail("undo_failed", failed) }
            }
            None if cause.code == Code::RunCancelled => State::Cancelled,
            None => {
                let remedy = "it was undone; correct the cause before you repeat it";
                State::Failed { error: cause.with_detail("undone", true).with_remedy(remedy) }
            }
        };
    }
    match (0..run.steps.len()).find_map(error_of) {
        Some(error) if error.code == Code::RunCancelled => State::Cancelled,
        Some(error) => State::Failed { error },
        None if run.steps.iter().all(|step| matches!(step.state, StepState::Succeeded { .. })) => {
            State::Succeeded
        }
        // Nothing failed and not everything was done: it was stopped before it began, or between two steps.
        None if run.cancel_requested => State::Cancelled,
        None => match &run.state {
            refused @ (State::Denied { .. } | State::Rejected { .. } | State::Expired) => refused.clone(),
            other => panic!("a run cannot end so without a reason: {other:?}"),
        },
    }
}
