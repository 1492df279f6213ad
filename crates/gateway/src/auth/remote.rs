//! An issuer's keys, fetched, cached and rotated.
//!
//! One fetch at a time, in a task of its own: a client that hangs up can neither stop it nor use up the
//! turn of the others. Nobody can make the gateway hammer the issuer: between two attempts there are
//! [`RETRY_SECONDS`], whatever key ids come in.

use super::keys::{self, KeySet};
use crate::address::{Clients, is_loopback, secure_url};
use arc_swap::ArcSwapOption;
use astradesk_core::canonical::Digest;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::Clock;
use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use reqwest::redirect;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Between two fetches because of an unknown key id, or because the keys have grown old.
pub(super) const RETRY_SECONDS: i64 = 10;
/// Between two fetches while there are no keys at all.
const FIRST_RETRY_SECONDS: i64 = 1;
/// How long keys are fresh when the issuer does not say.
const DEFAULT_FRESH_SECONDS: i64 = 300;
/// The bounds of what the issuer may say.
const FRESH_SECONDS: std::ops::RangeInclusive<i64> = 60..=3600;
/// For how long keys are still good after the last fetch that succeeded.
const STALE_SECONDS: i64 = 2 * 3600;
/// For one answer of the issuer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where the keys are.
#[derive(Debug, Clone)]
pub(super) enum Location {
    /// At the `jwks_uri` of the issuer's discovery document.
    Discovery {
        /// The issuer, which the document must name.
        issuer: String,
    },
    /// At this URL.
    Jwks(String),
}

/// The keys of an issuer that publishes them.
pub(super) struct Remote {
    location: Location,
    clients: Clients,
    clock: Arc<dyn Clock>,
    cached: ArcSwapOption<Cached>,
    generation: AtomicU64,
    turn: Arc<Mutex<LastAttempt>>,
}

struct Cached {
    keys: Arc<KeySet>,
    generation: u64,
    digest: Digest,
    fetched_at: i64,
    fresh_seconds: i64,
}

/// When the issuer was last asked, whatever came of it.
type LastAttempt = Option<i64>;

impl Remote {
    pub(super) fn new(location: Location, clock: Arc<dyn Clock>) -> Result<Self> {
        let clients = Clients::new(|| {
            reqwest::Client::builder()
                .redirect(redirect::Policy::none())
                .connect_timeout(Duration::from_secs(3))
                .timeout(TIMEOUT)
                .user_agent(concat!("astradesk/", env!("CARGO_PKG_VERSION")))
        })?;
        Ok(Self {
            location,
            clients,
            clock,
            cached: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            turn: Arc::default(),
        })
    }

    /// Counts the changes of the keys.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether keys are at hand that are still good.
    pub(super) fn has_keys(&self) -> bool {
        let now = self.now();
        self.cached.load().as_ref().is_some_and(|cached| cached.is_good(now))
    }

    /// Fetches the keys unless they are at hand.
    pub(super) async fn prefetch(self: &Arc<Self>) -> Result<()> {
        self.keys(None).await.map(drop)
    }

    /// The keys, refreshed when they are old or have none with this id, and their generation.
    ///
    /// # Errors
    /// [`Code::AuthIssuerUnreachable`] when there are none, [`Code::AuthKeyUnknown`] when none has the id.
    pub(super) async fn keys(self: &Arc<Self>, id: Option<&str>) -> Result<(Arc<KeySet>, u64)> {
        let cached = self.cached.load_full();
        let now = self.now();
        if let Some(fresh) = cached.as_ref().filter(|cached| cached.is_fresh(now) && cached.keys.has(id)) {
            return Ok(fresh.give());
        }
        let turn = match cached.as_ref().filter(|cached| cached.is_good(now) && cached.keys.has(id)) {
            // Old keys that still do are not worth waiting for somebody else's fetch.
            Some(old) => match self.turn.clone().try_lock_owned() {
                Ok(turn) => turn,
                Err(_) => return Ok(old.give()),
            },
            None => self.turn.clone().lock_owned().await,
        };
        self.refresh(id, turn).await?;
        let cached = self.cached.load_full();
        let now = self.now();
        match cached.filter(|cached| cached.is_good(now)) {
            Some(cached) if cached.keys.has(id) => Ok(cached.give()),
            Some(_) => {
                Err(Error::new(Code::AuthKeyUnknown, "the token's key is not among the issuer's keys"))
            }
            None => Err(Error::new(Code::AuthIssuerUnreachable, "the issuer's keys cannot be fetched")),
        }
    }

