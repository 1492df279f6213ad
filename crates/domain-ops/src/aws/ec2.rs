//! EC2: requests, and views of instances and their checks.
//!
//! Its SDK takes minutes and 7 GB to be built, for three requests. So these are sent by EC2's Query API, on the runtime that all
//! SDKs of AWS share: it finds the credentials, signs, and keeps the limits.

use super::failure::{failure, late, unreadable};
use super::xml;
use super::{Aws, LATEST};
use crate::upstream::{Applied, Failure};
use astradesk_core::{Code, Error};
use aws_config::SdkConfig;
use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_sdk_ecs::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use aws_sdk_ecs::config::http::{HttpRequest, HttpResponse};
use aws_sdk_ecs::config::{Layer, RuntimeComponentsBuilder};
use aws_sdk_ecs::error::{BoxError, ErrorMetadata, SdkError};
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::auth::AuthSchemeOptionResolverParams;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::orchestrator::OrchestratorError;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_types::SigningName;
use aws_types::region::SigningRegion;
use aws_types::service_config::ServiceConfigKey;
use http::header::{CONTENT_TYPE, USER_AGENT};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use tokio::time::{Instant, timeout_at};

/// What EC2 calls itself in addresses and signatures.
const NAME: &str = "ec2";
/// Which of its APIs.
const VERSION: &str = "2016-11-15";
/// As whom it is asked.
const AGENT: &str = concat!("astradesk/", env!("CARGO_PKG_VERSION"));

/// How EC2 is asked.
pub(super) type Query = Operation<Asked, String, ErrorMetadata>;

/// A request.
#[derive(Debug)]
pub(super) struct Asked {
    body: String,
    agent: String,
}

/// An instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) id: String,
    /// In AWS's word: `pending`, `running`, `shutting-down`, `terminated`, `stopping`, `stopped`.
    pub(crate) state: String,
    /// Such as `t3.large`.
    pub(crate) kind: String,
    /// When it was last started; a reboot does not change it.
    pub(crate) launched: String,
    pub(crate) tags: BTreeMap<String, String>,
}

/// Where an instance stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Status {
    /// As that of an [`Instance`].
    pub(crate) state: String,
    pub(crate) checks: Checks,
}

/// AWS's two checks of an instance, in its words: `ok`, `impaired`, `initializing`, `insufficient-data`, `not-applicable`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checks {
    /// Of what the instance runs on.
    pub(crate) system: String,
    /// Of the instance's own software and network.
    pub(crate) instance: String,
}

impl Checks {
    pub(crate) fn are_ok(&self) -> bool {
        self.system == "ok" && self.instance == "ok"
    }
}

impl fmt::Display for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system {}, instance {}", self.system, self.instance)
    }
}

/// How EC2 is asked with this configuration; none if the region has no address.
pub(super) async fn query(sdk: &SdkConfig) -> Option<Query> {
    let mut config = Layer::new(NAME);
    config.store_put(AuthSchemeOptionResolverParams::new(()));
    config.store_put(SigV4OperationSigningConfig {
        region: sdk.region().cloned().map(SigningRegion::from),
        name: Some(SigningName::from_static(NAME)),
        ..SigV4OperationSigningConfig::default()
    });
    let mut components = RuntimeComponentsBuilder::new(NAME)
        .with_auth_scheme(SigV4AuthScheme::new())
        .with_auth_scheme_option_resolver(Some(StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID])))
        .with_identity_cache(sdk.identity_cache())
        .with_interceptor(super::limit::AtMost);
    if let Some(credentials) = sdk.credentials_provider() {
        components.set_identity_resolver(SCHEME_ID, credentials);
    }
    let plugin = StaticRuntimePlugin::new().with_config(config.freeze()).with_runtime_components(components);
    let query = Operation::builder()
        .service_name(NAME)
        .operation_name("query")
        .behavior_version(LATEST())
        .endpoint_url(&address(sdk).await?)
        .no_retry()
        .timeout_config(sdk.timeout_config()?.clone())
        .runtime_plugin(plugin)
        .serializer(request)
        .deserializer(answer)
        .build();
    Some(query)
}

