//! The cluster's objects, for the packs that patch them.

use astradesk_core::name::ClusterName;
use astradesk_core::{Error, Facts, Result};
use astradesk_domain_ops::Cluster;
use astradesk_domain_ops::kubernetes::errors::{Applied, Failure};
use astradesk_domain_ops::kubernetes::objects::Place;
use astradesk_packs::kubernetes::{Change, ObjectRef, Objects, Refusal};
use async_trait::async_trait;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

/// The objects of the cluster that everything else speaks to.
pub(super) struct ClusterObjects(pub(super) Cluster);

fn place(object: &ObjectRef) -> Place {
    let kind = GroupVersionKind::gvk(&object.group, &object.version, &object.kind);
    Place {
        resource: ApiResource::from_gvk_with_plural(&kind, &object.plural),
        namespace: object.namespace.clone(),
        name: object.name.clone(),
    }
}

fn json(object: &DynamicObject) -> Result<Value, Refusal> {
    serde_json::to_value(object).map_err(|error| Refusal::Maybe(Error::internal(error.to_string())))
}

/// A read changes nothing, so what counts is whether asking again may help.
fn unread(failure: Failure, place: &Place) -> Refusal {
    let may_pass = failure.is_transient();
    let error = failure.into_error(&place.operation("get"));
    if may_pass { Refusal::Maybe(error) } else { Refusal::Not(error) }
}

fn unpatched(failure: Failure, place: &Place) -> Refusal {
    let applied = failure.applied();
    let error = failure.into_error(&place.operation("patch"));
    match applied {
        Applied::No => Refusal::Not(error),
        Applied::Conflict => Refusal::Conflict(error),
        Applied::Maybe => Refusal::Maybe(error),
    }
}

#[async_trait]
impl Objects for ClusterObjects {
    fn cluster(&self) -> ClusterName {
        self.0.name().clone()
    }

    async fn get(&self, object: &ObjectRef) -> Result<Value, Refusal> {
        let place = place(object);
        let found = self.0.object(&place).await.map_err(|failure| unread(failure, &place))?;
        json(&found)
    }

    async fn patch(&self, object: &ObjectRef, patch: &Value, change: Change) -> Result<Value, Refusal> {
        let place = place(object);
        let until = match change {
            Change::DryRun => None,
            Change::Until(until) => Some(until),
        };
        let patched = self.0.patch_object(&place, patch, until).await;
        json(&patched.map_err(|failure| unpatched(failure, &place))?)
    }

    async fn facts(&self, object: &ObjectRef) -> Result<Facts> {
        self.0.object_facts(&place(object)).await
    }
}
