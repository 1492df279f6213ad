//! Cool-downs and budgets, counted in the same transaction as what they allow.

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use astradesk_core::guardrail::Allowance;
use astradesk_core::{Code, RunId, Timestamp};
use astradesk_runtime::port::{Change, CommitError, Committed, Spend, Store};
use astradesk_store::{Options, SqliteStore};
use common::{acquire, at, change, draft, event, id, key, locking, run, target, verify};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// `limit` actions in `seconds`.
fn allowance(key: &str, limit: u32, seconds: i64) -> Allowance {
    Allowance {
        key: key.to_owned(),
        guardrail: key.to_owned(),
        limit,
        period: at(seconds).duration_since(at(0)),
        code: Code::GuardBudgetExhausted,
    }
}

fn spend(allowance: &Allowance, run: RunId, step: usize, second: i64) -> Spend {
    Spend { allowance: allowance.clone(), run, step, at: at(second) }
}

async fn take(store: &SqliteStore, spends: Vec<Spend>) -> Result<Committed, CommitError> {
    store.commit(Change { spends, evidence: vec![draft(None)], ..Change::default() }).await
}

fn exhausted(allowance: &Allowance, oldest: i64) -> CommitError {
    CommitError::Exhausted { allowance: allowance.clone(), oldest: at(oldest) }
}

#[tokio::test]
async fn the_last_action_of_an_allowance_is_taken_once_and_comes_back_with_time() {
    let store = SqliteStore::in_memory().await.unwrap();
    let two = allowance("two", 2, 60);
    let other = allowance("other", 1, 60);
    let (a, b, c) = (id(), id(), id());
    take(&store, vec![spend(&two, a, 0, 100)]).await.unwrap();
    assert_eq!(store.exhausted(&two, (c, 0), at(110)).await.unwrap(), None);
    take(&store, vec![spend(&two, b, 0, 110), spend(&other, b, 0, 110)]).await.unwrap();

    assert_eq!(take(&store, vec![spend(&two, c, 0, 120)]).await, Err(exhausted(&two, 100)));
    assert_eq!(store.exhausted(&two, (c, 0), at(120)).await.unwrap(), Some(at(100)));
    assert_eq!(store.exhausted(&two, (a, 0), at(120)).await.unwrap(), None, "its own action does not count");
    assert_eq!(
        store.exhausted(&two, (a, 1), at(120)).await.unwrap(),
        Some(at(100)),
        "that of another step does"
    );
    assert_eq!(take(&store, vec![spend(&two, a, 1, 120)]).await, Err(exhausted(&two, 100)));

    // Up to a period after it, an action counts; then it does not.
    assert_eq!(take(&store, vec![spend(&two, c, 0, 159)]).await, Err(exhausted(&two, 100)));
    take(&store, vec![spend(&two, c, 0, 160)]).await.unwrap();
    assert_eq!(take(&store, vec![spend(&two, a, 1, 165)]).await, Err(exhausted(&two, 110)));
    assert_eq!(verify(&store).await.seq, 3, "what was refused left nothing");
}

#[tokio::test]
async fn the_same_step_counts_once_and_from_its_first_time() {
    let store = SqliteStore::in_memory().await.unwrap();
    let one = allowance("one", 1, 60);
    let (a, b) = (id(), id());
    for second in [100, 120, 150] {
        take(&store, vec![spend(&one, a, 0, second)]).await.unwrap();
    }
    assert_eq!(store.exhausted(&one, (b, 0), at(159)).await.unwrap(), Some(at(100)));
    take(&store, vec![spend(&one, b, 0, 160)]).await.unwrap();

    // In one group with others, too: the repetitions count once, beside what is stored and what is new.
    let three = allowance("three", 3, 60);
    take(&store, vec![spend(&three, a, 0, 200)]).await.unwrap();
    let (again, new, twice, over) = tokio::join!(
        take(&store, vec![spend(&three, a, 0, 201)]),
        take(&store, vec![spend(&three, b, 0, 202)]),
        take(&store, vec![spend(&three, b, 0, 203)]),
        take(&store, vec![spend(&three, b, 1, 204), spend(&three, b, 2, 204)]),
    );
    assert!(again.is_ok() && new.is_ok() && twice.is_ok(), "{again:?} {new:?} {twice:?}");
    assert_eq!(over, Err(exhausted(&three, 200)), "there is one left, and two are asked for");
    take(&store, vec![spend(&three, b, 1, 205)]).await.unwrap();
    assert_eq!(take(&store, vec![spend(&three, b, 2, 206)]).await, Err(exhausted(&three, 200)));
}

