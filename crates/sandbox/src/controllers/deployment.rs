//! Deployments: the real controller's rules for which ReplicaSet has how many pods when. What it says about
//! its progress is in [`super::rollout`].

use crate::json::{Value, json};

use super::Controllers;
use super::rollout::Rollout;
use crate::object::{
    self, annotation, int, int_or_percent, is_deleting, name, namespace, owner_reference, set, text,
};
use crate::resource::{DEPLOYMENTS, PODS, REPLICA_SETS};
use crate::storage::{Key, Object};

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";
const COMPONENT: &str = "deployment-controller";

/// How many pods there may be, and must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) wanted: i64,
    pub(super) surge: i64,
    pub(super) unavailable: i64,
}

impl Bounds {
    pub(super) fn of(deployment: &Value) -> Bounds {
        let wanted = int(deployment, "/spec/replicas", 1);
        if text(deployment, "/spec/strategy/type") == "Recreate" {
            return Bounds { wanted, surge: 0, unavailable: 0 };
        }
        let bound = |field: &str, up: bool| {
            let value = deployment.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
            int_or_percent(value, wanted, up)
        };
        let surge = bound("maxSurge", true);
        let mut unavailable = bound("maxUnavailable", false);
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        Bounds { wanted, surge, unavailable: unavailable.min(wanted) }
    }
}

impl Controllers {
    pub(super) fn sync_deployment(&mut self, key: &Key, deployment: &Object) {
        let mut sets = self.owned(&REPLICA_SETS, deployment);
        sets.sort_by_key(|rs| (revision(rs), text(rs, "/metadata/creationTimestamp").to_owned()));
        let paused = object::flag(deployment, "/spec/paused");
        super::rollout::note_pause(&self.storage, key, paused);
        if is_deleting(deployment) {
            self.report(key, deployment, None, &sets);
            return;
        }
        let rescaled = self.rescale(deployment, &sets);
        if !paused && !rescaled {
            match text(deployment, "/spec/strategy/type") {
                "Recreate" => self.recreate(key, deployment, &sets),
                _ => self.roll(key, deployment, &sets),
            }
        }
        self.conclude(key, deployment);
    }

    /// Writes the status, and tidies up behind a rollout that is complete.
    fn conclude(&mut self, key: &Key, deployment: &Value) {
        let mut sets = self.owned(&REPLICA_SETS, deployment);
        sets.sort_by_key(|rs| revision(rs));
        let newest = newest_of(deployment, &sets).cloned();
        let complete = self.report(key, deployment, newest.as_ref(), &sets);
        if complete {
            let keep = int(deployment, "/spec/revisionHistoryLimit", 10);
            let old: Vec<&Object> = sets
                .iter()
                .filter(|rs| newest.as_ref().is_none_or(|newest| name(newest) != name(rs)))
                .filter(|rs| int(rs, "/spec/replicas", 0) == 0 && int(rs, "/status/replicas", 0) == 0)
                .collect();
            let surplus = old.len().saturating_sub(usize::try_from(keep).unwrap_or(usize::MAX));
            for rs in old.into_iter().take(surplus) {
                self.storage.remove(&Key::of(&REPLICA_SETS, rs));
            }
        }
    }

    fn report(&mut self, key: &Key, deployment: &Value, newest: Option<&Object>, sets: &[Object]) -> bool {
        let rollout = Rollout::observe(deployment, newest.map(|rs| &**rs), sets);
        let told = rollout.write(&self.storage, key);
        if let Some(seconds) = told.look_again_in {
            self.look_again(key, seconds);
        }
        told.complete
    }

    /// Step by step: more of the new as far as the surge goes, fewer of the old as far as enough are available.
    fn roll(&mut self, key: &Key, deployment: &Value, sets: &[Object]) {
        let bounds = Bounds::of(deployment);
        let Some(new) = self.newest(key, deployment, sets) else { return };
        let old: Vec<&Object> = sets.iter().filter(|rs| name(rs) != name(&new)).collect();
        let replicas = |rs: &Value| int(rs, "/spec/replicas", 0);
        let old_total: i64 = old.iter().map(|rs| replicas(rs)).sum();
        let present = replicas(&new);
        let target = new_replicas(&bounds, present, old_total + present);
        if target != present {
            self.scale(deployment, &new, target);
            return;
        }
        if old_total > 0 {
            self.shrink(deployment, &new, &old, &bounds);
        }
    }

