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
    /// Whether it is needed in the whole cluster, which is so for the tools of nodes only.
    pub in_cluster: bool,
    /// What it is needed for.
    pub why_needed: &'static str,
}

/// What the pack needs.
struct Need {
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    verbs: &'static [&'static str],
    place: Place,
    why: &'static str,
}

/// Where it is needed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the namespace that is managed.
    Namespace,
    /// In the whole cluster, for those only who drain nodes.
    Cluster,
}

const fn need(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    why: &'static str,
) -> Need {
    Need { group, resource, subresource: "", verbs, place: Place::Namespace, why }
}

const fn need_everywhere(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    why: &'static str,
) -> Need {
    Need { place: Place::Cluster, ..need(group, resource, verbs, why) }
}

const NEEDS: &[Need] = &[
    need("apps", "deployments", &["get", "list", "watch"], "to find and watch Deployments"),
    need("apps", "deployments", &["patch"], "to restart, scale and roll back Deployments"),
    need("apps", "statefulsets", &["get", "list", "watch"], "to find and watch StatefulSets"),
    need("apps", "statefulsets", &["patch"], "to restart, scale and roll back StatefulSets"),
    need("apps", "daemonsets", &["get", "list", "watch"], "to find and watch DaemonSets"),
    need("apps", "daemonsets", &["patch"], "to restart and roll back DaemonSets"),
    need("apps", "replicasets", &["list", "watch"], "to tell the new pods of a Deployment from the old"),
    need(
        "apps",
        "controllerrevisions",
        &["list", "watch"],
        "to tell the new pods of a DaemonSet from the old, and what became of a restart after a crash",
    ),
    need("policy", "poddisruptionbudgets", &["list"], "to respect PodDisruptionBudgets"),
    need("autoscaling", "horizontalpodautoscalers", &["list"], "to scale nothing that an autoscaler scales"),
    need(
        "autoscaling",
        "horizontalpodautoscalers",
        &["get", "patch"],
        "to change the minimum of an autoscaler",
    ),
    need("", "pods", &["list", "watch"], "to see that new pods are ready and old ones gone"),
    Need {
        subresource: "log",
        ..need("", "pods", &["get"], "to show logs, and the last lines of a sick pod (optional)")
    },
    Need { subresource: "eviction", ..need("", "pods", &["create"], "to evict pods") },
    need("", "events", &["list", "watch"], "to explain what is wrong (optional)"),
    need_everywhere("", "nodes", &["get", "list", "patch"], "to cordon, uncordon and drain nodes"),
    need_everywhere("", "pods", &["list"], "to drain nodes: which pods are on one"),
    Need { subresource: "eviction", ..need_everywhere("", "pods", &["create"], "to drain nodes") },
    need_everywhere(
        "policy",
        "poddisruptionbudgets",
        &["list"],
        "to drain nodes: which budgets stand in the way",
    ),
];

impl Cluster {
    /// What the pack needs in a namespace and in the cluster, and whether our identity may do it.
    pub async fn permissions(&self, namespace: &Namespace) -> Result<Vec<Permission>> {
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.requests().client().clone());
        let operation = Operation::new("create", "selfsubjectaccessreviews.authorization.k8s.io", "", "");
        let mut found = Vec::new();
        for Need { group, resource, subresource, verbs, place, why } in NEEDS {
            for verb in *verbs {
                let attributes = ResourceAttributes {
                    namespace: (*place == Place::Namespace).then(|| namespace.to_string()),
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
                    in_cluster: *place == Place::Cluster,
                    why_needed: why,
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
        ("pods", "eviction") => "pods/eviction",
        ("nodes", _) => "nodes",
        ("pods", _) => "pods",
        _ => "events",
    }
}
