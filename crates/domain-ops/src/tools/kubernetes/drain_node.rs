//! `drain_node`: a node is cordoned, and its pods are evicted one after the other within their PodDisruptionBudgets.

use super::words::{fillers, force_slot, list, node_slot, on_failure_slot, slot, timeout_slot};
use super::write::{At, Write, Writing};
use super::{flag, node_facts, node_name, node_names, node_schema, on_failure_schema, timeout_schema};
use crate::kubernetes::drain::{self, Accepted, Intent, Look, Receipt, Sorted, sort};
use crate::kubernetes::node::{self, NodeJob, word};
use crate::kubernetes::residents::{self, PodRef, Resident, Stage, residents_of};
use crate::kubernetes::{Cluster, once};
use astradesk_core::run::OnFailure;
use astradesk_core::tool::{Form, Grammar};
use astradesk_core::{
    Arguments, Class, Code, Effect, Error, Facts, FrozenCall, Result, Target, ToolName, ToolSpec,
};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How long a drain may take unless the call says otherwise.
const TIMEOUT: Duration = Duration::from_mins(10);

/// The tool `drain_node`.
pub(super) struct DrainNode;

impl DrainNode {
    /// The tool on a cluster.
    pub(super) fn new(cluster: Cluster) -> Result<Writing<Self>> {
        let spec = ToolSpec {
            name: ToolName::parse("drain_node")?,
            version: "1".to_owned(),
            description: "cordons a node and evicts its pods one after the other as their PodDisruptionBudgets let them go; \
                          pods of DaemonSets and static pods stay; succeeds once the others are gone"
                .to_owned(),
            effect: Some(Effect::Write),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["node"],
                "properties": {
                    "node": node_schema(),
                    "force": {
                        "type": "boolean",
                        "description": "whether to evict pods that no controller brings back",
                    },
                    "delete_emptydir_data": {
                        "type": "boolean",
                        "description": "whether to evict pods with emptyDir volumes, whose data go with them",
                    },
                    "on_failure": on_failure_schema("the cordon if the drain fails", OnFailure::Leave),
                    "timeout": timeout_schema("it"),
                },
            }),
            timeout: TIMEOUT,
            grammar: grammar(),
        };
        Ok(Writing::new(Self, cluster, spec))
    }
}

/// The node as it is now, with the pods that are on it.
async fn look(cluster: &Cluster, call: &FrozenCall) -> Result<Look> {
    let name = node_name(&call.arguments)?;
    let node = cluster.node(&name).await?;
    let listed = cluster.residents(&name).await;
    let (pods, more) = listed.map_err(|failure| failure.into_error(&residents_of(&name)))?;
    if more {
        let message = format!("node `{name}` has more than {} pods", residents::MOST);
        return Err(Error::new(Code::KubernetesRejected, message)
            .with_remedy("cordon it, and let its pods go in another way"));
    }
    Ok(Look { node, pods })
}

/// The same of a node that is cordoned by now, asked for until the cluster says it.
async fn look_at_last(cluster: &Cluster, step: &StepContext) -> Result<Look, Fault> {
    loop {
        let error = match look(cluster, &step.call).await {
            Ok(look) => return Ok(look),
            Err(error) => error,
        };
        if error.code.class() != Class::Unavailable || Instant::now() >= step.deadline {
            let message =
                format!("the node is cordoned, but its pods could not be listed: {}", error.message);
            let unknown = Error::new(Code::RunOutcomeUnknown, message)
                .with_remedy("look at the node, and drain it again or uncordon it");
            return Err(Fault::Unknown(unknown.with_detail("seen", error.code.as_str())));
        }
        sleep_until(step.deadline.min(Instant::now() + once::PAUSE.1)).await;
    }
}

/// The budgets that do not let all of these pods go at once, and the pods that no budget ever lets go.
async fn in_the_way(cluster: &Cluster, going: &[&Resident]) -> Result<Vec<Value>> {
    let mut budgets: BTreeMap<(String, String), (u32, Vec<&PodRef>)> = BTreeMap::new();
    let mut never = Vec::new();
    for resident in
        going.iter().filter(|one| matches!(one.stage, Stage::Running | Stage::Ready) && !one.terminating)
    {
        let namespace = &resident.pod.namespace;
        let covering = cluster.disruption_budgets(namespace, &resident.labels, 1).await?;
        if covering.len() > 1 {
            let names: Vec<&str> = covering.iter().map(|budget| &*budget.name).collect();
            never.push(json!({
                "pod": resident.pod.name,
                "namespace": namespace,
                "budgets": names,
                "why": "more than one budget covers it, and no cluster evicts such a pod",
            }));
        }
        for budget in covering {
            let key = (namespace.to_string(), budget.name);
            budgets.entry(key).or_insert((budget.disruptions_allowed, Vec::new())).1.push(&resident.pod);
        }
    }
    let scarce = budgets.into_iter().filter(|(_, (allowed, pods))| (*allowed as usize) < pods.len());
    let scarce = scarce.map(|((namespace, budget), (allowed, pods))| {
        json!({
            "budget": budget,
            "namespace": namespace,
            "allows_now": allowed,
            "pods": pods.iter().map(|pod| &pod.name).collect::<Vec<_>>(),
        })
    });
    Ok(scarce.chain(never).collect())
}

