//! The tools against the sandbox: how arguments become targets, what guards refuse, what reads show.

use super::{
    GetEvents, GetServiceLogs, GetServiceStatus, ListServices, RestartService, ScaleService, duration,
    seconds,
};
use crate::kubernetes::testing::{World, webapp};
use crate::kubernetes::{Bounds, Cluster, Pace, RESTARTED_AT};
use astradesk_core::name::{ClusterName, Namespace};
use astradesk_core::run::OnFailure;
use astradesk_core::target::Kind;
use astradesk_core::{Arguments, Call, Code, Effect, FrozenCall, Principal, Result, ToolName};
use astradesk_runtime::planner::KeywordPlanner;
use astradesk_runtime::port::{
    Clock as _, Fault, Names, Planner as _, Progress, StepContext, SystemClock, Tool,
};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::Instant;

fn arguments(value: &Value) -> Arguments {
    value.as_object().unwrap().clone()
}

pub(crate) async fn frozen(tool: &dyn Tool, value: &Value) -> FrozenCall {
    let arguments = arguments(value);
    let targets = tool.targets(&arguments).await.unwrap();
    let call = Call { tool: tool.spec().name.clone(), arguments };
    FrozenCall::new(call, "1".into(), Effect::Write, targets)
}

fn soon() -> Instant {
    Instant::now() + std::time::Duration::from_secs(20)
}

/// The first step of a run, which is such a call.
pub(super) fn step(call: FrozenCall) -> StepContext {
    StepContext {
        run: SystemClock.run_id(),
        step: 0,
        call,
        principal: Principal {
            subject: "ada".to_owned(),
            issuer: "https://issuer.example".to_owned(),
            roles: Vec::new().into_iter().collect(),
            actor: None,
        },
        intent: Value::Null,
        undoes: None,
        repeated: false,
        deadline: soon(),
        progress: Progress::default(),
    }
}

#[test]
fn a_time_that_lies_back_reads_as_its_schema_says() {
    for (text, expected) in [
        ("30s", Some(30)),
        ("10m", Some(600)),
        ("2h", Some(7200)),
        ("1d", Some(86_400)),
        ("", None),
        ("5", None),
    ] {
        assert_eq!(seconds(text), expected, "{text}");
    }
}

#[tokio::test]
async fn a_name_is_looked_up_and_refused_only_by_the_guard() {
    let mut other = webapp("Deployment", 2, &json!({}), &json!({}));
    other["metadata"]["name"] = json!("both");
    let mut stateful = webapp("StatefulSet", 2, &json!({}), &json!({}));
    stateful["metadata"]["name"] = json!("both");
    let world = World::start(vec![webapp("Deployment", 2, &json!({}), &json!({})), other, stateful]).await;
    let tool = RestartService::new(world.cluster.clone(), OnFailure::Leave).unwrap();
    world.healthy(Kind::Deployment).await;
    for (input, target, code) in [
        (json!({"service": "webapp"}), "default/deployment/webapp", None),
        (json!({"service": "webap"}), "default/workload/webap", Some(Code::KubernetesNotFound)),
        (json!({"service": "both"}), "default/workload/both", Some(Code::KubernetesAmbiguousKind)),
        (
            json!({"service": "webapp", "kind": "daemonset"}),
            "default/daemonset/webapp",
            Some(Code::KubernetesNotFound),
        ),
        (
            json!({"service": "webapp", "namespace": "shop"}),
            "shop/workload/webapp",
            Some(Code::KubernetesNotFound),
        ),
    ] {
        let call = frozen(&tool, &input).await;
        assert_eq!(call.targets[0].to_string(), format!("kubernetes/sandbox/{target}"));
        let guard = tool.guard(&call).await;
        assert_eq!(guard.as_ref().err().map(|e| e.code), code, "{input}");
        if input["service"] == "webap" {
            assert_eq!(guard.unwrap_err().details["candidates"], json!(["webapp"]));
        }
    }
    assert_eq!(tool.candidates("service").await.unwrap(), ["both", "webapp"]);
}

