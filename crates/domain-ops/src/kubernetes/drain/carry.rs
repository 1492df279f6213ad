//! Evicts the pods of a drained node one after the other, and waits until each is gone.

use super::{Held, Receipt};
use crate::kubernetes::cluster::Cluster;
use crate::kubernetes::eviction::{self, Answer};
use crate::kubernetes::node;
use astradesk_core::name::ObjectName;
use astradesk_core::{Code, Error, Result};
use astradesk_runtime::port::{Fault, Progress};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How soon the budgets that let nobody go are asked again, at first and at most: the longest is kubectl's.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// How many of the pods that are left an error names in its sentence.
const NAMED: usize = 5;

/// Evicts what the receipt names, until nothing of that is left. Called again with the same receipt, it goes on from what
/// is true in the cluster.
pub(crate) async fn carry(
    cluster: &Cluster,
    name: &ObjectName,
    receipt: &Receipt,
    deadline: Instant,
    progress: &Progress,
) -> Result<(), Fault> {
    Drain { cluster, name, receipt, deadline, progress, gone: 0 }.until_empty().await
}

/// A drain that is carried on.
struct Drain<'a> {
    cluster: &'a Cluster,
    name: &'a ObjectName,
    receipt: &'a Receipt,
    deadline: Instant,
    progress: &'a Progress,
    gone: usize,
}

impl Drain<'_> {
    async fn until_empty(&mut self) -> Result<(), Fault> {
        let why = "its turn did not come";
        let waiting = self.receipt.pods.iter();
        let mut waiting: Vec<Held> =
            waiting.map(|pod| Held { pod: pod.clone(), why: why.to_owned() }).collect();
        let mut pause = AGAIN.0;
        while !waiting.is_empty() {
            let (before, mut left) = (waiting.len(), Vec::new());
            for held in waiting {
                if Instant::now() >= self.deadline {
                    left.push(held);
                    continue;
                }
                self.still_cordoned().await?;
                left.extend(self.evict(held).await?);
            }
            if !left.is_empty() && Instant::now() >= self.deadline {
                return Err(self.too_late(&left));
            }
            // Nobody went in this round: only time can help.
            if left.len() == before {
                self.tell_of(&left);
                sleep_until(self.deadline.min(Instant::now() + pause)).await;
                pause = (pause * 2).min(AGAIN.1);
            } else {
                pause = AGAIN.0;
            }
            waiting = left;
        }
        self.held_back()
    }

    /// Evicts a pod that waits, and waits until it is gone. Gives it back with why it is there still, if it is.
    async fn evict(&mut self, held: Held) -> Result<Option<Held>, Fault> {
        let pod = &held.pod;
        let because = |why: String| Ok(Some(Held { pod: pod.clone(), why }));
        match eviction::evict(self.cluster, pod, false, self.deadline).await {
            Ok(Answer::Going { .. }) => {}
            Ok(Answer::Refused { error, .. } | Answer::Never(error)) => return because(error.message),
            Err(Fault::Failed(error)) if error.code == Code::ToolTimedOut => return Ok(Some(held)),
            // Nothing is unclear about what is to be done: the next drain looks again.
            Err(Fault::Unknown(_)) if Instant::now() >= self.deadline => {
                return because("the cluster did not say what became of its eviction".to_owned());
            }
            Err(Fault::Unknown(error)) => return Err(Fault::Unknown(self.explained(error))),
            Err(Fault::Failed(error) | Fault::Moved(error)) => {
                return Err(Fault::Failed(self.explained(error)));
            }
        }
        let all = self.receipt.pods.len();
        let facts = json!({"pod": pod.name, "namespace": pod.namespace, "gone": self.gone, "of": all});
        self.progress.report(format!("{} of {all} pods gone; {pod} is stopping", self.gone), facts);
        match eviction::gone(self.cluster, pod, self.deadline).await {
            Ok(true) => {
                self.gone += 1;
                Ok(None)
            }
            Ok(false) => because("it has not stopped yet".to_owned()),
            Err(error) => Err(Fault::Failed(self.explained(error))),
        }
    }

    /// Whoever uncordons the node wants the drain to end.
    async fn still_cordoned(&self) -> Result<(), Fault> {
        let node = node::settled(self.cluster, self.name, self.deadline).await?;
        self.receipt.cordon.holds(&node).map_err(|error| Fault::Failed(self.explained(error)))
    }

    fn tell_of(&self, left: &[Held]) {
        let all = self.receipt.pods.len();
        let why = left.first().map(|held| held.why.clone()).unwrap_or_default();
        let message = format!("{} of {all} pods gone; {} wait: {why}", self.gone, left.len());
        self.progress.report(message, json!({"gone": self.gone, "of": all, "left": left}));
    }

    /// All that might go is gone. What came before the cordon, and may not be evicted unasked, is there still.
    fn held_back(&self) -> Result<(), Fault> {
        if self.receipt.held.is_empty() {
            return Ok(());
        }
        let error = held_back(self.name, &self.receipt.held);
        Err(Fault::Failed(self.explained(error)))
    }

    fn too_late(&self, left: &[Held]) -> Fault {
        let message = format!(
            "the time limit passed before every pod was gone from node `{}`; left are {}",
            self.name,
            named(left)
        );
        let error = Error::new(Code::ToolTimedOut, message)
            .with_remedy("see to what keeps them, and drain the node again: what is gone stays gone");
        Fault::Failed(self.explained(error.with_detail("pods_left", json!(left))))
    }

    /// How the node is left.
    fn explained(&self, error: Error) -> Error {
        let (gone, all) = (self.gone, self.receipt.pods.len());
        error.with_detail("node", self.name.as_str()).with_detail("gone", gone).with_detail("of", all)
    }
}

/// Pods that may not be evicted unasked.
pub(crate) fn held_back(node: &ObjectName, held: &[Held]) -> Error {
    let message = format!("node `{node}` has pods that may not be evicted unasked: {}", named(held));
    Error::new(Code::GuardPodLoss, message)
        .with_remedy(
            "pass `force: true` for pods without a controller, and `delete_emptydir_data: true` for those with data \
             in emptyDir volumes, if they may be lost",
        )
        .with_detail("pods", json!(held))
}

/// The first of them, each with why.
fn named(held: &[Held]) -> String {
    let mut words: Vec<String> =
        held.iter().take(NAMED).map(|held| format!("{}: {}", held.pod, held.why)).collect();
    if held.len() > NAMED {
        words.push(format!("and {} more", held.len() - NAMED));
    }
    words.join("; ")
}
