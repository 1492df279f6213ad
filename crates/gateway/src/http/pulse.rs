//! How the Engine is, asked at most once a second, however many probes there are: the check writes to the store.

use super::App;
use astradesk_core::{Code, Error, Result};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// For how long an answer of the Engine is good.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// A probe that is answered later than this is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the Engine is.
#[derive(Debug, Clone)]
pub(crate) struct Pulse {
    /// What new runs take, each with its name and what is wrong with it.
    pub(crate) checks: Vec<(&'static str, Result<()>)>,
    /// How many records the evidence has, if the store says so.
    pub(crate) records: Option<u64>,
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
        let checks = timeout(PATIENCE, self.engine.health()).await.unwrap_or_else(|_| {
            let message = format!("the store did not answer within {} s", PATIENCE.as_secs());
            vec![("store", Err(Error::new(Code::StoreUnavailable, message)))]
        });
        let down = checks.iter().any(|(name, said)| *name == "store" && said.is_err());
        let records = if down { None } else { timeout(PATIENCE, self.engine.records()).await.ok() };
        let records = records.and_then(Result::ok);
        last.insert(Pulse { checks, records, asked: Instant::now() }).clone()
    }
}