    fn shrink(&mut self, deployment: &Value, new: &Object, old: &[&Object], bounds: &Bounds) {
        let replicas = |rs: &Value| int(rs, "/spec/replicas", 0);
        let available = |rs: &Value| int(rs, "/status/availableReplicas", 0);
        let minimum = bounds.wanted - bounds.unavailable;
        let total: i64 = old.iter().map(|rs| replicas(rs)).sum::<i64>() + replicas(new);
        let mut may_go = total - minimum - (replicas(new) - available(new));
        if may_go <= 0 {
            return;
        }
        let mut left: Vec<i64> = old.iter().map(|rs| replicas(rs)).collect();
        // The unhealthy go first: they serve nobody.
        for (rs, left) in old.iter().zip(&mut left) {
            let gone = (*left - available(rs)).clamp(0, may_go);
            *left -= gone;
            may_go -= gone;
        }
        let serving: i64 = old.iter().map(|rs| available(rs)).sum::<i64>() + available(new);
        let mut spare = (serving - minimum).max(0);
        for left in &mut left {
            let gone = (*left).min(spare);
            *left -= gone;
            spare -= gone;
        }
        for (rs, left) in old.iter().zip(left) {
            if left != replicas(rs) {
                self.scale(deployment, rs, left);
            }
        }
    }

    /// All of the old away, and only then the new.
    fn recreate(&mut self, key: &Key, deployment: &Value, sets: &[Object]) {
        let newest = newest_of(deployment, sets).map(|rs| name(rs).to_owned());
        let old: Vec<&Object> = sets.iter().filter(|rs| Some(name(rs)) != newest.as_deref()).collect();
        let mut waiting = false;
        for rs in old {
            if int(rs, "/spec/replicas", 0) > 0 {
                self.scale(deployment, rs, 0);
                waiting = true;
            }
            let finished = |pod: &Object| matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
            waiting |= self.owned(&PODS, rs).iter().any(|pod| !finished(pod));
        }
        if waiting {
            return;
        }
        let wanted = int(deployment, "/spec/replicas", 1);
        if let Some(new) = self.newest(key, deployment, sets)
            && int(&new, "/spec/replicas", 0) != wanted
        {
            self.scale(deployment, &new, wanted);
        }
    }

