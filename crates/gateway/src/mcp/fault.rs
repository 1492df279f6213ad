//! Errors as JSON-RPC errors: for what is no result of a tool.

use crate::http::redact::hide;
use astradesk_core::{Class, Code, Error};
use rmcp::ErrorData;
use rmcp::model::ErrorCode;
use serde_json::json;

/// Who asks may not do this.
const DENIED: ErrorCode = ErrorCode(-32003);

/// The error with its code, sentence and remedy as data. A defect's message goes to the log only.
pub(super) fn of(mut error: Error) -> ErrorData {
    if error.code == Code::Internal {
        tracing::error!(detail = error.message, "internal error");
        hide(&mut error);
    }
    let code = match error.code.class() {
        Class::NotFound => ErrorCode::RESOURCE_NOT_FOUND,
        Class::Denied | Class::Unauthenticated | Class::ApprovalNeeded => DENIED,
        Class::Invalid | Class::Unprocessable | Class::TooLarge | Class::UnsupportedMediaType => {
            ErrorCode::INVALID_PARAMS
        }
        Class::MethodNotAllowed => ErrorCode::METHOD_NOT_FOUND,
        Class::Conflict => ErrorCode::INVALID_REQUEST,
        Class::RequestTimeout
        | Class::Overloaded
        | Class::Failed
        | Class::Unknown
        | Class::Unavailable
        | Class::Internal => ErrorCode::INTERNAL_ERROR,
    };
    let message = error.message.clone();
    ErrorData::new(code, message, Some(json!(error)))
}

/// The request says something that cannot be meant.
pub(super) fn malformed(message: impl Into<String>) -> ErrorData {
    of(Error::new(Code::RequestMalformed, message))
}
