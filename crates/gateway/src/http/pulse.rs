//! How the Engine is, asked at most once a second, however many probes there are: the check writes to the store.

use super::App;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::PolicyStatus;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// For how long an answer of the Engine is good.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// A probe that is answered later than this is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What new runs take: its name, and what is wrong with it.
type Check = (&'static str, Result<()>);

/// How the Engine is.
#[derive(Debug, Clone)]
pub(crate) struct Pulse {
    /// What new runs take.
    pub(crate) checks: Vec<Check>,
    /// How many records the evidence has, if the store says so.
    pub(crate) records: Option<u64>,
    /// How many runs await approval, if the store says so.
    pub(crate) awaiting: Option<usize>,
    /// The policies in force.
    pub(crate) policy: PolicyStatus,
    asked: Instant,
}

impl App {
    /// How the Engine is, or was a moment ago.
    pub(crate) async fn pulse(&self) -> Pulse {
        let mut last = self.pulse.lock().await;
        if let Some(pulse) = &*last
            && pulse.asked.elapsed() < GOOD_FOR
        {
            return pulse.clone();
        }
        let policy = self.engine.policy_status();
        let mut checks = timeout(PATIENCE, self.engine.health()).await.unwrap_or_else(|_| {
            let message = format!("the store did not answer within {} s", PATIENCE.as_secs());
            vec![("store", Err(Error::new(Code::StoreUnavailable, message)))]
        });
        let down = checks.iter().any(|(name, said)| *name == "store" && said.is_err());
        let counted = async {
            let records = self.engine.records().await.ok();
            (records, self.engine.awaiting_runs().await.ok())
        };
        let counted = if down { None } else { timeout(PATIENCE, counted).await.ok() };
        let (records, awaiting) = counted.unwrap_or_default();
        checks.push(("policy", sound(&policy)));
        log(last.as_ref().map_or(&[], |before| &before.checks), &checks);
        last.insert(Pulse { checks, records, awaiting, policy, asked: Instant::now() }).clone()
    }
}

/// The sentences are for the log: a probe comes without a token, and they name files, policies and addresses.
fn log(before: &[Check], now: &[Check]) {
    for (check, said) in now {
        let before = before.iter().find(|(name, _)| name == check).map(|(_, said)| said);
        match said {
            _ if !is_news(before, said) => {}
            Err(error) => tracing::warn!(check, code = %error.code, %error, "a check of `/readyz` failed"),
            Ok(()) => tracing::info!(check, "a check of `/readyz` is sound again"),
        }
    }
}

/// Whether a check says what it did not say before. The sentence of a clock that has stepped counts the seconds.
fn is_news(before: Option<&Result<()>>, now: &Result<()>) -> bool {
    match (before, now) {
        (None | Some(Ok(())), Ok(())) => false,
        (Some(Err(before)), Err(now)) if now.code == Code::ClockStepped => before.code != now.code,
        (Some(Err(before)), Err(now)) => (before.code, &before.message) != (now.code, &now.message),
        _ => true,
    }
}

/// Whether the policies in force are those of the files as they are now. If there are others in force, requests
/// are decided by those.
fn sound(policy: &PolicyStatus) -> Result<()> {
    let Some(problem) = &policy.problem else { return Ok(()) };
    let message = &problem.message;
    if policy.policies == 0 {
        let message = format!("no policies are in force, and everything is denied: {message}");
        return Err(Error::new(Code::PolicyUnavailable, message));
    }
    let (count, since) = (policy.policies, policy.loaded_at);
    let message = format!(
        "the {count} policies of {since:.0} are in force, since those of now are not valid: {message}"
    );
    Err(Error::new(Code::PolicySetInvalid, message))
}
