//! The API itself: admission, verbs, patches, watches, errors.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::manual_assert,
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "tests and their helpers: a failed unwrap is a failed test"
)]

mod common;

use astradesk_sandbox::{Config, Error, Sandbox, scenario};
use common::{cluster, workload};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config_map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "1" } })
}

#[tokio::test]
async fn only_loopback_and_only_with_the_token() {
    let everywhere = Config { listen: "0.0.0.0:0".parse().unwrap(), ..Config::default() };
    assert!(matches!(Sandbox::start(everywhere).await, Err(Error::NotLoopback(_))));
    let bad = Config { objects: vec![json!({ "kind": "Sofa" })], ..Config::default() };
    assert!(matches!(Sandbox::start(bad).await, Err(Error::Object { .. })));

    let cluster = cluster(vec![]).await;
    let http = reqwest::Client::new();
    let pods = format!("{}/api/v1/pods", cluster.sandbox.url());
    for token in [None, Some(""), Some("x"), Some(&cluster.sandbox.token()[1..])] {
        let mut request = http.get(&pods);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 401);
        let status: Value = response.json().await.unwrap();
        assert_eq!(
            (status["kind"].as_str(), status["reason"].as_str()),
            (Some("Status"), Some("Unauthorized"))
        );
    }
    let health = http.get(format!("{}/readyz", cluster.sandbox.url())).send().await.unwrap();
    assert_eq!(health.text().await.unwrap(), "ok");
}

#[tokio::test]
async fn the_demo_becomes_healthy() {
    let cluster = cluster(scenario::demo()).await;
    for (name, replicas) in [("webapp", 3), ("payments-api", 3), ("search", 2), ("reports", 1)] {
        let available =
            |d: &Deployment| d.status.as_ref().is_some_and(|s| s.available_replicas == Some(replicas));
        cluster.until::<Deployment>(name, "available", available).await;
    }
    cluster
        .until_pods("ledger", "ready", |pods| pods.iter().filter(|p| common::pod_ready(p)).count() == 3)
        .await;
    cluster.until_pods("node-agent", "ready", |pods| pods.iter().all(common::pod_ready)).await;
    cluster.sandbox.shutdown().await;
}

#[tokio::test]
async fn discovery_and_access_reviews() {
    let cluster = cluster(vec![]).await;
    let groups = cluster.client.list_api_groups().await.unwrap();
    assert!(groups.groups.iter().any(|group| group.name == "apps"));
    let apps = cluster.client.list_api_group_resources("apps/v1").await.unwrap();
    let found = apps.resources.iter().find(|resource| resource.name == "deployments").unwrap();
    assert!(found.verbs.contains(&"watch".to_owned()) && found.namespaced);
    assert_eq!(cluster.client.apiserver_version().await.unwrap().minor, "33");
    let review = json!({ "spec": { "resourceAttributes": { "verb": "patch", "resource": "deployments" } } });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let (code, review) = cluster.call("POST", path, JSON, review).await;
    assert_eq!((code, review["status"]["allowed"].as_bool()), (201, Some(true)));
}