#[tokio::test]
async fn a_preview_changes_nothing_and_says_what_would() {
    let world = World::start(vec![webapp("Deployment", 3, &json!({}), &json!({}))]).await;
    let before = world.healthy(Kind::Deployment).await;
    let tool = RestartService::new(world.cluster.clone(), OnFailure::Leave).unwrap();
    let call = frozen(&tool, &json!({"service": "webapp"})).await;
    let preview = tool.preview(&call).await.unwrap();
    assert_eq!(preview["pods"], 3);
    assert_eq!(preview["at_most_unavailable"], 0);
    let after = world.cluster.get(Kind::Deployment, world.cluster.namespace(), "webapp").await.unwrap();
    assert_eq!((after.generation, after.template), (before.generation, before.template));
}

#[tokio::test]
async fn a_status_names_the_sick_pod_with_its_log() {
    let crash = json!({
        "sandbox.astradesk.dev/behaviour": "crash:137",
        "sandbox.astradesk.dev/logs": "starting\npassword=hunter2\nout of memory",
    });
    let world = World::start(vec![webapp("Deployment", 1, &crash, &json!({}))]).await;
    world.until(Kind::Deployment, |_, family| family.pods.iter().any(|pod| pod.restarts() >= 2)).await;
    let tool = GetServiceStatus::new(world.cluster.clone()).unwrap();
    let call = frozen(&tool, &json!({"service": "webapp"})).await;
    let status = tool.read(&call, soon()).await.unwrap();
    let pod = &status["sick_pods"][0];
    assert_eq!((&pod["cause"], &pod["exit_code"]), (&json!("crash_loop"), &json!(137)), "{status:#}");
    assert_eq!(pod["log"], json!(["starting", "password=[redacted]", "out of memory"]), "{status:#}");
    assert!(status["observed_at"].is_string() && status["warnings"].is_array());

    let missing = frozen(&tool, &json!({"service": "nothing"})).await;
    assert_eq!(tool.read(&missing, soon()).await.unwrap_err().code, Code::KubernetesNotFound);
}

#[tokio::test]
async fn the_events_of_a_service_are_those_of_what_belongs_to_it() {
    let pulls = json!({"sandbox.astradesk.dev/behaviour": "image-pull"});
    let mut other = webapp("Deployment", 2, &pulls, &json!({}));
    other["metadata"]["name"] = json!("puller");
    other["spec"]["selector"]["matchLabels"] = json!({"app": "puller"});
    other["spec"]["template"]["metadata"]["labels"] = json!({"app": "puller"});
    let world = World::start(vec![webapp("Deployment", 2, &json!({}), &json!({})), other]).await;
    world.healthy(Kind::Deployment).await;
    let tool = GetEvents::new(world.cluster.clone()).unwrap();
    let ask = async |arguments: Value| {
        let call = frozen(&tool, &arguments).await;
        tool.read(&call, soon()).await
    };
    let warned = async {
        while ask(json!({"service": "puller", "type": "warning"})).await.unwrap()["total"] == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), warned).await.unwrap();

    let own = ask(json!({"service": "webapp"})).await.unwrap();
    let about: Vec<&str> =
        own["events"].as_array().unwrap().iter().map(|event| event["object"].as_str().unwrap()).collect();
    assert!(about.iter().all(|about| about.contains("/webapp")), "{own:#}");
    for kind in ["deployment/", "replicaset/", "pod/"] {
        assert!(about.iter().any(|about| about.starts_with(kind)), "{kind}: {own:#}");
    }
    assert_eq!(own["warnings_among_them"], 0, "{own:#}");

    let all = ask(json!({})).await.unwrap();
    let summary = all["summary"].as_str().unwrap();
    assert!(summary.ends_with("in namespace `default`") && summary.contains("warning"), "{summary}");
    assert!(all["events"].as_array().unwrap().iter().all(|event| event["type"] == "Warning"), "{all:#}");
    let one = ask(json!({"type": "all", "limit": 1})).await.unwrap();
    assert_eq!(one["events"].as_array().map(Vec::len), Some(1));
    assert!(one["left_out"][0].as_str().unwrap().ends_with("older ones"), "{one:#}");
    let none = ask(json!({"namespace": "kube-public"})).await.unwrap();
    assert_eq!(none["summary"], "no warnings in namespace `kube-public`");
    let missing = ask(json!({"service": "nothing"})).await.unwrap_err();
    assert_eq!(missing.code, Code::KubernetesNotFound);
}