fn grammar() -> Grammar {
    let data = "delete emptydir data, with emptydir data, deleting emptydir data, usuń dane emptydir, z danymi emptydir";
    Grammar {
        phrases: list(
            "drain node, drain the node, drain, draining of, opróżnij węzeł, opróżnij, zdrenuj węzeł, zdrenuj, drenuj węzeł, drenuj",
        ),
        nouns: list("draining of"),
        slots: vec![
            node_slot(),
            force_slot(),
            slot("delete_emptydir_data", Form::Flag(list(data))),
            on_failure_slot(),
            timeout_slot(),
        ],
        fillers: fillers("node, worker, węzeł, węzła"),
    }
}

fn accepted(arguments: &Arguments) -> Accepted {
    Accepted {
        force: flag(arguments, "force"),
        delete_emptydir_data: flag(arguments, "delete_emptydir_data"),
    }
}

fn refs(going: &[&Resident]) -> Vec<PodRef> {
    going.iter().map(|resident| resident.pod.clone()).collect()
}

/// What a drain would do, a pod or a budget a line.
fn parts(sorted: &Sorted<'_>, in_the_way: &[Value]) -> Vec<String> {
    let going = sorted.going.iter().map(|resident| {
        let owner = resident.owner.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        format!("evict {}, of {owner}", resident.pod)
    });
    let staying =
        sorted.staying.iter().map(|(resident, stay)| format!("leave {}: {}", resident.pod, stay.why()));
    let budgets = in_the_way.iter().filter_map(|one| {
        let (budget, namespace) = (one.get("budget")?.as_str()?, one.get("namespace")?.as_str()?);
        let (allows, pods) = (one.get("allows_now")?, one.get("pods")?.as_array()?.len());
        Some(format!("wait for budget `{budget}` in namespace `{namespace}`: {allows} of {pods} may go now"))
    });
    let never = in_the_way.iter().filter_map(|one| {
        let (pod, why) = (one.get("pod")?.as_str()?, one.get("why")?.as_str()?);
        Some(format!("pod `{pod}`: {why}"))
    });
    going.chain(staying).chain(budgets).chain(never).collect()
}

fn pods(count: usize) -> String {
    if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") }
}

#[async_trait]
impl Write for DrainNode {
    /// With the pods that are on it.
    type Seen = Look;
    type Intent = Intent;
    type Receipt = Receipt;
    /// By uncordoning the node; pods that went do not come back to it by that.
    const UNDOES: bool = true;

    async fn target(&self, cluster: &Cluster, arguments: &Arguments) -> Result<Target> {
        Ok(cluster.node_target(node_name(arguments)?))
    }

    async fn candidates(&self, cluster: &Cluster, argument: &str) -> Result<Vec<String>> {
        node_names(cluster, argument).await
    }

    async fn facts(&self, cluster: &Cluster, call: &FrozenCall, _now: bool) -> Result<Facts> {
        node_facts(cluster, call).await
    }

    /// Every pod that is to go may be evicted.
    async fn sane(&self, cluster: &Cluster, call: &FrozenCall) -> Result<Look> {
        let look = look(cluster, call).await?;
        let held = sort(&look.pods, accepted(&call.arguments)).held;
        if held.is_empty() { Ok(look) } else { Err(drain::held_back(&node_name(&call.arguments)?, &held)) }
    }

    async fn intend(&self, (_, step): At<'_>, look: Look) -> Result<Intent> {
        let pods = refs(&sort(&look.pods, accepted(&step.call.arguments)).going);
        Ok(Intent { cordon: node::Intent::of(&look.node, true), pods })
    }

    async fn undo(&self, (cluster, step): At<'_>, done: Receipt) -> Result<Intent> {
        let node = cluster.node(&node_name(&step.call.arguments)?).await?;
        Ok(Intent { cordon: node::Intent::undoing(&node, &done.cordon)?, pods: Vec::new() })
    }