#[tokio::test]
async fn a_refused_change_leaves_nothing_whatever_refuses_it() {
    let store = SqliteStore::in_memory().await.unwrap();
    let (one, free) = (allowance("one", 1, 60), allowance("free", 1, 60));
    let holder = run();
    let spends = vec![spend(&one, holder.id, 0, 100)];
    store.commit(Change { spends, ..locking("held", &holder) }).await.unwrap();

    let late = run();
    let by_allowance = Change {
        spends: vec![spend(&free, late.id, 0, 101), spend(&one, late.id, 0, 101)],
        locks: vec![acquire("free", late.id)],
        events: vec![event(late.id, 1)],
        idempotency: Some(key("k", "body", late.id, 101)),
        ..change(&late)
    };
    let by_lock = Change { spends: vec![spend(&free, late.id, 0, 101)], ..locking("held", &late) };
    let (by_allowance, by_lock, sound) =
        tokio::join!(store.commit(by_allowance), store.commit(by_lock), store.commit(change(&run())),);
    assert_eq!(by_allowance, Err(exhausted(&one, 100)));
    assert_eq!(by_lock, Err(CommitError::Locked { target: target("held"), holder: holder.id }));
    assert_eq!(sound.unwrap().head.seq, 2);
    assert_eq!(store.run(late.id).await.unwrap(), None);
    assert_eq!(store.events(late.id, 0, 10).await.unwrap(), []);
    assert_eq!(store.exhausted(&free, (id(), 0), at(102)).await.unwrap(), None);
    store.commit(locking("free", &run())).await.unwrap();
    assert_eq!(store.idempotency(&common::principal("ada").id(), "k", at(102)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_ask_at_once_in_two_processes_no_more_than_the_limit_get_it() {
    const LIMIT: usize = 7;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let open = || SqliteStore::open(&path, Options { durable: false, ..Options::default() });
    let stores = [open().await.unwrap(), open().await.unwrap()];
    for round in 0..10 {
        let budget = allowance(&format!("budget-{round}"), LIMIT as u32, 3600);
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..60 {
            let (store, budget) = (stores[i % 2].clone(), budget.clone());
            tasks.spawn(async move {
                match take(&store, vec![spend(&budget, id(), 0, 100 + i as i64)]).await {
                    Ok(_) => 1,
                    Err(CommitError::Exhausted { .. }) => 0,
                    Err(error) => panic!("{error:?}"),
                }
            });
        }
        let got: usize = tasks.join_all().await.into_iter().sum();
        assert_eq!(got, LIMIT, "in round {round}");
    }
    assert_eq!(verify(&stores[0]).await.seq, 10 * LIMIT as u64);
}

#[tokio::test]
async fn what_does_not_count_any_more_is_forgotten_in_small_steps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = SqliteStore::open(&path, Options::default()).await.unwrap();
    let (short, long) = (allowance("short", 1000, 10), allowance("long", 1000, 1000));
    take(&store, (0..200).map(|step| spend(&short, id(), step, 100)).collect()).await.unwrap();
    take(&store, vec![spend(&long, id(), 0, 100)]).await.unwrap();
    let connect = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut other = sqlx::ConnectOptions::connect(&connect).await.unwrap();
    let mut left: Vec<i64> = Vec::new();
    for second in [109, 110, 111, 112, 113, 114] {
        take(&store, vec![spend(&long, id(), 0, second)]).await.unwrap();
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM spends WHERE key = 'short'");
        left.push(count.fetch_one(&mut other).await.unwrap());
    }
    assert_eq!(left, [200_i64, 136, 72, 8, 0, 0]);
    let kept: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM spends").fetch_one(&mut other).await.unwrap();
    assert_eq!(kept, 7);
}

/// What an allowance gives, said as plainly as possible.
#[derive(Default)]
struct Model(BTreeMap<(usize, usize, usize), i64>);

impl Model {
    fn take(
        &mut self,
        limit: usize,
        period: i64,
        (of, run, step): (usize, usize, usize),
        now: i64,
    ) -> Option<i64> {
        let others = self.0.iter().filter(|((key, other, at_step), at)| {
            *key == of && (*other, *at_step) != (run, step) && **at > now - period
        });
        let times: Vec<i64> = others.map(|(_, at)| *at).collect();
        if times.len() >= limit {
            return times.into_iter().min();
        }
        let at = self.0.entry((of, run, step)).or_insert(now);
        // What does not count any more is forgotten.
        if *at <= now - period {
            *at = now;
        }
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_store_counts_as_the_model_does_in_groups_of_any_size(
        asks in prop::collection::vec((0..2_usize, 0..4_usize, 0..2_usize, 0..4_i64, 1..6_usize), 1..60),
        limits in [1..4_u32, 1..4_u32],
        period in 1..20_i64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = SqliteStore::in_memory().await.unwrap();
            let runs: Vec<RunId> = (0..4).map(|_| id()).collect();
            let (mut model, mut now) = (Model::default(), 100);
            let mut asks = asks.into_iter().peekable();
            while let Some(&(.., size)) = asks.peek() {
                // What is sent at once comes into one group, in order.
                let (mut changes, mut wanted) = (Vec::new(), Vec::new());
                for (of, run, step, later, _) in asks.by_ref().take(size) {
                    now += later;
                    let allowance = allowance(&of.to_string(), limits[of], period);
                    wanted.push(model.take(limits[of] as usize, period, (of, run, step), now));
                    changes.push(take(&store, vec![spend(&allowance, runs[run], step, now)]));
                }
                let mut got = Vec::new();
                for verdict in futures::future::join_all(changes).await {
                    got.push(match verdict {
                        Ok(_) => None,
                        Err(CommitError::Exhausted { oldest, .. }) => Some(oldest),
                        Err(error) => panic!("{error:?}"),
                    });
                }
                let wanted: Vec<Option<Timestamp>> = wanted.into_iter().map(|oldest| oldest.map(at)).collect();
                assert_eq!(got, wanted);
            }
        });
    }
}
