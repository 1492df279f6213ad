//! The API's errors as ours, and the one question that matters for a write: can it have been applied?

use super::redact;
use astradesk_core::{Code, Error};
use std::borrow::Cow;
use std::fmt;

/// What was asked of the API server, for the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The verb, as RBAC names it: `get`, `list`, `watch`, `patch`, `create`.
    pub verb: &'static str,
    /// The resource, as RBAC names it: `deployments.apps`, `pods/log`.
    pub resource: Cow<'static, str>,
    /// The namespace; empty for the whole cluster.
    pub namespace: String,
    /// The object; empty for all of them.
    pub name: String,
}

impl Operation {
    /// An operation on one object, or with an empty `name` on all of a namespace.
    pub fn new(
        verb: &'static str,
        resource: impl Into<Cow<'static, str>>,
        namespace: &str,
        name: &str,
    ) -> Self {
        Self { verb, resource: resource.into(), namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.name.is_empty() {
            write!(f, " `{}`", self.name)?;
        }
        if !self.namespace.is_empty() {
            write!(f, " in namespace `{}`", self.namespace)?;
        }
        Ok(())
    }
}

/// How a request ended that did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The API server or the way to it said so.
    Api(kube::Error),
    /// No answer came within the time limit.
    TimedOut,
    /// It was not sent, because its turn did not come in time.
    NotSent,
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        Self::Api(error)
    }
}

/// What a failed write means for the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It was refused before it could be stored.
    No,
    /// The precondition did not hold: somebody else changed the object first.
    Conflict,
    /// Nobody can tell without looking.
    Maybe,
}

impl Failure {
    /// Whether a write that ended so can have been applied.
    pub fn applied(&self) -> Applied {
        let Self::Api(kube::Error::Api(status)) = self else {
            return match self {
                Self::Api(kube::Error::BuildRequest(_) | kube::Error::Auth(_)) | Self::NotSent => Applied::No,
                Self::Api(_) | Self::TimedOut => Applied::Maybe,
            };
        };
        match status.code {
            409 => Applied::Conflict,
            // A time-out or a crash on the server's side; 429 is refused before it is handled, but by whom
            // (a proxy that gave up waiting, too) is not known.
            408 | 429 => Applied::Maybe,
            400..=499 => Applied::No,
            // Admission comes before storage, and its failure is reported as an internal error.
            500 if status.message.contains("failed calling webhook") => Applied::No,
            _ => Applied::Maybe,
        }
    }

    /// Whether asking again may help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Api(kube::Error::Api(status)) => {
                matches!(status.code, 408 | 410 | 429 | 500..=599)
                    && !status.message.contains("failed calling webhook")
            }
            Self::TimedOut
            | Self::NotSent
            | Self::Api(
                kube::Error::HyperError(_)
                | kube::Error::Service(_)
                | kube::Error::ReadEvents(_)
                | kube::Error::SerdeError(_)
                | kube::Error::HttpError(_),
            ) => true,
            Self::Api(_) => false,
        }
    }

    /// Whether the object, or the resource itself, does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 404)
    }

    /// Whether our identity may not do this.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 403)
    }

    /// The error for who asked.
    pub fn into_error(self, operation: &Operation) -> Error {
        match self {
            Self::TimedOut => Error::new(
                Code::KubernetesUnavailable,
                format!("the cluster did not answer in time to {operation}"),
            ),
            Self::NotSent => Error::new(
                Code::KubernetesUnavailable,
                format!("too many requests wait for the cluster to {operation}; this one was not sent"),
            ),
            Self::Api(kube::Error::Api(status)) => from_status(&status, operation),
            Self::Api(kube::Error::Auth(_)) => Error::new(
                Code::KubernetesUnauthorized,
                "the credentials for the cluster could not be obtained as the kubeconfig says",
            ),
            Self::Api(error) => {
                tracing::debug!(%error, %operation, "the cluster cannot be reached");
                Error::new(
                    Code::KubernetesUnavailable,
                    format!("the cluster cannot be reached to {operation}"),
                )
            }
        }
    }
}

