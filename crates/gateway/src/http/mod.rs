//! What every request passes, whatever the route.
//!
//! | module | part |
//! |---|---|
//! | `edge` | request id, span, concurrency, time-out, panics; renders problems on the way back |
//! | `caller` | authentication, and the record of its failures |
//! | `extract` | bodies, paths and queries, each refused with a problem |
//! | `prefer` | `Prefer: wait=N` |
//! | `problem` | errors as RFC 9457 problems, and the one mapping from class to status |
//! | `redact` | what a caller may not see |
//! | `strict` | JSON in which an object is an object |
//! | `trace` | `traceparent` |
//! | `pulse` | how the Engine is, for the probes |
//! | `metrics` | counters and histograms, in Prometheus' text format |

pub(crate) mod caller;
pub(crate) mod edge;
pub(crate) mod extract;
pub(crate) mod metrics;
pub(crate) mod prefer;
pub(crate) mod problem;
mod pulse;
pub(crate) mod redact;
mod strict;
pub(crate) mod trace;

use crate::auth::Auth;
use crate::config::Limits;
use crate::mcp::Allowed;
use crate::webhook::Webhooks;
use astradesk_runtime::Engine;
use bytes::Bytes;
use pulse::Pulse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

/// What every handler can reach. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) auth: Auth,
    pub(crate) limits: Limits,
    pub(crate) metrics: metrics::Metrics,
    pub(crate) denials: caller::Denials,
    /// The OpenAPI document.
    pub(crate) document: Bytes,
    /// Cancelled when the gateway is to stop: waits answer, streams end.
    pub(crate) stopping: CancellationToken,
    /// Cancelled when no request is in flight any more: nothing that serves MCP stays behind.
    pub(crate) drained: CancellationToken,
    /// How clients reach the gateway, without a slash at the end.
    pub(crate) public_url: String,
    /// Which `Host` and `Origin` an agent's request may have.
    pub(crate) allowed: Allowed,
    pub(crate) requests: Arc<Semaphore>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) waits: Semaphore,
    pub(crate) webhooks: Arc<Webhooks>,
    /// How the Engine was when it was last asked.
    pulse: Mutex<Option<Pulse>>,
    request_ids: RequestIds,
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// Until the gateway stops, or an event stream that begins now has lasted as long as one may.
    pub(crate) async fn until_streams_end(&self) {
        tokio::select! {
            () = self.stopping.cancelled() => {}
            () = tokio::time::sleep(std::time::Duration::from_secs(self.limits.event_stream_seconds)) => {}
        }
    }

    pub(crate) fn new(
        engine: Engine,
        auth: Auth,
        limits: Limits,
        webhooks: Arc<Webhooks>,
        (public_url, allowed): (String, Allowed),
        routes: &[(String, String)],
        document: Bytes,
    ) -> Self {
        Self(Arc::new(Inner {
            engine,
            auth,
            metrics: metrics::Metrics::new(routes),
            denials: caller::Denials::new(limits.auth_records_per_second),
            document,
            stopping: CancellationToken::new(),
            drained: CancellationToken::new(),
            public_url,
            allowed,
            requests: Arc::new(Semaphore::new(limits.concurrent_requests)),
            streams: Arc::new(Semaphore::new(limits.event_streams)),
            waits: Semaphore::new(limits.waits),
            webhooks,
            pulse: Mutex::new(None),
            request_ids: RequestIds::new(),
            limits,
        }))
    }
}

/// Ids for requests that bring none: random for the process, then counted.
struct RequestIds {
    process: u32,
    count: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        Self { process: uuid::Uuid::new_v4().as_fields().0, count: AtomicU64::new(1) }
    }

    fn next(&self) -> String {
        format!("{:08x}-{:x}", self.process, self.count.fetch_add(1, Ordering::Relaxed))
    }
}
