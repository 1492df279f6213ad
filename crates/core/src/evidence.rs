//! The hash chain of what happened: who asked, what was decided, intended and done.
//!
//! A record's body is canonical JSON with the hash of the record before it in `prev`; a record's hash
//! is the SHA-256 of its body. So any edit, insertion, removal or change of order breaks the chain at
//! that place, and a signed checkpoint (`seq`, `hash`) pins everything up to it.

use crate::canonical::{self, Digest};
use crate::{Code, Error, Principal, Result, RunId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Somebody could not be authenticated.
    #[serde(rename = "auth.denied")]
    AuthDenied,
    /// A request could not be planned, or names a tool, agent or arguments that are not valid.
    #[serde(rename = "request.refused")]
    RequestRefused,
    /// A language model was asked for a plan: what left, and what came of it.
    #[serde(rename = "model.consulted")]
    ModelConsulted,
    /// A plan was previewed; nothing was done.
    #[serde(rename = "run.previewed")]
    Previewed,
    /// A plan was permitted and became a run.
    #[serde(rename = "run.admitted")]
    Admitted,
    /// A plan was denied by policy or refused by a guardrail.
    #[serde(rename = "run.denied")]
    Denied,
    /// A step is about to be performed.
    #[serde(rename = "step.intended")]
    Intended,
    /// A step's effect was performed and is being verified.
    #[serde(rename = "step.performed")]
    Performed,
    /// A run reached its end; the record says which.
    #[serde(rename = "run.finished")]
    Finished,
    /// A read was performed: decision and outcome in one record.
    #[serde(rename = "read.finished")]
    ReadFinished,
    /// A run was taken over from a holder that is dead, or that handed it over.
    #[serde(rename = "run.claimed")]
    Claimed,
    /// Somebody asked for a run to be cancelled.
    #[serde(rename = "run.cancel_requested")]
    CancelRequested,
    /// Policy wants somebody to agree to a run first: what it asks for, and what was shown to the approvers.
    #[serde(rename = "approval.requested")]
    ApprovalRequested,
    /// Somebody agreed.
    #[serde(rename = "approval.given")]
    ApprovalGiven,
    /// Somebody no longer agrees.
    #[serde(rename = "approval.revoked")]
    ApprovalRevoked,
    /// Somebody said no.
    #[serde(rename = "approval.rejected")]
    ApprovalRejected,
    /// Somebody tried to approve, reject or revoke, and may not.
    #[serde(rename = "approval.refused")]
    ApprovalRefused,
    /// What was given no longer counts: the targets, the tool or what policy asks for has changed.
    #[serde(rename = "approval.withdrawn")]
    ApprovalWithdrawn,
    /// A guardrail objected to a step, and was overridden.
    #[serde(rename = "guard.overridden")]
    GuardOverridden,
    /// A policy set came into force, or was refused.
    #[serde(rename = "policy.loaded")]
    PolicyLoaded,
    /// Old records were removed; the record has the signed checkpoint of the last of them.
    #[serde(rename = "evidence.pruned")]
    EvidencePruned,
}

/// A record before it has its place in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// When it happened.
    pub at: Timestamp,
    /// What it tells.
    pub kind: Kind,
    /// The run that it belongs to, if there is one.
    pub run: Option<RunId>,
    /// Who, if somebody was authenticated.
    pub principal: Option<Principal>,
    /// The trace that it belongs to: 32 hexadecimal digits.
    pub trace: Option<String>,
    /// The facts. No secret.
    pub data: Value,
}

/// A record in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place, from 1, without gaps.
    pub seq: u64,
    /// The canonical JSON that is hashed.
    pub body: String,
    /// SHA-256 of `body`.
    pub hash: Digest,
}

/// The end of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last record's place; 0 when there is none.
    pub seq: u64,
    /// The last record's hash.
    pub hash: Digest,
}

impl Head {
    /// The head of an empty chain.
    pub const EMPTY: Self = Self { seq: 0, hash: Digest::ZERO };

    /// Puts `draft` in its place behind this head.
    pub fn append(&self, draft: &Draft) -> Record {
        let seq = self.seq + 1;
        let (place, prev, at, kind) = (json!(seq), json!(self.hash), json!(draft.at), json!(draft.kind));
        let run = draft.run.map(|run| json!(run));
        let principal = draft.principal.as_ref().map(|principal| json!(principal));
        let mut entries =
            vec![("seq", &place), ("prev", &prev), ("at", &at), ("kind", &kind), ("data", &draft.data)];
        entries.extend(run.as_ref().map(|run| ("run", run)));
        let trace = draft.trace.as_ref().map(|trace| json!(trace));
        entries.extend(trace.as_ref().map(|trace| ("trace", trace)));
        entries.extend(principal.as_ref().map(|principal| ("principal", principal)));
        let body = canonical::object(entries);
        let hash = Digest::of(&body);
        Record { seq, body, hash }
    }

    /// Checks that `body` with `hash` is the record behind this head, and moves on to it.
    pub fn verify(&self, body: &str, hash: Digest) -> Result<Self> {
        #[derive(Deserialize)]
        struct Place {
            seq: u64,
            prev: Digest,
        }
        let seq = self.seq + 1;
        let broken = |what: &str| {
            Error::new(Code::EvidenceBroken, format!("record {seq}: {what}")).with_detail("seq", seq)
        };
        if Digest::of(body) != hash {
            return Err(broken("its body does not match its hash, so it was edited"));
        }
        let place: Place = serde_json::from_str(body).map_err(|_| broken("its body is not a record"))?;
        if place.seq != seq {
            return Err(broken(&format!(
                "record {} stands in its place, so records are missing or out of order",
                place.seq
            )));
        }
        if place.prev != self.hash {
            return Err(broken("it does not follow the record before it, so one of the two was replaced"));
        }
        Ok(Self { seq, hash })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(n: u64) -> Vec<Record> {
        let mut head = Head::EMPTY;
        (0..n)
            .map(|i| {
                let draft = Draft {
                    at: Timestamp::UNIX_EPOCH,
                    kind: Kind::Admitted,
                    run: None,
                    principal: None,
                    trace: None,
                    data: json!({"i": i}),
                };
                let record = head.append(&draft);
                head = Head { seq: record.seq, hash: record.hash };
                record
            })
            .collect()
    }

    fn verify(records: &[Record]) -> Result<Head> {
        records.iter().try_fold(Head::EMPTY, |head, record| head.verify(&record.body, record.hash))
    }

    #[test]
    fn an_untouched_chain_verifies() {
        let records = chain(5);
        assert_eq!(verify(&records).unwrap(), Head { seq: 5, hash: records[4].hash });
    }

    #[test]
    fn every_way_to_touch_it_is_found_at_its_place() {
        let good = chain(5);
        let place = |records: &[Record]| verify(records).unwrap_err().details["seq"].clone();

        let mut edited = good.clone();
        edited[2].body = edited[2].body.replace("\"i\":2", "\"i\":9");
        assert_eq!(place(&edited), 3);

        let mut rehashed = edited.clone();
        rehashed[2].hash = Digest::of(&rehashed[2].body);
        assert_eq!(place(&rehashed), 4);

        let mut removed = good.clone();
        removed.remove(1);
        assert_eq!(place(&removed), 2);

        let mut swapped = good;
        swapped.swap(1, 2);
        assert_eq!(place(&swapped), 2);
    }
}
