//! The SDK's errors as ours, and the one question that matters for a write: may it have been applied?

use crate::upstream::{Applied, Failure};
use astradesk_core::{Code, Error, redact};
use aws_sdk_ecs::config::http::HttpResponse;
use aws_sdk_ecs::error::{ProvideErrorMetadata, SdkError};

/// What AWS says of a request that it did not do.
pub(super) fn failure<E>(error: SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(refused) => {
            let status = refused.raw().status().as_u16();
            refusal(status, refused.err().code().unwrap_or_default(), refused.err().message())
        }
        SdkError::ConstructionFailure(_) => no_credentials(&error),
        SdkError::DispatchFailure(ref dispatch) if dispatch.is_user() || names_credentials(&error) => {
            no_credentials(&error)
        }
        SdkError::DispatchFailure(_) => unreachable("cannot be reached, or broke the connection off"),
        SdkError::TimeoutError(_) => late(),
        _ => {
            let error =
                Error::new(Code::UpstreamAnswerInvalid, "AWS answered something that its SDK cannot read")
                    .with_remedy("check that `aws.endpoint` is the address of the service's own API");
            Failure { error, applied: Applied::Maybe, is_transient: true }
        }
    }
}

/// It did not answer in time.
pub(super) fn late() -> Failure {
    unreachable("did not answer in time")
}

fn unreachable(why: &str) -> Failure {
    let error = Error::new(Code::UpstreamUnreachable, format!("AWS {why}"));
    Failure { error, applied: Applied::Maybe, is_transient: true }
}

/// The words of what a failure was caused by: its own are `dispatch failure`.
fn causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

fn names_credentials<E: std::error::Error + 'static>(error: &SdkError<E, HttpResponse>) -> bool {
    let words = causes(error);
    words.contains("credentials") || words.contains("identity")
}

fn no_credentials<E: std::error::Error + 'static>(error: &SdkError<E, HttpResponse>) -> Failure {
    let why = redact::line(&causes(error), 200);
    let error = Error::new(Code::UpstreamForbidden, format!("there are no credentials for AWS: {why}"))
        .with_remedy("provide them as the AWS SDKs look for them: environment, `aws.profile`, web identity, container or instance");
    Failure { error, applied: Applied::No, is_transient: false }
}

/// A refusal by its status and AWS's own code.
fn refusal(status: u16, aws: &str, message: Option<&str>) -> Failure {
    const FORBIDDEN: [&str; 9] = [
        "AccessDenied",
        "UnauthorizedOperation",
        "UnrecognizedClient",
        "ExpiredToken",
        "InvalidClientTokenId",
        "InvalidSignature",
        "SignatureDoesNotMatch",
        "AuthFailure",
        "MissingAuthenticationToken",
    ];
    let said = message.unwrap_or_default();
    let throttled = aws.contains("Throttl") || aws.contains("RequestLimitExceeded") || status == 429;
    let code = if throttled {
        Code::UpstreamUnreachable
    } else if FORBIDDEN.iter().any(|known| aws.starts_with(known)) {
        Code::UpstreamForbidden
    } else if aws.contains("NotFound") || said.contains("not found") {
        Code::UpstreamNotFound
    } else if aws.contains("InProgress") || aws.contains("ResourceContention") || aws.contains("NotActive") {
        Code::UpstreamConflict
    } else if status >= 500 {
        Code::UpstreamFailed
    } else {
        Code::UpstreamRejected
    };
    let aws = if aws.is_empty() { status.to_string() } else { redact::line(aws, 80) };
    let message = format!("AWS answered {aws}: {}", redact::line(said, 300));
    let mut error = Error::new(code, message).with_detail("status", status);
    if code == Code::UpstreamForbidden {
        error = error.with_remedy("give AstraDesk's identity in AWS the permission that the message names");
    }
    // What is throttled was not begun; what failed inside may have been.
    let applied = if status >= 500 && !throttled { Applied::Maybe } else { Applied::No };
    Failure { error, applied, is_transient: throttled || status >= 500 }
}
