//! What the pack needs of the cluster, and whether AstraDesk's identity may do it.

use super::cluster::Cluster;
use super::errors::Operation;
use astradesk_core::Result;
use astradesk_core::name::Namespace;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use serde::Serialize;

/// Something that the pack needs of the cluster, and whether AstraDesk's identity may do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// The verb, as RBAC names it.
    pub verb: &'static str,
    /// The resource, as RBAC names it: `deployments.apps`, `pods/log`.
    pub resource: &'static str,
    /// Whether it is allowed.
    pub allowed: bool,
    /// What it is needed for.
    pub why_needed: &'static str,
}

/// What the pack needs: group, resource, subresource, verbs and why.
const NEEDS: &[(&str, &str, &str, &[&str], &str)] = &[
    ("apps", "deployments", "", &["get", "list", "watch"], "to find and watch Deployments"),
    ("apps", "deployments", "", &["patch"], "to restart, scale and roll back Deployments"),
    ("apps", "statefulsets", "", &["get", "list", "watch"], "to find and watch StatefulSets"),
    ("apps", "statefulsets", "", &["patch"], "to restart, scale and roll back StatefulSets"),
    ("apps", "daemonsets", "", &["get", "list", "watch"], "to find and watch DaemonSets"),
    ("apps", "daemonsets", "", &["patch"], "to restart and roll back DaemonSets"),
    ("apps", "replicasets", "", &["list", "watch"], "to tell the new pods of a Deployment from the old"),
    (
        "apps",
        "controllerrevisions",
        "",
        &["list", "watch"],
        "to tell the new pods of a DaemonSet from the old, and what became of a restart after a crash",
    ),
    ("policy", "poddisruptionbudgets", "", &["list"], "to respect PodDisruptionBudgets"),
    ("autoscaling", "horizontalpodautoscalers", "", &["list"], "to scale nothing that an autoscaler scales"),
    ("", "pods", "", &["list", "watch"], "to see that new pods are ready and old ones gone"),
    ("", "pods", "log", &["get"], "to show logs, and the last lines of a sick pod (optional)"),
    ("", "events", "", &["list", "watch"], "to explain what is wrong (optional)"),
];

impl Cluster {
    /// What the pack needs in a namespace, and whether our identity may do it.
    pub async fn permissions(&self, namespace: &Namespace) -> Result<Vec<Permission>> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.requests().client().clone());
        let operation = Operation::new("create", "selfsubjectaccessreviews.authorization.k8s.io", "", "");
        let mut found = Vec::new();
        for (group, resource, subresource, verbs, why_needed) in NEEDS {
            for verb in *verbs {
                let attributes = ResourceAttributes {
                    namespace: Some(namespace.to_string()),
                    verb: Some((*verb).to_owned()),
                    group: Some((*group).to_owned()),
                    resource: Some((*resource).to_owned()),
                    subresource: Some((*subresource).to_owned()).filter(|s| !s.is_empty()),
                    ..ResourceAttributes::default()
                };
                let review = SelfSubjectAccessReview {
                    spec: SelfSubjectAccessReviewSpec {
                        resource_attributes: Some(attributes),
                        ..SelfSubjectAccessReviewSpec::default()
                    },
                    ..SelfSubjectAccessReview::default()
                };
                let params = PostParams::default();
                let answer = self.requests().read(&operation, || reviews.create(&params, &review)).await;
                let answer = answer.map_err(|failure| failure.into_error(&operation))?;
                let allowed = answer.status.is_some_and(|status| status.allowed);
                found.push(Permission {
                    verb,
                    resource: rbac_name(resource, subresource),
                    allowed,
                    why_needed,
                });
            }
        }
        Ok(found)
    }
}

fn rbac_name(resource: &str, subresource: &str) -> &'static str {
    match (resource, subresource) {
        ("deployments", _) => "deployments.apps",
        ("statefulsets", _) => "statefulsets.apps",
        ("daemonsets", _) => "daemonsets.apps",
        ("replicasets", _) => "replicasets.apps",
        ("controllerrevisions", _) => "controllerrevisions.apps",
        ("poddisruptionbudgets", _) => "poddisruptionbudgets.policy",
        ("horizontalpodautoscalers", _) => "horizontalpodautoscalers.autoscaling",
        ("pods", "log") => "pods/log",
        ("pods", _) => "pods",
        _ => "events",
    }
}
