//! Horizontal pod autoscalers: who else sets the number of a workload's pods, and that one's minimum, set once.
//!
//! They are spoken of in `autoscaling/v1`, which every version of Kubernetes has. What the controller says of one is not a
//! field there, but the annotation [`CONDITIONS`]. The one patch is sent as `kubernetes::once` says.

use super::client::Requests;
use super::cluster::Cluster;
use super::errors::{Failure, Operation};
use super::once::{Bound, Job, Task};
use super::workload::{Condition, Workload};
use super::{RUN, gitops};
use astradesk_core::facts::GitOps;
use astradesk_core::name::Namespace;
use astradesk_core::{Code, Error, Result, redact};
use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use kube::Api;
use kube::api::{ListParams, ObjectList};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio::time::Instant;

/// How many are asked for at a time, and how often.
const PAGE: u32 = 250;
const PAGES: usize = 8;
/// The annotation that holds the conditions, as JSON.
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
/// The most characters of a condition's reason and message.
const SAID: (usize, usize) = (100, 300);

/// An autoscaler, as its minimum is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Autoscaler {
    /// Its name.
    pub(crate) name: String,
    pub(crate) uid: String,
    resource_version: String,
    /// Counts the changes of its specification; 0 where the API server does not count them.
    generation: i64,
    /// The fewest pods that it leaves.
    pub(crate) min: i32,
    /// The most pods that it makes.
    pub(crate) max: i32,
    /// The annotation that marks a change by AstraDesk.
    pub(crate) mark: Option<String>,
    /// The GitOps controller that manages it, if it carries a sign of one.
    pub(crate) gitops: Option<GitOps>,
    /// What its controller says of it.
    pub(crate) conditions: BTreeMap<String, Condition>,
}

/// A condition, as the annotation has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

impl From<&HorizontalPodAutoscaler> for Autoscaler {
    fn from(object: &HorizontalPodAutoscaler) -> Self {
        let meta = &object.metadata;
        let annotation = |name: &str| meta.annotations.as_ref().and_then(|all| all.get(name));
        let said: Vec<Said> =
            annotation(CONDITIONS).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let conditions = said.into_iter().map(|Said { kind, status, reason, message }| {
            let (reason, message) = (redact::line(&reason, SAID.0), redact::line(&message, SAID.1));
            (kind, Condition { holds: status == "True", reason, message })
        });
        let (min, max) =
            object.spec.as_ref().map_or((None, 0), |spec| (spec.min_replicas, spec.max_replicas));
        Self {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            resource_version: meta.resource_version.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            min: min.unwrap_or(1),
            max,
            mark: annotation(RUN).cloned(),
            gitops: gitops::manager("HorizontalPodAutoscaler", meta),
            conditions: conditions.collect(),
        }
    }
}

impl Autoscaler {
    /// Why it does not scale, in its controller's words; none if it has nothing to complain of.
    pub(crate) fn complaint(&self) -> Option<String> {
        if self.conditions.is_empty() {
            return Some("no controller has said anything about it: does one run?".to_owned());
        }
        let complaint = |kind: &str| {
            let Condition { reason, message, .. } = self.conditions.get(kind).filter(|said| !said.holds)?;
            Some(format!("{kind} is not true ({reason}): {message}"))
        };
        complaint("AbleToScale").or_else(|| complaint("ScalingActive"))
    }

    /// As details of an error or an output.
    pub(crate) fn to_json(&self) -> Value {
        let said = |(kind, condition): (&String, &Condition)| {
            let Condition { holds, reason, message } = condition;
            json!({"type": kind, "holds": holds, "reason": reason, "message": message})
        };
        json!({
            "name": self.name,
            "minimum": self.min,
            "maximum": self.max,
            "conditions": self.conditions.iter().take(10).map(said).collect::<Vec<_>>(),
        })
    }
}

