//! The PodDisruptionBudgets of a namespace, and what those that cover a workload's pods allow.
//!
//! They are in `policy/v1` since Kubernetes 1.21, and in `policy/v1beta1` before: a version that the cluster does not
//! know is answered with 404, and the one that it knew is remembered.

use super::client::Requests;
use super::errors::{Failure, Operation};
use astradesk_core::facts::DisruptionBudget;
use astradesk_core::{Code, Error, Result};
use k8s_openapi::api::policy::v1::{PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use kube::Api;
use kube::api::{ListParams, Object, ObjectList};
use kube::core::{ApiResource, Selector, SelectorExt as _};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::time::Instant;

/// How many are asked for at a time, and how often.
const PAGE: u32 = 500;
const PAGES: usize = 10;

/// A PodDisruptionBudget of either version, which differ in [`covers`] only.
type Budget = Object<PodDisruptionBudgetSpec, PodDisruptionBudgetStatus>;

/// The budgets of a cluster. Many may ask at once: whoever comes while a list is under way shares the next one, which
/// begins after they have asked.
#[derive(Default)]
pub(crate) struct Budgets {
    /// Whether the cluster has the older version only, as far as is known.
    beta: AtomicBool,
    /// The last list of each namespace, as long as somebody waits for one.
    lists: Mutex<HashMap<String, Weak<Slot>>>,
}

type Slot = tokio::sync::Mutex<Option<Listed>>;

/// The budgets of a namespace, and the version that they are of.
#[derive(Clone)]
struct Listed {
    begun: Instant,
    budgets: Result<(Arc<Vec<Budget>>, bool)>,
}

impl Budgets {
    /// The budgets of a namespace that cover pods with these labels, by name.
    ///
    /// # Errors
    /// What the cluster answers: without an answer nobody knows what may be disrupted.
    pub(crate) async fn covering(
        &self,
        requests: &Requests,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Vec<DisruptionBudget>> {
        let (budgets, beta) = self.shared(requests, namespace).await?;
        Ok(of(&budgets, labels, beta))
    }

    /// A list that begins now or later.
    async fn shared(&self, requests: &Requests, namespace: &str) -> Result<(Arc<Vec<Budget>>, bool)> {
        let asked = Instant::now();
        let slot = self.slot(namespace);
        let mut last = slot.lock().await;
        if let Some(listed) = last.as_ref().filter(|listed| listed.begun >= asked) {
            return listed.budgets.clone();
        }
        let begun = Instant::now();
        let budgets = self.list(requests, namespace).await;
        *last = Some(Listed { begun, budgets: budgets.clone() });
        budgets
    }

    fn slot(&self, namespace: &str) -> Arc<Slot> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = lists.get(namespace).and_then(Weak::upgrade) {
            return slot;
        }
        lists.retain(|_, slot| slot.strong_count() > 0);
        let slot = Arc::new(Slot::default());
        lists.insert(namespace.to_owned(), Arc::downgrade(&slot));
        slot
    }

    async fn list(&self, requests: &Requests, namespace: &str) -> Result<(Arc<Vec<Budget>>, bool)> {
        let operation = Operation::new("list", "poddisruptionbudgets.policy", namespace, "");
        let known = self.beta.load(Ordering::Relaxed);
        for beta in [known, !known] {
            match list(requests, &operation, beta).await {
                Ok(Some(budgets)) => {
                    self.beta.store(beta, Ordering::Relaxed);
                    return Ok((Arc::new(budgets), beta));
                }
                Ok(None) => return Err(too_many(namespace)),
                Err(failure) if failure.is_not_found() => {}
                Err(failure) => return Err(failure.into_error(&operation)),
            }
        }
        let message = "the cluster knows PodDisruptionBudgets neither in `policy/v1` nor in `policy/v1beta1`";
        Err(Error::new(Code::KubernetesRejected, message)
            .with_remedy("see `kubectl api-versions`; without them nobody knows what may be disrupted"))
    }
}

fn too_many(namespace: &str) -> Error {
    let most = PAGE as usize * PAGES;
    let message = format!("there are more than {most} PodDisruptionBudgets in namespace `{namespace}`");
    Error::new(Code::KubernetesRejected, message).with_remedy("delete those that cover no pods")
}

/// All of them; none if there are too many.
async fn list(
    requests: &Requests,
    operation: &Operation,
    beta: bool,
) -> Result<Option<Vec<Budget>>, Failure> {
    let version = if beta { "v1beta1" } else { "v1" };
    let resource = ApiResource {
        group: "policy".to_owned(),
        version: version.to_owned(),
        api_version: format!("policy/{version}"),
        kind: "PodDisruptionBudget".to_owned(),
        plural: "poddisruptionbudgets".to_owned(),
    };
    let api: Api<Budget> = Api::namespaced_with(requests.client().clone(), &operation.namespace, &resource);
    let mut params = ListParams::default().limit(PAGE);
    let mut budgets = Vec::new();
    for _ in 0..PAGES {
        let page: ObjectList<Budget> = requests.read(operation, || api.list(&params)).await?;
        budgets.extend(page.items);
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => params = params.continue_token(&next),
            None => return Ok(Some(budgets)),
        }
    }
    Ok(None)
}

/// Those of the budgets that cover pods with these labels, and what they allow.
fn of(budgets: &[Budget], labels: &BTreeMap<String, String>, beta: bool) -> Vec<DisruptionBudget> {
    let covering = budgets.iter().filter(|budget| covers(budget, labels, beta));
    covering
        .map(|budget| DisruptionBudget {
            name: budget.metadata.name.clone().unwrap_or_default(),
            disruptions_allowed: allowed(budget),
        })
        .collect()
}

/// Without a selector no pod is covered; with an empty one all are, and in `policy/v1beta1` none.
fn covers(budget: &Budget, labels: &BTreeMap<String, String>, beta: bool) -> bool {
    let Some(selector) = budget.spec.selector.clone() else { return false };
    // One that cannot be read may cover them.
    Selector::try_from(selector)
        .map_or(true, |selector| if selector.selects_all() { !beta } else { selector.matches(labels) })
}

/// What the status allows, if it is about the specification as it is.
fn allowed(budget: &Budget) -> u32 {
    let Some(status) = &budget.status else { return 0 };
    let observed = status.observed_generation.unwrap_or(0) >= budget.metadata.generation.unwrap_or(0);
    if observed { u32::try_from(status.disruptions_allowed).unwrap_or(0) } else { 0 }
}

#[cfg(test)]
#[path = "budgets_tests.rs"]
mod tests;
