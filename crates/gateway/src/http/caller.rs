//! Who asks: authentication of every route under `/v1`, and the record of its failures.

use super::App;
use super::problem::Problem;
use astradesk_core::{Error, Principal};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The address of the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Who asks. Only [`authenticate`] makes one.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Arc<Principal>);

/// The layer of every route under `/v1`: nobody passes without a valid token.
pub(crate) async fn authenticate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    match app.auth.authenticate(request.headers()).await {
        Ok(principal) => {
            tracing::Span::current().record("subject", principal.subject.as_str());
            request.extensions_mut().insert(Caller(principal));
            next.run(request).await
        }
        Err(error) => {
            let peer = request.extensions().get::<Peer>().copied();
            record(&app, &error, peer).await;
            Problem::from(error).into_response()
        }
    }
}

/// Puts a failure on record, within the limit of records per second.
async fn record(app: &App, error: &Error, peer: Option<Peer>) {
    app.metrics.auth_failed(error.code);
    let Some(suppressed) = app.denials.admit(Instant::now()) else { return };
    let peer = peer.map_or_else(|| "unknown".to_owned(), |Peer(ip)| ip.to_string());
    if let Err(failure) = app.engine.record_unauthenticated(error, &peer, suppressed).await {
        app.denials.give_back(suppressed);
        tracing::error!(error = %failure, "a denial could not be put on record");
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| Error::internal("a route without authentication asks who calls").into())
    }
}

/// How many denials are put on record: so many a second, and the rest is counted.
pub(crate) struct Denials {
    per_second: u32,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    since: Option<Instant>,
    recorded: u32,
    suppressed: u64,
}

impl Denials {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second, window: Mutex::default() }
    }

    /// Whether a denial may be put on record now, and if so, how many before it were not.
    fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            window.since = Some(now);
            window.recorded = 0;
        }
        if window.recorded >= self.per_second {
            window.suppressed += 1;
            return None;
        }
        window.recorded += 1;
        Some(std::mem::take(&mut window.suppressed))
    }

    /// A record that was admitted and could not be kept still counts, with those it was to tell of.
    fn give_back(&self, suppressed: u64) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.suppressed += suppressed + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denials_beyond_the_limit_are_counted_in_the_next_record() {
        let denials = Denials::new(2);
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        assert_eq!([(); 5].map(|()| denials.admit(start)), [Some(0), Some(0), None, None, None]);
        assert_eq!([denials.admit(later), denials.admit(later)], [Some(3), Some(0)]);
        denials.give_back(3);
        assert_eq!(denials.admit(later + Duration::from_secs(1)), Some(4));
    }
}
