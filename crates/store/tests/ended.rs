//! Runs that await approval, and the removal of those that ended long ago.

#![expect(clippy::unwrap_used, reason = "the helpers of tests: a failed unwrap is a failed test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use astradesk_core::guardrail::Allowance;
use astradesk_core::run::State;
use astradesk_core::{Code, Run, RunId};
use astradesk_runtime::port::{Change, Spend, Store};
use astradesk_store::{Options, SqliteStore};
use common::{acquire, at, change, event, failed, id, key, later, run_of, verify};
use uuid::Uuid;

/// A run that was made at second `made`, and last changed at second `changed`.
fn run_at(made: i64, changed: i64, state: State) -> Run {
    let millis = made as u128 * 1000;
    let random = id_bits(id()) & ((1 << 80) - 1);
    let id = RunId::from_uuid(Uuid::from_u128((millis << 80) | random));
    let run = run_of("ada", &["get_status", "restart_service"]);
    Run { id, state, created_at: at(made), updated_at: at(changed), ..run }
}

fn id_bits(id: RunId) -> u128 {
    Uuid::parse_str(&id.to_string()).unwrap().as_u128()
}

#[tokio::test]
async fn runs_that_await_approval_come_oldest_first_and_page_by_page() {
    let store = SqliteStore::in_memory().await.unwrap();
    let mut waiting = Vec::new();
    for second in 0..9 {
        let state = if second % 2 == 0 { State::AwaitingApproval } else { State::Queued };
        let run = run_at(second, second, state);
        store.commit(change(&run)).await.unwrap();
        waiting.extend((second % 2 == 0).then_some(run));
    }
    assert_eq!(store.awaiting(None, 10).await.unwrap(), waiting);
    assert_eq!(store.awaiting(None, 2).await.unwrap(), waiting[..2]);
    assert_eq!(store.awaiting(Some(waiting[1].id), 10).await.unwrap(), waiting[2..]);
    assert_eq!(store.awaiting(Some(waiting[4].id), 10).await.unwrap(), []);
    store.commit(change(&later(&waiting[0], 1, State::Expired))).await.unwrap();
    assert_eq!(store.awaiting(None, 10).await.unwrap(), waiting[1..]);
}

#[tokio::test]
async fn a_run_stays_as_long_as_a_repeated_request_may_ask_for_it() {
    let store = SqliteStore::in_memory().await.unwrap();
    let (keyed, other) = (run_at(100, 150, State::Succeeded), run_at(100, 150, State::Succeeded));
    // Until second 360.
    let keep = Change { idempotency: Some(key("k", "body", keyed.id, 300)), ..change(&keyed) };
    store.commit(keep).await.unwrap();
    store.commit(change(&other)).await.unwrap();
    let ada = common::principal("ada").id();
    assert_eq!(store.prune_runs(at(359), 10).await.unwrap(), 1);
    assert_eq!(store.run(other.id).await.unwrap(), None);
    assert_eq!(store.idempotency(&ada, "k", at(359)).await.unwrap().unwrap().0, keyed.id);
    assert_eq!(store.run(keyed.id).await.unwrap(), Some(keyed.clone()));
    assert_eq!(store.prune_runs(at(360), 10).await.unwrap(), 1);
    assert_eq!(store.run(keyed.id).await.unwrap(), None);
}

#[tokio::test]
async fn what_ended_before_a_time_goes_with_all_that_belongs_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path, Options { durable: false, ..Options::default() }).await.unwrap();
    let allowance = Allowance {
        key: "budget".to_owned(),
        guardrail: "budget".to_owned(),
        limit: 1,
        period: at(5000).duration_since(at(0)),
        code: Code::GuardBudgetExhausted,
    };
    let old = run_at(100, 199, State::Succeeded);
    let full = Change {
        events: vec![event(old.id, 1), event(old.id, 2)],
        idempotency: Some(key("old", "body", old.id, 100)),
        spends: vec![Spend { allowance: allowance.clone(), run: old.id, step: 0, at: at(150) }],
        ..change(&old)
    };
    store.commit(full).await.unwrap();
    let mut gone = vec![old.id];
    for second in 0..120 {
        let run = run_at(100, 150 + second % 50, failed());
        gone.push(run.id);
        store.commit(Change { events: vec![event(run.id, 1)], ..change(&run) }).await.unwrap();
    }
    let kept = [
        run_at(100, 200, State::Succeeded),
        run_at(300, 300, State::Cancelled),
        run_at(100, 150, State::AwaitingApproval),
        run_at(100, 150, State::Running { step: 0 }),
        run_at(100, 150, State::Queued),
    ];
    for run in &kept {
        let locks = if run.state.is_final() { vec![] } else { vec![acquire(&run.id.to_string(), run.id)] };
        store.commit(Change { events: vec![event(run.id, 1)], locks, ..change(run) }).await.unwrap();
    }
    let end = verify(&store).await;

    assert_eq!(store.prune_runs(at(200), 70).await.unwrap(), 70);
    assert_eq!(store.prune_runs(at(200), 70).await.unwrap(), 51);
    assert_eq!(store.prune_runs(at(200), 70).await.unwrap(), 0);
    for id in gone {
        assert_eq!(store.run(id).await.unwrap(), None);
        assert_eq!(store.events(id, 0, 10).await.unwrap(), []);
    }
    for run in &kept {
        assert_eq!(store.run(run.id).await.unwrap().as_ref(), Some(run));
        assert_eq!(store.events(run.id, 0, 10).await.unwrap().len(), 1);
    }
    let ada = common::principal("ada").id();
    assert_eq!(store.idempotency(&ada, "old", at(1001)).await.unwrap(), None, "its key is free");
    let again = run_at(300, 300, State::Queued);
    let keyed = Change { idempotency: Some(key("old", "other body", again.id, 1001)), ..change(&again) };
    store.commit(keyed).await.unwrap();
    let counted = store.exhausted(&allowance, (id(), 0), at(5149)).await.unwrap();
    assert_eq!(counted, Some(at(150)), "what it took counts until its time is over");
    assert_eq!(verify(&store).await.seq, end.seq + 1, "evidence stays");

    let mut other = sqlx::ConnectOptions::connect(&sqlx::sqlite::SqliteConnectOptions::new().filename(&path))
        .await
        .unwrap();
    let tools: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM run_tools").fetch_one(&mut other).await.unwrap();
    assert_eq!(tools, 6, "one for each run that is left");
}
