//! What a client does, and how the runs may end.

use crate::client::Client;
use crate::memory::Data;
use crate::tool::call;
use crate::world::Setup;
use astradesk_core::run::{OnFailure, StepState};
use astradesk_core::{Call, Code, RunId};
use std::sync::atomic::Ordering;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    One,
    TwoSteps,
    Failing,
    Undone,
    UndoFails,
    CancelledInTheQueue,
    CancelledWhilePerforming,
    CancelledWhileVerifying,
    CancelledAndUndone,
    CancelledDuringTheUndo,
    SameKey,
    OtherBody,
    SecondWrite,
    Read,
    DryRun,
    QueueFull,
    DeniedLater,
    /// Two of the leads must agree, and do so at once.
    Approved,
    /// One of them takes it back, and a third one agrees.
    Revoked,
    /// There is one restart left for two runs.
    Budgeted,
    /// The same while processes look after approvals, policies and checkpoints; not among [`ALL`](Self::ALL).
    Tended,
    /// A rollout that takes longer than a lease; not among [`ALL`](Self::ALL), since it passes many gates.
    Slow,
}

use Scenario::{
    Approved, Budgeted, CancelledAndUndone, CancelledDuringTheUndo, CancelledInTheQueue,
    CancelledWhilePerforming, CancelledWhileVerifying, DeniedLater, DryRun, Failing, One, OtherBody,
    QueueFull, Read, Revoked, SameKey, SecondWrite, Slow, Tended, TwoSteps, UndoFails, Undone,
};

impl Scenario {
    pub(crate) const ALL: [Self; 20] = [
        One,
        TwoSteps,
        Failing,
        Undone,
        UndoFails,
        CancelledInTheQueue,
        CancelledWhilePerforming,
        CancelledWhileVerifying,
        CancelledAndUndone,
        CancelledDuringTheUndo,
        SameKey,
        OtherBody,
        SecondWrite,
        Read,
        DryRun,
        QueueFull,
        DeniedLater,
        Approved,
        Revoked,
        Budgeted,
    ];

    pub(crate) fn setup(self) -> Setup {
        let setup = Setup::default();
        match self {
            Failing | Undone | CancelledDuringTheUndo => Setup { failing: &["a"], ..setup },
            UndoFails => Setup { failing: &["a"], failing_undo: &["a"], ..setup },
            CancelledInTheQueue | DeniedLater => Setup { concurrent: 1, ..setup },
            CancelledWhilePerforming => Setup { slow_patches: true, ..setup },
            QueueFull => Setup { concurrent: 1, queued: 1, ..setup },
            Slow => Setup { slow_verify: true, ..setup },
            Approved => Setup { approvals: 2, webhooks: &["ops"], ..setup },
            Tended => Setup { approvals: 2, webhooks: &["ops"], tended: true, ..setup },
            Revoked => Setup { approvals: 2, webhooks: &["ops", "audit"], ..setup },
            Budgeted => Setup { budget: Some(1), ..setup },
            _ => setup,
        }
    }

    /// How the runs end when nothing breaks, in the order of their submission.
    pub(crate) const fn ends(self) -> &'static [&'static str] {
        match self {
            One | Slow | TwoSteps | SameKey | OtherBody | Read | Approved | Revoked | Tended => {
                &["succeeded"]
            }
            Failing | Undone | UndoFails => &["failed"],
            CancelledInTheQueue => &["succeeded", "cancelled"],
            CancelledWhilePerforming
            | CancelledWhileVerifying
            | CancelledAndUndone
            | CancelledDuringTheUndo => &["cancelled"],
            SecondWrite => &["succeeded", "denied"],
            DryRun => &[],
            QueueFull => &["succeeded", "succeeded", "denied"],
            DeniedLater | Budgeted => &["succeeded", "failed"],
        }
    }

    /// How a run may end when a process dies or stands still, or the store is away for a moment: the effects
    /// are as good as ever, but a cancellation may come late, and a refusal after what it was to refuse.
    pub(crate) const fn may_end(self) -> &'static [&'static str] {
        match self {
            One | Slow | TwoSteps | SameKey | OtherBody | Read | DryRun | Approved | Revoked | Tended => {
                &["succeeded"]
            }
            Failing | Undone | UndoFails => &["failed"],
            CancelledInTheQueue | CancelledWhilePerforming | CancelledWhileVerifying | CancelledAndUndone => {
                &["cancelled", "succeeded"]
            }
            CancelledDuringTheUndo => &["cancelled", "failed"],
            SecondWrite | DeniedLater | Budgeted => &["succeeded", "failed", "denied"],
            QueueFull => &["succeeded", "denied"],
        }
    }

    /// The client's part. It begins anew in each life, and finds what it began before by its keys.
    pub(crate) async fn play(self, client: &Client) {
        match self {
            One | Slow | Failing => self.simple(client, call("restart", "a")).await,
            Undone | UndoFails => self.simple(client, undoing()).await,
            Read => self.simple(client, call("look", "a")).await,
            TwoSteps => {
                let Ok(run) = client.say("k1", "a b").await else { return };
                client.ended(run.id).await;
            }
            DryRun => {
                let _ = client.preview(call("restart", "a")).await;
            }
            CancelledInTheQueue => self.cancelled_in_the_queue(client).await,
            CancelledWhilePerforming => {
                cancel(client, call("restart", "a"), OnFailure::Leave, is_intended).await;
            }
            CancelledWhileVerifying => {
                cancel(client, call("restart", "a"), OnFailure::Leave, is_performed).await;
            }
            CancelledAndUndone => cancel(client, call("restart", "a"), OnFailure::Undo, is_performed).await,
            CancelledDuringTheUndo => cancel(client, undoing(), OnFailure::Leave, is_undoing).await,
            SameKey => Box::pin(same_key(client)).await,
            OtherBody => other_body(client).await,
            SecondWrite => second_write(client).await,
            QueueFull => queue_full(client).await,
            DeniedLater => denied_later(client).await,
            Approved | Tended => Box::pin(approved(client)).await,
            Revoked => Box::pin(revoked(client)).await,
            Budgeted => Box::pin(budgeted(client)).await,
        }
    }

    async fn simple(self, client: &Client, call: Call) {
        if let Ok(run) = client.call("k1", call).await {
            client.ended(run.id).await;
        }
    }

    async fn cancelled_in_the_queue(self, client: &Client) {
        let Ok(first) = client.call("k1", call("restart", "b")).await else { return };
        if let Ok(second) = client.call("k2", call("restart", "a")).await {
            client.cancel(second.id, OnFailure::Leave).await;
            client.ended(second.id).await;
        }
        client.ended(first.id).await;
    }
}

