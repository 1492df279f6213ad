//! Checkpoints that are kept, and what is old and removed.

use crate::script::{ada, person, submission};
use crate::world::{Setup, World};
use astradesk_core::evidence::{Draft, Kind};
use astradesk_core::{Code, RunId, Timestamp};
use astradesk_runtime::engine::Limits;
use astradesk_runtime::evidence::{Checkpoint, verify::Report, verify::Verifier};
use astradesk_runtime::port::{EvidenceFilter, Store};
use std::sync::atomic::Ordering;
use std::time::Duration;

const MINUTES: u64 = 60;

fn keeping(keep_runs: Option<u64>, keep_evidence: Option<u64>) -> World {
    let days = |days| Duration::from_hours(24 * days);
    let (keep_runs, keep_evidence) = (keep_runs.map(days), keep_evidence.map(days));
    let checkpoint = Duration::from_mins(10);
    let limits = Limits { checkpoint, keep_runs, keep_evidence, ..Limits::default() };
    World::with_asking(0, Setup { limits, ..Setup::default() })
}

impl World {
    /// Time passes by every clock.
    async fn goes_on(&self, seconds: u64) {
        for _ in 0..seconds.div_ceil(MINUTES) {
            self.clock.pass(MINUTES as i64);
            tokio::time::sleep(Duration::from_secs(MINUTES)).await;
        }
    }

    async fn restarted(&self, service: &str) -> RunId {
        let run = self.admitted(submission("restart", service)).await;
        self.ended(run.id).await;
        run.id
    }

    async fn kept(&self) -> Vec<Checkpoint> {
        let texts = self.store.checkpoints(0, 100).await.unwrap();
        texts.iter().map(|text| Checkpoint::parse(text).unwrap()).collect()
    }

    /// What is in the store verifies, from its cut on, with every checkpoint that was kept.
    async fn verified(&self) -> Report {
        let mut verifier = Verifier::new(Some(self.setup.signer.key().clone()));
        let cut = self.store.cut().await.unwrap();
        if let Some(cut) = &cut {
            verifier.cut(&Checkpoint::parse(&cut.checkpoint).unwrap()).unwrap();
        }
        for checkpoint in self.kept().await {
            if cut.as_ref().is_none_or(|cut| checkpoint.head().seq > cut.head.seq) {
                verifier.checkpoint(&checkpoint).unwrap();
            }
        }
        let filter = EvidenceFilter { limit: 1000, ..EvidenceFilter::default() };
        for record in self.store.evidence(&filter).await.unwrap() {
            verifier.record(&record.body, record.hash).unwrap();
        }
        verifier.finish().unwrap()
    }

