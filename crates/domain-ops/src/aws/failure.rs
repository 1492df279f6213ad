//! The SDK's errors as ours, and the one question that matters for a write: may it have been applied?

use super::limit::LARGEST;
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
        SdkError::DispatchFailure(ref dispatch) if dispatch.is_user() => no_credentials(&causes(&error)),
        SdkError::ConstructionFailure(_) | SdkError::DispatchFailure(_) => not_answered(&causes(&error)),
        SdkError::TimeoutError(_) => late(),
        _ if causes(&error).contains("length limit") => {
            unreadable(&format!("answered with more than {LARGEST} bytes"))
        }
        _ => unreadable("answered something that its SDK cannot read"),
    }
}

/// It answered, and with something else than it should.
pub(super) fn unreadable(what: &str) -> Failure {
    let error = Error::new(Code::UpstreamAnswerInvalid, format!("AWS {what}"))
        .with_remedy("check that `aws.endpoint` is the address of the service's own API");
    Failure { error, applied: Applied::Maybe, is_transient: true }
}

/// It did not answer in time.
pub(super) fn late() -> Failure {
    unreachable("did not answer in time", Applied::Maybe)
}

/// Nothing was sent, or no answer came: by the words of what that was caused by.
fn not_answered(causes: &str) -> Failure {
    if causes.contains("identity resolver timed out") {
        return slow_credentials();
    }
    if causes.contains("credentials") || causes.contains("identity") {
        return no_credentials(causes);
    }
    // hyper's word for a request that never had a connection.
    if causes.contains("(Connect)") {
        return unreachable("cannot be reached: no connection could be made", Applied::No);
    }
    unreachable("cannot be reached, or broke the connection off", Applied::Maybe)
}

fn unreachable(why: &str, applied: Applied) -> Failure {
    let error = Error::new(Code::UpstreamUnreachable, format!("AWS {why}"));
    Failure { error, applied, is_transient: true }
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

/// There are none, or they cannot be used.
fn no_credentials(causes: &str) -> Failure {
    let why = redact::line(causes, 200);
    let error = Error::new(Code::UpstreamForbidden, format!("there are no credentials for AWS: {why}"));
    Failure { error: error.with_remedy(PROVIDE), applied: Applied::No, is_transient: false }
}

/// Nobody gave any in time: not asked again at once, so that it is known soon.
fn slow_credentials() -> Failure {
    let error = Error::new(Code::UpstreamUnreachable, "the credentials for AWS did not come in time");
    let remedy =
        format!("{PROVIDE}; where no instance has any, `AWS_EC2_METADATA_DISABLED=true` says so at once");
    Failure { error: error.with_remedy(remedy), applied: Applied::No, is_transient: false }
}

/// What to do where there are no credentials.
const PROVIDE: &str = "provide credentials as the AWS SDKs look for them: environment, `aws.profile`, web identity, container or \
                       instance";

/// A refusal by its status and AWS's own code.
fn refusal(status: u16, aws: &str, message: Option<&str>) -> Failure {
    const FORBIDDEN: [&str; 10] = [
        "AccessDenied",
        "RequestExpired",
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
    } else if ["InProgress", "ResourceContention", "NotActive", "Incorrect"]
        .iter()
        .any(|word| aws.contains(word))
    {
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