#[tokio::test]
async fn errors_are_worded_as_the_real_ones() {
    let cluster = cluster(vec![workload("Deployment", "web", json!({}), json!({ "replicas": 0 }))]).await;
    let mut no_selector = workload("Deployment", "x", json!({}), json!({}));
    no_selector["spec"].as_object_mut().unwrap().remove("selector");
    let mismatch = json!({ "template": { "metadata": { "labels": { "app": "other" } } } });
    let mismatch = workload("Deployment", "x", json!({}), mismatch);
    let big = json!({ "metadata": { "name": "big" }, "data": { "a": "x".repeat(4 << 20) } });
    let web = format!("{DEPLOYMENTS}/web");
    let table: Vec<(&str, String, &str, Value, u16, &str, &str)> = vec![
        (
            "GET",
            format!("{DEPLOYMENTS}/nothing"),
            JSON,
            json!(null),
            404,
            "NotFound",
            "deployments.apps \"nothing\" not found",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/pods/x".into(),
            JSON,
            json!(null),
            404,
            "NotFound",
            "pods \"x\" not found",
        ),
        (
            "GET",
            "/apis/nothing/v1".into(),
            JSON,
            json!(null),
            404,
            "NotFound",
            "the server could not find the requested resource",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/sofas".into(),
            JSON,
            json!(null),
            404,
            "NotFound",
            "the server could not find",
        ),
        ("GET", format!("{web}/nothing"), JSON, json!(null), 404, "NotFound", "the server could not find"),
        (
            "POST",
            web.clone(),
            JSON,
            json!({}),
            405,
            "MethodNotAllowed",
            "the server does not allow this method",
        ),
        (
            "POST",
            DEPLOYMENTS.into(),
            JSON,
            workload("Deployment", "web", json!({}), json!({})),
            409,
            "AlreadyExists",
            "deployments.apps \"web\" already exists",
        ),
        (
            "POST",
            DEPLOYMENTS.into(),
            JSON,
            no_selector,
            422,
            "Invalid",
            "Deployment.apps \"x\" is invalid: [spec.selector: Required value",
        ),
        (
            "POST",
            DEPLOYMENTS.into(),
            JSON,
            mismatch,
            422,
            "Invalid",
            "Deployment.apps \"x\" is invalid: spec.template.metadata.labels: Invalid value",
        ),
        (
            "POST",
            DEPLOYMENTS.into(),
            JSON,
            workload("Deployment", "Bad_Name", json!({}), json!({})),
            422,
            "Invalid",
            "Deployment.apps \"Bad_Name\" is invalid: metadata.name",
        ),
        (
            "POST",
            DEPLOYMENTS.into(),
            JSON,
            workload("StatefulSet", "x", json!({}), json!({})),
            400,
            "BadRequest",
            "StatefulSet in version \"v1\" cannot be handled as a Deployment",
        ),
        (
            "POST",
            DEPLOYMENTS.into(),
            JSON,
            workload("Deployment", "x", json!({}), json!({ "replicas": "many" })),
            400,
            "BadRequest",
            "Deployment in version \"v1\" cannot be handled as a Deployment",
        ),
        (
            "POST",
            DEPLOYMENTS.into(),
            JSON,
            json!("text"),
            400,
            "BadRequest",
            "the body of the request must be a JSON object",
        ),
        (
            "POST",
            "/api/v1/namespaces/nowhere/configmaps".into(),
            JSON,
            config_map("x"),
            404,
            "NotFound",
            "namespaces \"nowhere\" not found",
        ),
        ("POST", CONFIG_MAPS.into(), JSON, big, 413, "RequestEntityTooLarge", "Request entity too large"),
        (
            "PATCH",
            web.clone(),
            "text/plain",
            json!({}),
            415,
            "UnsupportedMediaType",
            "415: Unsupported Media Type",
        ),
        (
            "PATCH",
            web.clone(),
            MERGE,
            json!({ "metadata": { "resourceVersion": "1" } }),
            409,
            "Conflict",
            "Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified",
        ),
        (
            "PATCH",
            web.clone(),
            MERGE,
            json!({ "spec": { "selector": { "matchLabels": { "app": "web", "b": "2" } }, "template": { "metadata": { "labels": { "b": "2" } } } } }),
            422,
            "Invalid",
            "Deployment.apps \"web\" is invalid: spec.selector: Invalid value",
        ),
        (
            "PATCH",
            format!("{web}?dryRun=Some"),
            MERGE,
            json!({}),
            422,
            "Invalid",
            "PatchOptions.meta.k8s.io \"\" is invalid: dryRun",
        ),
        (
            "PATCH",
            web.clone(),
            "application/apply-patch+yaml",
            json!({}),
            422,
            "Invalid",
            "Deployment.apps \"\" is invalid: fieldManager: Required value",
        ),
        (
            "DELETE",
            web.clone(),
            JSON,
            json!({ "preconditions": { "uid": "other" } }),
            409,
            "Conflict",
            "Operation cannot be fulfilled on Deployment.apps \"web\": the UID in the precondition (other)",
        ),
        (
            "GET",
            "/api/v1/pods?labelSelector=a+b".into(),
            JSON,
            json!(null),
            400,
            "BadRequest",
            "unable to parse requirement",
        ),
        (
            "GET",
            "/api/v1/pods?fieldSelector=spec.x%3D1".into(),
            JSON,
            json!(null),
            400,
            "BadRequest",
            "field label not supported: spec.x",
        ),
        ("GET", "/api/v1/pods?limit=x".into(), JSON, json!(null), 400, "BadRequest", "strconv.ParseInt"),
        (
            "GET",
            "/api/v1/pods?continue=x".into(),
            JSON,
            json!(null),
            400,
            "BadRequest",
            "continue key is not valid",
        ),
        (
            "GET",
            "/api/v1/pods?resourceVersion=99999999".into(),
            JSON,
            json!(null),
            504,
            "Timeout",
            "Too large resource version",
        ),
    ];
    let (_, before) = cluster.get(&web).await;
    for (method, path, kind, body, code, reason, message) in table {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (found, status) = cluster.call(method, &path, kind, body).await;
        assert_eq!(found, code, "{method} {path}: {status}");
        assert_eq!(status["kind"], "Status", "{method} {path}");
        assert_eq!((&status["code"], &status["reason"]), (&json!(code), &json!(reason)), "{method} {path}");
        assert!(status["message"].as_str().unwrap().starts_with(message), "{method} {path}: {status}");
    }
    let (code, _) = cluster.call("POST", CONFIG_MAPS, JSON, "{not json").await;
    assert_eq!(code, 400);
    let (_, after) = cluster.get(&web).await;
    assert_eq!(before["spec"], after["spec"]);
}