#[tokio::test]
async fn the_logs_of_every_pod_are_read_and_what_is_not_there_is_said() {
    let logs = json!({"sandbox.astradesk.dev/logs": "starting\nGET /a\npassword=hunter2\nGET /b"});
    let crash = json!({
        "sandbox.astradesk.dev/behaviour": "crash:3",
        "sandbox.astradesk.dev/logs": "starting\ngiving up",
    });
    let mut other = webapp("Deployment", 1, &crash, &json!({}));
    let mut pulls =
        webapp("Deployment", 1, &json!({"sandbox.astradesk.dev/behaviour": "image-pull"}), &json!({}));
    for (object, name) in [(&mut other, "crasher"), (&mut pulls, "puller")] {
        object["metadata"]["name"] = json!(name);
        object["spec"]["selector"]["matchLabels"] = json!({"app": name});
        object["spec"]["template"]["metadata"]["labels"] = json!({"app": name});
    }
    let world = World::start(vec![webapp("Deployment", 3, &logs, &json!({})), other, pulls]).await;
    world.healthy(Kind::Deployment).await;
    let scope = world.cluster.scope(world.cluster.namespace());
    let mut changes = scope.changes();
    let settled = async {
        let of = |name| scope.family(Kind::Deployment, name).unwrap().1.pods;
        while of("crasher").iter().all(|pod| pod.restarts() == 0) || of("puller").is_empty() {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), settled).await.unwrap();

    let tool = GetServiceLogs::new(world.cluster.clone()).unwrap();
    let of = async |value: Value| tool.read(&frozen(&tool, &value).await, soon()).await;
    let all = of(json!({"service": "webapp"})).await.unwrap();
    assert_eq!((all["logs"].as_array().unwrap().len(), &all["lines"]), (3, &json!(12)), "{all:#}");
    let lines = json!(["starting", "GET /a", "password=[redacted]", "GET /b"]);
    assert_eq!((&all["logs"][0]["lines"], &all["left_out"]), (&lines, &json!([])), "{all:#}");
    assert_eq!(all["summary"], "12 lines of 3 containers of deployment/webapp in namespace `default`");

    let some = of(json!({"service": "webapp", "tail": 1})).await.unwrap();
    assert_eq!(
        (&some["logs"][2]["lines"], &some["left_out"]),
        (&json!(["GET /b"]), &json!(["earlier lines of 3"]))
    );
    let matching = of(json!({"service": "webapp", "matching": "^GET|hunter2"})).await.unwrap();
    assert_eq!(matching["logs"][1]["lines"], json!(["GET /a", "GET /b"]));
    let old = of(json!({"service": "webapp", "since": "1d", "previous": true})).await.unwrap();
    assert_eq!(
        (&old["lines"], &old["left_out"]),
        (&json!(0), &json!(["3 pods were never restarted"])),
        "{old:#}"
    );
    let crashed = of(json!({"service": "crasher", "previous": true})).await.unwrap();
    assert_eq!(crashed["logs"][0]["lines"], json!(["starting", "giving up"]), "{crashed:#}");
    let nothing = of(json!({"service": "puller"})).await.unwrap();
    assert_eq!(nothing["left_out"], json!(["1 pod has no log yet"]), "{nothing:#}");

    assert_eq!(of(json!({"service": "nothing"})).await.unwrap_err().code, Code::KubernetesNotFound);
    let wrong = tool.targets(&arguments(&json!({"service": "webapp", "matching": "("}))).await.unwrap_err();
    assert_eq!(wrong.code, Code::ToolArgumentsInvalid);
}

