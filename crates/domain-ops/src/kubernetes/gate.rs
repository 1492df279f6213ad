//! How fast the API server is asked, and when it is left alone.
//!
//! Each request waits for its turn, first come, first served, so that thousands of runs that are taken up at
//! once do not stampede. When the API server says `Retry-After`, nobody's turn comes before that.
//!
//! kube's errors carry the API server's status but not the header, and a server that is flooded answers with the
//! header and plain text: so a layer around the client reads it off each response, and counts what was sent.

use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response};
use kube::client::Body;
use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use tower::{BoxError, Layer, Service};

/// The longest that a request may wait for its turn.
const TURN: Duration = Duration::from_mins(1);
/// The longest that one `Retry-After` holds requests back.
const HOLD: Duration = Duration::from_secs(10);
/// The most that chance adds to it, so that several processes do not come back at once.
const JITTER: Duration = Duration::from_millis(500);

/// How fast the API server may be asked. Watches count once, when they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Requests a second, on average; at least 1.
    pub per_second: u32,
    /// How many may come at once after a quiet time; at least 1.
    pub burst: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { per_second: 50, burst: 100 }
    }
}

/// How many requests of one verb were answered so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The verb, as RBAC names it: `get`, `list`, `watch`, `patch`, `create`.
    pub verb: &'static str,
    /// The HTTP status; none when no answer came.
    pub status: Option<u16>,
    /// How many.
    pub count: u64,
}

/// What every request to one API server passes.
pub(crate) struct Gate {
    pace: Pace,
    /// Whoever holds it is next; the others wait in the order in which they came.
    next: tokio::sync::Mutex<Allowance>,
    closed_until: Mutex<Instant>,
    sent: Mutex<BTreeMap<(&'static str, Option<u16>), u64>>,
}

/// How many requests may go at once, at a moment.
struct Allowance {
    left: f64,
    at: Instant,
}

impl Gate {
    pub(crate) fn new(pace: Pace) -> Self {
        let now = Instant::now();
        Self {
            pace: Pace { per_second: pace.per_second.max(1), burst: pace.burst.max(1) },
            next: tokio::sync::Mutex::new(Allowance { left: f64::from(pace.burst.max(1)), at: now }),
            closed_until: Mutex::new(now),
            sent: Mutex::default(),
        }
    }

    /// Waits for a turn to send one request. Returns whether it came.
    pub(crate) async fn turn(&self) -> bool {
        timeout(TURN, self.pass()).await.is_ok()
    }

    async fn pass(&self) {
        let mut next = self.next.lock().await;
        loop {
            let now = Instant::now();
            let open = next.refill(now, self.pace).max(*self.closed());
            if open <= now {
                next.left -= 1.0;
                return;
            }
            sleep_until(open).await;
        }
    }

    /// What was sent so far, by verb and status.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.iter().map(|((verb, status), count)| Sent { verb, status: *status, count: *count }).collect()
    }

    fn closed(&self) -> MutexGuard<'_, Instant> {
        self.closed_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, verb: &'static str, heeds: bool, status: u16, headers: &HeaderMap) {
        self.count(verb, Some(status));
        if let (429 | 503, Some(pause)) = (status, retry_after(headers).filter(|_| heeds)) {
            let until = Instant::now() + pause.min(HOLD) + jitter();
            let mut closed = self.closed();
            *closed = until.max(*closed);
            tracing::info!(verb, status, ?pause, "the API server asks to be left alone");
        }
    }

    fn count(&self, verb: &'static str, status: Option<u16>) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *sent.entry((verb, status)).or_default() += 1;
    }
}

impl Allowance {
    /// Adds what time has brought, and says from when on one more may go.
    fn refill(&mut self, now: Instant, pace: Pace) -> Instant {
        let per_second = f64::from(pace.per_second);
        let brought = now.saturating_duration_since(self.at).as_secs_f64() * per_second;
        self.left = (self.left + brought).min(f64::from(pace.burst));
        self.at = now;
        // A timer knows whole milliseconds: what is missing by less is not waited for.
        let missing = (1.0 - self.left).max(0.0);
        if missing < 1e-3 { now } else { now + Duration::from_secs_f64(missing / per_second) }
    }
}

/// The seconds of `Retry-After`; the API server writes no dates there.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn jitter() -> Duration {
    let share = RandomState::new().build_hasher().finish() % 1000;
    JITTER * u32::try_from(share).unwrap_or_default() / 1000
}

