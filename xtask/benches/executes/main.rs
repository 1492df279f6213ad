//! How many executes a second have their evidence on disk before their effect; run by `cargo xtask bench --executes`
//! with the folder for the databases and the seconds that each measurement takes.
//!
//! It prints one line of JSON, and fails when an effect is not on record before it happens, or the evidence does
//! not verify.
#![expect(clippy::print_stdout, reason = "a program that prints figures")]

mod tool;

use anyhow::{Context as _, Result, bail, ensure};
use astradesk_core::name::ObjectName;
use astradesk_core::run::State;
use astradesk_core::{Call, Principal, RoleName, RunId, Source, ToolName, guardrail};
use astradesk_policy::{CedarPolicy, PolicySources, Settings};
use astradesk_runtime::engine::{Limits, Parts, Request, Submission, Submitted};
use astradesk_runtime::evidence::{Checkpoint, Signer, Verifier};
use astradesk_runtime::port::{EvidenceFilter, Store as _, SystemClock};
use astradesk_runtime::{Engine, ToolRegistry, key};
use astradesk_store::{Options, SqliteStore};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tool::{NAME, Touch, TouchPack};

/// Who asks at the same time, each for a target of their own.
const CALLERS: usize = 64;
/// How often each way is measured, in turn.
const ROUNDS: usize = 3;
/// How long the executes go on of which each is looked for in the file before its effect.
const CHECKED: Duration = Duration::from_secs(2);
/// What a run may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// An Engine on a file of its own.
struct Site {
    engine: Engine,
    store: Arc<SqliteStore>,
    tool: Arc<Touch>,
    signer: Arc<Signer>,
    witness: Option<SqliteStore>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = arguments.next().map(PathBuf::from).context("the folder for the databases is missing")?;
    let seconds = arguments.next().context("the seconds are missing")?;
    let seconds = seconds.to_str().and_then(|text| text.parse().ok()).context("the seconds are no number")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!("{}", runtime.block_on(measure(&folder, Duration::from_secs(seconds)))?);
    Ok(())
}

async fn measure(folder: &Path, time: Duration) -> Result<Value> {
    let grouped = Options::default();
    let alone = Options { group: 1, ..Options::default() };
    ensure!(grouped.durable && alone.durable, "the store does not wait for the disk");
    let checked = round(&folder.join("checked"), grouped.clone(), true, CHECKED).await?;
    let (mut together, mut apart) = (Vec::new(), Vec::new());
    for number in 0..ROUNDS {
        for (options, all, name) in [(&grouped, &mut together, "grouped"), (&alone, &mut apart, "alone")] {
            all.push(round(&folder.join(format!("{name}-{number}")), options.clone(), false, time).await?);
        }
    }
    Ok(json!({"callers": CALLERS, "checked": checked, "grouped": together, "alone": apart}))
}

/// Executes for so long, then checks everything that was done.
async fn round(folder: &Path, options: Options, checked: bool, time: Duration) -> Result<Value> {
    std::fs::create_dir_all(folder)?;
    let site = Site::open(&folder.join("store.db"), options, checked).await?;
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        callers.spawn(call(site.engine.clone(), number, begun + time));
    }
    let mut times = Vec::new();
    while let Some(done) = callers.join_next().await {
        times.extend(done??);
    }
    let per_second = times.len() as f64 / begun.elapsed().as_secs_f64();
    let records = site.verify(&times).await?;
    std::fs::remove_dir_all(folder)?;
    let mut times: Vec<Duration> = times.into_iter().map(|(_, time)| time).collect();
    times.sort_unstable();
    let at =
        |percent: usize| times.get((times.len() - 1) * percent / 100).map(|time| time.as_secs_f64() * 1e3);
    Ok(json!({
        "per_second": per_second, "p50_ms": at(50), "p99_ms": at(99), "executes": times.len(), "records": records,
    }))
}

/// Executes one after the other until `end`; each run, and from its request to its end.
async fn call(engine: Engine, number: usize, end: Instant) -> Result<Vec<(RunId, Duration)>> {
    let principal = caller(number)?;
    let arguments = json!({"name": service(number)});
    let call =
        Call { tool: ToolName::parse(NAME)?, arguments: arguments.as_object().cloned().unwrap_or_default() };
    let submission = Submission {
        principal: principal.clone(),
        source: Source::Http,
        request: Request::Call(call),
        dry_run: false,
        reason: None,
        break_glass: false,
        trace: None,
        idempotency_key: None,
    };
    let mut times = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        let Submitted::Run { run, .. } = engine.submit(submission.clone()).await? else {
            bail!("a preview was not asked for");
        };
        let ended = engine.wait(&principal, run.id, tokio::time::Instant::now() + PATIENCE).await?;
        times.push((run.id, begun.elapsed()));
        ensure!(ended.state == State::Succeeded, "a run ended so: {:?}", ended.state);
    }
    Ok(times)
}