/// The autoscalers of a workload, as the API server has them now; none also where the cluster knows no autoscalers.
///
/// # Errors
/// What the cluster answers: without an answer nobody knows who else scales it.
pub(crate) async fn of(requests: &Requests, workload: &Workload) -> Result<Vec<Autoscaler>> {
    let operation = operation("list", &workload.namespace, "");
    let api: Api<HorizontalPodAutoscaler> = requests.api(&workload.namespace);
    let mut params = ListParams::default().limit(PAGE);
    let mut found = Vec::new();
    for _ in 0..PAGES {
        let page: ObjectList<HorizontalPodAutoscaler> =
            match requests.read(&operation, || api.list(&params)).await {
                Ok(page) => page,
                Err(failure) if failure.is_not_found() => return Ok(Vec::new()),
                Err(failure) => return Err(failure.into_error(&operation)),
            };
        found.extend(page.items.iter().filter(|object| scales(object, workload)).map(Autoscaler::from));
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(found),
        }
    }
    let (most, namespace) = (PAGE as usize * PAGES, &workload.namespace);
    let message = format!("there are more than {most} HorizontalPodAutoscalers in namespace `{namespace}`");
    Err(Error::new(Code::KubernetesRejected, message).with_remedy("delete those that scale nothing"))
}

/// Whether an autoscaler is this workload's.
fn scales(object: &HorizontalPodAutoscaler, workload: &Workload) -> bool {
    object.spec.as_ref().is_some_and(|spec| {
        let target = &spec.scale_target_ref;
        let group =
            target.api_version.as_deref().and_then(|version| version.split_once('/')).map(|(group, _)| group);
        target.name == workload.name
            && target.kind.eq_ignore_ascii_case(workload.kind.as_str())
            // Without a group, old ones mean the usual one.
            && matches!(group, None | Some("apps" | "extensions"))
    })
}

impl Cluster {
    /// An autoscaler as it is now.
    pub(crate) async fn autoscaler(&self, namespace: &Namespace, name: &str) -> Result<Autoscaler, Failure> {
        let api: Api<HorizontalPodAutoscaler> = self.requests().api(namespace.as_str());
        let operation = operation("get", namespace.as_str(), name);
        let object = self.requests().read(&operation, || api.get(name)).await?;
        Ok((&object).into())
    }

    /// Sends one merge patch, once, if its turn comes before `until`. Without that it is a dry run.
    pub(crate) async fn patch_autoscaler(
        &self,
        namespace: &Namespace,
        name: &str,
        patch: &Value,
        until: Option<Instant>,
    ) -> Result<Autoscaler, Failure> {
        let requests = self.requests();
        let object =
            requests.patch::<HorizontalPodAutoscaler>(namespace.as_str(), name, patch, until).await?;
        Ok((&object).into())
    }
}

/// The autoscaler of a workload that a step is to change.
pub(crate) struct Minimum<'a> {
    pub(crate) job: &'a Job,
    /// The autoscaler's name.
    pub(crate) name: &'a str,
}

impl Task for Minimum<'_> {
    type Object = Autoscaler;
    type Made = Autoscaler;

    fn what(&self) -> String {
        format!("HorizontalPodAutoscaler `{}` in namespace `{}`", self.name, self.job.namespace)
    }

    fn mark(&self) -> &str {
        &self.job.mark
    }

    fn repeated(&self) -> bool {
        self.job.repeated
    }

    fn deadline(&self) -> Instant {
        self.job.deadline
    }

    fn command(&self) -> String {
        format!("kubectl -n {} get horizontalpodautoscaler/{} -o yaml", self.job.namespace, self.name)
    }

    fn operation(&self, verb: &'static str) -> Operation {
        operation(verb, self.job.namespace.as_str(), self.name)
    }

    async fn get(&self, cluster: &Cluster) -> Result<Autoscaler, Failure> {
        cluster.autoscaler(&self.job.namespace, self.name).await
    }

    async fn patch(
        &self,
        cluster: &Cluster,
        patch: &Value,
        until: Option<Instant>,
    ) -> Result<Autoscaler, Failure> {
        cluster.patch_autoscaler(&self.job.namespace, self.name, patch, until).await
    }

    fn bound(autoscaler: &Autoscaler) -> Bound {
        let Autoscaler { uid, resource_version, generation, .. } = autoscaler;
        Bound { uid: uid.clone(), resource_version: resource_version.clone(), generation: *generation }
    }

    fn marked<'a>(&self, autoscaler: &'a Autoscaler) -> Option<&'a str> {
        autoscaler.mark.as_deref()
    }

    fn made(&self, _: &Cluster, autoscaler: Autoscaler) -> Autoscaler {
        autoscaler
    }

    fn seen(autoscaler: &Autoscaler, error: Error) -> Error {
        error.with_detail("minimum_now", autoscaler.min)
    }
}