    fn days_ago(&self, days: i64) -> Timestamp {
        use astradesk_runtime::port::Clock;
        self.clock.now().checked_sub(Duration::from_hours(24 * days as u64)).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_kept_from_time_to_time_if_there_is_something_new() {
    let world = keeping(None, None);
    world.engine.tend();
    world.restarted("webapp").await;
    world.goes_on(9 * MINUTES).await;
    assert_eq!(world.kept().await.len(), 0, "not before its time");
    world.goes_on(2 * MINUTES).await;
    let first = world.kept().await;
    assert_eq!((first.len(), first[0].head()), (1, world.store.head().await.unwrap()));
    assert_eq!(first[0].verify(world.setup.signer.key()).unwrap(), first[0].head());
    world.goes_on(30 * MINUTES).await;
    assert_eq!(world.kept().await, first, "nothing has moved");

    world.restarted("webapp").await;
    world.goes_on(10 * MINUTES).await;
    let second = world.kept().await;
    assert_eq!((second.len(), &second[0]), (2, &first[0]));
    let report = world.verified().await;
    assert_eq!((report.checkpoints, report.unsigned, report.trusted), (2, 0, true));
}

#[tokio::test(start_paused = true)]
async fn the_last_checkpoint_is_kept_when_it_stops_and_once() {
    let mut world = keeping(None, None);
    world.restarted("webapp").await;
    world.reborn().await;
    let kept = world.kept().await;
    assert_eq!((kept.len(), kept[0].head()), (1, world.store.head().await.unwrap()));
    world.reborn().await;
    assert_eq!(world.kept().await, kept, "nothing has moved");
    assert_eq!(world.verified().await.unsigned, 0);

    let mut empty = keeping(None, None);
    empty.reborn().await;
    assert_eq!(empty.kept().await, [], "of nothing there is no checkpoint");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_gets_its_checkpoint_later() {
    let world = keeping(None, None);
    world.engine.tend();
    world.restarted("webapp").await;
    world.store.down.store(true, Ordering::SeqCst);
    world.goes_on(15 * MINUTES).await;
    assert_eq!(world.kept().await, []);
    world.store.down.store(false, Ordering::SeqCst);
    world.goes_on(MINUTES).await;
    assert_eq!(world.kept().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_signed_once_what_was_signed_is_gone() {
    let mut world = keeping(None, None);
    world.restarted("webapp").await;
    let signed = world.engine.checkpoint(&ada()).await.unwrap();
    world.reborn().await;
    let kept = world.kept().await;
    assert_eq!(kept.len(), 1);
    // Somebody writes another chain in its place, as good as any but for what was signed.
    {
        let mut data = world.data.lock().unwrap();
        let drafts = data.evidence.len() as u64 + 2;
        data.evidence.clear();
        for _ in 0..drafts {
            let draft = Draft {
                at: Timestamp::UNIX_EPOCH,
                kind: Kind::Admitted,
                run: None,
                principal: None,
                trace: None,
                data: serde_json::Value::Null,
            };
            let record = data.head().append(&draft);
            data.evidence.push(record);
        }
    }
    assert!(signed.head().seq < world.store.head().await.unwrap().seq);
    let refused = world.engine.checkpoint(&ada()).await.unwrap_err();
    assert_eq!(refused.code, Code::EvidenceBroken);
    assert!(refused.message.contains("is not the one that was signed"), "{refused}");
    assert!(world.engine.stop(Duration::from_secs(5)).await);
    assert_eq!(world.kept().await, kept, "nor is anything kept");
}

/// Two days of evidence with a checkpoint each: the first ends with record `old`.
async fn two_days(world: &mut World) -> u64 {
    world.restarted("webapp").await;
    world.reborn().await;
    let old = world.store.head().await.unwrap().seq;
    world.clock.pass(2 * 24 * 3600);
    world.restarted("webapp").await;
    world.reborn().await;
    old
}

#[tokio::test(start_paused = true)]
async fn old_evidence_is_removed_at_a_checkpoint_and_the_rest_verifies_from_there() {
    let mut world = keeping(None, None);
    let old = two_days(&mut world).await;
    let before = world.store.head().await.unwrap();
    let long_ago = world.days_ago(3);
    assert_eq!(world.engine.prune_evidence(None, long_ago).await.unwrap(), None);
    assert_eq!(world.store.head().await.unwrap(), before, "where nothing is removed nothing is recorded");

    let yesterday = world.days_ago(1);
    let refused = world.engine.prune_evidence(Some(&person("eve", &[])), yesterday).await.unwrap_err();
    assert_eq!(refused.code, Code::PolicyDenied, "who may not read it may not remove it");
    assert_eq!(world.engine.prune_evidence(None, yesterday).await.unwrap(), Some(old));
    let cut = world.store.cut().await.unwrap().unwrap();
    let signed = Checkpoint::parse(&cut.checkpoint).unwrap();
    assert_eq!((cut.head.seq, signed.head(), signed.is_cut()), (old, cut.head, true));
    let report = world.verified().await;
    assert_eq!((report.first, report.is_cut, report.checkpoints), (old + 1, true, 1));
    assert_eq!(report.records, before.seq - old + 1, "those that are left, and the one that tells of it");
    let told = world.told("evidence.pruned").await;
    assert_eq!((&told["up_to"], &told["checkpoint"]), (&old.into(), &cut.checkpoint.clone().into()));

    assert_eq!(world.engine.prune_evidence(None, yesterday).await.unwrap(), None, "once");
    world.restarted("webapp").await;
    world.reborn().await;
    assert_eq!(world.verified().await.unsigned, 0, "and it goes on");
}

/// Somebody who can write to the store wants evidence to be removed that is to be kept.
#[tokio::test(start_paused = true)]
async fn evidence_is_not_removed_at_a_checkpoint_that_somebody_else_made() {
    for by_a_stranger in [true, false] {
        let mut world = keeping(None, None);
        let old = two_days(&mut world).await;
        let (head, long_ago) = (world.store.head().await.unwrap(), world.days_ago(5));
        let forged = if by_a_stranger {
            Setup::default().signer.checkpoint(head, long_ago).text().to_owned()
        } else {
            let honest = world.setup.signer.checkpoint(head, world.days_ago(0)).text().to_owned();
            honest.replace("time 1970-01-14", "time 1970-01-09")
        };
        assert_eq!(Checkpoint::parse(&forged).unwrap().at(), long_ago);
        world.store.keep_checkpoint(head.seq, long_ago, &forged).await.unwrap();
        let yesterday = world.days_ago(1);
        assert_eq!(world.engine.prune_evidence(None, yesterday).await.unwrap(), Some(old));
        assert_eq!(world.store.cut().await.unwrap().unwrap().head.seq, old);
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_while_it_removes_evidence_leaves_a_whole_chain() {
    let mut world = keeping(None, None);
    let old = two_days(&mut world).await;
    let yesterday = world.days_ago(1);
    world.store.prune_down.store(true, Ordering::SeqCst);
    assert_eq!(world.engine.prune_evidence(None, yesterday).await.unwrap_err().code, Code::StoreUnavailable);
    let report = world.verified().await;
    assert_eq!((report.first, report.is_cut), (1, false), "nothing was removed");
    world.store.prune_down.store(false, Ordering::SeqCst);

    world.store.down.store(true, Ordering::SeqCst);
    assert_eq!(world.engine.prune_evidence(None, yesterday).await.unwrap_err().code, Code::StoreUnavailable);
    assert_eq!(world.verified().await, report, "what could not be recorded is not removed");
    world.store.down.store(false, Ordering::SeqCst);
    assert_eq!(world.engine.prune_evidence(None, yesterday).await.unwrap(), Some(old));
    assert_eq!(world.verified().await.first, old + 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_it_is_to_be_kept_goes_by_itself() {
    let mut world = keeping(Some(1), Some(1));
    let first = world.restarted("webapp").await;
    world.policy.ask(1, "lead");
    let waiting = world.awaiting("other").await;
    world.policy.ask(0, "lead");
    world.reborn().await;
    let old = world.store.head().await.unwrap().seq;
    world.clock.pass(2 * 24 * 3600);
    let second = world.restarted("webapp").await;
    world.engine.tend();
    world.looked_after().await;
    {
        let data = world.data.lock().unwrap();
        assert!(!data.runs.contains_key(&first) && !data.events.contains_key(&first));
        assert!(data.runs.contains_key(&second) && data.events.contains_key(&second));
        assert_eq!(data.runs[&waiting.id].state.name(), "expired", "it has ended only now");
        assert_eq!(data.cut.as_ref().unwrap().head.seq, old);
    }
    assert!(world.verified().await.is_cut);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_everything_is_kept() {
    let mut world = keeping(None, None);
    two_days(&mut world).await;
    world.engine.tend();
    world.goes_on(20 * MINUTES).await;
    assert_eq!((world.store.cut().await.unwrap(), world.data.lock().unwrap().runs.len()), (None, 2));
}
