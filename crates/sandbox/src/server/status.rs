//! Errors as the API server words them.

use std::borrow::Cow;

use crate::json::{Value, json};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::object::{self, set};
use crate::resource::Resource;

/// A `metav1.Status` that says what went wrong.
#[derive(Debug)]
pub(crate) struct Status {
    code: u16,
    reason: Cow<'static, str>,
    message: String,
    details: Option<Value>,
}

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Status {
        Status::custom(code, reason, message)
    }

    /// One that nothing here would say by itself.
    pub(crate) fn custom(
        code: u16,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Status {
        Status { code, reason: reason.into(), message: message.into(), details: None }
    }

    /// The same, with how long the client should wait, in seconds.
    pub(crate) fn retry_after(mut self, seconds: u32) -> Status {
        set(self.details.get_or_insert_with(|| json!({})), &["retryAfterSeconds"], seconds);
        self
    }

    fn about(mut self, resource: &Resource, name: &str) -> Status {
        self.details = Some(details(name, resource.group, resource.plural));
        self
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Status {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Status::new(404, "NotFound", message).about(resource, name)
    }

    /// The same of the scale of a Deployment or a `ReplicaSet`, which the real server names.
    pub(crate) fn of_scale(mut self, resource: &Resource) -> Status {
        if matches!(resource.kind, "Deployment" | "ReplicaSet") {
            let scale = format!("{}/scale", resource.plural);
            self.message = self.message.replacen(resource.plural, &scale, 1);
            if let Some(details) = &mut self.details {
                set(details, &["kind"], scale);
            }
        }
        self
    }

    /// No such path.
    pub(crate) fn unknown_path() -> Status {
        let message = "the server could not find the requested resource";
        Status { details: Some(json!({})), ..Status::new(404, "NotFound", message) }
    }

    pub(crate) fn already_exists(resource: &Resource, present: &Value) -> Status {
        let name = object::name(present);
        let going = if object::is_deleting(present) { "object is being deleted: " } else { "" };
        let message = format!("{going}{} \"{name}\" already exists", resource.qualified());
        Status::new(409, "AlreadyExists", message).about(resource, name)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str, why: &str) -> Status {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Status::new(409, "Conflict", message).about(resource, name)
    }

    pub(crate) fn stale(resource: &Resource, name: &str) -> Status {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Status::conflict(resource, name, why)
    }

    /// A replacement that must say which version it is for, and does not.
    pub(crate) fn unversioned(resource: &Resource, name: &str) -> Status {
        let what = "Invalid value: 0x0: must be specified for an update";
        let message =
            format!("{} \"{name}\" is invalid: metadata.resourceVersion: {what}", resource.qualified());
        let cause =
            json!({ "reason": "FieldValueInvalid", "message": what, "field": "metadata.resourceVersion" });
        let mut status = Status::new(422, "Invalid", message).about(resource, name);
        if let Some(details) = &mut status.details {
            set(details, &["causes"], vec![cause]);
        }
        status
    }

    /// Fields that are wrong: each with its path and what is wrong with it.
    pub(crate) fn invalid(resource: &Resource, name: &str, causes: &[(String, String)]) -> Status {
        let lines: Vec<String> = causes.iter().map(|(field, what)| format!("{field}: {what}")).collect();
        let joined = match lines.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let message = format!("{} \"{name}\" is invalid: {joined}", resource.qualified_kind());
        let mut status = Status::new(422, "Invalid", message).about(resource, name);
        let causes: Vec<Value> = causes
            .iter()
            .map(|(field, what)| {
                let reason = reason_of(what);
                json!({ "reason": reason, "message": what, "field": field })
            })
            .collect();
        let mut details = details(name, resource.group, resource.kind);
        set(&mut details, &["causes"], causes);
        status.details = Some(details);
        status
    }

    /// A patch after which the object is none any more.
    pub(crate) fn bad_patch(patched: &str, why: &str) -> Status {
        let what = format!("Invalid value: {patched:?}: {why}");
        let mut status = Status::new(422, "Invalid", format!(" \"\" is invalid: patch: {what}"));
        let cause = json!({ "reason": "FieldValueInvalid", "message": what, "field": "patch" });
        status.details = Some(json!({ "causes": [cause] }));
        status
    }

    /// Options of a request that contradict each other or say nothing.
    pub(crate) fn bad_options(kind: &str, field: &str, what: &str) -> Status {
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {field}: {what}");
        let cause = json!({ "reason": reason_of(what), "message": what, "field": field });
        let mut status = Status::new(422, "Invalid", message);
        status.details = Some(json!({ "group": "meta.k8s.io", "kind": kind, "causes": [cause] }));
        status
    }

    /// A delete that was meant for another object, or for an earlier version of it.
    pub(crate) fn not_meant(resource: &Resource, name: &str, why: &str) -> Status {
        let message =
            format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified_kind());
        let mut status = Status::new(409, "Conflict", message);
        status.details = Some(details(name, resource.group, resource.kind));
        status
    }

    /// A patch that cannot be applied to the object.
    pub(crate) fn unprocessable() -> Status {
        let message = "the server rejected our request due to an error in our request";
        Status { details: Some(json!({})), ..Status::new(422, "Invalid", message) }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Status {
        Status::new(400, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Status {
        Status::new(401, "Unauthorized", "Unauthorized")
    }

    /// What the authorizer says no to. Name and resource are empty where there is none.
    pub(crate) fn denied(group: &str, resource: &str, name: &str, why: &str) -> Status {
        let dot = if group.is_empty() { "" } else { "." };
        let message = match (resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (resource, "") => format!("{resource}{dot}{group} is forbidden: {why}"),
            (resource, name) => format!("{resource}{dot}{group} \"{name}\" is forbidden: {why}"),
        };
        let mut status = Status::new(403, "Forbidden", message);
        status.details = Some(json!({}));
        for (field, value) in [("name", name), ("group", group), ("kind", resource)] {
            if !value.is_empty() {
                set(status.details.get_or_insert_with(|| json!({})), &[field], value);
            }
        }
        status
    }

    /// A request about no object, of this kind, that makes no sense.
    pub(crate) fn invalid_request(kind: &str, why: &str) -> Status {
        Status::new(422, "Invalid", format!("{kind} \"\" is invalid: {why}"))
    }

    pub(crate) fn internal(why: &str) -> Status {
        Status::new(500, "InternalError", format!("Internal error occurred: {why}"))
    }

    pub(crate) fn method_not_allowed() -> Status {
        let message = "the server does not allow this method on the requested resource";
        Status { details: Some(json!({})), ..Status::new(405, "MethodNotAllowed", message) }
    }

    pub(crate) fn too_large(limit: usize) -> Status {
        let message = format!("Request entity too large: limit is {limit}");
        Status::new(413, "RequestEntityTooLarge", message)
    }

    pub(crate) fn unsupported_media_type(accepted: &str) -> Status {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Status::new(415, "UnsupportedMediaType", message)
    }

    /// The body is of no type that there is a way for.
    pub(crate) fn no_such_patch() -> Status {
        let message = "415: Unsupported Media Type";
        Status { details: Some(json!({})), ..Status::new(415, "UnsupportedMediaType", message) }
    }

    /// The reply would have to be of a type that is not spoken.
    pub(crate) fn not_acceptable() -> Status {
        let message = "406: Not Acceptable";
        Status { details: Some(json!({})), ..Status::new(406, "NotAcceptable", message) }
    }

    /// The version asked for is no longer in the history.
    pub(crate) fn expired(version: u64, oldest: u64) -> Status {
        Status::new(410, "Expired", format!("too old resource version: {version} ({oldest})"))
    }

    pub(crate) fn expired_continue() -> Status {
        let message = "The provided continue parameter is too old to display a consistent list result. You \
                       must start a new list without the continue parameter.";
        Status::new(410, "Expired", message)
    }

    /// The version asked for has not been reached.
    pub(crate) fn ahead(version: u64, current: u64) -> Status {
        let message = format!("Too large resource version: {version}, current: {current}");
        let mut status = Status::new(504, "Timeout", message);
        status.details = Some(json!({
            "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
            "retryAfterSeconds": 1,
        }));
        status
    }

    /// A budget forbids the eviction; this is what it says.
    pub(crate) fn disruption(why: &str) -> Status {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let mut status = Status::new(429, "TooManyRequests", message);
        status.details = Some(json!({ "causes": [{ "reason": "DisruptionBudget", "message": why }] }));
        status
    }

    /// More than one budget covers the pod.
    pub(crate) fn several_budgets() -> Status {
        let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        Status::new(500, "InternalError", message)
    }

    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Status {
        let message = format!("{} \"{name}\" is forbidden: {why}", resource.qualified());
        Status::new(403, "Forbidden", message).about(resource, name)
    }

    pub(crate) fn namespace_terminating(resource: &Resource, name: &str, namespace: &str) -> Status {
        let message = format!(
            "{} \"{name}\" is forbidden: unable to create new content in namespace {namespace} because it is \
             being terminated",
            resource.qualified()
        );
        let mut status = Status::new(403, "Forbidden", message).about(resource, name);
        let why = format!("namespace {namespace} is being terminated");
        let cause =
            json!({ "reason": "NamespaceTerminating", "message": why, "field": "metadata.namespace" });
        if let Some(details) = &mut status.details {
            set(details, &["causes"], vec![cause]);
        }
        status
    }

    pub(crate) fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": *self.reason, "code": self.code,
        });
        if let Some(details) = &self.details {
            set(&mut status, &["details"], details.clone());
        }
        status
    }
}

/// The reason of a cause, which its message begins with.
fn reason_of(what: &str) -> &'static str {
    match what.split(':').next() {
        Some("Required value") => "FieldValueRequired",
        Some("Forbidden") => "FieldValueForbidden",
        Some("Unsupported value") => "FieldValueNotSupported",
        Some("Duplicate value") => "FieldValueDuplicate",
        Some("Too long") => "FieldValueTooLong",
        Some("Not found") => "FieldValueNotFound",
        _ => "FieldValueInvalid",
    }
}

/// The answer to a delete of what is gone.
pub(crate) fn done(resource: &Resource, name: &str, uid: &str) -> Value {
    let mut details = details(name, resource.group, resource.plural);
    set(&mut details, &["uid"], uid);
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}

/// What a status is about; of what is empty it does not speak.
fn details(name: &str, group: &str, kind: &str) -> Value {
    let mut details = json!({ "name": name, "group": group, "kind": kind });
    if let Some(fields) = details.as_object_mut() {
        fields.retain(|_, value| *value != "");
    }
    details
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (code, Json(self.to_value())).into_response()
    }
}