/// Where EC2 is: what is configured for it or for all of AWS, else where ECS is, by EC2's name.
pub(super) async fn address(sdk: &SdkConfig) -> Option<String> {
    let key =
        ServiceConfigKey::builder().service_id("EC2").env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let of_its_own = || sdk.service_config()?.load_config(key.ok()?);
    let configured = if sdk.get_origin("endpoint_url").is_client_config() { None } else { of_its_own() };
    if let Some(address) = configured.or_else(|| sdk.endpoint_url().map(str::to_owned)) {
        return Some(address);
    }
    let params = Params::builder()
        .set_region(sdk.region().map(ToString::to_string))
        .set_use_fips(sdk.use_fips())
        .set_use_dual_stack(sdk.use_dual_stack());
    let of_ecs = DefaultResolver::new().resolve_endpoint(&params.build().ok()?).await.ok()?;
    of_ecs.url().strip_prefix("https://ecs").map(|rest| format!("https://{NAME}{rest}"))
}

fn request(asked: Asked) -> Result<HttpRequest, BoxError> {
    let request = http::Request::post("/")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(USER_AGENT, asked.agent)
        .body(SdkBody::from(asked.body))?;
    Ok(request.try_into()?)
}

fn answer(response: &HttpResponse) -> Result<String, OrchestratorError<ErrorMetadata>> {
    let text = String::from_utf8_lossy(response.body().bytes().unwrap_or_default());
    if response.status().is_success() {
        return Ok(text.into_owned());
    }
    let (code, message) = xml::refusal(&text);
    Err(OrchestratorError::operation(ErrorMetadata::builder().code(code).message(message).build()))
}

impl Aws {
    /// The instance as it is.
    pub(crate) async fn instance(&self, id: &str, deadline: Instant) -> Result<Instance, Failure> {
        let text = self.ec2_read("DescribeInstances", id, "", deadline).await?;
        xml::instances(&text).into_iter().find(|found| found.id == id).ok_or_else(|| missing(id))
    }

    /// Where the instance stands; AWS looks once a minute.
    pub(crate) async fn instance_status(&self, id: &str, deadline: Instant) -> Result<Status, Failure> {
        let text = self.ec2_read("DescribeInstanceStatus", id, "&IncludeAllInstances=true", deadline).await?;
        xml::status(&text, id).ok_or_else(|| missing(id))
    }

    /// Whether AWS would let the instance be rebooted.
    pub(crate) async fn may_reboot(&self, id: &str, until: Instant) -> Result<(), Failure> {
        match self.ec2_ask("RebootInstances", id, "&DryRun=true", AGENT, until).await? {
            Err(SdkError::ServiceError(said)) if said.err().code() == Some("DryRunOperation") => Ok(()),
            Err(error) => Err(failure(error)),
            Ok(_) => {
                Err(unreadable("answered a dry run as if it were none: it may have rebooted the instance"))
            }
        }
    }

    /// Asks for the reboot. AWS records `mark` with it, as that of who asked.
    pub(super) async fn reboot(&self, id: &str, mark: &str, until: Instant) -> Result<(), Failure> {
        let text = self.ec2_ask("RebootInstances", id, "", &agent(mark), until).await?.map_err(failure)?;
        if xml::is_answer_to("RebootInstances", &text) { Ok(()) } else { Err(unreadable(ODD)) }
    }

    async fn ec2_read(&self, action: &str, id: &str, more: &str, until: Instant) -> Result<String, Failure> {
        let ask = || async { self.ec2_ask(action, id, more, AGENT, until).await?.map_err(failure) };
        let text = self.read(until, ask).await?;
        if xml::is_answer_to(action, &text) { Ok(text) } else { Err(unreadable(ODD)) }
    }

    /// Sends one request. What is in it has only characters that need no escape: its own, and the instance's id.
    async fn ec2_ask(
        &self,
        action: &str,
        id: &str,
        more: &str,
        agent: &str,
        until: Instant,
    ) -> Result<Result<String, SdkError<ErrorMetadata>>, Failure> {
        let Some(query) = &self.clients().await.ec2 else {
            let message = format!("AWS has no EC2 in a region `{}`", self.region());
            let error = Error::new(Code::UpstreamNotFound, message).with_remedy("correct `aws.region`");
            return Err(Failure { error, applied: Applied::No, is_transient: false });
        };
        let body = format!("Action={action}&Version={VERSION}&InstanceId.1={id}{more}");
        let asked = query.invoke(Asked { body, agent: agent.to_owned() });
        timeout_at(until, asked).await.map_err(|_| late())
    }
}

/// What answers something else than it was asked.
const ODD: &str = "answered something else than EC2 would";

/// As whom a request is made that changes something: `CloudTrail` has it as `userAgent`.
pub(super) fn agent(mark: &str) -> String {
    format!("{AGENT} ({mark})")
}

fn missing(id: &str) -> Failure {
    let error = Error::new(Code::UpstreamNotFound, format!("there is no EC2 instance `{id}`"));
    Failure { error, applied: Applied::No, is_transient: false }
}
