//! Targets, guards, and what the schemas let in, against the sandbox and an Alertmanager in memory.

use super::tools;
use crate::alertmanager::testing::Fake;
use crate::kubernetes::testing::{World, webapp};
use astradesk_core::target::Kind;
use astradesk_core::{Call, Code, Effect, FrozenCall};
use astradesk_runtime::port::Tool;
use serde_json::{Value, json};
use std::sync::Arc;

struct Place {
    _world: World,
    fake: Fake,
    tools: Vec<Arc<dyn Tool>>,
}

async fn place() -> Place {
    let world = World::start(vec![webapp("Deployment", 1, &json!({}), &json!({}))]).await;
    world.healthy(Kind::Deployment).await;
    let fake = Fake::start().await;
    let tools = tools(&world.cluster, &fake.alertmanager).unwrap();
    Place { _world: world, fake, tools }
}

impl Place {
    fn tool(&self, name: &str) -> &dyn Tool {
        self.tools.iter().find(|tool| tool.spec().name.as_str() == name).unwrap().as_ref()
    }

    async fn frozen(&self, name: &str, arguments: &Value) -> astradesk_core::Result<FrozenCall> {
        let tool = self.tool(name);
        let arguments = arguments.as_object().unwrap().clone();
        let targets = tool.targets(&arguments).await?;
        let call = Call { tool: tool.spec().name.clone(), arguments };
        Ok(FrozenCall::new(call, "1".into(), Effect::Write, targets))
    }
}

#[tokio::test]
async fn a_call_acts_on_the_workload_or_on_what_the_alertmanager_has() {
    let place = place().await;
    let id = "4bd5b6cd-1695-432a-ad6a-3c91b9c8bd2f";
    for (tool, arguments, target, guard) in [
        ("check_alerts", json!({}), "external/alertmanager/alert/*", None),
        ("check_alerts", json!({"service": "webapp"}), "kubernetes/sandbox/default/deployment/webapp", None),
        (
            "silence_alert",
            json!({"alert": "Down", "duration": "1h"}),
            "external/alertmanager/alert/Down",
            None,
        ),
        (
            "silence_alert",
            json!({"alert": "Is down", "duration": "1h"}),
            "external/alertmanager/alert/*",
            None,
        ),
        (
            "silence_alert",
            json!({"matchers": ["a=b"], "duration": "1h"}),
            "external/alertmanager/alert/*",
            None,
        ),
        (
            "silence_alert",
            json!({"service": "webapp", "alert": "Down", "duration": "4h"}),
            "kubernetes/sandbox/default/deployment/webapp",
            None,
        ),
        (
            "silence_alert",
            json!({"service": "webap", "duration": "1h"}),
            "kubernetes/sandbox/default/workload/webap",
            Some(Code::KubernetesNotFound),
        ),
        (
            "silence_alert",
            json!({"alert": "Down", "duration": "241m"}),
            "external/alertmanager/alert/Down",
            Some(Code::ToolArgumentsInvalid),
        ),
        (
            "expire_silence",
            json!({"id": id}),
            "external/alertmanager/silence/4bd5b6cd-1695-432a-ad6a-3c91b9c8bd2f",
            Some(Code::UpstreamNotFound),
        ),
    ] {
        let call = place.frozen(tool, &arguments).await.unwrap();
        assert_eq!(call.targets[0].to_string(), target, "{arguments}");
        let guarded = place.tool(tool).guard(&call).await;
        assert_eq!(guarded.err().map(|error| error.code), guard, "{tool} {arguments}");
    }
    let nothing = place.frozen("silence_alert", &json!({"duration": "1h"})).await.unwrap_err();
    assert_eq!(nothing.code, Code::ToolArgumentsInvalid);
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_silent_and_what_would_not() {
    let place = place().await;
    let wire = |name: &str, label: &str| {
        json!({"fingerprint": name, "startsAt": "2026-01-01T00:00:00Z", "annotations": {},
            "labels": {"alertname": name, "namespace": "default", label: "webapp"},
            "status": {"state": "active", "silencedBy": [], "inhibitedBy": []}})
    };
    place.fake.state.lock().unwrap().alerts = vec![wire("Down", "deployment")];
    let call = place.frozen("silence_alert", &json!({"service": "webapp", "duration": "2h"})).await.unwrap();
    let plan = place.tool("silence_alert").preview(&call).await.unwrap();
    // The labels that a firing alert has, though they are not the likeliest.
    assert_eq!(plan["matchers"], json!(["deployment=\"webapp\"", "namespace=\"default\""]));
    assert_eq!(plan["silences"], json!(["Down"]));
    assert_eq!(place.fake.state.lock().unwrap().writes, 0);
    place.fake.state.lock().unwrap().alerts.clear();
    let plan = place.tool("silence_alert").preview(&call).await.unwrap();
    assert_eq!(plan["matchers"], json!(["namespace=\"default\"", "service=\"webapp\""]));
}
