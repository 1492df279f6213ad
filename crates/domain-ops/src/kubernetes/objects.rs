//! Objects of any kind: read, patched, and what is known of them.

use super::cluster::Cluster;
use super::errors::{Failure, Operation};
use super::{FIELD_MANAGER, facts};
use astradesk_core::name::{Namespace, ObjectName};
use astradesk_core::{Facts, Result};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::Value;
use tokio::time::Instant;

/// One object in a namespace, by where the API server has it.
#[derive(Debug, Clone)]
pub struct Place {
    /// The kind.
    pub resource: ApiResource,
    /// The namespace.
    pub namespace: Namespace,
    /// The object's name.
    pub name: ObjectName,
}

impl Place {
    /// The operation, as an error names it.
    pub fn operation(&self, verb: &'static str) -> Operation {
        let ApiResource { plural, group, .. } = &self.resource;
        let resource = if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") };
        Operation::new(verb, resource, self.namespace.as_str(), self.name.as_str())
    }
}

impl Cluster {
    fn objects(&self, place: &Place) -> Api<DynamicObject> {
        let client = self.requests().client().clone();
        Api::namespaced_with(client, place.namespace.as_str(), &place.resource)
    }

    /// The object as it is now, with a few retries when the cluster does not answer well.
    pub async fn object(&self, place: &Place) -> Result<DynamicObject, Failure> {
        let api = self.objects(place);
        self.requests().read(&place.operation("get"), || api.get(place.name.as_str())).await
    }

    /// Sends one merge patch, once, if its turn comes before `until`. Without that it is a dry run.
    pub async fn patch_object(
        &self,
        place: &Place,
        patch: &Value,
        until: Option<Instant>,
    ) -> Result<DynamicObject, Failure> {
        let manager = Some(FIELD_MANAGER.to_owned());
        let params =
            PatchParams { dry_run: until.is_none(), field_manager: manager, ..PatchParams::default() };
        let (api, patch) = (self.objects(place), Patch::Merge(patch));
        self.requests().in_turn(api.patch(place.name.as_str(), &params, &patch), until).await
    }

    /// What policies and guardrails ask about; of an object that is not there, nothing is known.
    ///
    /// # Errors
    /// The cluster did not say.
    pub async fn object_facts(&self, place: &Place) -> Result<Facts> {
        match self.object(place).await {
            Ok(object) => Ok(facts::of_object(&place.resource.kind, &object.metadata)),
            Err(failure) if failure.is_not_found() => Ok(Facts::default()),
            Err(failure) => Err(failure.into_error(&place.operation("get"))),
        }
    }
}
