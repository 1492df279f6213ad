//! What a decision takes with many policies, beside the same rules in Rego; run by `cargo xtask bench --policy`.
//!
//! It prints one line of JSON, and fails when the two do not decide alike.
#![expect(clippy::print_stdout, clippy::indexing_slicing, reason = "a program that prints figures")]

mod rego;
mod requests;
mod rules;

use anyhow::{Context as _, Result, ensure};
use astradesk_core::{Decision, Effect, ToolName, ToolSpec};
use astradesk_policy::{CedarPolicy, PolicySources};
use astradesk_runtime::port::{Policy as _, PolicyRequest, SystemClock};
use rego::Rego;
use requests::{Asked, REQUESTS};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How many policies.
const SIZES: [usize; 3] = [10, 1_000, 10_000];
/// Rounds of all requests: at least so many, for so long, and no more than so many.
const ROUNDS: std::ops::Range<usize> = 5..1_000;
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests of each round that are asked first, and not timed.
const WARM_UP: usize = 24;

/// The three that are asked the same.
struct Contest {
    cedar: CedarPolicy,
    rules: Rego,
    lookup: Rego,
    /// How long each took to be ready.
    loading: [Duration; 3],
}

fn main() -> Result<()> {
    let sizes: Vec<Value> = SIZES.iter().map(|size| measure(*size)).collect::<Result<_>>()?;
    println!("{}", json!({"sizes": sizes}));
    Ok(())
}

fn measure(size: usize) -> Result<Value> {
    let asked = requests::requests(size / rules::PER_TEAM)?;
    let inputs: Vec<regorus::Value> = asked.iter().map(|asked| asked.input().into()).collect();
    let mut contest = Contest::load(size, &inputs[0])?;
    let askable = contest.agree(&asked, &inputs)?;
    let times = contest.run(&asked, &inputs)?;
    let [ours, rules, lookup] = times.map(|times| {
        let (askable, settled): (Vec<_>, Vec<_>) =
            times.into_iter().zip(askable.iter().cycle()).partition(|(_, askable)| **askable);
        json!({"settled": quantiles(settled), "askable": quantiles(askable)})
    });
    Ok(json!({
        "policies": size, "requests": REQUESTS, "askable": askable.iter().filter(|askable| **askable).count(),
        "loading_ms": contest.loading.map(|time| time.as_secs_f64() * 1e3),
        "ours": ours, "rules": rules, "rules_by": contest.rules.name(),
        "lookup": lookup, "lookup_by": contest.lookup.name(),
    }))
}

fn quantiles(times: Vec<(Duration, &bool)>) -> Value {
    let mut times: Vec<f64> = times.into_iter().map(|(time, _)| time.as_secs_f64() * 1e6).collect();
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times.get(times.len().saturating_sub(1) * percent / 100);
    json!({"p50_us": at(50), "p99_us": at(99), "times": times.len()})
}

impl Contest {
    fn load(size: usize, first: &regorus::Value) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let rules = rules::rules(size);
        for (number, text) in rules::cedar(&rules).into_iter().enumerate() {
            std::fs::write(folder.path().join(format!("{number:04}.cedar")), text)?;
        }
        let begun = Instant::now();
        let cedar = cedar(folder.path(), size)?;
        let ours = begun.elapsed();
        let (modules, data) = (rules::rego(&rules), rules::data(&rules));
        let begun = Instant::now();
        let rules = Rego::load(modules, &json!({}), first)?;
        let theirs = begun.elapsed();
        let begun = Instant::now();
        let lookup = Rego::load(vec![include_str!("lookup.rego").to_owned()], &data, first)?;
        Ok(Self { cedar, rules, lookup, loading: [ours, theirs, begun.elapsed()] })
    }

    /// Checks that all three decide every request alike, by the same policies. Tells of which requests AstraDesk
    /// says, instead of no, which approvals are missing.
    fn agree(&mut self, asked: &[Asked], inputs: &[regorus::Value]) -> Result<Vec<bool>> {
        let (mut permitted, mut askable) = (0, Vec::new());
        for (asked, input) in asked.iter().zip(inputs) {
            let decision = self.cedar.decide(&asked.request());
            let ours = decided(&decision);
            for theirs in [&mut self.rules, &mut self.lookup] {
                let theirs = rego::decision(&theirs.evaluate(input)?)?;
                ensure!(ours == theirs, "{input}: Cedar decides {ours:?}, Rego {theirs:?}");
            }
            permitted += usize::from(ours.0);
            askable.push(matches!(decision, Decision::NeedsApproval { .. }));
        }
        ensure!((1..asked.len()).contains(&permitted), "one answer for every request shows nothing");
        Ok(askable)
    }

    /// Asks each of them all requests, in turn.
    fn run(&mut self, asked: &[Asked], inputs: &[regorus::Value]) -> Result<[Vec<Duration>; 3]> {
        let mut times = [const { Vec::new() }; 3];
        let begun = Instant::now();
        for round in 0..ROUNDS.end {
            if round >= ROUNDS.start && begun.elapsed() > PATIENCE {
                break;
            }
            // What the others have driven out of the caches comes back first.
            for asked in asked.iter().take(WARM_UP) {
                black_box(self.cedar.decide(&asked.request()));
            }
            for asked in asked {
                let request: PolicyRequest<'_> = asked.request();
                let at = Instant::now();
                black_box(self.cedar.decide(black_box(&request)));
                times[0].push(at.elapsed());
            }
            for (times, rego) in times[1..].iter_mut().zip([&mut self.rules, &mut self.lookup]) {
                for input in inputs.iter().take(WARM_UP) {
                    black_box(rego.evaluate(input)?);
                }
                for input in inputs {
                    let at = Instant::now();
                    black_box(rego.evaluate(black_box(input))?);
                    times.push(at.elapsed());
                }
            }
        }
        Ok(times)
    }
}

/// The product's policies, from files.
fn cedar(folder: &Path, size: usize) -> Result<CedarPolicy> {
    let tools = [("get_service_status", Effect::Read), ("restart_service", Effect::Write)];
    let tools = tools.map(|(name, effect)| tool(name, effect)).into_iter().collect::<Result<_>>()?;
    let sources = PolicySources { dir: Some(folder.to_owned()), ..PolicySources::default() };
    let policy = CedarPolicy::open(sources, tools, Arc::new(SystemClock));
    let status = policy.status();
    ensure!(status.problem.is_none(), "the policies are not valid: {:?}", status.problem);
    ensure!(status.policies >= size, "only {} policies are in force", status.policies);
    Ok(policy)
}

fn tool(name: &str, effect: Effect) -> Result<Arc<ToolSpec>> {
    let text = json!({"type": "string"});
    Ok(Arc::new(ToolSpec {
        name: ToolName::parse(name).context("a tool's name")?,
        version: "1".to_owned(),
        description: name.replace('_', " "),
        effect: Some(effect),
        input_schema: json!({
            "type": "object", "additionalProperties": false, "required": ["namespace", "name"],
            "properties": {"namespace": text, "name": text},
        }),
        timeout: Duration::from_mins(1),
        grammar: astradesk_core::tool::Grammar::default(),
    }))
}

/// Whether it is permitted as it is, and the policies that decided.
fn decided(decision: &Decision) -> (bool, BTreeSet<String>) {
    let (permitted, reasons) = match decision {
        Decision::Permit { reasons } => (true, reasons),
        Decision::Deny { reasons, .. } | Decision::NeedsApproval { reasons, .. } => (false, reasons),
    };
    (permitted, reasons.iter().map(|reason| reason.policy.clone()).collect())
}
