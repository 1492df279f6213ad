//! `cargo xtask eval`: a table of the classes, and what is not right; with sentences, what becomes of each.
#![expect(clippy::print_stdout, reason = "a table for a terminal")]

use astradesk_eval::score::{Score, came, halves, score};
use astradesk_eval::{case, world::World};
use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cases = match case::read(include_str!("../sentences.txt")) {
        Ok(cases) => cases,
        Err(why) => {
            println!("sentences.txt: {why}");
            return ExitCode::FAILURE;
        }
    };
    let world = match World::new() {
        Ok(world) => world,
        Err(error) => {
            println!("{}", error.message);
            return ExitCode::FAILURE;
        }
    };
    let said: Vec<String> = std::env::args().skip(1).collect();
    if !said.is_empty() {
        for sentence in &said {
            println!("{sentence:?} => {}", came(&world.plan(sentence).await));
        }
        return ExitCode::SUCCESS;
    }
    let scores = score(&world, &cases).await;
    let row = |name: &str, score: &Score| {
        println!("{name:<24} {:>4} of {:>4}", score.right, score.cases);
    };
    for (class, score) in &scores {
        row(class, score);
    }
    let (act, not) = halves(&scores);
    for wrong in scores.values().flat_map(|score| &score.wrong) {
        println!("{wrong}");
    }
    row("must act", &act);
    row("must not act", &not);
    println!("{:<24} {:>4}", "acted and must not", not.acted);
    if not.acted == 0 && act.wrong.is_empty() && not.wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
