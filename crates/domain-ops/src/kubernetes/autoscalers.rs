//! Horizontal pod autoscalers: who else sets the number of a workload's pods.

use super::client::Requests;
use super::errors::Operation;
use super::workload::Workload;
use astradesk_core::{Code, Error, Result};
use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use kube::Api;
use kube::api::{ListParams, ObjectList};

/// How many are asked for at a time, and how often.
const PAGE: u32 = 250;
const PAGES: usize = 8;

/// An autoscaler of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Autoscaler {
    /// Its name.
    pub(crate) name: String,
    /// The fewest pods that it leaves.
    pub(crate) min: i32,
    /// The most pods that it makes.
    pub(crate) max: i32,
}

/// The autoscaler of a workload, as the API server has it now; none also where the cluster knows no autoscalers.
///
/// # Errors
/// What the cluster answers: without an answer nobody knows who else scales it.
pub(crate) async fn of(requests: &Requests, workload: &Workload) -> Result<Option<Autoscaler>> {
    let operation = Operation::new("list", "horizontalpodautoscalers.autoscaling", &workload.namespace, "");
    let api: Api<HorizontalPodAutoscaler> = requests.api(&workload.namespace);
    let mut params = ListParams::default().limit(PAGE);
    for _ in 0..PAGES {
        let page: ObjectList<HorizontalPodAutoscaler> =
            match requests.read(&operation, || api.list(&params)).await {
                Ok(page) => page,
                Err(failure) if failure.is_not_found() => return Ok(None),
                Err(failure) => return Err(failure.into_error(&operation)),
            };
        if let Some(found) = page.items.iter().find_map(|autoscaler| view(autoscaler, workload)) {
            return Ok(Some(found));
        }
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(None),
        }
    }
    let (most, namespace) = (PAGE as usize * PAGES, &workload.namespace);
    let message = format!("there are more than {most} HorizontalPodAutoscalers in namespace `{namespace}`");
    Err(Error::new(Code::KubernetesRejected, message).with_remedy("delete those that scale nothing"))
}

/// The view of an autoscaler, if it is this workload's.
fn view(object: &HorizontalPodAutoscaler, workload: &Workload) -> Option<Autoscaler> {
    let spec = object.spec.as_ref()?;
    let target = &spec.scale_target_ref;
    let group =
        target.api_version.as_deref().and_then(|version| version.split_once('/')).map(|(group, _)| group);
    let is_its = target.name == workload.name
        && target.kind.eq_ignore_ascii_case(workload.kind.as_str())
        // Without a group, old ones mean the usual one.
        && matches!(group, None | Some("apps" | "extensions"));
    is_its.then(|| Autoscaler {
        name: object.metadata.name.clone().unwrap_or_default(),
        min: spec.min_replicas.unwrap_or(1),
        max: spec.max_replicas,
    })
}

#[cfg(test)]
mod tests {
    use super::super::rollout::tests::{Shape, workload};
    use super::*;
    use serde_json::json;

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
            let found = view(&serde_json::from_value(object).unwrap(), &subject);
            let expected = Autoscaler { name: "hpa".into(), min: 1, max: 9 };
            assert_eq!(found, its.then_some(expected), "{version:?} {kind} {name}");
        }
    }
}