pub(crate) fn operation(verb: &'static str, namespace: &str, name: &str) -> Operation {
    Operation::new(verb, "horizontalpodautoscalers.autoscaling", namespace, name)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::rollout::tests::{Shape, workload};
    use super::*;

    /// One whose controller has nothing to complain of.
    pub(crate) fn autoscaler(name: &str, min: i32, max: i32) -> Autoscaler {
        let able = Condition { holds: true, reason: "SucceededGetScale".into(), message: String::new() };
        Autoscaler {
            name: name.to_owned(),
            uid: format!("uid-{name}"),
            resource_version: "100".to_owned(),
            generation: 0,
            min,
            max,
            mark: None,
            gitops: None,
            conditions: BTreeMap::from([("AbleToScale".to_owned(), able)]),
        }
    }

    #[test]
    fn an_autoscaler_is_a_workloads_by_kind_group_and_name() {
        let subject = workload(&Shape::default());
        for (version, kind, name, its) in [
            (Some("apps/v1"), "Deployment", "webapp", true),
            (Some("extensions/v1beta1"), "Deployment", "webapp", true),
            (None, "Deployment", "webapp", true),
            (Some("apps/v1"), "StatefulSet", "webapp", false),
            (Some("apps/v1"), "Deployment", "other", false),
            (Some("argoproj.io/v1alpha1"), "Deployment", "webapp", false),
        ] {
            let object = json!({
                "metadata": {"name": "hpa"},
                "spec": {"maxReplicas": 9, "scaleTargetRef": {"apiVersion": version, "kind": kind, "name": name}},
            });
            let object = serde_json::from_value(object).unwrap();
            assert_eq!(scales(&object, &subject), its, "{version:?} {kind} {name}");
            let view = Autoscaler::from(&object);
            assert_eq!((view.name.as_str(), view.min, view.max), ("hpa", 1, 9));
        }
    }

    #[test]
    fn what_its_controller_complains_of_is_told_and_made_safe() {
        let of = |conditions: &str| {
            let object = json!({"metadata": {"annotations": {CONDITIONS: conditions}}});
            Autoscaler::from(&serde_json::from_value::<HorizontalPodAutoscaler>(object).unwrap()).complaint()
        };
        let said = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "Why", "message": "in\u{1b}[31m\nfull", "more": 1});
        let all = |conditions: &[Value]| of(&Value::from(conditions).to_string());
        assert_eq!(all(&[said("AbleToScale", "True"), said("ScalingActive", "True")]), None);
        let told = all(&[said("ScalingActive", "False"), said("AbleToScale", "False")]).unwrap();
        assert!(told.starts_with("AbleToScale is not true (Why): in"), "{told}");
        assert!(!told.contains(['\u{1b}', '\n']), "{told:?}");
        let told = all(&[said("AbleToScale", "True"), said("ScalingActive", "Unknown")]).unwrap();
        assert!(told.starts_with("ScalingActive is not true"), "{told}");
        for nothing in ["", "[]", "{", "[{}]"] {
            assert!(of(nothing).unwrap().starts_with("no controller"), "{nothing}");
        }
    }
}
