use super::super::tests::{Answer, aws, job};
use super::*;
use std::sync::{Arc, Mutex};

fn place() -> Place {
    Place { cluster: "shop".to_owned(), service: "web".to_owned() }
}

fn deployment(id: &str, status: &str, state: &str, running: i32) -> Value {
    json!({"id": id, "status": status, "rolloutState": state, "rolloutStateReason": format!("ECS deployment {id}."),
        "taskDefinition": "web:7", "desiredCount": 2, "runningCount": running, "pendingCount": 0, "failedTasks": 0})
}

fn service(deployments: &[Value]) -> Value {
    json!({"serviceArn": "arn:aws:ecs:eu-central-1:111122223333:service/shop/web", "serviceName": "web", "status": "ACTIVE",
        "taskDefinition": "web:7", "desiredCount": 2, "runningCount": 2, "pendingCount": 0,
        "deploymentConfiguration": {"minimumHealthyPercent": 100},
        "deployments": deployments, "events": [{"id": "e", "createdAt": 0, "message": "(service web) was unable to place a task"}]})
}

fn before() -> Intent {
    Intent { arn: String::new(), task_definition: "web:7".to_owned(), deployments: vec!["old".to_owned()] }
}

/// What becomes of the update requests, one after the other.
#[derive(Clone, Copy, PartialEq)]
enum Spoil {
    Request,
    Reply,
    Fail,
    Throttle,
    Refuse,
    Stranger,
}

#[tokio::test]
async fn one_deployment_is_begun_whatever_becomes_of_the_request() {
    for (name, repeated, spoil, sent, begun, code) in [
        ("nothing goes wrong", false, vec![], 1, 1, None),
        ("the request is lost", false, vec![Spoil::Request], 2, 1, None),
        ("the reply is lost", false, vec![Spoil::Reply], 1, 1, None),
        ("it fails", false, vec![Spoil::Fail], 2, 1, None),
        ("it is throttled", false, vec![Spoil::Throttle], 2, 1, None),
        ("an earlier process did not send it", true, vec![], 1, 1, None),
        ("it may not", false, vec![Spoil::Refuse], 1, 0, Some(Code::UpstreamForbidden)),
        ("it may not any more", false, vec![Spoil::Fail, Spoil::Refuse], 2, 0, Some(Code::RunOutcomeUnknown)),
        ("somebody else deploys", false, vec![Spoil::Stranger], 1, 0, Some(Code::RunOutcomeUnknown)),
    ] {
        let state = Arc::new(Mutex::new((spoil, 0, vec![deployment("old", "PRIMARY", "COMPLETED", 2)])));
        let shared = state.clone();
        let (aws, server) = aws(move |asked| {
            let (spoil, begun, deployments) = &mut *shared.lock().unwrap();
            if asked.target.ends_with("DescribeServices") {
                return Answer::Json(200, json!({"services": [service(deployments)], "failures": []}));
            }
            assert_eq!(asked.body["forceNewDeployment"], true);
            let mut add = |definition: &str| {
                let mut new = deployment(&format!("new-{begun}"), "PRIMARY", "IN_PROGRESS", 0);
                new["taskDefinition"] = json!(definition);
                deployments[0]["status"] = json!("ACTIVE");
                deployments.insert(0, new);
            };
            let next = if spoil.is_empty() { None } else { Some(spoil.remove(0)) };
            match next {
                Some(Spoil::Request) => return Answer::Break,
                Some(Spoil::Fail) => {
                    return Answer::Json(500, json!({"__type": "ServerException", "message": "no"}));
                }
                Some(Spoil::Throttle) => {
                    return Answer::Json(
                        400,
                        json!({"__type": "ThrottlingException", "message": "Rate exceeded"}),
                    );
                }
                Some(Spoil::Refuse) => {
                    return Answer::Json(
                        400,
                        json!({"__type": "AccessDeniedException", "message": "not authorized"}),
                    );
                }
                Some(Spoil::Stranger) => {
                    add("web:8");
                    return Answer::Break;
                }
                Some(Spoil::Reply) | None => {}
            }
            add("web:7");
            *begun += 1;
            if next == Some(Spoil::Reply) {
                Answer::Break
            } else {
                Answer::Json(200, json!({"service": service(deployments)}))
            }
        })
        .await;
        let done = perform(&aws, &job(repeated, 30), &place(), &before()).await;
        match (done, code) {
            (Ok(receipt), None) => assert_eq!(receipt.deployment, "new-0", "{name}"),
            (Err(Fault::Failed(error) | Fault::Unknown(error)), Some(code)) => {
                assert_eq!(error.code, code, "{name}: {error}");
            }
            (done, _) => panic!("{name}: {done:?}"),
        }
        let updates = server.asked().iter().filter(|asked| asked.target.ends_with("UpdateService")).count();
        assert_eq!((updates, state.lock().unwrap().1), (sent, begun), "{name}: requests, deployments");
    }
}

