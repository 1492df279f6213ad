//! What AWS's answers mean, from a server that answers as a test says.

use super::ecs::Place;
use super::{Aws, Inner, Settings, ec2};
use crate::upstream::Applied;
use crate::upstream::once::Job;
pub(super) use crate::upstream::testing::Answer;
use crate::upstream::testing::{Asked, Scripted};
use astradesk_core::Code;
use astradesk_runtime::port::Progress;
use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::{error::CredentialsError, future};
use aws_sdk_ecs::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub(super) async fn aws(script: impl FnMut(&Asked) -> Answer + Send + 'static) -> (Aws, Scripted) {
    let server = Scripted::start(script).await;
    let known = Credentials::new("id", "hunter2", None, None, "test");
    (known_by(&server.url, SharedCredentialsProvider::new(known)), server)
}

fn known_by(url: &str, credentials: SharedCredentialsProvider) -> Aws {
    let settings = Settings {
        region: "eu-central-1".to_owned(),
        profile: None,
        endpoint: Some(url.parse().unwrap()),
        timeout: Duration::from_secs(2),
    };
    Aws(Arc::new(Inner { settings, credentials: Some(credentials), clients: OnceCell::new() }))
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

/// A provider of credentials that has none, or takes its time.
#[derive(Debug)]
enum Provider {
    None,
    Broken,
    Slow,
}

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            match self {
                Self::None => Err(CredentialsError::not_loaded("no providers in chain provided credentials")),
                Self::Broken => Err(CredentialsError::provider_error("token=hunter2 has expired")),
                Self::Slow => std::future::pending().await,
            }
        })
    }
}

#[tokio::test]
async fn without_credentials_nothing_is_sent_and_it_is_known_at_once() {
    for (name, provider, code) in [
        ("none", Provider::None, Code::UpstreamForbidden),
        ("broken", Provider::Broken, Code::UpstreamForbidden),
        ("slow", Provider::Slow, Code::UpstreamUnreachable),
    ] {
        let server = Scripted::start(|_| Answer::Break).await;
        let aws = known_by(&server.url, SharedCredentialsProvider::new(provider));
        let place = Place { cluster: "shop".to_owned(), service: "web".to_owned() };
        let begun = Instant::now();
        let until = begun + Duration::from_secs(20);
        let failures = [
            aws.ecs_service(&place, until).await.unwrap_err(),
            aws.instance("i-01234567", until).await.unwrap_err(),
        ];
        // Half of a request's time each, which is 2 s here.
        assert!(begun.elapsed() < Duration::from_millis(3500), "{name}: {:?}", begun.elapsed());
        for failure in failures {
            assert_eq!(failure.error.code, code, "{name}: {}", failure.error.message);
            assert_eq!((failure.applied, failure.is_transient), (Applied::No, false), "{name}");
            assert!(failure.error.message.contains("credentials"), "{name}: {}", failure.error.message);
            assert!(failure.error.remedy.contains("aws.profile"), "{name}");
            assert!(!format!("{failure:?}").contains("hunter2"), "{name}: {failure:?}");
        }
        assert_eq!(server.asked(), [], "{name}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_broken_off() {
    let (aws, _server) = aws(|_| Answer::Text(200, " ".repeat(super::limit::LARGEST + 1))).await;
    let place = Place { cluster: "shop".to_owned(), service: "web".to_owned() };
    let until = Instant::now() + Duration::from_secs(20);
    for failure in [
        aws.ecs_service(&place, until).await.unwrap_err(),
        aws.group_size("workers", until).await.unwrap_err(),
        aws.instance("i-01234567", until).await.unwrap_err(),
    ] {
        assert_eq!(failure.error.code, Code::UpstreamAnswerInvalid);
        assert!(failure.error.message.contains("more than"), "{}", failure.error.message);
    }
}

/// As EC2's own SDK resolves them (1.274).
#[tokio::test]
async fn ec2_is_where_its_own_sdk_finds_it() {
    for (region, fips, dual, address) in [
        ("eu-central-1", false, false, "https://ec2.eu-central-1.amazonaws.com"),
        ("cn-north-1", false, false, "https://ec2.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", false, false, "https://ec2.us-gov-west-1.amazonaws.com"),
        ("ca-central-1", true, false, "https://ec2-fips.ca-central-1.amazonaws.com"),
        ("eu-west-1", false, true, "https://ec2.eu-west-1.api.aws"),
    ] {
        let sdk =
            SdkConfig::builder().region(Region::new(region)).use_fips(fips).use_dual_stack(dual).build();
        assert_eq!(ec2::address(&sdk).await.as_deref(), Some(address));
    }
    let sdk =
        SdkConfig::builder().region(Region::new("eu-west-1")).endpoint_url("http://127.0.0.1:1/").build();
    assert_eq!(ec2::address(&sdk).await.as_deref(), Some("http://127.0.0.1:1/"));
}

#[test]
fn no_answer_of_ec2_is_too_odd_to_be_read() {
    for text in [
        "",
        "<",
        "<a",
        "<a>",
        "</a>",
        "<a></b></a></a>",
        "<a/><b/>",
        "\u{feff}<a/>",
        "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
        "<a><reservationSet><item><instancesSet><item><instanceId>&#0;</instanceId>",
    ] {
        assert_eq!(
            super::xml::instances(text).first().map(|one| one.id.as_str()).unwrap_or_default(),
            "",
            "{text}"
        );
        assert!(super::xml::status(text, "i").is_none() && !super::xml::is_answer_to("b", text), "{text}");
        super::xml::refusal(text);
    }
    let deep = "<a>".repeat(200_000);
    assert!(super::xml::instances(&deep).is_empty());
}
