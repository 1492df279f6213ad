//! Every scenario, broken at every gate, in every way.

use crate::gate::Mode::{self, DieAfter, DieBefore, Fail, HoldAfter, HoldBefore, LoseReply, Rival, Touch};
use crate::life::{Lived, Plan, live};
use crate::scenario::Scenario;

/// Lives it through; what was not kept ends the test, with the gates that led there.
fn held(scenario: Scenario, plan: &Plan) -> Lived {
    let lived = live(scenario, plan);
    let violations = lived.world.violations();
    assert!(
        violations.is_empty(),
        "VIOLATION {scenario:?} with {plan:?}: {}\n{}",
        violations.join("\n  and: "),
        lived.log
    );
    lived
}

fn at_every_gate(modes: &[Mode], two: bool) {
    let mut lives = 0;
    for scenario in Scenario::ALL {
        lives += at_every_gate_of(scenario, modes, two);
    }
    assert!(lives > 400, "{lives} lives");
}

fn at_every_gate_of(scenario: Scenario, modes: &[Mode], two: bool) -> usize {
    let gates = held(scenario, &Plan { two, ..Plan::default() }).gates[0];
    assert!(gates > 4, "{scenario:?} passes {gates} gates");
    let mut lives = 0;
    for n in 1..=gates {
        for mode in modes {
            let plan = Plan { lives: vec![vec![(n, *mode)]], two, known_dead: n % 2 == 0 };
            lives += held(scenario, &plan).gates.len();
        }
    }
    lives
}

#[test]
fn nothing_breaks_by_itself() {
    for scenario in Scenario::ALL {
        held(scenario, &Plan::default());
        held(scenario, &Plan { two: true, ..Plan::default() });
    }
}

#[test]
fn every_call_may_fail() {
    at_every_gate(&[Fail], false);
}

#[test]
fn every_reply_may_be_lost() {
    at_every_gate(&[LoseReply], false);
}

#[test]
fn the_process_may_die_before_every_call() {
    at_every_gate(&[DieBefore], false);
}

#[test]
fn the_process_may_die_after_every_call() {
    at_every_gate(&[DieAfter], false);
}

#[test]
fn the_process_may_be_held_before_every_call() {
    at_every_gate(&[HoldBefore], true);
}

#[test]
fn the_process_may_be_held_after_every_call() {
    at_every_gate(&[HoldAfter], true);
}

/// What looks after approvals and checkpoints breaks nothing when it is broken itself.
#[test]
fn a_run_that_is_looked_after_may_be_broken_at_every_call() {
    at_every_gate_of(Scenario::Tended, &[Fail, LoseReply, DieAfter], false);
    at_every_gate_of(Scenario::Tended, &[HoldAfter], true);
}

#[test]
fn a_process_that_was_held_leaves_its_run_to_who_has_it_by_now() {
    for n in 1..=20 {
        for mode in [HoldBefore, HoldAfter] {
            held(Scenario::Slow, &Plan { lives: vec![vec![(n, mode)]], two: true, known_dead: false });
        }
    }
}

#[test]
fn one_of_two_processes_may_die_after_every_call() {
    at_every_gate(&[DieAfter], true);
}

#[test]
fn somebody_else_may_touch_the_services_before_every_call() {
    at_every_gate(&[Touch], false);
}

#[test]
fn somebody_else_may_restart_the_services_before_every_call() {
    at_every_gate(&[Rival], false);
}

#[test]
fn somebody_else_may_change_the_services_while_no_process_lives() {
    for scenario in [Scenario::One, Scenario::Undone] {
        let gates = held(scenario, &Plan::default()).gates[0];
        for n in 1..=gates {
            for mode in [Touch, Rival] {
                let lives = vec![vec![(n, DieAfter)], vec![(1, mode)]];
                held(scenario, &Plan { lives, two: false, known_dead: true });
            }
        }
    }
}

/// The next life may be broken too, wherever it is.
fn twice(scenario: Scenario, first: Mode, second: &[Mode]) {
    let gates = held(scenario, &Plan::default()).gates[0];
    for n in 1..=gates {
        let known_dead = n % 2 == 0;
        let plan = |second| Plan { lives: vec![vec![(n, first)], second], two: false, known_dead };
        let again = held(scenario, &plan(vec![])).gates[1];
        for m in 1..=again {
            held(scenario, &plan(vec![(m, second[(n + m) % second.len()])]));
        }
    }
}

#[test]
fn the_process_may_die_again_during_the_recovery() {
    twice(Scenario::One, DieBefore, &[DieBefore, DieAfter]);
}

#[test]
fn the_process_may_die_again_while_it_recovers_an_undo() {
    twice(Scenario::CancelledAndUndone, DieAfter, &[DieBefore, DieAfter]);
}

/// Numbers that look random and are the same each time (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

#[test]
fn several_lives_may_be_broken_in_several_ways() {
    let modes = [Fail, LoseReply, DieBefore, DieAfter, DieAfter, HoldBefore, HoldAfter, Touch, Rival];
    let mut numbers = Numbers(7);
    for _ in 0..400 {
        let scenario = Scenario::ALL[numbers.below(Scenario::ALL.len())];
        let lives = (0..=numbers.below(4)).map(|_| {
            let faults =
                (0..=numbers.below(2)).map(|_| (1 + numbers.below(30), modes[numbers.below(modes.len())]));
            faults.collect()
        });
        let lives = lives.collect();
        let (two, known_dead) = (numbers.below(2) == 0, numbers.below(2) == 0);
        held(scenario, &Plan { lives, two, known_dead });
    }
}
