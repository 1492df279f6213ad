//! What is known of a workload: what policies and guardrails ask about. Pure.

use super::workload::Workload;
use super::{gitops, guard};
use astradesk_core::Facts;
use astradesk_core::facts::Availability;
use astradesk_core::target::Kind;
use astradesk_core::text::shown;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The annotation, or else the label, that says who answers for a workload.
pub const OWNER: &str = "astradesk.dev/owner";
/// The annotation, or else the label, that says how much depends on a workload.
pub const TIER: &str = "astradesk.dev/tier";
/// The most labels that are told, in the order of their names.
const LABELS: usize = 64;
/// The most characters of an owner and a tier.
const TEXT: usize = 253;

/// A workload with what is known of it beyond what a rollout asks for.
#[derive(Debug, Clone)]
pub struct Described {
    /// The workload.
    pub workload: Arc<Workload>,
    /// The labels of its pods.
    pub pod_labels: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    owner: Option<String>,
    tier: Option<String>,
}

impl Described {
    /// The facts of a call that leaves the pods alone.
    pub fn at_rest(&self) -> Facts {
        Facts {
            labels: self.labels.clone(),
            owner: self.owner.clone(),
            tier: self.tier.clone(),
            gitops: self.workload.gitops.clone(),
            availability: availability(&self.workload, 0),
            ..Facts::default()
        }
    }

    /// The facts of a call that replaces the pods; which disruption budgets cover them is not among them.
    pub fn rolled_out(&self) -> Facts {
        Facts {
            downtime_expected: guard::downtime(&self.workload).is_some(),
            availability: availability(&self.workload, self.workload.at_most_unavailable()),
            ..self.at_rest()
        }
    }

    fn of(workload: Workload, meta: &ObjectMeta, template: Option<&PodTemplateSpec>) -> Self {
        let labels = meta.labels.iter().flatten().take(LABELS);
        Self {
            workload: Arc::new(workload),
            pod_labels: template
                .and_then(|template| template.metadata.as_ref())
                .and_then(|meta| meta.labels.clone())
                .unwrap_or_default(),
            labels: labels.map(|(name, value)| (name.clone(), value.clone())).collect(),
            owner: said(meta, OWNER),
            tier: said(meta, TIER),
        }
    }
}

impl From<&Deployment> for Described {
    fn from(object: &Deployment) -> Self {
        Self::of(object.into(), &object.metadata, object.spec.as_ref().map(|spec| &spec.template))
    }
}

impl From<&StatefulSet> for Described {
    fn from(object: &StatefulSet) -> Self {
        Self::of(object.into(), &object.metadata, object.spec.as_ref().map(|spec| &spec.template))
    }
}

impl From<&DaemonSet> for Described {
    fn from(object: &DaemonSet) -> Self {
        Self::of(object.into(), &object.metadata, object.spec.as_ref().map(|spec| &spec.template))
    }
}

/// What is known of an object of any kind: its labels, its owner, its tier, and who manages it.
pub fn of_object(kind: &str, meta: &ObjectMeta) -> Facts {
    let labels = meta.labels.iter().flatten().take(LABELS);
    Facts {
        labels: labels.map(|(name, value)| (name.clone(), value.clone())).collect(),
        owner: said(meta, OWNER),
        tier: said(meta, TIER),
        gitops: gitops::manager(kind, meta),
        ..Facts::default()
    }
}

/// What the annotation of this name says, or else the label.
fn said(meta: &ObjectMeta, name: &str) -> Option<String> {
    let of = |map: &Option<BTreeMap<String, String>>| {
        map.as_ref()?.get(name).filter(|value| !value.is_empty()).map(|value| shown(value, TEXT))
    };
    of(&meta.annotations).or_else(|| of(&meta.labels))
}

/// How many pods a DaemonSet wants is not known before its controller has looked at it.
fn availability(workload: &Workload, at_most_unavailable: i32) -> Option<Availability> {
    if workload.kind == Kind::DaemonSet && workload.observed_generation < workload.generation {
        return None;
    }
    let count = |pods: i32| u32::try_from(pods).unwrap_or(0);
    Some(Availability {
        wanted: count(workload.wanted),
        unavailable: count(workload.wanted.saturating_sub(workload.available)),
        at_most_unavailable: count(at_most_unavailable),
    })
}

