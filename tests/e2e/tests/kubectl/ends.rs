//! What ends: pods and what they write, deletes with all that hangs on them.

use crate::{compare, store, web};
use astradesk_e2e::{Kubectl, Place, deployment, on_both};

on_both!(what_pods_write, deletes);

async fn what_pods_write(place: &Place) {
    let Some(kubectl) = Kubectl::on(place) else { return };
    let log = "first\nsecond\nlast";
    let crash = deployment("crash", 1).behaviour("crash:3").logs(log);
    place.create(&crash).await;
    place.run(&[&store().logs(log)]).await;
    kubectl.show(0, "logs store-0").await;
    kubectl.show(0, "logs store-0 -c app --tail=1").await;
    kubectl.show(0, "logs sts/store --limit-bytes=5").await;
    kubectl.show(0, "logs -l app=store --tail=-1 --prefix").await;
    kubectl.show(1, "logs store-0 --previous").await;
    let restarted = "get pods -l app=crash -o jsonpath={.items[*].status.containerStatuses[0].lastState.terminated.exitCode}";
    kubectl.until(restarted, "3").await;
    // How often depends on when one looks, and how it stands; that it is said, does not.
    let table = kubectl.done("get pods -l app=crash --no-headers").await;
    assert!(["Error", "CrashLoopBackOff", "Running"].iter().any(|word| table.contains(word)), "{table}");
    kubectl.show(0, "logs deploy/crash --tail=2").await;
    kubectl.show(0, "logs deploy/crash --previous").await;

    // One that crashes has written its last line as soon as it is down.
    assert_eq!(kubectl.follow("logs -f deploy/crash").end().await, 0);
    let mut follow = kubectl.follow("logs -f store-0");
    follow.until(|line| line == "last").await;
    kubectl.show(0, "delete pod store-0").await;
    assert_eq!(follow.end().await, 0);
    compare(&kubectl, "logs").await;
}

async fn deletes(place: &Place) {
    let Some(kubectl) = Kubectl::on(place) else { return };
    place.run(&[&web(), &store()]).await;
    kubectl.show(0, "delete pod store-0 --grace-period=0 --force").await;
    kubectl.until("get sts store -o jsonpath={.status.readyReplicas}", "1").await;
    kubectl.show(0, "delete pod store-0 --dry-run=server").await;
    kubectl.show(0, "delete pods -l app=web").await;
    kubectl.until("get deploy web -o jsonpath={.status.availableReplicas}", "2").await;
    kubectl.show(0, "delete deploy nothing --ignore-not-found").await;

    kubectl.show(0, "delete deploy web --cascade=orphan").await;
    kubectl
        .show(0, "get rs -o custom-columns=READY:.status.readyReplicas,OWNERS:.metadata.ownerReferences")
        .await;
    place.create(&web()).await;
    kubectl.show(0, "wait --for=condition=available --timeout=30s deploy/web").await;
    let sets = kubectl.done("get rs -l app=web -o name").await;
    assert_eq!(sets.lines().count(), 1, "it was adopted: {sets}");

    kubectl.show(0, "delete deploy web --cascade=foreground").await;
    kubectl.show(0, "get rs,pods -l app=web").await;
    place.run(&[&web()]).await;
    kubectl.show(0, "delete deploy web --cascade=background --wait=false").await;
    // They may have been quicker than it.
    let told = kubectl.run("wait --for=delete --timeout=40s pods -l app=web").await;
    assert!(told.code == 0 || told.text.contains("no matching resources found"), "{}", told.text);
    kubectl.until("get rs,pods -l app=web -o name", "").await;
    // A StatefulSet goes alone, comes back, and has its pod again.
    let uid = "get pod store-0 -o jsonpath={.metadata.uid}";
    let before = kubectl.done(uid).await;
    kubectl.show(0, "delete sts store --cascade=orphan").await;
    kubectl.show(0, "get pods -l app=store").await;
    place.run(&[&store()]).await;
    assert_eq!(kubectl.done(uid).await, before);
    kubectl.show(0, "delete sts --all").await;
    kubectl.until("get sts,pods -o name", "").await;
    compare(&kubectl, "delete").await;
}
