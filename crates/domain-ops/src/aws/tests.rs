//! What AWS's answers mean, from a server that answers as a test says.

use super::ecs::Place;
use super::{Aws, Settings};
use crate::upstream::once::Job;
pub(super) use crate::upstream::testing::Answer;
use crate::upstream::testing::{Asked, Scripted};
use astradesk_core::Code;
use astradesk_runtime::port::Progress;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

pub(super) async fn aws(script: impl FnMut(&Asked) -> Answer + Send + 'static) -> (Aws, Scripted) {
    let server = Scripted::start(script).await;
    let settings = Settings {
        region: "eu-central-1".to_owned(),
        profile: None,
        endpoint: Some(server.url.parse().unwrap()),
        timeout: Duration::from_secs(2),
    };
    (Aws::new(settings), server)
}

pub(super) fn job(repeated: bool, seconds: u64) -> Job {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    Job { mark: "m".to_owned(), repeated, deadline, progress: Progress::default() }
}

#[tokio::test]
async fn each_answer_has_its_code() {
    type Case = (&'static str, fn() -> Answer, Code, usize);
    let cases: Vec<Case> = vec![
        ("denied", || refused(400, "AccessDeniedException"), Code::UpstreamForbidden, 1),
        ("unknown key", || refused(400, "UnrecognizedClientException"), Code::UpstreamForbidden, 1),
        ("no such cluster", || refused(400, "ClusterNotFoundException"), Code::UpstreamNotFound, 1),
        (
            "no such service",
            || Answer::Json(200, json!({"services": [], "failures": []})),
            Code::UpstreamNotFound,
            1,
        ),
        ("throttled", || refused(400, "ThrottlingException"), Code::UpstreamUnreachable, 3),
        ("bad", || refused(400, "InvalidParameterException"), Code::UpstreamRejected, 1),
        ("failed", || refused(500, "ServerException"), Code::UpstreamFailed, 3),
        ("no JSON", || Answer::Text(200, "<html>".to_owned()), Code::UpstreamAnswerInvalid, 3),
        ("broken", || Answer::Break, Code::UpstreamUnreachable, 3),
        ("slow", || Answer::Silence, Code::UpstreamUnreachable, 3),
    ];
    for (name, answer, code, reads) in cases {
        let (aws, server) = aws(move |_| answer()).await;
        let place = Place { cluster: "shop".to_owned(), service: "web".to_owned() };
        let failure = aws.ecs_service(&place, Instant::now() + Duration::from_secs(20)).await.unwrap_err();
        assert_eq!(failure.error.code, code, "{name}: {}", failure.error.message);
        assert_eq!(server.asked().len(), reads, "{name}: how often a read is sent");
        assert!(!format!("{failure:?}").contains("hunter2"), "{name}: {failure:?}");
    }
}

fn refused(status: u16, code: &str) -> Answer {
    Answer::Json(status, json!({"__type": code, "message": "because password=hunter2"}))
}
