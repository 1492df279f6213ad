//! `pods/eviction`: a delete that asks the budgets first.
//!
//! The rules are the real server's (`pkg/registry/core/pod/storage/eviction.go` of Kubernetes).

use crate::json::{Value, json};
use axum::Json;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::resources::{self, DeleteOptions};
use super::status::Status;
use super::{Call, Selector};
use crate::object::{int, is_deleting, name, namespace, now, pod_ready, set, text};
use crate::resource::DISRUPTION_BUDGETS;
use crate::storage::{Key, Object, Storage};

/// Evictions that the budget's controller has not confirmed, at most.
const UNCONFIRMED: usize = 2_000;

/// Evicts a pod, unless its budget forbids that now.
pub(crate) fn evict(storage: &Storage, key: &Key, call: &Call) -> Result<Response, Status> {
    if call.method != Method::POST {
        return Err(Status::method_not_allowed());
    }
    let eviction = call.json()?;
    if !matches!(text(&eviction, "/kind"), "" | "Eviction") {
        let (kind, version) = (text(&eviction, "/kind"), text(&eviction, "/apiVersion"));
        return Err(Status::bad_request(format!(
            "{kind} in version \"v1\" cannot be handled as a Eviction: no kind \"{kind}\" is registered for version \
             \"{version}\""
        )));
    }
    if name(&eviction) != &*key.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = DeleteOptions::of(call, eviction.get("deleteOptions").cloned().unwrap_or_default())?;
    let pod = resources::find(storage, key)?;
    if !is_beyond_budgets(&pod) {
        ask_budgets(storage, &pod, options.dry_run)?;
    }
    resources::delete(storage, key, &options)?;
    let done =
        json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok((StatusCode::CREATED, Json(done)).into_response())
}

/// A pod that does not serve any more, or not yet, is nothing that a budget guards.
fn is_beyond_budgets(pod: &Value) -> bool {
    is_deleting(pod) || matches!(text(pod, "/status/phase"), "Pending" | "Succeeded" | "Failed")
}

fn ask_budgets(storage: &Storage, pod: &Value, dry_run: bool) -> Result<(), Status> {
    let covers = |budget: &Object| {
        Selector::of(budget.pointer("/spec/selector")).is_some_and(|selector| selector.matches(pod))
    };
    let budgets = storage.list(&DISRUPTION_BUDGETS, namespace(pod)).into_iter().filter(covers);
    match budgets.collect::<Vec<_>>().as_slice() {
        [] => Ok(()),
        [budget] => spend(storage, budget, pod, dry_run),
        _ => Err(Status::several_budgets()),
    }
}

/// Takes one disruption from the budget. Under the store's lock, so that of two evictions at once, of which only one
/// is allowed, the second sees what the first took.
fn spend(storage: &Storage, budget: &Object, pod: &Value, dry_run: bool) -> Result<(), Status> {
    let take = |budget: &mut Value| {
        if !pod_ready(pod) && spares_unready(budget) {
            return Ok(());
        }
        let allowed = check(budget)?;
        if !dry_run {
            set(budget, &["status", "disruptionsAllowed"], allowed - 1);
            set(budget, &["status", "disruptedPods", name(pod)], now());
        }
        Ok(())
    };
    storage.modify(&Key::of(&DISRUPTION_BUDGETS, budget), take).map(|_| ())
}

/// Whether an unready pod may go without being counted: enough others serve, or its going is always allowed.
fn spares_unready(budget: &Value) -> bool {
    let (healthy, desired) = health(budget);
    (healthy >= desired && desired > 0) || text(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow"
}

fn health(budget: &Value) -> (i64, i64) {
    (int(budget, "/status/currentHealthy", 0), int(budget, "/status/desiredHealthy", 0))
}

/// How many disruptions the budget allows: at least one, else it says why none.
fn check(budget: &Value) -> Result<i64, Status> {
    let name = name(budget);
    if int(budget, "/status/observedGeneration", 0) < int(budget, "/metadata/generation", 1) {
        let why = format!("The disruption budget {name} is still being processed by the server.");
        return Err(Status::disruption(&why));
    }
    let disrupted = budget.pointer("/status/disruptedPods").and_then(Value::as_object);
    if disrupted.is_some_and(|pods| pods.len() > UNCONFIRMED) {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(Status::forbidden(&DISRUPTION_BUDGETS, name, why));
    }
    match int(budget, "/status/disruptionsAllowed", 0) {
        ..1 => {
            let (healthy, desired) = health(budget);
            let why = format!(
                "The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
            );
            Err(Status::disruption(&why))
        }
        allowed => Ok(allowed),
    }
}