    /// Asks the issuer, unless somebody has while this waited for its turn, or it is too early to ask again.
    async fn refresh(
        self: &Arc<Self>,
        id: Option<&str>,
        mut turn: OwnedMutexGuard<LastAttempt>,
    ) -> Result<()> {
        let now = self.now();
        let cached = self.cached.load_full();
        if cached.as_ref().is_some_and(|cached| cached.is_fresh(now) && cached.keys.has(id)) {
            return Ok(());
        }
        let pause = if cached.is_some() { RETRY_SECONDS } else { FIRST_RETRY_SECONDS };
        // A clock that was set back must not lock the issuer out: only times in the past count.
        if turn.is_some_and(|last| (0..pause).contains(&(now - last))) {
            return Ok(());
        }
        let this = self.clone();
        let fetching = tokio::spawn(async move {
            *turn = Some(now);
            match this.fetch().await {
                Ok((keys, digest, fresh_seconds)) => this.keep(keys, digest, fresh_seconds),
                Err(why) => {
                    tracing::warn!(location = ?this.location, why, "the issuer's keys could not be fetched");
                }
            }
        });
        fetching.await.map_err(|error| Error::internal(format!("fetching keys: {error}")))
    }

    fn keep(&self, keys: KeySet, digest: Digest, fresh_seconds: i64) {
        let before = self.cached.load_full();
        let changed = before.is_none_or(|before| before.digest != digest);
        let generation = self.generation() + u64::from(changed);
        let cached =
            Cached { keys: Arc::new(keys), generation, digest, fetched_at: self.now(), fresh_seconds };
        self.cached.store(Some(Arc::new(cached)));
        self.generation.store(generation, Ordering::Release);
    }

    async fn fetch(&self) -> Result<(KeySet, Digest, i64), String> {
        let url = match &self.location {
            Location::Jwks(url) => url.clone(),
            Location::Discovery { issuer } => self.discover(issuer).await?,
        };
        let (body, headers) = self.get(&url).await?;
        Ok((KeySet::from_jwks(&body)?, Digest::of(&body), fresh_seconds(&headers)))
    }

    /// The address of the keys, from the issuer's discovery document.
    async fn discover(&self, issuer: &str) -> Result<String, String> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: String,
        }
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let (body, _) = self.get(&url).await?;
        let document: Document =
            serde_json::from_slice(&body).map_err(|_| format!("`{url}` is not a discovery document"))?;
        if document.issuer != issuer {
            return Err(format!(
                "the discovery document is of another issuer: `{}`",
                document.issuer.escape_debug()
            ));
        }
        let keys = secure_url(&document.jwks_uri)
            .map_err(|what| format!("the `jwks_uri` of the discovery document {what}"))?;
        // An issuer elsewhere must not point the gateway at its own machine.
        let here = secure_url(issuer).is_ok_and(|url| is_loopback(&url));
        if is_loopback(&keys) && !here {
            return Err("the discovery document points to this machine for its keys".to_owned());
        }
        Ok(document.jwks_uri)
    }

    async fn get(&self, url: &str) -> Result<(Vec<u8>, HeaderMap), String> {
        let failed = |error: reqwest::Error| format!("`{url}`: {}", error.without_url());
        let address = secure_url(url).map_err(|what| format!("`{url}` {what}"))?;
        let request = self.clients.of(&address).get(address.clone()).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("`{url}` answered {}", response.status()));
        }
        let headers = std::mem::take(response.headers_mut());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > keys::MAX_BYTES {
                return Err(format!("`{url}` answered with more than {} bytes", keys::MAX_BYTES));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((body, headers))
    }

    fn now(&self) -> i64 {
        self.clock.now().as_second()
    }
}

impl Cached {
    fn is_fresh(&self, now: i64) -> bool {
        (0..self.fresh_seconds).contains(&(now - self.fetched_at))
    }

    fn is_good(&self, now: i64) -> bool {
        now - self.fetched_at < STALE_SECONDS
    }

    fn give(&self) -> (Arc<KeySet>, u64) {
        (self.keys.clone(), self.generation)
    }
}

/// The `max-age` of the answer, within [`FRESH_SECONDS`].
fn fresh_seconds(headers: &HeaderMap) -> i64 {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let max_age = directives
        .flat_map(|value| value.split(','))
        .find_map(|directive| directive.trim().strip_prefix("max-age=")?.parse::<i64>().ok());
    max_age.unwrap_or(DEFAULT_FRESH_SECONDS).clamp(*FRESH_SECONDS.start(), *FRESH_SECONDS.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fresh_for_as_long_as_the_issuer_says_within_bounds() {
        for (header, seconds) in [
            (None, 300),
            (Some("max-age=600"), 600),
            (Some("public, max-age=120, must-revalidate"), 120),
            (Some("max-age=1"), 60),
            (Some("max-age=999999999"), 3600),
            (Some("no-store"), 300),
            (Some("max-age=soon"), 300),
        ] {
            let headers = header.map(|value| (CACHE_CONTROL, value.parse().unwrap())).into_iter().collect();
            assert_eq!(fresh_seconds(&headers), seconds, "{header:?}");
        }
    }
}
