//! What the tools of an Alertmanager share.
//!
//! | module | what it holds |
//! |---|---|
//! | `api` | the API v2: requests, and what it answers |
//! | `matcher` | matchers, and which labels mean a service |
//! | `alerts` | which alerts fire, told within limits |
//! | `silence` | a silence that is made once |
//! | `expire` | a silence that is ended once |

pub(crate) mod alerts;
mod api;
pub(crate) mod expire;
pub(crate) mod matcher;
pub(crate) mod silence;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use crate::upstream::once::Job;
pub(crate) use api::{Alert, Group, Silence};

use crate::upstream::{self, Upstream};
use astradesk_core::Result;
use astradesk_core::Timestamp;
use astradesk_runtime::port::Clock;
use matcher::ServiceLabels;
use std::sync::Arc;
use std::time::Duration;

/// Where an Alertmanager is, and its limits.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it is.
    pub upstream: upstream::Settings,
    /// Which labels mean a service, the likeliest first: `namespace={namespace},service={service}`.
    pub service_labels: Vec<String>,
    /// The longest that a silence may last.
    pub max_silence: Duration,
}

/// One Alertmanager. Cheap to clone.
#[derive(Clone)]
pub struct Alertmanager(Arc<Inner>);

struct Inner {
    upstream: Upstream,
    clock: Arc<dyn Clock>,
    service_labels: Vec<ServiceLabels>,
    max_silence: Duration,
}

impl Alertmanager {
    /// The one that these settings lead to. Nothing is sent yet.
    ///
    /// # Errors
    /// [`astradesk_core::Code::ConfigInvalid`].
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self(Arc::new(Inner {
            upstream: Upstream::new(settings.upstream)?,
            clock,
            service_labels: matcher::service_labels(&settings.service_labels)?,
            max_silence: settings.max_silence,
        })))
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.0.upstream.url()
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// The longest that a silence may last.
    pub(crate) fn max_silence(&self) -> Duration {
        self.0.max_silence
    }

    /// Which labels mean a service, the likeliest first.
    pub(crate) fn service_labels(&self) -> &[ServiceLabels] {
        &self.0.service_labels
    }
}