fn from_status(status: &kube::core::Status, operation: &Operation) -> Error {
    let said = redact::line(&status.message, 500);
    let (code, message) = match status.code {
        401 => (
            Code::KubernetesUnauthorized,
            format!("the cluster does not accept AstraDesk's credentials to {operation}"),
        ),
        403 if status.message.contains(&format!("cannot {} resource", operation.verb)) => {
            (Code::KubernetesForbidden, format!("AstraDesk's identity in the cluster may not {operation}"))
        }
        404 => (Code::KubernetesNotFound, format!("there is nothing to {operation}")),
        409 => (
            Code::KubernetesConflict,
            format!("somebody else changed the object in between, so this was refused: {operation}"),
        ),
        // What was read before is too old to go on from: a list begins anew.
        410 => (
            Code::KubernetesUnavailable,
            format!("the cluster has forgotten the version from which to {operation}"),
        ),
        408 | 429 | 502..=504 => (
            Code::KubernetesUnavailable,
            format!("the cluster is too busy, or not up, to {operation} (HTTP {})", status.code),
        ),
        500..=599 if !status.message.contains("failed calling webhook") => {
            (Code::KubernetesUnavailable, format!("the cluster failed to {operation}: {said}"))
        }
        // Admission plug-ins answer 403 as well: the permission is there, the change is refused.
        _ => (Code::KubernetesRejected, format!("the cluster refused to {operation}: {said}")),
    };
    let mut error = Error::new(code, message).with_detail("status", status.code);
    if code == Code::KubernetesForbidden {
        error =
            error.with_detail("verb", operation.verb).with_detail("resource", operation.resource.as_ref());
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn api(code: u16, message: &str) -> Failure {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        Failure::Api(kube::Error::Api(status.boxed()))
    }

    #[test]
    fn each_status_has_its_code_and_says_whether_a_write_can_have_been_applied() {
        use Applied::{Conflict, Maybe, No};
        for (status, message, code, applied, transient) in [
            (400, "bad", Code::KubernetesRejected, No, false),
            (401, "Unauthorized", Code::KubernetesUnauthorized, No, false),
            (403, "User \"a\" cannot patch resource", Code::KubernetesForbidden, No, false),
            (403, "exceeded quota: q", Code::KubernetesRejected, No, false),
            (404, "not found", Code::KubernetesNotFound, No, false),
            (408, "timeout", Code::KubernetesUnavailable, Maybe, true),
            (409, "modified", Code::KubernetesConflict, Conflict, false),
            (410, "too old resource version", Code::KubernetesUnavailable, No, true),
            (422, "invalid", Code::KubernetesRejected, No, false),
            (429, "slow down", Code::KubernetesUnavailable, Maybe, true),
            (500, "etcdserver: request timed out", Code::KubernetesUnavailable, Maybe, true),
            (500, "failed calling webhook \"w\"", Code::KubernetesRejected, No, false),
            (503, "not up", Code::KubernetesUnavailable, Maybe, true),
            (504, "gateway", Code::KubernetesUnavailable, Maybe, true),
        ] {
            let failure = api(status, message);
            assert_eq!(failure.applied(), applied, "{status} {message}");
            assert_eq!(failure.is_transient(), transient, "{status} {message}");
            let error = failure.into_error(&Operation::new("patch", "deployments.apps", "shop", "webapp"));
            assert_eq!(error.code, code, "{status} {message}");
            assert!(error.message.contains("patch deployments.apps"), "{}", error.message);
        }
        assert_eq!(Failure::TimedOut.applied(), Maybe);
        assert_eq!((Failure::NotSent.applied(), Failure::NotSent.is_transient()), (No, true));
    }

    #[test]
    fn a_missing_permission_is_named() {
        let error = api(403, "pods is forbidden: User \"x\" cannot list resource")
            .into_error(&Operation::new("list", "pods", "shop", ""));
        assert_eq!(
            error.message,
            "AstraDesk's identity in the cluster may not list pods in namespace `shop`"
        );
        assert_eq!(error.details["verb"], "list");
        assert_eq!(error.details["resource"], "pods");
    }
}
