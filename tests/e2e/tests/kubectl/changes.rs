//! What changes objects: `apply` with validation on, `diff`, `patch`, `edit`, and the commands that are short for one.

use crate::{compare, rolled_out, web};
use astradesk_e2e::observer::Kind;
use astradesk_e2e::{Kubectl, Place, on_both};
use serde_json::{Value, json};

on_both!(what_is_applied_is_merged_three_ways, objects_are_changed);

async fn what_is_applied_is_merged_three_ways(place: &Place) {
    let Some(kubectl) = Kubectl::on(place) else { return };
    let mut first = web().object(&place.namespace);
    first["metadata"]["labels"] = json!({"tier": "front"});
    first["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]);
    kubectl.write("first", &first);
    let told = kubectl.run("diff -f first").await;
    assert!(told.code == 1 && told.text.contains("+kind: Deployment\n"), "{}", told.text);
    kubectl.show(0, "apply -f first --dry-run=server").await;
    kubectl.show(0, "apply -f first --dry-run=client").await;
    kubectl.show(0, "apply -f first").await;
    kubectl.show(0, "apply -f first").await;
    rolled_out(&kubectl, "deploy/web").await;

    // Somebody else's changes stay; what was applied and is left out goes.
    kubectl.show(0, "scale deploy/web --replicas=3").await;
    kubectl.show(0, "annotate deploy/web kept=yes").await;
    let mut second = first.clone();
    second["metadata"]["labels"] = json!({"zone": "a"});
    second["spec"].as_object_mut().unwrap().remove("replicas");
    second["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "B", "value": "3"}]);
    kubectl.write("second", &second);
    let told = kubectl.run("diff -f second").await;
    assert_eq!(told.code, 1, "{}", told.text);
    for changed in ["-    tier: front", "+    zone: a", "-        - name: A", "+          value: \"3\""] {
        assert!(told.text.contains(changed), "`{changed}`\n{}", told.text);
    }
    kubectl.show(0, "apply -f second --dry-run=server").await;
    kubectl.show(0, "apply -f second").await;
    kubectl.show(0, "diff -f second").await;
    kubectl.show(0, "get deploy web -L tier,zone").await;
    kubectl.show(0, "get deploy web -o jsonpath={.spec.template.spec.containers[0].env}").await;
    let applied = place.get(Kind::Deployment, "web").await;
    assert_eq!(applied["metadata"]["annotations"]["kept"], "yes");
    let last: Value =
        serde_json::from_str(&kubectl.done("apply view-last-applied deploy/web -o json").await).unwrap();
    assert_eq!(last["metadata"]["labels"], json!({"zone": "a"}));
    compare(&kubectl, "apply").await;
}

async fn objects_are_changed(place: &Place) {
    let Some(kubectl) = Kubectl::on(place) else { return };
    kubectl.write("web", &web().object(&place.namespace));
    kubectl.show(0, "create -f web").await;
    for change in [
        "label deploy web tier=front",
        "label deploy web tier=back --overwrite",
        "label deploy web tier-",
        "annotate deploy web note=hello",
        "annotate deploy web note-",
        "set image deploy/web app=registry.example.com/app:1",
        "set image deploy/web app=registry.example.com/app:1",
        "set env deploy/web A=1 B=2",
        "set env deploy/web A-",
        "set resources deploy/web --requests=cpu=10m",
        "edit deploy/web",
        "patch deploy web -p {\"spec\":{\"minReadySeconds\":1}}",
        "patch deploy web --type=merge -p {\"spec\":{\"minReadySeconds\":null}}",
        "patch deploy web --type=json -p [{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":1}]",
        "scale deploy/web --replicas=2",
        "get deploy web -o jsonpath={.spec.replicas}",
        "get deploy web -o jsonpath={.spec.template.spec.containers[0].image}",
        "get deploy web -o jsonpath={.spec.template.spec.containers[0].env}",
        "get deploy web -o jsonpath={.spec.template.spec.containers[0].resources}",
        "create deployment other --image=registry.example.com/other:1 --replicas=1",
        "expose deployment other --port=80",
        "create configmap settings --from-literal=a=1",
    ] {
        kubectl.show(0, change).await;
    }
    kubectl.show(1, "create configmap settings --from-literal=a=2 --dry-run=server").await;
    // No controller writes to it in between. (1.20 still orders its `managedFields` once, which is a change.)
    let same = "patch configmap settings -p {\"data\":{\"a\":\"3\"}}";
    kubectl.show(0, same).await;
    kubectl.done(same).await;
    kubectl.show(0, same).await;
    compare(&kubectl, "change").await;
}
