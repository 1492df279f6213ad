//! `[aws]`: which region, and as whom it is asked. Credentials are looked for as the AWS SDKs do, and never stand here.

#[cfg(feature = "aws")]
use super::load::within;
#[cfg(feature = "aws")]
use astradesk_domain_ops::aws::Settings;
use serde::Deserialize;

/// `[aws]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// The region; empty: the tools are not there.
    pub region: String,
    /// The profile of the shared configuration; empty: the chain's own.
    pub profile: String,
    /// An address in the place of AWS's own; empty: AWS.
    pub endpoint: String,
    /// Whether the address may be `http://` elsewhere than on loopback.
    pub allow_http: bool,
    /// How long one request may take, in seconds.
    pub timeout_seconds: u64,
}

#[cfg(feature = "aws")]
impl Aws {
    /// What its tools need to know; none if no region is configured.
    ///
    /// # Errors
    /// [`astradesk_core::Code::ConfigInvalid`], also for what is not used yet.
    pub fn settings(&self) -> astradesk_core::Result<Option<Settings>> {
        use super::load::invalid;
        use astradesk_runtime::address::{Keys, base_url};
        within("aws.timeout_seconds", self.timeout_seconds, 1..=60)?;
        let keys = Keys {
            url: "aws.endpoint",
            allow_http: "aws.allow_http",
            credentials: "aws.profile",
            example: "https://vpce-0123.ecs.eu-central-1.vpce.amazonaws.com",
        };
        let endpoint = (!self.endpoint.is_empty()).then(|| base_url(&self.endpoint, self.allow_http, &keys));
        let endpoint = endpoint.transpose()?;
        if self.region.is_empty() {
            return Ok(None);
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.region.len() > 40 || !self.region.bytes().all(plain) {
            return Err(invalid("`aws.region` is no region, such as `eu-central-1`"));
        }
        Ok(Some(Settings {
            region: self.region.clone(),
            profile: (!self.profile.is_empty()).then(|| self.profile.clone()),
            endpoint,
            timeout: std::time::Duration::from_secs(self.timeout_seconds),
        }))
    }
}

#[cfg(any(test, not(feature = "aws")))]
impl Aws {
    /// That there are no tools for it in this build.
    ///
    /// # Errors
    /// [`astradesk_core::Code::ConfigInvalid`] if a region is configured.
    pub fn refuse(&self) -> astradesk_core::Result<()> {
        if self.region.is_empty() {
            return Ok(());
        }
        Err(super::load::invalid("`aws.region` is set, and this build has no tools for AWS")
            .with_remedy("build with the feature `aws`, which is on by default"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_the_tools_says_so() {
        let aws = |region: &str| Aws {
            region: region.to_owned(),
            profile: String::new(),
            endpoint: String::new(),
            allow_http: false,
            timeout_seconds: 15,
        };
        assert!(aws("").refuse().is_ok());
        let error = aws("eu-central-1").refuse().unwrap_err();
        assert_eq!(error.code, astradesk_core::Code::ConfigInvalid);
        assert!(
            error.message.contains("`aws.region`") && error.remedy.contains("feature `aws`"),
            "{error:?}"
        );
    }
}
