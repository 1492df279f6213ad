//! What the tools of AWS share. The SDK's own retries are off: a write is sent once, and what became of it is looked up.
//!
//! | module | what it holds |
//! |---|---|
//! | `failure` | the SDK's errors as ours, and what they mean for an effect |
//! | `ecs`, `autoscaling` | requests, and views of what they answer |
//! | `deployment` | a new deployment of an ECS service, begun once, watched until it is complete |
//! | `refresh` | an instance refresh, begun once, watched until it is complete, cancelled |
//! | `ec2`, `xml` | the same for EC2, without its SDK |
//! | `reboot` | a reboot, asked for once, and watched |
//! | `limit` | the largest answer |

mod autoscaling;
pub(crate) mod deployment;
pub(crate) mod ec2;
mod ecs;
mod failure;
mod limit;
pub(crate) mod reboot;
pub(crate) mod refresh;
#[cfg(test)]
mod tests;
mod xml;

use crate::upstream::Failure;
use astradesk_core::Result;
use aws_config::identity::IdentityCache;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_ecs::config::SharedCredentialsProvider;
use reqwest::Url;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The longest that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest that credentials may take to come, and not more than half of a request's time.
const CREDENTIALS: Duration = Duration::from_secs(5);
/// Which of the SDK's ways are taken.
const LATEST: fn() -> BehaviorVersion = BehaviorVersion::v2026_01_12;
/// How often a read is sent.
const READS: u32 = 3;
/// The pause before it is sent again; it doubles each time.
const PAUSE: Duration = Duration::from_millis(500);

/// Where AWS is, and as whom it is asked: credentials come by the SDK's own chain (environment, profile, web identity,
/// container, instance).
#[derive(Debug, Clone)]
pub struct Settings {
    /// The region.
    pub region: String,
    /// The profile of the shared configuration; none: the chain's own.
    pub profile: Option<String>,
    /// An address in the place of AWS's own.
    pub endpoint: Option<Url>,
    /// For one request.
    pub timeout: Duration,
}

/// One region of AWS. Cheap to clone.
#[derive(Clone)]
pub struct Aws(Arc<Inner>);

struct Inner {
    settings: Settings,
    /// Who gives the credentials; none: the SDK's chain.
    credentials: Option<SharedCredentialsProvider>,
    clients: OnceCell<Clients>,
}

struct Clients {
    ecs: aws_sdk_ecs::Client,
    autoscaling: aws_sdk_autoscaling::Client,
    ec2: Option<ec2::Query>,
}

impl Aws {
    /// The region that these settings lead to. Nothing is sent yet, and no credentials are looked up.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Inner { settings, credentials: None, clients: OnceCell::new() }))
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.0.settings.region
    }

    /// Whether it answers, and permits what the tools read; how many clusters there are.
    ///
    /// # Errors
    /// `upstream.…`
    pub async fn clusters(&self) -> Result<usize> {
        Ok(self.ecs_clusters(Instant::now() + self.0.settings.timeout).await?)
    }

    async fn clients(&self) -> &Clients {
        self.0.clients.get_or_init(|| self.0.clients()).await
    }

    /// Asks a few times if need be, until `deadline`.
    async fn read<T, F>(&self, deadline: Instant, ask: impl Fn() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let (mut sent, mut pause) = (0, PAUSE);
        loop {
            sent += 1;
            let failure = match timeout_at(deadline, ask()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => return Err(failure::late()),
            };
            let again = Instant::now() + pause;
            if !failure.is_transient || sent == READS || again >= deadline {
                return Err(failure);
            }
            tracing::debug!(error = %failure.error, "AWS is asked again");
            sleep_until(again).await;
            pause *= 2;
        }
    }
}

impl Inner {
    async fn clients(&self) -> Clients {
        let sdk = self.settings.sdk(self.credentials.clone()).await;
        let ecs = aws_sdk_ecs::config::Builder::from(&sdk).interceptor(limit::AtMost).build();
        let autoscaling = aws_sdk_autoscaling::config::Builder::from(&sdk).interceptor(limit::AtMost).build();
        Clients {
            ecs: aws_sdk_ecs::Client::from_conf(ecs),
            autoscaling: aws_sdk_autoscaling::Client::from_conf(autoscaling),
            ec2: ec2::query(&sdk).await,
        }
    }
}

impl Settings {
    /// What the clients are made from.
    async fn sdk(&self, credentials: Option<SharedCredentialsProvider>) -> SdkConfig {
        let timeouts =
            TimeoutConfig::builder().connect_timeout(CONNECT).operation_timeout(self.timeout).build();
        let credentials_within = CREDENTIALS.min(self.timeout / 2);
        let mut loader = aws_config::defaults(LATEST())
            .region(Region::new(self.region.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .identity_cache(IdentityCache::lazy().load_timeout(credentials_within).build());
        if let Ok(name) = AppName::new("astradesk") {
            loader = loader.app_name(name);
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint.as_str());
        }
        if let Some(credentials) = credentials {
            loader = loader.credentials_provider(credentials);
        }
        loader.load().await
    }
}
