//! Approvals that must not count: of the wrong person, for the wrong thing, of something else by now.

use crate::script::{ada, lead, person, submission};
use crate::world::{Setup, World};
use astradesk_core::canonical::Digest;
use astradesk_core::guardrail::{Freeze, Rule};
use astradesk_core::run::{OnFailure, Step};
use astradesk_core::{Approval, Call, Code, Effect, FrozenCall, Guardrail, Principal, Run, Timestamp};
use astradesk_runtime::engine::Submission;
use serde_json::json;
use std::sync::atomic::Ordering;

fn agent(subject: &str, actor: &str) -> Principal {
    Principal { actor: Some(actor.into()), ..lead(subject) }
}

fn elsewhere(subject: &str) -> Principal {
    Principal { issuer: "https://other.example".into(), ..lead(subject) }
}

/// Who asked, who wants to approve it, and what they are told.
#[tokio::test(start_paused = true)]
async fn only_another_person_with_the_role_approves() {
    let table = [
        (lead("ada"), lead("ada"), Code::ApprovalBySelf, "directly"),
        (ada(), lead("ada"), Code::ApprovalBySelf, "by a second token, with more roles"),
        (lead("ada"), elsewhere("ada"), Code::ApprovalBySelf, "by a token of another issuer"),
        (lead("ada"), elsewhere("ADA"), Code::ApprovalBySelf, "by another spelling of the name"),
        (lead("ada"), agent("ada", "bot"), Code::ApprovalBySelf, "through an agent of one's own"),
        (lead("ada"), agent("bo", "ada"), Code::ApprovalBySelf, "as an agent of somebody"),
        (agent("ada", "bot"), lead("ada"), Code::ApprovalBySelf, "the person behind the agent that asked"),
        (agent("ada", "bot"), lead("bot"), Code::ApprovalBySelf, "the agent that asked"),
        (agent("ada", "bot"), agent("bo", "bot"), Code::ApprovalBySelf, "the same agent for somebody else"),
        (lead("ada"), agent("bo", "bot"), Code::ApprovalByAgent, "an agent for somebody"),
        (lead("ada"), person("aud", &["dev"]), Code::ApprovalRoleRequired, "somebody without the role"),
    ];
    for (asks, approves, code, how) in table {
        let world = World::asking(1);
        let submission = Submission { principal: asks, ..submission("restart", "webapp") };
        let run = world.admitted(submission).await;
        let refused = world.approve(&approves, run.id).await.unwrap_err();
        assert_eq!(refused.code, code, "{how}");
        world.looked_after().await;
        assert_eq!((world.stored(run.id), world.performed()), (run, 0), "{how}");
        let told = world.told("approval.refused").await;
        assert_eq!((&told["code"], &told["by"]), (&json!(code), &json!(approves)), "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_see_the_run_learns_nothing_of_it() {
    let world = World::asking(1);
    let run = world.awaiting("webapp").await;
    let refused = world.approve(&person("bob", &["dev"]), run.id).await.unwrap_err();
    assert_eq!(refused.code, Code::RunNotFound);
}

#[tokio::test(start_paused = true)]
async fn an_approval_is_for_one_run_and_for_one_time() {
    let world = World::asking(2);
    let run = world.awaiting("webapp").await;
    let same = world.awaiting("webapp").await;
    assert_eq!(run.steps[0].call.digest, same.steps[0].call.digest, "they do the same");
    world.approve(&lead("bo"), run.id).await.unwrap();
    let digest = world.digest(run.id);
    for (id, digest, code) in [
        (same.id, digest, Code::ApprovalDigestMismatch),
        (same.id, run.steps[0].call.digest, Code::ApprovalDigestMismatch),
        (same.id, Digest::ZERO, Code::ApprovalDigestMismatch),
        (run.id, digest, Code::ApprovalAlreadyGiven),
    ] {
        let refused = world.engine.approve(&lead("bo"), id, digest, "as before").await.unwrap_err();
        assert_eq!(refused.code, code);
    }
    assert_eq!(world.stored(same.id).approved_by(), []);
    world.approve(&lead("cy"), run.id).await.unwrap();
    world.ended(run.id).await;
    let again = world.engine.approve(&lead("dee"), run.id, digest, "again").await.unwrap_err();
    assert_eq!(again.code, Code::RunStateConflict);
    world.looked_after().await;
    assert_eq!(world.performed(), 1);
}

/// What may happen between the last approval and the beginning.
type Meanwhile = fn(&World);

const MEANWHILE: [(&str, Code, Meanwhile); 10] = [
    ("the call means another target", Code::ApprovalWithdrawn, |world| {
        *world.script.namespace.lock().unwrap() = "prod";
    }),
    ("the tool has another version", Code::ApprovalWithdrawn, |world| world.install("2")),
    ("the tool is gone", Code::ToolNotFound, |world| assert!(world.registry.remove("test"))),
    ("policy asks for more", Code::ApprovalWithdrawn, |world| world.policy.ask(2, "lead")),
    ("policy asks for others", Code::ApprovalWithdrawn, |world| world.policy.ask(1, "owner")),
    ("who asked lacks a role", Code::PolicyDenied, |world| {
        *world.policy.role.lock().unwrap() = Some("operator");
    }),
    ("the policy is gone", Code::PolicyDenied, |world| world.policy.on.store(false, Ordering::SeqCst)),
    ("a policy fails", Code::PolicyEvaluationFailed, |world| {
        world.policy.broken.store(true, Ordering::SeqCst);
    }),
    ("the time to begin has passed", Code::ApprovalExpired, |world| world.clock.pass(3600)),
    ("a freeze begins", Code::GuardFrozen, |world| world.clock.pass(100)),
];

#[tokio::test(start_paused = true)]
async fn what_changes_after_the_approval_withdraws_it() {
    let from = Timestamp::from_second(1_000_100).unwrap();
    let until = Timestamp::from_second(1_000_200).unwrap();
    let rule = Rule::Freeze(Freeze::Once { from, until });
    let freeze = Guardrail { name: "freeze".into(), tools: vec![], targets: vec![], rule };
    for (what, code, meanwhile) in MEANWHILE {
        let setup = Setup { guardrails: vec![freeze.clone()], ..Setup::default() };
        let (world, run) = World::approved_behind_another(setup).await;
        meanwhile(&world);
        let ended = world.ended_undone(run.id).await;
        let found = ended.state.error().map(|error| error.code);
        assert_eq!((ended.state.name(), found), ("failed", Some(code)), "{what}");
        let kinds = world.kinds(run.id).await;
        assert_eq!(kinds[3..], ["run.claimed", "run.finished"], "{what}");
    }
    // And what does not change does not.
    let (world, run) = World::approved_behind_another(Setup::default()).await;
    world.script.outcome.add_permits(100);
    assert_eq!(world.ended(run.id).await.state.name(), "succeeded");
}

/// A call of the same tool on something else, well-formed.
fn other_call(run: &Run) -> FrozenCall {
    let FrozenCall { tool, version, effect, .. } = run.steps[0].call.clone();
    let arguments = [("service".to_owned(), "payments".into())].into_iter().collect();
    let target = "kubernetes/test/default/deployment/payments".parse().unwrap();
    FrozenCall::new(Call { tool, arguments }, version, effect, vec![target])
}

fn forged(run: &Run, by: Principal) -> Approval {
    let digest = run.approvals.as_ref().unwrap().digest;
    Approval { by, at: run.created_at, digest, reason: "forged".into() }
}

fn given(run: &mut Run) -> &mut Vec<Approval> {
    &mut run.approvals.as_mut().unwrap().given
}

/// What somebody does to the run who can write to the store, but cannot approve.
type Tampering = fn(&mut Run);

const TAMPERING: [(&str, Code, Tampering); 15] = [
    ("its effect", Code::ApprovalWithdrawn, |run| run.steps[0].call.effect = Effect::Read),
    ("its arguments", Code::ApprovalWithdrawn, |run| {
        run.steps[0].call.arguments.insert("service".into(), "payments".into());
    }),
    ("an argument more", Code::ApprovalWithdrawn, |run| {
        run.steps[0].call.arguments.insert("undo".into(), true.into());
    }),
    ("its targets", Code::ApprovalWithdrawn, |run| {
        run.steps[0].call.targets = other_call(run).targets;
    }),
    ("its arguments and targets", Code::ApprovalWithdrawn, |run| {
        let digest = run.steps[0].call.digest;
        run.steps[0].call = FrozenCall { digest, ..other_call(run) };
    }),
    ("the whole call", Code::ApprovalWithdrawn, |run| run.steps[0].call = other_call(run)),
    ("a step more", Code::ApprovalWithdrawn, |run| {
        run.steps.push(Step::new(other_call(run), OnFailure::Leave));
    }),
    ("who asked", Code::ApprovalWithdrawn, |run| run.principal = lead("mallory")),
    ("why", Code::ApprovalWithdrawn, |run| run.reason = Some("another".into())),
    ("whether the glass is broken", Code::ApprovalWithdrawn, |run| run.break_glass = true),
    ("the digest that was seen", Code::ApprovalWithdrawn, |run| given(run)[0].digest = Digest::ZERO),
    ("an approval less", Code::ApprovalWithdrawn, |run| given(run).clear()),
    ("what is asked for", Code::ApprovalWithdrawn, |run| {
        run.approvals.as_mut().unwrap().required.count = 0;
        given(run).clear();
    }),
    ("that approval is needed", Code::ApprovalRequired, |run| run.approvals = None),
    ("the call with every digest", Code::ApprovalWithdrawn, |run| {
        run.steps[0].call = other_call(run);
        run.approvals.as_mut().unwrap().digest = run.digest();
    }),
];

/// The process ends while the approved run waits; it is tampered with in the store, and taken up by the next one.
async fn taken_up_after(what: &str, tampering: impl Fn(&mut Run)) -> Run {
    let (mut world, run) = World::approved_behind_another(Setup::default()).await;
    assert!(world.engine.stop(std::time::Duration::from_secs(5)).await);
    tampering(world.data.lock().unwrap().runs.get_mut(&run.id).unwrap());
    world.reborn().await;
    let ended = world.ended_undone(run.id).await;
    assert!(!world.kinds(run.id).await.contains(&"step.intended".to_owned()), "{what}");
    ended
}

#[tokio::test(start_paused = true)]
async fn what_is_executed_is_what_was_approved() {
    for (what, code, tampering) in TAMPERING {
        let ended = taken_up_after(what, tampering).await;
        let found = ended.state.error().map(|error| error.code);
        assert_eq!((ended.state.name(), found), ("failed", Some(code)), "{what}");
    }
}

/// An approval in the store counts only if it could have been given.
#[tokio::test(start_paused = true)]
async fn an_approval_that_nobody_could_have_given_does_not_count() {
    let injected: [(&str, Tampering); 6] = [
        ("for another digest", |run| {
            let other = Approval { digest: Digest::of("other"), ..forged(run, lead("cy")) };
            *given(run) = vec![other];
        }),
        ("of who asked", |run| *given(run) = vec![forged(run, lead("ada"))]),
        ("of an agent", |run| *given(run) = vec![forged(run, agent("cy", "bot"))]),
        ("of somebody without the role", |run| *given(run) = vec![forged(run, person("cy", &["dev"]))]),
        ("too late", |run| {
            let at = run.approvals.as_ref().unwrap().expires_at;
            *given(run) = vec![Approval { at, ..forged(run, lead("cy")) }];
        }),
        ("twice", |run| {
            let again = forged(run, elsewhere("bo"));
            given(run).push(again);
        }),
    ];
    for (what, tampering) in injected {
        let ended = taken_up_after(what, tampering).await;
        let found = ended.state.error().map(|error| error.code);
        assert_eq!((ended.state.name(), found), ("failed", Some(Code::ApprovalWithdrawn)), "{what}");
    }
}