#[tokio::test]
async fn create_update_and_generations() {
    let cluster = cluster(vec![workload("Deployment", "web", json!({}), json!({ "replicas": 0 }))]).await;
    let deployments = cluster.api::<Deployment>();
    let observed = |d: &Deployment| d.status.as_ref().is_some_and(|s| s.observed_generation == Some(1));
    let web = cluster.until::<Deployment>("web", "observed", observed).await;
    assert_eq!(web.spec.as_ref().unwrap().progress_deadline_seconds, Some(600));

    // Only the specification counts; the status is not written through the object.
    let labels = json!({ "metadata": { "labels": { "a": "b" } }, "status": { "replicas": 9 } });
    let labelled = deployments.patch("web", &PatchParams::default(), &Patch::Merge(labels)).await.unwrap();
    assert_eq!(labelled.metadata.generation, Some(1));
    assert_eq!(labelled.status.unwrap().replicas, None);
    let status = json!({ "status": { "replicas": 9 }, "spec": { "replicas": 9 } });
    let (_, written) = cluster.call("PATCH", &format!("{DEPLOYMENTS}/web/status"), MERGE, status).await;
    assert_eq!((&written["status"]["replicas"], &written["spec"]["replicas"]), (&json!(9), &json!(0)));

    // A writer with an old version loses.
    let mut newer = deployments.get("web").await.unwrap();
    newer.spec.as_mut().unwrap().min_ready_seconds = Some(3);
    let newer = deployments.replace("web", &PostParams::default(), &newer).await.unwrap();
    assert_eq!(newer.metadata.generation, Some(2));
    let kube::Error::Api(status) =
        deployments.replace("web", &PostParams::default(), &web).await.unwrap_err()
    else {
        panic!("not a status");
    };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));

    // Dry runs show, and do nothing.
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    let scaled = json!({ "spec": { "replicas": 5 } });
    let shown = deployments.patch("web", &dry, &Patch::Merge(&scaled)).await.unwrap();
    assert_eq!(shown.spec.unwrap().replicas, Some(5));
    assert_eq!(deployments.get("web").await.unwrap().spec.unwrap().replicas, Some(0));
    let (code, _) = cluster.call("POST", &format!("{CONFIG_MAPS}?dryRun=All"), JSON, config_map("dry")).await;
    assert_eq!(code, 201);
    assert_eq!(cluster.get(&format!("{CONFIG_MAPS}/dry")).await.0, 404);

    let generated = json!({ "metadata": { "generateName": "map-" } });
    let (code, generated) = cluster.call("POST", CONFIG_MAPS, JSON, generated).await;
    assert_eq!(code, 201);
    assert!(generated["metadata"]["name"].as_str().unwrap().len() == "map-".len() + 5);
}

