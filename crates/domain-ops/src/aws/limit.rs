//! The limit of AWS's answers.

use aws_sdk_ecs::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_ecs::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ecs::error::BoxError;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;

/// The largest answer, in bytes.
pub(super) const LARGEST: usize = 4 << 20;

/// Breaks off an answer that is larger.
#[derive(Debug)]
pub(super) struct AtMost;

#[dyn_dispatch_hint]
impl Intercept for AtMost {
    fn name(&self) -> &'static str {
        "astradesk.at_most"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        let body = response.take_body();
        *response.body_mut() = SdkBody::from_body_1_x(Limited::new(body, LARGEST));
        Ok(())
    }
}
