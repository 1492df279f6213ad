//! Runs, changes and locks for the tests.

#![expect(clippy::unwrap_used, reason = "the helpers of tests: a failed unwrap is a failed test")]

use astradesk_core::canonical::Digest;
use astradesk_core::evidence::{Draft, Head, Kind};
use astradesk_core::run::{OnFailure, State, Step};
use astradesk_core::{
    Call, Effect, Error, FrozenCall, Plan, Principal, RoleName, Run, RunId, Source, Target,
};
use astradesk_core::{Code, Timestamp, ToolName};
use astradesk_runtime::port::{Change, EventDraft, EvidenceFilter, IdempotencyKey, LockChange, Store};
use astradesk_store::SqliteStore;
use serde_json::json;
use std::time::Duration;

/// A fresh id, later than those before it.
pub(crate) fn id() -> RunId {
    RunId::from_uuid(uuid::Uuid::now_v7())
}

/// The time `seconds` after the epoch.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
}

/// The deployment of this name.
pub(crate) fn target(name: &str) -> Target {
    format!("kubernetes/prod/default/deployment/{name}").parse().unwrap()
}

/// Somebody of this name.
pub(crate) fn principal(subject: &str) -> Principal {
    Principal {
        subject: subject.to_owned(),
        issuer: "test".to_owned(),
        roles: [RoleName::parse("sre").unwrap()].into(),
        actor: None,
    }
}

/// A run of `tools` for `subject`, in its first version.
pub(crate) fn run_of(subject: &str, tools: &[&str]) -> Run {
    let call = |tool: &&str| {
        Plan::direct(Call { tool: ToolName::parse(*tool).unwrap(), arguments: serde_json::Map::new() })
    };
    let frozen = |call| FrozenCall::new(call, "1".to_owned(), Effect::Write, vec![target("webapp")]);
    let steps = tools.iter().flat_map(|tool| call(tool).calls);
    let steps = steps.map(|call| Step::new(frozen(call), OnFailure::Leave));
    Run {
        id: id(),
        version: 1,
        principal: principal(subject),
        source: Source::Http,
        agent: None,
        input: None,
        planner: "direct".to_owned(),
        created_at: at(1),
        updated_at: at(1),
        deadline: at(1000),
        holder: None,
        fence: 0,
        state: State::Queued,
        steps: steps.collect(),
        reason: None,
        break_glass: false,
        trace: None,
        approvals: None,
        cancel_requested: false,
        undo_requested: false,
    }
}

/// A run of `restart_service`.
pub(crate) fn run() -> Run {
    run_of("ada", &["restart_service"])
}

/// The same run, `by` versions later, in `state`.
pub(crate) fn later(run: &Run, by: u64, state: State) -> Run {
    Run { version: run.version + by, state, ..run.clone() }
}

/// A state with an error in it.
pub(crate) fn failed() -> State {
    State::Failed { error: Error::new(Code::RolloutNotReady, "`web'app` \"is\" not ready") }
}

/// A record for the chain.
pub(crate) fn draft(run: Option<RunId>) -> Draft {
    Draft {
        at: at(2),
        kind: Kind::Admitted,
        run,
        principal: Some(principal("ada")),
        trace: None,
        data: json!({"a": "ż'\""}),
    }
}

/// A change with a run and one record.
pub(crate) fn change(run: &Run) -> Change {
    Change { run: Some(run.clone()), evidence: vec![draft(Some(run.id))], ..Change::default() }
}

/// An event of a run.
pub(crate) fn event(run: RunId, n: u64) -> EventDraft {
    EventDraft { run, at: at(3), kind: "state".to_owned(), data: json!({"n": n}) }
}

/// Takes the lock of `name`.
pub(crate) fn acquire(name: &str, run: RunId) -> LockChange {
    LockChange::Acquire { target: target(name), run }
}

/// A change with a run that takes a lock.
pub(crate) fn locking(name: &str, run: &Run) -> Change {
    Change { locks: vec![acquire(name, run.id)], ..change(run) }
}

/// A key of `ada`, made at second `now`, for 60 seconds.
pub(crate) fn key(name: &str, request: &str, run: RunId, now: i64) -> IdempotencyKey {
    IdempotencyKey {
        principal: principal("ada").id(),
        key: name.to_owned(),
        request: Digest::of(request),
        run,
        now: at(now),
        expires_at: at(now + 60),
    }
}

/// The records after number `after`, at most `limit`.
pub(crate) fn after(after: u64, limit: u32) -> EvidenceFilter {
    EvidenceFilter { after, limit, ..EvidenceFilter::default() }
}

/// Checks the whole chain, from where it was cut, and gives its end.
pub(crate) async fn verify(store: &SqliteStore) -> Head {
    let mut head = store.cut().await.unwrap().map_or(Head::EMPTY, |cut| cut.head);
    loop {
        let records = store.evidence(&after(head.seq, 100)).await.unwrap();
        if records.is_empty() {
            break;
        }
        for record in records {
            head = head.verify(&record.body, record.hash).unwrap();
        }
    }
    assert_eq!(store.head().await.unwrap(), head);
    head
}