#[tokio::test]
async fn patches_through_the_api() {
    let cluster = cluster(vec![workload("Deployment", "web", json!({}), json!({ "replicas": 0 }))]).await;
    let web = format!("{DEPLOYMENTS}/web?fieldManager=tester");
    let env = json!([{ "name": "A", "value": "1" }]);
    let container = |env: Value| json!({ "spec": { "template": { "spec": { "containers": [{ "name": "app", "env": env }] } } } });
    let (code, patched) = cluster.call("PATCH", &web, STRATEGIC, container(env)).await;
    assert_eq!(
        (code, &patched["spec"]["template"]["spec"]["containers"][0]["image"]),
        (200, &json!("example.com/app:1"))
    );
    let operations = json!([
        { "op": "test", "path": "/spec/replicas", "value": 0 },
        { "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "example.com/app:2" },
    ]);
    let (code, patched) = cluster.call("PATCH", &web, "application/json-patch+json", operations).await;
    assert_eq!((code, &patched["metadata"]["generation"]), (200, &json!(3)));
    let (code, patched) =
        cluster.call("PATCH", &web, MERGE, json!({ "metadata": { "annotations": { "a": "b" } } })).await;
    // A Deployment's annotations are copied to its ReplicaSets, so they count.
    assert_eq!((code, &patched["metadata"]["generation"]), (200, &json!(4)));
    let entries = patched["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["manager"] == "tester").unwrap();
    assert_eq!(
        (entry["operation"].as_str(), entry["fieldsType"].as_str()),
        (Some("Update"), Some("FieldsV1"))
    );
    assert!(entry["fieldsV1"].pointer("/f:metadata/f:annotations/f:a").is_some(), "{entry}");

    let maps = cluster.api::<ConfigMap>();
    let apply = PatchParams::apply("tester");
    let applied = maps.patch("new", &apply, &Patch::Apply(config_map("new"))).await.unwrap();
    assert_eq!(applied.metadata.managed_fields.unwrap()[0].operation.as_deref(), Some("Apply"));
    let mut more = config_map("new");
    more["data"] = json!({ "b": "2" });
    let applied = maps.patch("new", &apply, &Patch::Apply(more)).await.unwrap();
    assert_eq!(applied.data.unwrap().len(), 2);
    let before = applied.metadata.resource_version;
    let again =
        maps.patch("new", &PatchParams::default(), &Patch::Merge(json!({ "data": { "b": "2" } }))).await;
    assert_eq!(
        again.unwrap().metadata.resource_version,
        before,
        "a patch that changes nothing writes nothing"
    );
}

#[tokio::test]
async fn lists_select_and_page_consistently() {
    let cluster = cluster(
        (0..7)
            .map(|n| {
                let mut map = config_map(&format!("m{n}"));
                map["metadata"]["labels"] = json!({ "parity": if n % 2 == 0 { "even" } else { "odd" } });
                map
            })
            .collect(),
    )
    .await;
    let maps = cluster.api::<ConfigMap>();
    let even = maps.list(&ListParams::default().labels("parity in (even)")).await.unwrap();
    assert_eq!(common::names(&even.items), ["m0", "m2", "m4", "m6"]);
    let one = maps.list(&ListParams::default().fields("metadata.name=m3")).await.unwrap();
    assert_eq!(one.items.len(), 1);

    let first = maps.list(&ListParams::default().limit(3)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(4));
    maps.delete("m5", &kube::api::DeleteParams::default()).await.unwrap();
    maps.create(&PostParams::default(), &serde_json::from_value(config_map("m55")).unwrap()).await.unwrap();
    let mut all = common::names(&first.items);
    let mut next = first.metadata.continue_.clone();
    while let Some(token) = next.filter(|token| !token.is_empty()) {
        let page = maps.list(&ListParams::default().limit(3).continue_token(&token)).await.unwrap();
        assert_eq!(page.metadata.resource_version, first.metadata.resource_version);
        all.extend(common::names(&page.items));
        next = page.metadata.continue_;
    }
    assert_eq!(all, ["m0", "m1", "m2", "m3", "m4", "m5", "m6"], "as it was when the first page was read");
}

#[tokio::test]
async fn watches_are_ordered_resume_and_end() {
    let cluster = cluster(vec![]).await;
    let maps = cluster.api::<ConfigMap>();
    let start = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let (post, patch) = (PostParams::default(), PatchParams::default());
    let made = maps.create(&post, &serde_json::from_value(config_map("a")).unwrap()).await.unwrap();
    let label = |value: &str| Patch::Merge(json!({ "metadata": { "labels": { "seen": value } } }));
    maps.patch("a", &patch, &label("yes")).await.unwrap();
    maps.patch("a", &patch, &label("no")).await.unwrap();
    maps.delete("a", &kube::api::DeleteParams::default()).await.unwrap();

    let kinds = |labels: &str, from: &str| {
        let (maps, from) = (maps.clone(), from.to_owned());
        let watch = WatchParams::default().labels(labels).timeout(1);
        async move {
            let events = maps.watch(&watch, &from).await.unwrap().collect::<Vec<_>>().await;
            let mut last = 0;
            let mut kinds = String::new();
            for event in events {
                let (kind, version) = match event.unwrap() {
                    WatchEvent::Added(map) => ('A', map.metadata.resource_version),
                    WatchEvent::Modified(map) => ('M', map.metadata.resource_version),
                    WatchEvent::Deleted(map) => ('D', map.metadata.resource_version),
                    WatchEvent::Bookmark(mark) => ('B', Some(mark.metadata.resource_version)),
                    WatchEvent::Error(status) => panic!("{status:?}"),
                };
                let version: u64 = version.unwrap().parse().unwrap();
                assert!(version > last || kind == 'B', "versions rise");
                last = version;
                kinds.push(kind);
            }
            kinds
        }
    };
    let from_made = made.metadata.resource_version.unwrap();
    let (all, rest, selected) =
        tokio::join!(kinds("", &start), kinds("", &from_made), kinds("seen=yes", &start));
    assert_eq!(all, "AMMDB");
    assert_eq!(rest, "MMDB");
    assert_eq!(selected, "ADB", "an object that ceases to match goes");

    // The history is bounded: who comes with a version from before it is told to list again.
    let mut old = Box::pin(maps.watch(&WatchParams::default(), "1").await.unwrap());
    let WatchEvent::Error(status) = common::next(&mut old).await.unwrap() else { panic!("not an error") };
    assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));

    // A shutdown ends what is being watched.
    let now = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let watch = Box::pin(maps.watch(&WatchParams::default(), &now).await.unwrap());
    let (rest, ()) = tokio::join!(watch.collect::<Vec<_>>(), cluster.sandbox.shutdown());
    assert!(rest.into_iter().all(|event| event.is_ok()));
}

