//! Which pods of a node go, which stay, and which nobody may evict unasked. Pure.

use super::Held;
use crate::kubernetes::residents::{Owner, Resident, Stage};

/// What is accepted of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Pods may go that no controller brings back.
    pub(crate) force: bool,
    /// Pods may go whose data go with them.
    pub(crate) delete_emptydir_data: bool,
}

/// Why a pod stays where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// Its controller would put another one there at once, cordon or not.
    DaemonSet,
    /// The kubelet keeps it, from a file of the node.
    Mirror,
}

impl Stay {
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::DaemonSet => "it belongs to a DaemonSet",
            Self::Mirror => "the node keeps it, from a file",
        }
    }
}

/// The pods of a node, sorted.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Sorted<'a> {
    /// They go, in this order.
    pub(crate) going: Vec<&'a Resident>,
    /// They stay.
    pub(crate) staying: Vec<(&'a Resident, Stay)>,
    /// They may not be evicted unasked.
    pub(crate) held: Vec<Held>,
}

/// Sorts the pods of a node. Those that do not serve go first: that harms nobody, and no budget minds.
pub(crate) fn sort(pods: &[Resident], accepted: Accepted) -> Sorted<'_> {
    let mut sorted = Sorted::default();
    for resident in pods {
        if let Some(stay) = stays(resident) {
            sorted.staying.push((resident, stay));
        } else if let Some(why) = held(resident, accepted) {
            sorted.held.push(Held { pod: resident.pod.clone(), why: why.to_owned() });
        } else {
            sorted.going.push(resident);
        }
    }
    sorted.going.sort_by_key(|resident| (resident.stage == Stage::Ready, &resident.pod));
    sorted
}

fn stays(resident: &Resident) -> Option<Stay> {
    if resident.is_mirror {
        return Some(Stay::Mirror);
    }
    let is_daemon = resident.owner.as_ref().is_some_and(Owner::is_daemon_set);
    (is_daemon && resident.stage != Stage::Ended).then_some(Stay::DaemonSet)
}

/// What has ended, or goes already, has nothing left to lose.
fn held(resident: &Resident, accepted: Accepted) -> Option<&'static str> {
    if resident.stage == Stage::Ended || resident.terminating {
        return None;
    }
    if resident.owner.is_none() && !accepted.force {
        return Some("no controller brings it back (`force`)");
    }
    (resident.has_empty_dir && !accepted.delete_emptydir_data)
        .then_some("data of its emptyDir volumes go with it (`delete_emptydir_data`)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::residents::resident;
    use serde_json::json;

    #[test]
    fn each_pod_goes_stays_or_is_held() {
        let by = |version: &str, kind: &str| json!([{"apiVersion": version, "kind": kind, "name": "x", "uid": "u", "controller": true}]);
        let owned = |kind: &str| by("apps/v1", kind);
        let scratch = json!([{"name": "scratch", "emptyDir": {}}]);
        let pods = [
            resident("web-1", &json!({"metadata": {"ownerReferences": owned("ReplicaSet")}})),
            resident(
                "broken",
                &json!({
                    "metadata": {"ownerReferences": owned("ReplicaSet")},
                    "status": {"conditions": [{"type": "Ready", "status": "False"}]},
                }),
            ),
            resident("agent", &json!({"metadata": {"ownerReferences": owned("DaemonSet")}})),
            resident("etcd", &json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}})),
            resident(
                "proxy",
                &json!({"metadata": {
                    "annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": by("v1", "Node"),
                }}),
            ),
            resident("nightly", &json!({"metadata": {"ownerReferences": by("batch/v1", "Job")}})),
            resident("other", &json!({"metadata": {"ownerReferences": by("example.com/v1", "DaemonSet")}})),
            resident("alone", &json!({})),
            resident(
                "cache",
                &json!({
                    "metadata": {"ownerReferences": owned("StatefulSet")}, "spec": {"volumes": scratch},
                }),
            ),
            resident("done", &json!({"status": {"phase": "Succeeded"}, "spec": {"volumes": scratch}})),
            resident("leaving", &json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})),
        ];
        let names = |going: &[&Resident]| -> Vec<String> {
            going.iter().map(|one| one.pod.name.to_string()).collect()
        };
        let held =
            |held: &[Held]| -> Vec<String> { held.iter().map(|one| one.pod.name.to_string()).collect() };
        let nothing = Accepted { force: false, delete_emptydir_data: false };
        let sorted = sort(&pods, nothing);
        assert_eq!(
            names(&sorted.going),
            ["broken", "done", "leaving", "nightly", "other", "web-1"],
            "those that do not serve first"
        );
        assert_eq!(held(&sorted.held), ["alone", "cache"]);
        let staying: Vec<Stay> = sorted.staying.iter().map(|(_, stay)| *stay).collect();
        assert_eq!(staying, [Stay::DaemonSet, Stay::Mirror, Stay::Mirror]);

        let forced = sort(&pods, Accepted { force: true, ..nothing });
        assert_eq!(held(&forced.held), ["cache"]);
        let all = sort(&pods, Accepted { force: true, delete_emptydir_data: true });
        assert!(all.held.is_empty() && all.going.len() == 8, "{all:?}");
    }
}