fn verb(request: &Request<Body>) -> &'static str {
    let watches = || request.uri().query().is_some_and(|query| query.contains("watch=true"));
    // Every path with a name behind the resource has seven parts or more: /apis/apps/v1/namespaces/N/R/NAME.
    let named = || {
        let parts = request.uri().path().split('/').filter(|part| !part.is_empty()).count();
        if request.uri().path().starts_with("/apis/") { parts > 6 } else { parts > 5 }
    };
    match *request.method() {
        Method::GET if watches() => "watch",
        Method::GET if request.uri().path().contains("/namespaces/") && !named() => "list",
        Method::GET => "get",
        Method::PATCH => "patch",
        Method::POST => "create",
        _ => "other",
    }
}

/// Lets responses tell the gate.
#[derive(Clone)]
pub(crate) struct Listening(pub(crate) Arc<Gate>);

impl<S> Layer<S> for Listening {
    type Service = Listener<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Listener { inner, gate: self.0.clone() }
    }
}

/// A client whose responses tell the gate.
#[derive(Clone)]
pub(crate) struct Listener<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S, B> Service<Request<Body>> for Listener<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut unanswered = Unanswered { verb: verb(&request), gate: Some(self.gate.clone()) };
        // What a disruption budget says of one pod is nothing that others should wait for.
        let heeds = !request.uri().path().ends_with("/eviction");
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into)?;
            if let Some(gate) = unanswered.gate.take() {
                gate.answered(unanswered.verb, heeds, answer.status().as_u16(), answer.headers());
            }
            Ok(answer)
        })
    }
}

/// Counts a request that failed, or that nobody waits for any more.
struct Unanswered {
    verb: &'static str,
    gate: Option<Arc<Gate>>,
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(gate) = &self.gate {
            gate.count(self.verb, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(per_second: u32, burst: u32) -> Arc<Gate> {
        Arc::new(Gate::new(Pace { per_second, burst }))
    }

    fn headers(seconds: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::header::RETRY_AFTER, seconds.parse().unwrap())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_pace_in_order() {
        let gate = gate(10, 5);
        let begun = Instant::now();
        let turns = (0..25).map(|number| {
            let gate = gate.clone();
            async move {
                assert!(gate.turn().await);
                (number, begun.elapsed().as_millis() / 100)
            }
        });
        let times = futures::future::join_all(turns).await;
        let expected: Vec<_> = (0..25_u128).map(|n| (n, n.saturating_sub(4))).collect();
        assert_eq!(times, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_takes_nobodys_turn() {
        let gate = gate(1, 1);
        assert!(gate.turn().await);
        let begun = Instant::now();
        for _ in 0..50 {
            let waiting = timeout(Duration::from_millis(10), gate.turn()).await;
            assert!(waiting.is_err());
        }
        assert!(gate.turn().await);
        assert!(begun.elapsed() < Duration::from_millis(1010), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_holds_everybody_back_for_a_bounded_time() {
        for (said, status, least, most) in
            [("3", 429, 3000, 3500), ("3", 503, 3000, 3500), ("9999", 429, 10_000, 10_500), ("3", 500, 0, 0)]
        {
            let gate = gate(50, 100);
            let begun = Instant::now();
            gate.answered("create", false, status, &headers(said));
            assert!(*gate.closed() <= Instant::now(), "an eviction that a budget refuses holds nobody back");
            gate.answered("get", true, status, &headers(said));
            assert!(gate.turn().await);
            let waited = begun.elapsed().as_millis();
            assert!((least..=most).contains(&waited), "{said} {status}: {waited} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_turn_without_a_limit() {
        let gate = gate(1, 1);
        *gate.closed() = Instant::now() + TURN * 2;
        assert!(!gate.turn().await);
    }

    #[test]
    fn verbs_are_those_of_rbac() {
        for (method, uri, expected) in [
            ("GET", "/apis/apps/v1/namespaces/shop/deployments/webapp", "get"),
            ("GET", "/apis/apps/v1/namespaces/shop/deployments?limit=500", "list"),
            ("GET", "/apis/apps/v1/namespaces/shop/deployments?&watch=true&timeoutSeconds=30", "watch"),
            ("GET", "/api/v1/namespaces/shop/pods", "list"),
            ("GET", "/api/v1/namespaces/shop/pods/webapp-1/log", "get"),
            ("GET", "/version", "get"),
            ("PATCH", "/apis/apps/v1/namespaces/shop/deployments/webapp", "patch"),
            ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "create"),
        ] {
            let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
            assert_eq!(verb(&request), expected, "{method} {uri}");
        }
    }
}