#[tokio::test]
async fn each_end_of_a_deployment_has_its_code_and_what_ecs_says() {
    let new = |state: &str, running| deployment("new", "PRIMARY", state, running);
    let mut other = deployment("other", "PRIMARY", "IN_PROGRESS", 0);
    other["taskDefinition"] = json!("web:8");
    let mut gone = service(&[]);
    gone["status"] = json!("INACTIVE");
    let mut rolled_back = service(&[deployment("back", "PRIMARY", "IN_PROGRESS", 1)]);
    rolled_back["events"] = json!([{"id": "e", "createdAt": 0, "message": "(service web) (deployment new) deployment failed: tasks failed to start."}]);
    for (name, described, code) in [
        ("complete", service(&[new("COMPLETED", 2)]), None),
        (
            "old tasks are left",
            service(&[new("COMPLETED", 2), deployment("old", "ACTIVE", "COMPLETED", 1)]),
            Some(Code::RolloutTimedOut),
        ),
        ("slow", service(&[new("IN_PROGRESS", 1)]), Some(Code::RolloutTimedOut)),
        ("failed", service(&[new("FAILED", 0)]), Some(Code::UpstreamNotVerified)),
        ("rolled back by the circuit breaker", rolled_back, Some(Code::UpstreamNotVerified)),
        ("somebody deploys another one", service(&[other]), Some(Code::RolloutSuperseded)),
        ("deleted", gone, Some(Code::RolloutWorkloadDeleted)),
    ] {
        let (aws, _server) = aws(move |asked| match asked.target.rsplit('.').next() {
            Some("DescribeServices") => Answer::Json(200, json!({"services": [described], "failures": []})),
            Some("ListTasks") => Answer::Json(200, json!({"taskArns": ["arn:t"]})),
            _ => Answer::Json(200, json!({"tasks": [
                {"startedBy": "new", "stoppedReason": "Essential container in task exited",
                 "containers": [{"name": "app", "exitCode": 137, "reason": "OutOfMemoryError: token=hunter2"}]},
                {"startedBy": "old", "stoppedReason": "Scaling activity"}]})),
        })
        .await;
        let receipt = Receipt { deployment: "new".to_owned() };
        match (verify(&aws, &job(false, 1), &place(), &receipt).await, code) {
            (Ok(output), None) => assert_eq!(output["running"], 2, "{name}"),
            (Err(Fault::Failed(error)), Some(code)) => {
                assert_eq!(error.code, code, "{name}: {error}");
                if code != Code::RolloutSuperseded && code != Code::RolloutWorkloadDeleted {
                    assert!(error.message.contains("exit code 137: OutOfMemoryError"), "{name}: {error}");
                    assert!(!format!("{error:?}").contains("hunter2"), "{name}: {error:?}");
                }
            }
            (done, _) => panic!("{name}: {done:?}"),
        }
    }
}

#[tokio::test]
async fn nobody_knows_what_came_of_it_if_nobody_can_look() {
    let (aws, _server) = aws(|_| Answer::Break).await;
    let receipt = Receipt { deployment: "new".to_owned() };
    let fault = verify(&aws, &job(false, 1), &place(), &receipt).await.unwrap_err();
    assert!(matches!(&fault, Fault::Unknown(error) if error.code == Code::RunOutcomeUnknown), "{fault:?}");
}

#[tokio::test]
async fn an_insane_moment_is_refused() {
    type Edit = fn(&mut Value);
    let cases: [(&str, Edit, Option<Code>); 7] = [
        ("sane", |_| {}, None),
        ("draining", |s| s["status"] = json!("DRAINING"), Some(Code::UpstreamConflict)),
        (
            "CodeDeploy's",
            |s| s["deploymentController"] = json!({"type": "CODE_DEPLOY"}),
            Some(Code::UpstreamConflict),
        ),
        ("scaled to zero", |s| s["desiredCount"] = json!(0), Some(Code::GuardScaledToZero)),
        (
            "under way",
            |s| s["deployments"][0]["rolloutState"] = json!("IN_PROGRESS"),
            Some(Code::GuardRolloutInProgress),
        ),
        (
            "all at once",
            |s| s["deploymentConfiguration"] = json!({"minimumHealthyPercent": 0}),
            Some(Code::GuardDowntime),
        ),
        ("half of two", |s| s["deploymentConfiguration"] = json!({"minimumHealthyPercent": 50}), None),
    ];
    for (name, edit, code) in cases {
        let mut described = service(&[deployment("old", "PRIMARY", "COMPLETED", 2)]);
        edit(&mut described);
        let (aws, _server) =
            aws(move |_| Answer::Json(200, json!({"services": [described], "failures": []}))).await;
        let deadline = Instant::now() + std::time::Duration::from_secs(5);
        let service = aws.ecs_service(&place(), deadline).await.unwrap();
        assert_eq!(sane(&service, false).err().map(|error| error.code), code, "{name}");
        assert_eq!(sane(&service, true).is_ok(), code.is_none() || name == "all at once", "{name}");
    }
}
