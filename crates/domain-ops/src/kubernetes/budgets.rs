//! The PodDisruptionBudgets of a namespace, and what those that cover a workload's pods allow.
//!
//! They are in `policy/v1` since Kubernetes 1.21, and in `policy/v1beta1` before: a version that the cluster does not
//! know is answered with 404, and the one that it knew is remembered.

use super::client::Requests;
use super::errors::{Failure, Operation};
use astradesk_core::facts::DisruptionBudget;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::Clock;
use k8s_openapi::api::policy::v1::{PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use kube::Api;
use kube::api::{ListParams, Object, ObjectList};
use kube::core::{ApiResource, Selector, SelectorExt as _};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How many are asked for at a time, and how often.
const PAGE: u32 = 500;
const PAGES: usize = 10;

/// A PodDisruptionBudget of either version, which differ in [`covers`] only.
type Budget = Object<PodDisruptionBudgetSpec, PodDisruptionBudgetStatus>;

/// How long a list serves those who come later.
pub(crate) const KEPT: Duration = Duration::from_secs(1);

/// The budgets of a cluster. Many may ask at once, and each twice a run: those who ask within [`KEPT`] after a list has
/// begun share it. What would stop one of them is never as old as that: it is listed again, after they have asked.
pub(crate) struct Budgets {
    clock: Arc<dyn Clock>,
    /// Whether the cluster has the older version only, as far as is known.
    beta: AtomicBool,
    /// The last list of each namespace.
    lists: Mutex<HashMap<String, Arc<Slot>>>,
}

type Slot = tokio::sync::Mutex<Option<Listed>>;

/// The budgets of a namespace, and the version that they are of.
#[derive(Clone)]
struct Listed {
    /// By the clock's [`Clock::elapsed`].
    begun: Duration,
    budgets: Result<(Arc<Vec<Budget>>, bool)>,
}

impl Budgets {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, beta: AtomicBool::default(), lists: Mutex::default() }
    }

    /// The budgets of a namespace that cover pods with these labels, by name: as they were at most [`KEPT`] ago, or as
    /// they are now, if one of them would allow less than `taken` disruptions, or none.
    ///
    /// # Errors
    /// What the cluster answers: without an answer nobody knows what may be disrupted.
    pub(crate) async fn covering(
        &self,
        requests: &Requests,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        taken: u32,
    ) -> Result<Vec<DisruptionBudget>> {
        let asked = self.clock.elapsed();
        let since = asked.saturating_sub(KEPT);
        let (budgets, beta) = self.shared(requests, namespace, since).await?;
        let covering = of(&budgets, labels, beta);
        if covering.iter().all(|budget| budget.disruptions_allowed >= taken.max(1)) {
            return Ok(covering);
        }
        let (budgets, beta) = self.shared(requests, namespace, asked).await?;
        Ok(of(&budgets, labels, beta))
    }

    /// A list that began then or later, or failed to since this was asked.
    async fn shared(
        &self,
        requests: &Requests,
        namespace: &str,
        since: Duration,
    ) -> Result<(Arc<Vec<Budget>>, bool)> {
        let asked = self.clock.elapsed();
        let slot = self.slot(namespace);
        let mut last = slot.lock().await;
        let recent = |listed: &&Listed| listed.begun >= if listed.budgets.is_ok() { since } else { asked };
        if let Some(listed) = last.as_ref().filter(recent) {
            return listed.budgets.clone();
        }
        let begun = self.clock.elapsed();
        let budgets = self.list(requests, namespace).await;
        *last = Some(Listed { begun, budgets: budgets.clone() });
        budgets
    }

    fn slot(&self, namespace: &str) -> Arc<Slot> {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = lists.get(namespace) {
            return slot.clone();
        }
        let since = self.clock.elapsed().saturating_sub(KEPT);
        lists.retain(|_, slot| Arc::strong_count(slot) > 1 || serves(slot, since));
        let slot = Arc::new(Slot::default());
        lists.insert(namespace.to_owned(), slot.clone());
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

/// Whether what nobody waits for may still serve somebody.
fn serves(slot: &Slot, since: Duration) -> bool {
    slot.try_lock().is_ok_and(|last| last.as_ref().is_some_and(|listed| listed.begun >= since))
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