#[tokio::test]
async fn what_is_scaled_by_others_or_out_of_bounds_is_refused_and_a_dry_run_changes_nothing() {
    let autoscaler = json!({
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": "hpa",
            "namespace": "default",
            "labels": {"argocd.argoproj.io/instance": "shop"},
        },
        "spec": {
            "maxReplicas": 9,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "auto"},
        },
    });
    let mut auto = webapp("StatefulSet", 2, &json!({}), &json!({}));
    let mut daemon = webapp("DaemonSet", 2, &json!({}), &json!({}));
    auto["metadata"]["name"] = json!("auto");
    daemon["metadata"]["name"] = json!("daemon");
    let objects = vec![webapp("Deployment", 3, &json!({}), &json!({})), auto, daemon, autoscaler];
    let world = World::start(objects).await;
    let before = world.healthy(Kind::Deployment).await;
    let tool = ScaleService::new(world.cluster.clone(), Bounds { min: 1, max: 10 }).unwrap();
    for (input, code) in [
        (json!({"service": "webapp", "replicas": 5}), None),
        (json!({"service": "webapp", "replicas": 11}), Some(Code::GuardScaleBounds)),
        (json!({"service": "webapp", "replicas": 0}), Some(Code::GuardDowntime)),
        (json!({"service": "webapp", "replicas": 0, "accept_downtime": true}), None),
        (json!({"service": "auto", "replicas": 5}), Some(Code::GuardAutoscaled)),
        (json!({"service": "auto", "replicas": 5, "autoscaler_minimum": true}), None),
        (
            json!({"service": "auto", "replicas": 10, "autoscaler_minimum": true}),
            Some(Code::GuardScaleBounds),
        ),
        (
            json!({"service": "webapp", "replicas": 5, "autoscaler_minimum": true}),
            Some(Code::KubernetesNotFound),
        ),
        (json!({"service": "daemon", "replicas": 5}), Some(Code::GuardNotScalable)),
        (json!({"service": "nothing", "replicas": 5}), Some(Code::KubernetesNotFound)),
    ] {
        let guard = tool.guard(&frozen(&tool, &input).await).await;
        assert_eq!(guard.as_ref().err().map(|e| e.code), code, "{input}: {guard:?}");
    }
    let call = frozen(&tool, &json!({"service": "webapp", "replicas": 5})).await;
    let preview = tool.preview(&call).await.unwrap();
    assert_eq!((&preview["before"], &preview["after"]), (&json!(3), &json!(5)));
    assert_eq!(preview["summary"], "would scale deployment/webapp from 3 to 5: 2 pods would start");
    let after = world.now(Kind::Deployment).await;
    assert_eq!((after.generation, after.wanted), (before.generation, 3));
    let none = frozen(&tool, &json!({"service": "webapp", "replicas": 0})).await;
    assert!(tool.facts(&none, true).await.unwrap()[0].downtime_expected);

    let least = frozen(&tool, &json!({"service": "auto", "replicas": 5, "autoscaler_minimum": true})).await;
    let preview = tool.preview(&least).await.unwrap();
    let what = "the minimum of statefulset/auto (HorizontalPodAutoscaler `hpa`)";
    assert_eq!(preview["summary"], format!("would change {what} from 1 to 5: 3 pods would start"));
    assert_eq!(preview["patch"]["spec"], json!({"minReplicas": 5}));
    assert_eq!(
        (&preview["before"], &preview["after"], &preview["autoscaler"]["maximum"]),
        (&json!(1), &json!(5), &json!(9))
    );
    // Who manages the autoscaler is told, whoever manages the workload.
    let facts = tool.facts(&least, true).await.unwrap();
    assert_eq!(facts[0].gitops.as_ref().map(|gitops| gitops.controller.as_str()), Some("argocd"));
    assert!(preview["warning"].as_str().unwrap().contains("argocd"), "{preview:#}");
}

