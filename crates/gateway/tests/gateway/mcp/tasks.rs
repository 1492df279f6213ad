//! Long runs as tasks: polled, their result, cancelled, and found again by another gateway.

use super::{Agent, VERSIONS, facts, params};
use crate::support::store::TestStore;
use crate::support::{Setup, start, start_with, until};
use rmcp::model::{
    CallToolResponse, CallToolResult, CancelTaskParams, ErrorCode, GetTaskParams, Task, TaskPayload,
    TaskStatus, UpdateTaskParams,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Begins a run of `restart_thing`; gives its task.
async fn begin(agent: &Agent, service: &str) -> Task {
    let params = params("restart_thing", &json!({"service": service}), &json!({}));
    match agent.client.peer().call_tool_once(params).await.unwrap() {
        CallToolResponse::Task(created) => created.task,
        other => panic!("no task but {other:?}"),
    }
}

/// Polls until the task has ended.
async fn ended(agent: &Agent, task: &Task) -> TaskPayload {
    let mut payload = TaskPayload::Working;
    until("the task ends", async || {
        payload = agent.client.peer().get_task(GetTaskParams::new(&task.task_id)).await.unwrap().task.payload;
        payload.status().is_terminal()
    })
    .await;
    payload
}

fn result(payload: TaskPayload) -> CallToolResult {
    match payload {
        TaskPayload::Completed { result } => serde_json::from_value(Value::Object(result)).unwrap(),
        other => panic!("not completed but {other:?}"),
    }
}

#[tokio::test]
async fn a_long_run_is_a_task_that_is_polled_to_its_result() {
    let harness = start().await;
    for version in &VERSIONS {
        let agent = Agent::with_tasks(&harness, &harness.admin(), version).await;
        let task = begin(&agent, "slow").await;
        assert_eq!(task.status, TaskStatus::Working);
        let run = harness.get(&format!("/v1/runs/{}", task.task_id), &harness.admin()).await.body;
        assert_eq!(run["created_at"], task.created_at, "the task is the run");
        harness.pack.slow_call().await;
        let polled = agent.client.peer().get_task(GetTaskParams::new(&task.task_id)).await.unwrap().task;
        assert_eq!(
            (polled.status(), polled.task.status_message.as_deref()),
            (TaskStatus::Working, Some("running"))
        );
        // There is nothing that a client could bring.
        agent.client.peer().update_task(UpdateTaskParams::new(&task.task_id, BTreeMap::new())).await.unwrap();
        harness.pack.release();
        let result = result(ended(&agent, &task).await);
        assert_eq!(
            (&facts(&result)["state"], &facts(&result)["output"]["ready"]),
            (&json!("succeeded"), &json!(true))
        );

        // A run that fails is a task that completed, with an error as its result.
        let failed = begin(&agent, "broken").await;
        let failed = super::tasks::result(ended(&agent, &failed).await);
        assert_eq!(
            (failed.is_error, &facts(&failed)["error"]["code"]),
            (Some(true), &json!("rollout.crash_loop"))
        );

        // What is known at once is no task.
        let read = agent.call("get_status", "web").await;
        assert_eq!(facts(&read)["state"], "succeeded");
    }
}

#[tokio::test]
async fn a_task_is_cancelled_as_its_run_is() {
    let harness = start().await;
    for version in &VERSIONS {
        let agent = Agent::with_tasks(&harness, &harness.admin(), version).await;
        let task = begin(&agent, "slow").await;
        harness.pack.slow_call().await;
        let peer = agent.client.peer();
        peer.cancel_task(CancelTaskParams::new(&task.task_id)).await.unwrap();
        assert_eq!(ended(&agent, &task).await, TaskPayload::Cancelled);
        // A task that has ended takes it calmly.
        peer.cancel_task(CancelTaskParams::new(&task.task_id)).await.unwrap();
        let run = harness.get(&format!("/v1/runs/{}", task.task_id), &harness.admin()).await.body;
        assert_eq!(run["state"], "cancelled");
    }
}

#[tokio::test]
async fn a_task_outlives_the_gateway_that_began_it() {
    let store = Arc::new(TestStore::in_memory().await);
    let one = start_with(Setup { store: Some(store.clone()), ..Setup::default() }).await;
    let two = start_with(Setup { store: Some(store), ..Setup::default() }).await;
    let agent = Agent::with_tasks(&one, &one.token("ada", &["sre"]), &VERSIONS[0]).await;
    let task = begin(&agent, "web").await;
    ended(&agent, &task).await;
    drop(agent);
    assert!(one.stop().await);
    let later = Agent::with_tasks(&two, &two.token("ada", &["sre"]), &VERSIONS[0]).await;
    let result = result(ended(&later, &task).await);
    assert_eq!(facts(&result)["state"], "succeeded");
}

#[tokio::test]
async fn who_cannot_follow_tasks_is_given_none() {
    let harness = start().await;
    for version in &VERSIONS {
        let agent = Agent::connect(&harness, &harness.admin(), version).await;
        let params = params("restart_thing", &json!({"service": "web"}), &json!({}));
        let answer = agent.client.peer().call_tool_once(params).await.unwrap();
        let CallToolResponse::Complete(result) = answer else { panic!("no result but {answer:?}") };
        let id = facts(&result)["run"].as_str().unwrap();
        let error = super::refused(agent.client.peer().get_task(GetTaskParams::new(id)).await);
        assert_eq!(error.code, ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY);
    }
}
