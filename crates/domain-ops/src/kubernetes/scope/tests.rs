use super::*;
use crate::kubernetes::rollout::tests::{Shape, workload};

#[test]
fn only_a_watch_that_is_up_tells_of_a_workload() {
    let scope = Scope { shared: Arc::new(Shared::new("default")), _tasks: Vec::new() };
    let item = || ("webapp".to_owned(), Item::Workload(Box::new(workload(&Shape::default()).into())));
    let told = |kind| scope.described(kind, "webapp").map(|described| described.workload.kind);
    assert_eq!(told(Kind::Deployment), None, "not listed yet");

    scope.shared.replace(Slot::Deployments, Instant::now(), vec![item()]);
    assert_eq!(told(Kind::Deployment), Some(Kind::Deployment), "whatever the other watches do");
    assert_eq!((told(Kind::DaemonSet), told(Kind::Workload)), (None, None));

    scope.shared.broken(Slot::Deployments, &Error::new(Code::KubernetesUnavailable, "cut"));
    assert!(scope.family(Kind::Deployment, "webapp").is_some(), "who verifies waits for a while");
    assert_eq!(told(Kind::Deployment), None, "who asks for facts does not rely on it");

    scope.shared.replace(Slot::Deployments, Instant::now(), vec![item()]);
    assert_eq!(told(Kind::Deployment), Some(Kind::Deployment), "it is up again");
}