fn service(number: usize) -> String {
    format!("service-{number}")
}

fn caller(number: usize) -> Result<Principal> {
    Ok(Principal {
        subject: format!("caller-{number}"),
        issuer: "https://issuer.example/realms/production".to_owned(),
        roles: [RoleName::parse("sre")?].into(),
        actor: None,
    })
}

impl Site {
    /// The product's store, policy, guardrails and Engine; with `checked`, the tool looks for the intent first.
    async fn open(file: &Path, options: Options, checked: bool) -> Result<Self> {
        let store = Arc::new(SqliteStore::open(file, options.clone()).await?);
        let witness = if checked { Some(SqliteStore::open(file, options).await?) } else { None };
        let tool = Arc::new(Touch::new(witness.clone())?);
        let registry = Arc::new(ToolRegistry::default());
        registry.register(&TouchPack(tool.clone()))?;
        let services = (0..CALLERS).map(|number| ObjectName::parse(service(number)));
        let settings =
            Settings { allowed_services: services.collect::<Result<_, _>>()?, ..Settings::default() };
        let sources = PolicySources { settings, ..PolicySources::default() };
        let tools = registry.tools().iter().map(|tool| tool.spec().clone()).collect();
        let signer = Arc::new(Signer::from_pkcs8(&key::fresh()?)?);
        let engine = Engine::new(Parts {
            store: store.clone(),
            policy: Arc::new(CedarPolicy::open(sources, tools, Arc::new(SystemClock))),
            registry,
            clock: Arc::new(SystemClock),
            signer: signer.clone(),
            guardrails: guardrail::with_builtin(Vec::new()),
            webhooks: Vec::new(),
            limits: Limits {
                concurrent_runs: CALLERS,
                concurrent_per_tool: CALLERS,
                // Whoever asks again at once may be sooner than the run before has left its place.
                queued_per_target: 1,
                ..Limits::default()
            },
        });
        engine.begin().await?;
        Ok(Self { engine, store, tool, signer, witness })
    }

    /// Closes everything, and checks with a fresh handle that each run had one effect, on record in the right
    /// order, and that the evidence verifies up to its last signed checkpoint. Gives the number of records.
    async fn verify(self, runs: &[(RunId, Duration)]) -> Result<u64> {
        ensure!(self.engine.stop(PATIENCE).await, "not every run came to rest");
        let checkpoints = self.store.checkpoints(0, u32::MAX).await?;
        let checkpoints: Vec<Checkpoint> =
            checkpoints.iter().map(|note| Checkpoint::parse(note)).collect::<Result<_, _>>()?;
        let effects = self.tool.performed();
        ensure!(effects.len() == runs.len(), "{} effects of {} runs", effects.len(), runs.len());
        let effects: HashSet<RunId> = effects.into_iter().collect();
        ensure!(runs.iter().all(|(run, _)| effects.contains(run)), "a run without an effect, or with two");

        let mut verifier = Verifier::new(Some(self.signer.key().clone()));
        for checkpoint in &checkpoints {
            verifier.checkpoint(checkpoint)?;
        }
        let mut kinds: HashMap<String, Vec<String>> = HashMap::new();
        let mut after = 0;
        loop {
            let filter = EvidenceFilter { after, limit: 1_000, ..EvidenceFilter::default() };
            let records = self.store.evidence(&filter).await?;
            let Some(last) = records.last() else { break };
            after = last.seq;
            for record in &records {
                verifier.record(&record.body, record.hash)?;
                let body: Value = serde_json::from_str(&record.body)?;
                let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                kinds.entry(text("run")).or_default().push(text("kind"));
            }
        }
        let report = verifier.finish()?;
        ensure!(report.signed == Some(report.head), "the last records are not signed: {report:?}");
        for (run, _) in runs {
            let kinds = kinds.get(&run.to_string()).map(Vec::as_slice).unwrap_or_default();
            let order = ["run.admitted", "step.intended", "step.performed", "run.finished"];
            ensure!(kinds == order, "run {run} is on record as {kinds:?}");
        }
        self.store.close().await;
        if let Some(witness) = self.witness {
            witness.close().await;
        }
        Ok(report.records)
    }
}