    async fn preview(&self, cluster: &Cluster, call: &FrozenCall, look: Look) -> Result<Value> {
        let name = node_name(&call.arguments)?;
        let sorted = sort(&look.pods, accepted(&call.arguments));
        let cordon = node::Intent::of(&look.node, true);
        if !cordon.is_so_already() {
            cordon.check(cluster, &name).await?;
        }
        let in_the_way = in_the_way(cluster, &sorted.going).await?;
        let first = if cordon.is_so_already() { "is cordoned already" } else { "would be cordoned" };
        let budgets = match in_the_way.len() {
            0 => String::new(),
            1 => "; 1 budget stands in the way, and would be waited for".to_owned(),
            n => format!("; {n} budgets stand in the way, and would be waited for"),
        };
        let (going, staying) = (pods(sorted.going.len()), pods(sorted.staying.len()));
        let summary = format!(
            "node `{name}` {first}; {going} would be evicted one after the other, {staying} would stay{budgets}"
        );
        Ok(json!({
            "summary": summary,
            "object": format!("node/{name}"),
            "parts": parts(&sorted, &in_the_way),
            "evicted": sorted.going.iter().map(|resident| json!({
                "pod": resident.pod.name,
                "namespace": resident.pod.namespace,
                "owner": resident.owner.as_ref().map(ToString::to_string),
            })).collect::<Vec<_>>(),
            "staying": sorted.staying.iter().map(|(resident, stay)| json!({
                "pod": resident.pod.name,
                "namespace": resident.pod.namespace,
                "why": stay.why(),
            })).collect::<Vec<_>>(),
            "budgets_in_the_way": in_the_way,
        }))
    }

    /// Cordons the node, and reads which pods are on it once no more can come: those are to go, and no others.
    async fn perform(
        &self,
        (cluster, step): At<'_>,
        _: &Permit,
        Intent { cordon, .. }: Intent,
    ) -> Result<Receipt, Fault> {
        let name = node_name(&step.call.arguments)?;
        let done = cordon.perform(cluster, &NodeJob::of(step, name.clone())).await?;
        let (mut going, mut held, mut staying) = (Vec::new(), Vec::new(), 0);
        if step.undoes.is_none() {
            let look = look_at_last(cluster, step).await?;
            let sorted = sort(&look.pods, accepted(&step.call.arguments));
            (going, staying) = (refs(&sorted.going), sorted.staying.len());
            held = sorted.held;
            let message = format!("node `{name}` is cordoned; {} to go", pods(going.len()));
            step.progress.report(message, json!({"pods": going.len(), "staying": staying}));
        }
        Ok(Receipt { cordon: done, pods: going, held, staying })
    }

    async fn carry_on(&self, (cluster, step): At<'_>, _: &Permit, receipt: Receipt) -> Result<(), Fault> {
        let name = node_name(&step.call.arguments)?;
        drain::carry(cluster, &name, &receipt, step.deadline, &step.progress).await
    }

    async fn verify(&self, (cluster, step): At<'_>, receipt: Receipt) -> Result<Value, Fault> {
        let name = node_name(&step.call.arguments)?;
        let node = node::settled(cluster, &name, step.deadline).await?;
        receipt.cordon.holds(&node)?;
        let now = cluster.now();
        let is = word(receipt.cordon.unschedulable);
        let summary = match (step.undoes.is_some(), receipt.pods.len()) {
            (true, _) => format!("node `{name}` is {is}"),
            (false, 0) => format!("node `{name}` is {is}, and there was no pod to evict"),
            (false, 1) => format!("node `{name}` is {is}, and the one pod that was to go is gone"),
            (false, n) => format!("node `{name}` is {is}, and all {n} pods that were to go are gone"),
        };
        Ok(json!({
            "summary": summary,
            "target": step.call.targets,
            "evicted": receipt.pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect::<Vec<_>>(),
            "staying": receipt.staying,
            "took_seconds": now.duration_since(receipt.cordon.at).as_secs().max(0),
            "observed_at": now.to_string(),
        }))
    }

    /// Nothing goes on by itself: what is left stays where it is.
    async fn stop(&self, (cluster, step): At<'_>, _: &Permit, receipt: Receipt) -> Option<Error> {
        let name = node_name(&step.call.arguments).ok()?;
        let message = match cluster.residents(&name).await {
            Ok((on_it, _)) => {
                let left = on_it.iter().filter(|one| receipt.pods.contains(&one.pod)).count();
                let gone = receipt.pods.len() - left;
                format!("cancelled: {gone} of {} pods are gone from node `{name}`", receipt.pods.len())
            }
            Err(_) => format!("cancelled: some pods may be gone from node `{name}`"),
        };
        let remedy = "the node stays cordoned unless the cancellation asked to undo that: `uncordon_node`";
        Some(Error::new(Code::RunCancelled, message).with_remedy(remedy))
    }
}