/// A restart that is to be undone if it fails.
pub(crate) fn undoing() -> Call {
    let mut call = call("restart", "a");
    call.arguments.insert("undo".to_owned(), true.into());
    call
}

/// Submits, waits until the run is somewhere or has ended, and cancels it.
async fn cancel(client: &Client, call: Call, on_effect: OnFailure, there: fn(&Data, RunId) -> bool) {
    let Ok(run) = client.call("k1", call).await else { return };
    let ended = |data: &Data| data.runs[&run.id].state.is_final();
    client.until(|data| there(data, run.id) || ended(data)).await;
    client.cancel(run.id, on_effect).await;
    client.ended(run.id).await;
}

fn is_intended(data: &Data, run: RunId) -> bool {
    matches!(data.runs[&run].steps[0].state, StepState::Intended { .. })
}

fn is_performed(data: &Data, run: RunId) -> bool {
    matches!(data.runs[&run].steps[0].state, StepState::Performed { .. })
}

fn is_undoing(data: &Data, run: RunId) -> bool {
    data.runs[&run].steps.get(1).is_some_and(|undo| matches!(undo.state, StepState::Performed { .. }))
}

async fn same_key(client: &Client) {
    let submit = || client.call("k1", call("restart", "a"));
    let (first, second, third) = tokio::join!(submit(), submit(), submit());
    for run in [first, second, third].into_iter().flatten() {
        client.ended(run.id).await;
    }
    let _ = submit().await;
}

async fn other_body(client: &Client) {
    let Ok(run) = client.call("k1", call("restart", "a")).await else { return };
    match client.call("k1", call("restart", "b")).await {
        Err(error) if error.code == Code::RequestIdempotencyConflict => {}
        other => client.world.violate(format!("another request had the same key: {other:?}")),
    }
    client.ended(run.id).await;
}

async fn second_write(client: &Client) {
    let Ok(first) = client.call("k1", call("restart", "a")).await else { return };
    match client.call("k2", call("restart", "a")).await {
        Ok(second) => client.ended(second.id).await,
        Err(error) if error.code == Code::GuardTargetLocked => {}
        Err(error) if error.code == Code::KubernetesUnavailable || error.code == Code::PolicyDenied => {}
        Err(error) => client.world.violate(format!("the second write was refused: {error:?}")),
    }
    client.ended(first.id).await;
}

async fn queue_full(client: &Client) {
    let mut runs = Vec::new();
    for (key, service) in [("k1", "a"), ("k2", "b"), ("k3", "c")] {
        runs.extend(client.call(key, call("restart", service)).await);
    }
    for run in runs {
        client.ended(run.id).await;
    }
}

async fn denied_later(client: &Client) {
    let first = client.call("k1", call("restart", "b")).await;
    let second = client.call("k2", call("restart", "a")).await;
    if first.is_ok() && second.is_ok() {
        client.world.permits.store(false, Ordering::SeqCst);
    }
    for run in [first, second].into_iter().flatten() {
        client.ended(run.id).await;
    }
}

async fn approved(client: &Client) {
    let Ok(run) = client.call("k1", call("restart", "a")).await else { return };
    tokio::join!(client.agree("bo", run.id, true), client.agree("cy", run.id, true));
    client.ended(run.id).await;
}

async fn revoked(client: &Client) {
    let Ok(run) = client.call("k1", call("restart", "a")).await else { return };
    for (by, yes) in [("bo", true), ("bo", false), ("cy", true), ("dee", true)] {
        client.agree(by, run.id, yes).await;
    }
    client.ended(run.id).await;
}

async fn budgeted(client: &Client) {
    let submit = |key, service| client.call(key, call("restart", service));
    let (first, second) = tokio::join!(submit("k1", "x1"), submit("k2", "x2"));
    for run in [first, second].into_iter().flatten() {
        client.ended(run.id).await;
    }
}
