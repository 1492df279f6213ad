//! Fairness, limits, and that no run is lost or given its turn twice.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed unwrap in a test is a failed test"
)]

use super::{Queue, Room};
use astradesk_core::run::{OnFailure, Run, RunId, State, Step};
use astradesk_core::{Call, Code, Effect, FrozenCall, Principal, Source, Timestamp, ToolName};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const ROOM: Room = Room { at_work: 3, per_tool: 2, waiting: 4, per_target: 1 };

/// The run with this number: of a principal, with a tool, on a target.
fn run(n: usize, principal: usize, tool: usize, target: usize) -> Run {
    let call = FrozenCall::new(
        Call { tool: ToolName::parse(format!("tool_{tool}")).unwrap(), arguments: serde_json::Map::new() },
        "1".into(),
        Effect::Write,
        vec![format!("kubernetes/test/default/deployment/t{target}").parse().unwrap()],
    );
    let subject = format!("p{principal}");
    Run {
        id: RunId::parse(&format!("00000000-0000-7000-8000-{n:012x}")).unwrap(),
        version: 1,
        principal: Principal { subject, issuer: "test".into(), roles: [].into(), actor: None },
        source: Source::Cli,
        agent: None,
        input: None,
        planner: "direct".into(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        deadline: Timestamp::UNIX_EPOCH,
        holder: None,
        fence: 0,
        state: State::Queued,
        steps: vec![Step::new(call, OnFailure::Leave)],
        reason: None,
        break_glass: false,
        trace: None,
        approvals: None,
        cancel_requested: false,
        undo_requested: false,
    }
}

fn queue(at_work: usize, waiting: usize) -> Queue {
    Queue::new(Room { at_work, per_tool: at_work, waiting, per_target: 0 })
}

/// Keeps a place for the run, and enters it.
fn admit(queue: &mut Queue, run: &Run) {
    queue.keep(run).unwrap();
    queue.enter(run);
}

#[test]
fn a_principal_with_many_runs_delays_another_by_one() {
    let mut queue = queue(1, 20);
    let many: Vec<Run> = (0..10).map(|n| run(n, 0, 0, n)).collect();
    for run in &many {
        admit(&mut queue, run);
    }
    let mut order = vec![queue.next().unwrap()];
    let late: Vec<Run> = (10..12).map(|n| run(n, 1, 0, n)).collect();
    for run in &late {
        admit(&mut queue, run);
    }
    while let Some(last) = order.last().copied() {
        queue.leave(last);
        order.extend(queue.next());
        if order.last() == Some(&last) {
            break;
        }
    }
    let place = |run: &Run| order.iter().position(|id| *id == run.id).unwrap();
    assert_eq!((place(&late[0]), place(&late[1])), (1, 3), "{order:?}");
    assert_eq!(order.len(), 12, "everybody had a turn");
}

#[test]
fn a_run_waits_for_its_own_limit_and_holds_up_nobody_else() {
    let mut queue = Queue::new(Room { at_work: 3, per_tool: 1, waiting: 9, per_target: 9 });
    let same_target = run(1, 0, 1, 0);
    let same_tool = run(2, 0, 0, 1);
    let free = run(3, 0, 2, 2);
    let first = run(0, 0, 0, 0);
    for run in [&first, &same_target, &same_tool, &free] {
        admit(&mut queue, run);
    }
    assert_eq!((queue.next(), queue.next(), queue.next()), (Some(first.id), Some(free.id), None));
    queue.leave(first.id);
    assert_eq!((queue.next(), queue.next()), (Some(same_target.id), Some(same_tool.id)));
}

#[test]
fn what_does_not_fit_is_refused_and_says_why() {
    let mut queue = queue(1, 1);
    admit(&mut queue, &run(0, 0, 0, 0));
    let locked = queue.keep(&run(1, 0, 0, 0)).unwrap_err();
    assert_eq!(
        (locked.code, &locked.details["holder"]),
        (Code::GuardTargetLocked, &run(0, 0, 0, 0).id.to_string().into())
    );
    admit(&mut queue, &run(2, 0, 0, 2));
    let full = queue.keep(&run(3, 0, 0, 3)).unwrap_err();
    assert_eq!((full.code, &full.details["limit"]), (Code::GuardQueueFull, &2.into()));
    queue.leave(run(2, 0, 0, 2).id);
    queue.keep(&run(3, 0, 0, 3)).unwrap();
}

#[test]
fn a_run_that_is_not_durable_yet_has_no_turn() {
    let mut queue = queue(1, 1);
    let kept = run(0, 0, 0, 0);
    queue.keep(&kept).unwrap();
    assert_eq!(queue.next(), None);
    queue.enter(&kept);
    assert_eq!(queue.next(), Some(kept.id));
}

#[derive(Debug, Clone)]
enum Did {
    Admit(usize, usize, usize),
    TakeOver(usize, usize, usize),
    /// The run that is at this place among those that wait is put to work at once.
    Hasten(usize),
    Next,
    /// The run that is at this place among those at work leaves.
    Leave(usize),
    /// The run that is at this place among those that wait leaves.
    GiveUp(usize),
}

fn any_did() -> impl Strategy<Value = Did> {
    let three = || (0_usize..3, 0_usize..3, 0_usize..4);
    prop_oneof![
        4 => three().prop_map(|(p, t, g)| Did::Admit(p, t, g)),
        1 => three().prop_map(|(p, t, g)| Did::TakeOver(p, t, g)),
        1 => (0_usize..8).prop_map(Did::Hasten),
        5 => Just(Did::Next),
        3 => (0_usize..8).prop_map(Did::Leave),
        1 => (0_usize..8).prop_map(Did::GiveUp),
    ]
}

/// What the queue should know: runs by their number, with their tool and target.
#[derive(Default)]
struct Model {
    waiting: BTreeMap<RunId, (usize, usize)>,
    at_work: BTreeMap<RunId, (usize, usize)>,
    had_turn: BTreeSet<RunId>,
}

impl Model {
    fn len(&self) -> usize {
        self.waiting.len() + self.at_work.len()
    }

    fn with_tool(&self, tool: usize) -> usize {
        self.at_work.values().filter(|(used, _)| *used == tool).count()
    }

    fn is_busy(&self, target: usize) -> bool {
        self.at_work.values().any(|(_, busy)| *busy == target)
    }

    fn could_begin(&self) -> bool {
        self.at_work.len() < ROOM.at_work
            && self
                .waiting
                .values()
                .any(|(tool, target)| self.with_tool(*tool) < ROOM.per_tool && !self.is_busy(*target))
    }
}

proptest! {
    #[test]
    fn no_run_is_lost_or_begun_twice_and_every_limit_holds(did in prop::collection::vec(any_did(), 0..80)) {
        let mut queue = Queue::new(ROOM);
        let mut model = Model::default();
        for (n, did) in did.into_iter().enumerate() {
            match did {
                Did::Admit(principal, tool, target) => {
                    let run = run(n, principal, tool, target);
                    let ahead = model.waiting.values().chain(model.at_work.values());
                    let ahead = ahead.filter(|(_, other)| *other == target).count();
                    let fits = ahead <= ROOM.per_target && model.len() < ROOM.at_work + ROOM.waiting;
                    prop_assert_eq!(queue.keep(&run).is_ok(), fits);
                    if fits {
                        queue.enter(&run);
                        model.waiting.insert(run.id, (tool, target));
                    }
                }
                Did::TakeOver(principal, tool, target) => {
                    let run = run(n, principal, tool, target);
                    queue.enter(&run);
                    model.waiting.insert(run.id, (tool, target));
                }
                Did::Hasten(place) => {
                    if let Some(id) = model.waiting.keys().nth(place).copied() {
                        queue.hasten(id);
                        let needs = model.waiting.remove(&id).unwrap();
                        prop_assert!(model.had_turn.insert(id), "it had its turn before");
                        model.at_work.insert(id, needs);
                    }
                }
                Did::Next => {
                    let could = model.could_begin();
                    let next = queue.next();
                    prop_assert_eq!(next.is_some(), could, "whoever can begin does, and nobody else");
                    if let Some(id) = next {
                        let (tool, target) = model.waiting.remove(&id).expect("it waited");
                        prop_assert!(model.had_turn.insert(id), "it had its turn before");
                        prop_assert!(model.at_work.len() < ROOM.at_work);
                        prop_assert!(model.with_tool(tool) < ROOM.per_tool);
                        prop_assert!(!model.is_busy(target));
                        model.at_work.insert(id, (tool, target));
                    }
                }
                Did::Leave(place) => {
                    if let Some(id) = model.at_work.keys().nth(place).copied() {
                        queue.leave(id);
                        model.at_work.remove(&id);
                    }
                }
                Did::GiveUp(place) => {
                    if let Some(id) = model.waiting.keys().nth(place).copied() {
                        queue.leave(id);
                        model.waiting.remove(&id);
                    }
                }
            }
            prop_assert_eq!(queue.vacant(), (ROOM.at_work + ROOM.waiting).saturating_sub(model.len()));
        }
    }
}