    /// The ReplicaSet of the present template: found, brought to the newest revision, or made.
    fn newest(&mut self, key: &Key, deployment: &Value, sets: &[Object]) -> Option<Object> {
        let present = newest_of(deployment, sets);
        let others = sets.iter().filter(|rs| present.is_none_or(|present| name(present) != name(rs)));
        let next = others.map(|rs| revision(rs)).max().unwrap_or(0) + 1;
        let number = present.map_or(next, |rs| revision(rs).max(next)).to_string();
        let bounds = Bounds::of(deployment);
        let limits = json!({
            REVISION: number, DESIRED: bounds.wanted.to_string(),
            MAXIMUM: (bounds.wanted + bounds.surge).to_string(),
        });
        let mut inherited = deployment.pointer("/metadata/annotations").cloned().unwrap_or_else(|| json!({}));
        if let Some(inherited) = inherited.as_object_mut() {
            inherited.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
        inherited.merge(&limits);
        let found = match present {
            Some(rs) => self.storage.update(&Key::of(&REPLICA_SETS, rs), |rs| {
                let was = annotation(rs, REVISION).unwrap_or_default().to_owned();
                if was != number {
                    let history = "deployment.kubernetes.io/revision-history";
                    let all = annotation(rs, history).map_or(was.clone(), |h| format!("{h},{was}"));
                    set(rs, &["metadata", "annotations", history], all);
                }
                object::child(rs, "metadata").slot("annotations").merge(&inherited);
                let min_ready = deployment.pointer("/spec/minReadySeconds").cloned();
                if let Some(seconds) = min_ready {
                    set(rs, &["spec", "minReadySeconds"], seconds);
                }
            }),
            None => self.make_replica_set(deployment, sets, &bounds, &inherited),
        }?;
        let made = present.is_none();
        super::rollout::note_newest(&self.storage, key, name(&found), &number, made);
        Some(found)
    }

    fn make_replica_set(
        &mut self,
        deployment: &Value,
        sets: &[Object],
        bounds: &Bounds,
        annotations: &Value,
    ) -> Option<Object> {
        let mut template = deployment.pointer("/spec/template")?.clone();
        let hash = object::hash(&template);
        set(&mut template, &["metadata", "labels", HASH], hash.clone());
        let mut selector = deployment.pointer("/spec/selector")?.clone();
        set(&mut selector, &["matchLabels", HASH], hash.clone());
        let total = sets.iter().map(|rs| int(rs, "/spec/replicas", 0)).sum();
        let replicas = new_replicas(bounds, 0, total);
        let mut spec = json!({ "replicas": replicas, "selector": selector, "template": template });
        if let Some(seconds) = deployment.pointer("/spec/minReadySeconds") {
            set(&mut spec, &["minReadySeconds"], seconds.clone());
        }
        let rs_name = format!("{}-{hash}", name(deployment));
        let made = json!({
            "metadata": {
                "name": rs_name, "namespace": namespace(deployment), "annotations": annotations,
                "labels": template.pointer("/metadata/labels"),
                "ownerReferences": [owner_reference(&DEPLOYMENTS, deployment)],
            },
            "spec": spec, "status": { "replicas": 0 },
        });
        let (found, made) = self.create_or_adopt(&REPLICA_SETS, &made)?;
        if made && replicas > 0 {
            let message = format!("Scaled up replica set {rs_name} from 0 to {replicas}");
            self.event(deployment, "Normal", "ScalingReplicaSet", &message, COMPONENT);
        }
        Some(found)
    }

    fn scale(&mut self, deployment: &Value, rs: &Object, replicas: i64) {
        let before = int(rs, "/spec/replicas", 0);
        let bounds = Bounds::of(deployment);
        self.storage.update(&Key::of(&REPLICA_SETS, rs), |rs| {
            set(rs, &["spec", "replicas"], replicas);
            set(rs, &["metadata", "annotations", DESIRED], bounds.wanted.to_string());
            set(rs, &["metadata", "annotations", MAXIMUM], (bounds.wanted + bounds.surge).to_string());
        });
        if before != replicas {
            let way = if replicas > before { "up" } else { "down" };
            let message = format!("Scaled {way} replica set {} from {before} to {replicas}", name(rs));
            self.event(deployment, "Normal", "ScalingReplicaSet", &message, COMPONENT);
        }
    }

    /// When the wanted number itself was changed: scales what is active, each in proportion in the middle of a
    /// rollout. True: that was this pass's work.
    fn rescale(&mut self, deployment: &Value, sets: &[Object]) -> bool {
        let bounds = Bounds::of(deployment);
        let desired = |rs: &Value| annotation(rs, DESIRED).and_then(|n| n.parse::<i64>().ok());
        let active: Vec<&Object> = sets.iter().filter(|rs| int(rs, "/spec/replicas", 0) > 0).collect();
        let changed = |rs: &&Object| desired(rs).is_some_and(|desired| desired != bounds.wanted);
        match active.as_slice() {
            [] => {
                // Everything is at zero; a rollout pass scales the newest up again, but a pause hinders that.
                let newest = newest_of(deployment, sets).filter(|rs| changed(rs));
                if let Some(rs) = newest.filter(|_| bounds.wanted > 0) {
                    self.scale(deployment, rs, bounds.wanted);
                    return true;
                }
                false
            }
            _ if !active.iter().any(changed) => false,
            [only] => {
                self.scale(deployment, only, bounds.wanted);
                true
            }
            several => {
                for (rs, share) in several.iter().zip(shares(&bounds, deployment, several)) {
                    self.scale(deployment, rs, share);
                }
                true
            }
        }
    }
}

/// Who gets how many when the wanted number changes in the middle of a rollout: each in proportion, and the largest
/// what is left (`pkg/controller/deployment/util` of Kubernetes).
fn shares(bounds: &Bounds, deployment: &Value, sets: &[&Object]) -> Vec<i64> {
    let replicas = |rs: &Value| int(rs, "/spec/replicas", 0);
    let allowed = if bounds.wanted == 0 { 0 } else { bounds.wanted + bounds.surge };
    let to_add = allowed - sets.iter().map(|rs| replicas(rs)).sum::<i64>();
    let mut shares: Vec<i64> = sets.iter().map(|rs| replicas(rs)).collect();
    let mut order: Vec<usize> = (0..sets.len()).collect();
    // They come oldest first: of two alike, the newer grows and the older shrinks.
    if to_add > 0 {
        order.reverse();
    }
    order.sort_by_key(|index| std::cmp::Reverse(shares.get(*index).copied()));
    let mut left = to_add;
    for index in &order {
        let (Some(rs), Some(share)) = (sets.get(*index), shares.get_mut(*index)) else { continue };
        let most = annotation(rs, MAXIMUM).and_then(|most| most.parse::<i64>().ok()).filter(|most| *most > 0);
        let most = most.unwrap_or_else(|| int(deployment, "/status/replicas", 1).max(1));
        let scaled = (*share * allowed * 2 + most) / (most * 2);
        let change = if bounds.wanted == 0 { -*share } else { scaled - *share };
        let change = if to_add > 0 { change.min(left) } else { change.max(left) };
        *share += change;
        left -= change;
    }
    if let Some(largest) = order.first().and_then(|index| shares.get_mut(*index)) {
        *largest = (*largest + left).max(0);
    }
    shares
}

/// How many of the new there should be now, given how many there are and how many in all.
fn new_replicas(bounds: &Bounds, present: i64, total: i64) -> i64 {
    if present > bounds.wanted {
        return bounds.wanted;
    }
    let room = (bounds.wanted + bounds.surge - total).max(0);
    present + room.min(bounds.wanted - present)
}

/// The ReplicaSet whose template is the deployment's.
fn newest_of<'a>(deployment: &Value, sets: &'a [Object]) -> Option<&'a Object> {
    let wanted = deployment.pointer("/spec/template")?;
    sets.iter().find(|rs| {
        let mut template = rs.pointer("/spec/template").cloned().unwrap_or_default();
        if let Some(Value::Object(labels)) = template.pointer_mut("/metadata/labels") {
            labels.remove(HASH);
        }
        template == *wanted
    })
}

pub(super) fn revision(rs: &Value) -> i64 {
    annotation(rs, REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}
