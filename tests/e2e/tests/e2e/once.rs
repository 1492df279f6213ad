//! What it means that a restart was done once, and that its success is true.

use astradesk_e2e::observer::{is_ready, mark_of, uid};
use astradesk_e2e::{Place, Workload};
use serde_json::Value;
use std::collections::BTreeSet;

/// What is on record of a run that was performed, whatever happened around it.
pub(crate) const LIFE: [&str; 4] = ["run.admitted", "step.intended", "step.performed", "run.finished"];

/// Checks that a run was taken over so often by another process, and else was as any other.
#[track_caller]
pub(crate) fn taken_over(mut kinds: Vec<String>, times: usize) {
    let all = kinds.len();
    kinds.retain(|kind| kind != "run.claimed");
    assert_eq!(kinds, LIFE);
    assert_eq!(all - kinds.len(), times, "how often it was taken over");
}

/// The same of a run whose object may have moved in between, for which it was intended again.
#[track_caller]
pub(crate) fn taken_over_or_moved(mut kinds: Vec<String>, times: usize) {
    let mut intended = false;
    kinds.retain(|kind| kind != "step.intended" || !std::mem::replace(&mut intended, true));
    taken_over(kinds, times);
}

/// A workload as it was before its restart.
pub(crate) struct Before {
    pub(crate) pods: BTreeSet<String>,
    generation: i64,
}

fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap()
}

impl Before {
    pub(crate) async fn of(place: &Place, workload: &Workload) -> Self {
        let object = place.get(workload.kind, &workload.name).await;
        Self { pods: place.observer.uids(&workload.name), generation: generation(&object) }
    }

    /// Checks, the moment that a run is said to have succeeded, that it was this run and that it is true.
    pub(crate) async fn verify(&self, place: &Place, workload: &Workload, run: &Value) {
        // Read from the API server at once, and not from a watch, which may lag behind.
        let pods = place.pods(&workload.name).await;
        place.note("run", run);
        assert_eq!(run["state"], "succeeded", "{:#}", run["error"]);
        let now: BTreeSet<String> = pods.iter().map(uid).collect();
        assert!(now.is_disjoint(&self.pods), "old pods are left");
        assert_eq!(now.len(), self.pods.len());
        assert!(pods.iter().all(is_ready), "new pods are not ready");
        self.changed_once(place, workload, run["id"].as_str().unwrap()).await;
    }

    /// Checks that the template was changed by this run, and never again.
    pub(crate) async fn changed_once(&self, place: &Place, workload: &Workload, run: &str) {
        let object = place.get(workload.kind, &workload.name).await;
        assert_eq!(generation(&object), self.generation + 1);
        let version = object["metadata"]["resourceVersion"].clone();
        assert_eq!(mark_of(&object).1, run);
        let marks = place
            .observer
            .until("the watch has seen it all", |view| {
                view.saw(workload.kind, &workload.name, &version)
                    .then(|| view.marks(workload.kind, &workload.name))
            })
            .await;
        assert_eq!(marks.len(), 2, "{marks:?}");
        assert_eq!(marks[0], (Value::Null, Value::Null));
        assert!(marks[1].0.is_string());
        assert_eq!(marks[1].1, run);
    }

    /// Checks that the template was never changed.
    pub(crate) async fn never_changed(&self, place: &Place, workload: &Workload) {
        let object = place.get(workload.kind, &workload.name).await;
        assert_eq!(generation(&object), self.generation);
        assert_eq!(mark_of(&object), (Value::Null, Value::Null));
    }
}
