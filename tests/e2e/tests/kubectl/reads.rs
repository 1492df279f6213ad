//! `get` in all its forms, and what is not there.

use crate::{agent, budget, compare, label_a_node, node_label, store, unlabel_the_node, web};
use astradesk_e2e::{Kubectl, Place, Which, on_both};
use serde_json::json;

on_both!(tables_of_every_kind, tables_of_rights, every_form_of_output, what_goes_wrong, changes_are_watched);

async fn tables_of_every_kind(place: &Place) {
    let Some(kubectl) = Kubectl::on(place) else { return };
    let node = label_a_node(place, &kubectl).await;
    place.run(&[&web(), &store(), &agent(&node_label(place))]).await;
    kubectl.write("budget", &budget(1));
    let ports = json!([{"name": "http", "port": 80, "targetPort": 8080}, {"name": "tls", "port": 443}]);
    kubectl.write(
        "service",
        &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": ports}}),
    );
    kubectl.show(0, "create configmap settings --from-literal=a=1 --from-literal=b=2").await;
    kubectl.show(0, "create -f service").await;
    kubectl.show(0, "create -f budget").await;
    kubectl.until("get pdb web -o jsonpath={.status.disruptionsAllowed}", "1").await;
    for kind in ["deployments", "replicasets", "statefulsets", "daemonsets", "pods", "pdb", "services"] {
        kubectl.show(0, &format!("get {kind}")).await;
        kubectl.show(0, &format!("get {kind} -o wide")).await;
    }
    // What they say differs with the versions; what of it is shown, does not.
    let events = "get events --field-selector involvedObject.kind=Deployment";
    kubectl.show_only(0, &format!("{events} -o wide"), |line| line.starts_with("LAST SEEN")).await;
    let columns =
        "TYPE:.type,REASON:.reason,OBJECT:.involvedObject.name,SOURCE:.source.component,COUNT:.count";
    kubectl.show(0, &format!("{events} -o custom-columns={columns}")).await;
    kubectl.show(0, "get controllerrevisions").await;
    kubectl.show(0, "get configmap settings").await;
    kubectl.show(0, "get deploy,sts,ds").await;
    let own = |line: &str| line.starts_with("NAMESPACE");
    kubectl.show_only(0, "get deployments -A --field-selector metadata.name=web", own).await;
    let namespace = format!("get namespace {}", place.namespace);
    kubectl.show(0, &namespace).await;
    kubectl.show(0, &format!("get node {node}")).await;
    unlabel_the_node(place, &kubectl, &node).await;
    compare(&kubectl, "tables").await;
}

async fn tables_of_rights(place: &Place) {
    let Some(kubectl) = Kubectl::on(place) else { return };
    let of_place = |name: &str| format!("--serviceaccount={}:{name}", place.namespace);
    for made in [
        "create serviceaccount robot".to_owned(),
        "create role reader --verb=get,list --resource=pods".to_owned(),
        format!(
            "create rolebinding readers --role=reader --user=ann --user=bob --group=sre {}",
            of_place("robot")
        ),
        "create quota small --hard=pods=3,requests.cpu=1,limits.memory=1Gi".to_owned(),
    ] {
        kubectl.show(0, &made).await;
    }
    kubectl.until("get quota small -o jsonpath={.status.hard.pods}", "3").await;
    for kind in ["serviceaccount robot", "roles", "rolebindings", "rolebindings -o wide", "quota"] {
        kubectl.show(0, &format!("get {kind}")).await;
    }
    kubectl.show(0, "describe role reader").await;
    kubectl.show(0, "describe rolebinding readers").await;
    let robot = format!("--as=system:serviceaccount:{}:robot", place.namespace);
    kubectl.show(0, &format!("auth can-i list pods {robot}")).await;
    kubectl.show(1, &format!("auth can-i delete pods {robot}")).await;
    kubectl.show(1, &format!("delete pod nothing {robot}")).await;
    compare(&kubectl, "rights").await;
}

