//! Errors as RFC 9457 problems, and the one mapping from class to status.
//!
//! A handler's error becomes an empty response that carries a [`Problem`]; `edge` writes it out, with the
//! request's id, at the very end. So there is one place that decides what a caller may see of an error.

use super::redact::redact;
use astradesk_core::{Class, Code, Error, Run};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// An error on its way to a caller.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Arc<Contents>);

#[derive(Debug)]
struct Contents {
    error: Error,
    run: Option<Box<Run>>,
    members: Map<String, Value>,
}

/// The result of a handler.
pub(crate) type Answer<T = Response> = Result<T, Problem>;

/// The status of a class of errors.
pub(crate) const fn status(class: Class) -> StatusCode {
    match class {
        Class::Invalid => StatusCode::BAD_REQUEST,
        Class::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        Class::Unauthenticated => StatusCode::UNAUTHORIZED,
        Class::Denied => StatusCode::FORBIDDEN,
        Class::NotFound => StatusCode::NOT_FOUND,
        Class::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Class::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Class::Conflict => StatusCode::CONFLICT,
        Class::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Class::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Class::Overloaded => StatusCode::TOO_MANY_REQUESTS,
        Class::Failed | Class::Unknown => StatusCode::BAD_GATEWAY,
        Class::ApprovalNeeded => StatusCode::ACCEPTED,
        Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Problem {
    /// A problem that a run ended with; the run is shown beside it.
    pub(crate) fn of_run(error: Error, mut run: Box<Run>) -> Self {
        redact(&mut run);
        Self(Arc::new(Contents { error, run: Some(run), members: Map::new() }))
    }

    /// The same problem with one more member.
    pub(crate) fn with_member(error: Error, name: &str, value: Value) -> Self {
        let members = [(name.to_owned(), value)].into_iter().collect();
        Self(Arc::new(Contents { error, run: None, members }))
    }

    /// The code.
    pub(crate) fn code(&self) -> Code {
        self.0.error.code
    }

    /// One of the error's facts, if it is a text.
    pub(crate) fn detail(&self, name: &str) -> Option<&str> {
        self.0.error.details.get(name).and_then(Value::as_str)
    }

    /// Writes the problem out. A defect's message goes to the log, and only its id to the caller.
    pub(crate) fn render(&self, response: &mut Response, request_id: &str) {
        let error = &self.0.error;
        let hidden;
        let detail = if error.code == Code::Internal {
            tracing::error!(request_id, detail = error.message, "internal error");
            hidden =
                format!("this is a defect of AstraDesk, and its log has the details under `{request_id}`");
            &hidden
        } else {
            &error.message
        };
        let run = self.0.run.as_deref();
        let denied = || error.details.get("run").and_then(Value::as_str);
        let instance = match run.map(|run| run.id.to_string()) {
            Some(id) => format!("/v1/runs/{id}"),
            None => denied()
                .map_or_else(|| format!("urn:astradesk:request:{request_id}"), |id| format!("/v1/runs/{id}")),
        };
        let body = Body {
            kind: format!("https://astradesk.dev/errors#{}", error.code),
            title: error.code.meaning(),
            status: response.status().as_u16(),
            detail,
            code: error.code,
            remedy: &error.remedy,
            instance,
            request_id,
            details: &error.details,
            run,
            members: &self.0.members,
        };
        match serde_json::to_vec(&body) {
            Ok(json) => *response.body_mut() = json.into(),
            Err(error) => tracing::error!(request_id, %error, "a problem could not be written"),
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: Code,
    remedy: &'a str,
    instance: String,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    details: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a Run>,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(Arc::new(Contents { error, run: None, members: Map::new() }))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let class = self.code().class();
        let mut response = status(class).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match class {
            Class::Unauthenticated if self.code() == Code::AuthTokenMissing => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Class::Unauthenticated => {
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            // The rest of the body is not read, so nothing else can come over this connection.
            Class::TooLarge | Class::RequestTimeout => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Class::Overloaded => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Class::Unavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// A text that came from outside, made fit for a message: escaped and cut.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}
