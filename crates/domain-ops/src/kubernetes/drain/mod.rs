//! A node is drained: cordoned, then its pods are evicted one after the other, as their budgets let them go.
//!
//! | module | what it holds |
//! |---|---|
//! | `sort` | pure: which pods go, which stay, and which nobody may evict unasked |
//! | `carry` | evicts them, and waits until each is gone |
//!
//! | point | durable by then | if the process dies here |
//! |---|---|---|
//! | intended | the node's version, and the pods that were there | cordoned once, by its mark |
//! | cordoned | the same, and the mark on the node | the mark is found; the pods are read again |
//! | performed | the pods that are to go, by their ids, as they were once no more could come | each is looked for by its id: who is gone stays gone, and what came in its place is left alone |
//!
//! The evictions are no change of the node: nothing is marked, as each is bound to the id of its pod.

mod carry;
mod sort;

pub(crate) use carry::{carry, held_back};
pub(crate) use sort::{Accepted, Sorted, sort};

use super::node::{self, NodeView};
use super::residents::{PodRef, Resident};
use serde::{Deserialize, Serialize};

/// What a drain is bound to. Its fields are in the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    /// The cordon, or its end.
    #[serde(flatten)]
    pub(crate) cordon: node::Intent,
    /// The pods that are to go, as they are before.
    pub(crate) pods: Vec<PodRef>,
}

/// What was begun: the node is cordoned, and these pods are to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receipt {
    /// The cordon, or its end.
    #[serde(flatten)]
    pub(crate) cordon: node::Receipt,
    /// The pods that are to go, by their ids.
    pub(crate) pods: Vec<PodRef>,
    /// Pods that came before the cordon, and may not be evicted unasked.
    pub(crate) held: Vec<Held>,
    /// How many stay: those of `DaemonSets`, and those that the node keeps itself.
    pub(crate) staying: usize,
}

/// A pod that stays although it should go, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) pod: PodRef,
    pub(crate) why: String,
}

/// A node with what is on it, at one moment.
pub(crate) struct Look {
    pub(crate) node: NodeView,
    pub(crate) pods: Vec<Resident>,
}