/// Of which nothing else is known.
#[cfg(test)]
impl From<Workload> for Described {
    fn from(workload: Workload) -> Self {
        Self::of(workload, &ObjectMeta::default(), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// `webapp` of this kind, with this specification, of which so many pods are wanted and available.
    fn described(kind: &str, metadata: &Value, spec: &Value, wanted: i32, available: i32) -> Described {
        let mut object = json!({
            "metadata": {"name": "webapp", "namespace": "shop", "generation": 1},
            "spec": {
                "replicas": wanted, "selector": {}, "serviceName": "webapp",
                "template": {"metadata": {"labels": {"app": "webapp"}}},
            },
            "status": {
                "observedGeneration": 1, "replicas": wanted, "readyReplicas": available,
                "availableReplicas": available, "desiredNumberScheduled": wanted, "numberAvailable": available,
                "currentNumberScheduled": wanted, "numberMisscheduled": 0, "numberReady": available,
            },
        });
        for (part, changes) in [("metadata", metadata), ("spec", spec)] {
            for (key, value) in changes.as_object().into_iter().flatten() {
                object[part][key] = value.clone();
            }
        }
        match kind {
            "Deployment" => (&serde_json::from_value::<Deployment>(object).unwrap()).into(),
            "StatefulSet" => (&serde_json::from_value::<StatefulSet>(object).unwrap()).into(),
            _ => (&serde_json::from_value::<DaemonSet>(object).unwrap()).into(),
        }
    }

    #[test]
    fn how_many_pods_go_at_once_follows_from_the_strategy() {
        let strategy = |rolling: Value| json!({"strategy": {"rollingUpdate": rolling}});
        let update = |rolling: Value| json!({"updateStrategy": {"rollingUpdate": rolling}});
        let recreate = json!({"strategy": {"type": "Recreate"}});
        let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
        // Kind, specification, wanted and available; at most unavailable, and whether that means downtime.
        for (kind, spec, wanted, available, most, downtime) in [
            ("Deployment", json!({}), 3, 3, 0, false),
            ("Deployment", json!({}), 8, 6, 2, false),
            ("Deployment", json!({}), 1, 1, 0, true),
            ("Deployment", strategy(json!({"maxUnavailable": 2, "maxSurge": 0})), 5, 5, 2, false),
            ("Deployment", strategy(json!({"maxUnavailable": 9, "maxSurge": 0})), 5, 5, 5, true),
            ("Deployment", strategy(json!({"maxUnavailable": "50%"})), 5, 4, 2, false),
            ("Deployment", strategy(json!({"maxUnavailable": 0, "maxSurge": "100%"})), 5, 0, 0, false),
            ("Deployment", recreate.clone(), 4, 4, 4, true),
            ("Deployment", recreate, 0, 0, 0, false),
            ("Deployment", json!({}), 0, 0, 0, false),
            ("StatefulSet", json!({}), 3, 3, 1, false),
            ("StatefulSet", update(json!({"maxUnavailable": 2})), 5, 7, 2, false),
            ("StatefulSet", update(json!({"maxUnavailable": "100%"})), 3, 3, 3, true),
            ("StatefulSet", json!({}), 1, 1, 1, true),
            ("StatefulSet", on_delete, 3, 3, 0, false),
            ("DaemonSet", json!({}), 6, 5, 1, false),
            ("DaemonSet", update(json!({"maxUnavailable": 0, "maxSurge": 1})), 6, 6, 0, false),
            ("DaemonSet", update(json!({"maxUnavailable": "34%"})), 6, 6, 3, false),
        ] {
            let subject = described(kind, &json!({}), &spec, wanted, available);
            let facts = subject.rolled_out();
            let expected = Availability {
                wanted: u32::try_from(wanted).unwrap(),
                unavailable: u32::try_from((wanted - available).max(0)).unwrap(),
                at_most_unavailable: most,
            };
            assert_eq!(facts.availability, Some(expected), "{kind} {spec} {wanted}");
            assert_eq!(facts.downtime_expected, downtime, "{kind} {spec} {wanted}");
            let read = subject.at_rest();
            assert_eq!(read.availability, Some(Availability { at_most_unavailable: 0, ..expected }));
            assert!(!read.downtime_expected, "{kind} {spec}");
        }
        let unseen = described("DaemonSet", &json!({"generation": 2}), &json!({}), 0, 0);
        assert_eq!(unseen.rolled_out().availability, None, "nobody knows yet");
    }

    #[test]
    fn labels_owner_and_tier_are_what_the_object_says() {
        let labels = json!({"team": "shop", OWNER: "from-the-label", TIER: "critical"});
        let metadata = json!({"labels": labels, "annotations": {OWNER: "shop-team@example.com", TIER: ""}});
        let subject = described("Deployment", &metadata, &json!({}), 3, 3);
        let facts = subject.rolled_out();
        assert_eq!(json!(facts.labels), labels);
        assert_eq!(facts.owner.as_deref(), Some("shop-team@example.com"), "the annotation wins");
        assert_eq!(facts.tier.as_deref(), Some("critical"), "an empty annotation says nothing");
        assert_eq!(json!(subject.pod_labels), json!({"app": "webapp"}), "those of the pods are others");
        assert_eq!((facts.gitops, facts.disruption_budgets.len()), (None, 0));

        let many: BTreeMap<String, String> = (0..100).map(|n| (format!("l{n:03}"), "x".repeat(63))).collect();
        let long = json!({"labels": many, "annotations": {OWNER: "o".repeat(9_000)}});
        let facts = described("StatefulSet", &long, &json!({}), 3, 3).rolled_out();
        assert_eq!((facts.labels.len(), facts.labels.keys().last().unwrap().as_str()), (64, "l063"));
        assert_eq!(facts.owner.unwrap().chars().count(), 254);
    }

    #[test]
    fn the_one_who_manages_it_is_named() {
        let annotations = json!({"argocd.argoproj.io/tracking-id": "web:apps/DaemonSet:shop/webapp"});
        let facts = described("DaemonSet", &json!({"annotations": annotations}), &json!({}), 3, 3).at_rest();
        assert_eq!(facts.gitops.unwrap().controller, "argocd");
    }
}
