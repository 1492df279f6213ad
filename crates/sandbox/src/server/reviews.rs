//! Questions about what somebody may do, and who that is. They are answered by the rules that also decide.

use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::access::{self, Attributes, Identity};
use super::status::Status;
use super::{Call, Shared};
use crate::json::{Value, json};
use crate::object::{list, set, text};
use crate::storage::Storage;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Review {
    /// Whether the caller may.
    SelfAccess,
    /// Whether somebody may.
    Access,
    /// The same, in one namespace.
    LocalAccess,
    /// All that the caller may, in a namespace.
    SelfRules,
    /// Who the caller is.
    SelfSubject,
}

use Review::{Access, LocalAccess, SelfAccess, SelfRules, SelfSubject};

/// Where each is asked, and its kind.
const ALL: [(Review, &str, &str, &str); 5] = [
    (SelfAccess, "authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    (Access, "authorization.k8s.io", "subjectaccessreviews", "SubjectAccessReview"),
    (LocalAccess, "authorization.k8s.io", "localsubjectaccessreviews", "LocalSubjectAccessReview"),
    (SelfRules, "authorization.k8s.io", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    (SelfSubject, "authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
];

impl Review {
    /// The review at an address, if it is one.
    pub(crate) fn at(group: &str, version: &str, rest: &[&str]) -> Option<Review> {
        let found = |plural: &str| ALL.into_iter().find(|(_, at, known, _)| (*at, *known) == (group, plural));
        match (version, rest) {
            ("v1", [plural]) => {
                found(plural).map(|(review, ..)| review).filter(|review| *review != LocalAccess)
            }
            ("v1", ["namespaces", _, plural]) => {
                found(plural).map(|(review, ..)| review).filter(|review| *review == LocalAccess)
            }
            _ => None,
        }
    }

    /// How discovery describes those of a group.
    pub(crate) fn describe(group: &str) -> impl Iterator<Item = Value> {
        ALL.into_iter().filter(move |(_, at, ..)| *at == group).map(|(review, _, plural, kind)| {
            json!({
                "name": plural, "singularName": kind.to_lowercase(), "namespaced": review == LocalAccess,
                "kind": kind, "verbs": ["create"],
            })
        })
    }

    /// Answers it; a local one about its namespace only.
    pub(crate) fn answer(
        self,
        shared: &Shared,
        who: &Identity,
        place: &str,
        call: &Call,
    ) -> Result<Response, Status> {
        if call.method != Method::POST {
            return Err(Status::method_not_allowed());
        }
        let asked = call.json()?;
        let spec = asked.get("spec").filter(|spec| spec.is_object()).cloned().unwrap_or_else(|| json!({}));
        let storage = &shared.storage;
        if self == LocalAccess && text(&spec, "/resourceAttributes/namespace") != place {
            let why = format!(
                "spec.resourceAttributes.namespace: Invalid value: \"{}\": must match metadata.namespace",
                text(&spec, "/resourceAttributes/namespace")
            );
            return Err(Status::invalid_request("LocalSubjectAccessReview.authorization.k8s.io", &why));
        }
        let status = match self {
            SelfAccess => verdict(storage, who, &spec)?,
            Access | LocalAccess => {
                let groups: Vec<String> =
                    list(&spec, "/groups").iter().filter_map(Value::as_str).map(str::to_owned).collect();
                // As they are: nobody has authenticated them.
                let who = Identity { name: text(&spec, "/user").into(), groups };
                if who.name.is_empty() && who.groups.is_empty() {
                    let why =
                        "spec.user: Invalid value: \"\": at least one of user or group must be specified";
                    return Err(Status::invalid_request("SubjectAccessReview.authorization.k8s.io", why));
                }
                verdict(storage, &who, &spec)?
            }
            SelfRules => {
                let namespace = text(&spec, "/namespace");
                if namespace.is_empty() {
                    return Err(Status::bad_request("no namespace on request"));
                }
                summary(&access::rules(storage, who, namespace))
            }
            SelfSubject => json!({ "userInfo": { "username": who.name, "groups": who.groups } }),
        };
        let (_, group, _, kind) = ALL.into_iter().find(|(review, ..)| *review == self).unwrap_or(ALL[0]);
        let mut answer = json!({
            "kind": kind, "apiVersion": format!("{group}/v1"), "metadata": { "creationTimestamp": null },
            "status": status,
        });
        if self != SelfSubject {
            set(&mut answer, &["spec"], spec);
        }
        Ok((StatusCode::CREATED, Json(answer)).into_response())
    }
}

fn verdict(storage: &Storage, who: &Identity, spec: &Value) -> Result<Value, Status> {
    let asks = |about: &str| spec.get(about).is_some_and(Value::is_object);
    if asks("resourceAttributes") == asks("nonResourceAttributes") {
        let why = "spec.resourceAttributes: Invalid value: exactly one of nonResourceAttributes or \
                   resourceAttributes must be specified";
        return Err(Status::invalid_request("SelfSubjectAccessReview.authorization.k8s.io", why));
    }
    let verdict = access::decide(storage, who, &Attributes::of_review(spec));
    let mut status = json!({ "allowed": verdict.allowed });
    if !verdict.reason.is_empty() {
        set(&mut status, &["reason"], verdict.reason);
    }
    Ok(status)
}

/// Rules by what they are about.
fn summary(rules: &[Value]) -> Value {
    let (paths, resources): (Vec<&Value>, Vec<&Value>) =
        rules.iter().partition(|rule| !list(rule, "/nonResourceURLs").is_empty());
    let only = |rules: Vec<&Value>, fields: &[&str]| -> Vec<Value> {
        let kept = |rule: &Value| {
            let mut rule = rule.clone();
            if let Some(all) = rule.as_object_mut() {
                all.retain(|field, _| fields.contains(&field));
            }
            rule
        };
        rules.into_iter().map(kept).collect()
    };
    json!({
        "resourceRules": only(resources, &["verbs", "apiGroups", "resources", "resourceNames"]),
        "nonResourceRules": only(paths, &["verbs", "nonResourceURLs"]),
        "incomplete": false,
    })
}