#[tokio::test]
async fn a_streaming_list_is_marked_at_its_end() {
    let cluster = cluster(vec![config_map("a")]).await;
    let config = kube::runtime::watcher::Config::default().streaming_lists();
    let mut events = Box::pin(kube::runtime::watcher(cluster.api::<ConfigMap>(), config));
    assert!(matches!(common::next(&mut events).await.unwrap(), Event::Init));
    assert!(matches!(common::next(&mut events).await.unwrap(), Event::InitApply(_)));
    assert!(matches!(common::next(&mut events).await.unwrap(), Event::InitDone));
}

#[tokio::test]
async fn a_namespace_goes_with_what_is_in_it() {
    let mut map = config_map("a");
    map["metadata"]["namespace"] = json!("team");
    let mut web = workload("Deployment", "web", json!({}), json!({ "replicas": 1 }));
    web["metadata"]["namespace"] = json!("team");
    let cluster = cluster(vec![map, web]).await;
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(cluster.client.clone());
    namespaces.delete("team", &kube::api::DeleteParams::default()).await.unwrap();
    let (code, status) =
        cluster.call("POST", "/api/v1/namespaces/team/configmaps", JSON, config_map("b")).await;
    assert!(code == 403 || code == 404, "{status}");
    let gone = kube::runtime::watcher::watch_object(namespaces, "team");
    let mut gone = Box::pin(gone.filter(|object| {
        let gone = object.as_ref().unwrap().is_none();
        async move { gone }
    }));
    common::next(&mut gone).await.unwrap();
    for path in ["/api/v1/namespaces/team/pods", "/apis/apps/v1/namespaces/team/deployments"] {
        let (_, list) = cluster.get(path).await;
        assert_eq!(list["items"], json!([]), "{path}");
    }
}

#[tokio::test]
async fn tables_are_for_people() {
    let cluster = cluster(vec![workload("Deployment", "web", json!({}), json!({ "replicas": 2 }))]).await;
    let table = |query: &str| {
        let request = http::Request::get(format!("{DEPLOYMENTS}{query}"));
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        let request = request.header("accept", accept).body(Vec::new()).unwrap();
        cluster.client.request::<Value>(request)
    };
    let available = |d: &Deployment| d.status.as_ref().is_some_and(|s| s.available_replicas == Some(2));
    cluster.until::<Deployment>("web", "available", available).await;
    let plain = table("").await.unwrap();
    assert_eq!(plain["kind"], "Table");
    assert_eq!(
        plain["rows"][0]["cells"].as_array().unwrap()[..4],
        [json!("web"), json!("2/2"), json!(2), json!(2)]
    );
    let wide: Vec<&Value> = plain["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|column| column["priority"] == 1)
        .collect();
    assert_eq!(wide.len(), 3, "{plain}");
    assert_eq!(plain["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table("?includeObject=Object").await.unwrap()["rows"][0]["object"]["kind"], "Deployment");
}