#[tokio::test]
async fn services_are_listed_in_order() {
    let mut other = webapp("StatefulSet", 0, &json!({}), &json!({}));
    other["metadata"]["name"] = json!("a-db");
    let world = World::start(vec![webapp("Deployment", 2, &json!({}), &json!({})), other]).await;
    world.healthy(Kind::Deployment).await;
    let tool = ListServices::new(world.cluster.clone()).unwrap();
    let call = frozen(&tool, &json!({})).await;
    assert_eq!(call.targets[0].to_string(), "kubernetes/sandbox/default/namespace/default");
    let list = tool.read(&call, soon()).await.unwrap();
    let rows: Vec<_> = list["services"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
    assert_eq!(rows, [json!("a-db"), json!("webapp")]);
    assert_eq!(list["services"][1]["ready"], 2);
    assert_eq!((&list["total"], &list["truncated"]), (&json!(2), &json!(false)));
}

#[tokio::test]
async fn a_restart_by_somebody_else_is_not_credited_to_the_earlier_run() {
    let world = World::start(vec![webapp("Deployment", 2, &json!({}), &json!({}))]).await;
    world.healthy(Kind::Deployment).await;
    let receipt = world.perform(&world.job(Kind::Deployment, "run-1", 20)).await.unwrap();
    let tool = GetServiceStatus::new(world.cluster.clone()).unwrap();
    let call = frozen(&tool, &json!({"service": "webapp"})).await;
    world.until(Kind::Deployment, |workload, _| workload.run().is_some()).await;
    let status = tool.read(&call, soon()).await.unwrap();
    let ours = json!({"at": receipt.restarted_at, "run": "run-1", "by": "astradesk"});
    assert_eq!(status["last_restart"], ours);

    let api: Api<Deployment> = Api::namespaced(world.client.clone(), "default");
    let annotations = json!({RESTARTED_AT: "2030-01-01T00:00:00Z"});
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    let params = PatchParams { field_manager: Some("kubectl-rollout".into()), ..PatchParams::default() };
    api.patch("webapp", &params, &Patch::Merge(&patch)).await.unwrap();
    world
        .until(Kind::Deployment, |workload, _| workload.restarted_at() == Some("2030-01-01T00:00:00Z"))
        .await;
    let status = tool.read(&call, soon()).await.unwrap();
    let theirs = json!({"at": "2030-01-01T00:00:00Z", "run": null, "by": "kubectl-rollout"});
    assert_eq!(status["last_restart"], theirs);
}

#[tokio::test]
async fn when_what_was_written_down_cannot_be_read_the_outcome_is_unknown() {
    let world = World::start(vec![webapp("Deployment", 2, &json!({}), &json!({}))]).await;
    world.healthy(Kind::Deployment).await;
    let receipt = world.perform(&world.job(Kind::Deployment, "run-1", 20)).await.unwrap();
    let receipt = serde_json::to_value(receipt).unwrap();
    let tool = RestartService::new(world.cluster.clone(), OnFailure::Leave).unwrap();
    let call = frozen(&tool, &json!({"service": "webapp"})).await;
    for (undoes, receipt) in [(None, json!("torn")), (Some(json!("torn")), receipt)] {
        let step = StepContext { undoes, ..step(call.clone()) };
        let fault = tool.verify(&step, &receipt).await.unwrap_err();
        assert!(matches!(&fault, Fault::Unknown(error) if error.code == Code::Internal), "{fault:?}");
        assert!(step.undoes.is_none() || tool.intend(&step).await.is_err(), "nothing was done yet");
    }
}

#[test]
fn a_timeout_reads_as_its_schema_says() {
    for (text, seconds) in [
        ("1s", Some(1)),
        ("90s", Some(90)),
        ("3600s", Some(3600)),
        ("3601s", None),
        ("5m", Some(300)),
        ("60m", Some(3600)),
        ("61m", None),
        ("1h", Some(3600)),
        ("2h", None),
        ("0s", None),
        ("", None),
        ("s", None),
        ("5", None),
        ("5ż", None),
    ] {
        assert_eq!(duration(text).map(|d| d.as_secs()), seconds, "{text}");
    }
}

/// The one service that sentences may name.
struct Webapp;

#[async_trait::async_trait]
impl Names for Webapp {
    async fn candidates(&self, _: &ToolName, _: &str) -> Result<Option<Vec<String>>> {
        Ok(Some(vec!["webapp".to_owned()]))
    }

    async fn permitted(&self, _: &ToolName, _: &str, candidates: &[String]) -> Vec<String> {
        candidates.to_vec()
    }
}

/// A cluster where nothing listens.
pub(crate) fn unreachable() -> Cluster {
    unreachable_named("nowhere")
}

/// The same, by another name.
pub(super) fn unreachable_named(name: &str) -> Cluster {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    Cluster::connect(
        kube::Config::new(format!("http://{address}").parse().unwrap()),
        ClusterName::parse(name).unwrap(),
        Namespace::parse("default").unwrap(),
        Arc::new(SystemClock),
        Pace::default(),
    )
    .unwrap()
}

#[tokio::test]
async fn a_sentence_says_what_becomes_of_a_failed_restart() {
    let tool = RestartService::new(unreachable(), OnFailure::Leave).unwrap();
    let specs = [tool.spec().clone()];
    for (sentence, expected) in [
        ("restart webapp", Ok(None)),
        ("restart webapp with undo", Ok(Some("undo"))),
        ("restart webapp undo on failure", Ok(Some("undo"))),
        ("zrestartuj webapp z wycofaniem", Ok(Some("undo"))),
        ("zrestartuj webapp wycofaj przy błędzie", Ok(Some("undo"))),
        ("restart webapp leave on failure", Ok(Some("leave"))),
        ("restart webapp with undo leave on failure", Err(Code::PlanAmbiguous)),
        ("undo the restart of webapp", Err(Code::PlanAmbiguous)),
        ("restart webapp or undo", Err(Code::PlanNotInstruction)),
    ] {
        let plan = KeywordPlanner::default().plan(sentence, &specs, &Webapp).await;
        let said = plan.map(|plan| plan.calls[0].arguments.get("on_failure").cloned());
        let expected = expected.map(|word| word.map(Value::from));
        assert_eq!(said.map_err(|error| error.code), expected, "{sentence}");
    }
    for (default, said, expected) in [
        (OnFailure::Leave, json!({}), OnFailure::Leave),
        (OnFailure::Undo, json!({}), OnFailure::Undo),
        (OnFailure::Undo, json!({"on_failure": "leave"}), OnFailure::Leave),
        (OnFailure::Leave, json!({"on_failure": "undo"}), OnFailure::Undo),
    ] {
        let tool = RestartService::new(unreachable(), default).unwrap();
        assert_eq!(tool.on_failure(&arguments(&said)), expected, "{default:?} {said}");
    }
}

#[tokio::test]
async fn a_cluster_that_refuses_connections_is_told_soon() {
    let tool = RestartService::new(unreachable(), OnFailure::Leave).unwrap();
    let begun = Instant::now();
    let call = frozen(&tool, &json!({"service": "webapp"})).await;
    let error = tool.guard(&call).await.unwrap_err();
    assert_eq!(error.code, Code::KubernetesUnavailable);
    assert!(begun.elapsed().as_secs() < 3, "{:?}", begun.elapsed());
}
