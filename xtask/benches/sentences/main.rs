//! How fast sentences are planned or refused: those of the evaluation set, and a megabyte of anything.
#![expect(clippy::print_stdout, reason = "the figures go to whoever runs this")]

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use astradesk_eval::case;
use astradesk_eval::world::World;
use serde_json::json;

const MEGABYTE: usize = 1 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // cargo gives `--bench`; the seconds come behind it or alone.
    let seconds: u64 = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let cases = case::read(include_str!("../../../tests/eval/sentences.txt"))?;
    let world = World::new().map_err(|error| error.message)?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut times = Vec::new();
    while Instant::now() < end {
        for case in &cases {
            let begun = Instant::now();
            black_box(world.plan(&case.sentence).await.is_ok());
            times.push(begun.elapsed());
        }
    }
    times.sort_unstable();
    let total: Duration = times.iter().sum();
    let at = |share: f64| {
        let place = (times.len() as f64 * share) as usize;
        times.get(place.min(times.len() - 1)).map(|time| time.as_secs_f64() * 1e6)
    };
    let mut longest = Duration::ZERO;
    let texts = anything();
    for text in &texts {
        let begun = Instant::now();
        black_box(world.plan(text).await.is_ok());
        longest = longest.max(begun.elapsed());
    }
    let figures = json!({
        "sentences": cases.len(),
        "times": times.len(),
        "per_second": times.len() as f64 / total.as_secs_f64(),
        "p50_us": at(0.50),
        "p99_us": at(0.99),
        "texts": texts.len(),
        "longest_ms": longest.as_secs_f64() * 1e3,
    });
    println!("{figures}");
    Ok(())
}

/// A megabyte each of what could be slow.
fn anything() -> Vec<String> {
    let repeated = |text: &str| text.repeat(MEGABYTE / text.len());
    let mut texts: Vec<String> = [
        "restart webapp ",
        "restart, ",
        "and ",
        "the ",
        "not ",
        "a",
        "ą",
        "e\u{301}",
        "> ",
        "=",
        "a=b ",
        "\n",
        " ",
        "webap, ",
        "3 ",
        "„",
        "\u{202e}",
        "in the ",
    ]
    .map(repeated)
    .to_vec();
    // As many words as one input may have, each another one.
    let words =
        |count: usize, before: &str| -> Vec<String> { (0..count).map(|n| format!("{before}w{n}")).collect() };
    texts.push(words(2048, "restart ").join(", "));
    texts.push(format!("restart {}", words(4000, "").join(" ")));
    texts
}