async fn every_form_of_output(place: &Place) {
    let Some(kubectl) = Kubectl::on(place) else { return };
    place.run(&[&web(), &store()]).await;
    for form in [
        "get deploy web -o name",
        "get deploy web -o jsonpath={.metadata.name}:{.spec.template.spec.containers[*].image}",
        "get pods -l app=web -o jsonpath={range.items[*]}{.status.phase}{\"\\n\"}{end}",
        "get pods -o custom-columns=APP:.metadata.labels.app,PHASE:.status.phase",
        "get pods --sort-by=.metadata.labels.app",
        "get pods --sort-by=.status.containerStatuses[0].restartCount -l app=web",
        "get pods -L app",
        "get pods --show-labels",
        "get pods --no-headers",
        "get pods -l app=store -o name",
        "get pods -l app=nothing",
        "get pods --field-selector=status.phase=Running,metadata.name=store-0",
        "get pods --field-selector=status.phase!=Running",
        "get deploy/web sts/store",
        "get all",
        "api-resources --api-group=apps",
        "api-resources --api-group=apps --namespaced=false",
        "wait --for=condition=available --timeout=20s deploy/web",
        "wait --for=condition=ready --timeout=20s pod -l app=store",
        "auth can-i create pods",
        "auth can-i patch deployments.apps --subresource=scale",
    ] {
        kubectl.show(0, form).await;
    }
    let yaml = kubectl.done("get deploy web -o yaml").await;
    assert!(yaml.contains("kind: Deployment\n") && yaml.contains("  replicas: 2\n"), "{yaml}");
    let json = kubectl.done("get deploy,sts -o json").await;
    let list: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&list["kind"], list["items"].as_array().unwrap().len()), (&json!("List"), 2));
    if place.which == Which::Sandbox {
        for answered in ["version", "cluster-info", "api-resources", "api-versions"] {
            kubectl.done(answered).await;
        }
        assert!(kubectl.run("top pods").await.text.contains("Metrics API not available"));
        assert!(kubectl.run("explain deployment").await.text.contains("ouldn't find resource"));
        assert!(kubectl.done("get events").await.contains("ScalingReplicaSet"));
    }
    compare(&kubectl, "forms").await;
}

async fn what_goes_wrong(place: &Place) {
    let Some(kubectl) = Kubectl::on(place) else { return };
    place.run(&[&web()]).await;
    kubectl.show(0, "label deploy web tier=front").await;
    kubectl.write("again", &web().object(&place.namespace));
    let mut wrong = web().object(&place.namespace);
    wrong["metadata"]["name"] = json!("wrong");
    wrong["spec"]["template"]["metadata"]["labels"]["app"] = json!("other");
    kubectl.write("wrong", &wrong);
    for refused in [
        "get deploy nothing",
        "get deploy/web pod/nothing",
        "get sofas",
        "get pods --field-selector=spec.sofa=x",
        "create -f again",
        "create -f wrong",
        "scale deploy/nothing --replicas=1",
        "scale deploy/web --replicas=1 --current-replicas=7",
        "label deploy web tier=back",
        "annotate deploy web note=1 note-",
        "set image deploy/web nothing=x",
        "patch deploy web -p {\"spec\":{\"replicas\":-1}}",
        "rollout undo deploy/web",
        "rollout undo deploy/web --to-revision=7",
        "rollout history deploy/web --revision=7",
        "rollout resume deploy/web",
        "logs nothing",
        "logs deploy/web -c nothing",
        "delete deploy nothing",
        "drain nothing",
        "auth can-i",
    ] {
        kubectl.show(1, refused).await;
    }
    compare(&kubectl, "wrong").await;
}

async fn changes_are_watched(place: &Place) {
    let Some(kubectl) = Kubectl::on(place) else { return };
    place.run(&[&web()]).await;
    let mut watch = kubectl.follow("get deploy web -w");
    watch.until(|line| line.starts_with("NAME ")).await;
    watch.until(|line| line.contains(" 2/2 ")).await;
    let mut pods = kubectl.follow("get pods -w -o name -l app=web");
    kubectl.show(0, "scale deploy web --replicas=3").await;
    watch.until(|line| line.contains(" 3/3 ")).await;
    pods.until(|line| line.starts_with("pod/web-")).await;
    kubectl.show(0, "scale deploy web --replicas=0 --current-replicas=3").await;
    watch.until(|line| line.contains(" 0/0 ")).await;
    compare(&kubectl, "watch").await;
}
