//! `rollout`, for each of the three kinds.

use crate::{agent, compare, label_a_node, node_label, rolled_out, store, unlabel_the_node, web};
use astradesk_e2e::{Kubectl, Place, on_both};

on_both!(deployments_roll, others_roll);

async fn deployments_roll(place: &Place) {
    let Some(kubectl) = Kubectl::on(place) else { return };
    place.run(&[&web()]).await;
    kubectl.show(0, "set image deploy/web app=registry.example.com/web:2").await;
    rolled_out(&kubectl, "deploy/web").await;
    kubectl.show(0, "annotate deploy/web kubernetes.io/change-cause=restart").await;
    kubectl.show(0, "rollout restart deploy/web").await;
    rolled_out(&kubectl, "deploy/web").await;
    kubectl.show(0, "rollout history deploy/web").await;
    kubectl.show(0, "rollout history deploy/web --revision=1").await;
    kubectl.show(0, "rollout history deploy/web --revision=2").await;
    kubectl.show(0, "rollout undo deploy/web --dry-run=client --to-revision=1").await;
    kubectl.show(0, "rollout undo deploy/web").await;
    rolled_out(&kubectl, "deploy/web").await;
    kubectl.show(0, "rollout undo deploy/web --to-revision=1").await;
    rolled_out(&kubectl, "deploy/web").await;
    kubectl.show(0, "get deploy web -o wide").await;
    kubectl.show(0, "rollout history deploy/web").await;
    kubectl.show(0, "rollout pause deploy/web").await;
    kubectl.show(1, "rollout pause deploy/web").await;
    kubectl.show(1, "rollout restart deploy/web").await;
    kubectl.show(1, "rollout undo deploy/web").await;
    kubectl.show(0, "set image deploy/web app=registry.example.com/web:4").await;
    kubectl.show(0, "get rs -o custom-columns=REPLICAS:.spec.replicas --sort-by=.spec.replicas").await;
    kubectl.show(0, "rollout resume deploy/web").await;
    rolled_out(&kubectl, "deploy/web").await;
    kubectl.show(0, "get deploy web -o wide").await;
    compare(&kubectl, "rollout").await;
}

async fn others_roll(place: &Place) {
    let Some(kubectl) = Kubectl::on(place) else { return };
    let node = label_a_node(place, &kubectl).await;
    place.run(&[&store(), &agent(&node_label(place))]).await;
    for what in ["sts/store", "ds/agent"] {
        kubectl.show(0, &format!("rollout restart {what}")).await;
        rolled_out(&kubectl, what).await;
        kubectl.show(0, &format!("set image {what} app=registry.example.com/other:2")).await;
        rolled_out(&kubectl, what).await;
        kubectl.show(0, &format!("rollout history {what}")).await;
        kubectl.show(0, &format!("rollout history {what} --revision=1")).await;
        kubectl.show(0, &format!("rollout undo {what}")).await;
        rolled_out(&kubectl, what).await;
        kubectl.show(0, &format!("get {what} -o wide")).await;
        kubectl.show(0, &format!("rollout undo {what} --to-revision=1")).await;
        rolled_out(&kubectl, what).await;
        let restarted = "-o jsonpath={.spec.template.metadata.annotations}";
        kubectl.show(0, &format!("get {what} {restarted}")).await;
        kubectl.show(0, &format!("rollout history {what}")).await;
        kubectl.show(1, &format!("rollout pause {what}")).await;
        kubectl.show(1, &format!("rollout undo {what} --to-revision=9")).await;
    }
    unlabel_the_node(place, &kubectl, &node).await;
    compare(&kubectl, "rollout-others").await;
}
