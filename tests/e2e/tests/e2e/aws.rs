//! The tools of AWS, with moto in the place of AWS, which nobody here wrote. Its deployments are complete at once.

use crate::once::taken_over;
use astradesk_e2e::place::skipped;
use astradesk_e2e::{Between, Pass, Place, Serve, Settings, Which, cli, on_both, test};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The variable that names moto's address.
const TEST_AWS: &str = "ASTRADESK_TEST_AWS";

/// They are not about the cluster.
macro_rules! on_the_sandbox {
    ($($body:ident),+ $(,)?) => {$(
        mod $body {
            #[test]
            fn sandbox() {
                super::test(super::Which::Sandbox, super::on_both!(@binary), super::$body);
            }
        }
    )+};
}

on_the_sandbox!(
    an_ecs_service_is_restarted_once,
    an_ecs_restart_of_a_killed_gateway,
    an_instance_is_rebooted_once,
    a_reboot_whose_reply_is_lost_is_not_asked_for_again,
    without_credentials_it_is_known_at_once,
);

const MAY: &str = r#"
@id("oncall.aws")
permit (
    principal in Role::"sre",
    action in [Action::"restart_ecs_service", Action::"refresh_autoscaling_group"],
    resource
) when { resource.system == "aws" };
@id("oncall.reboot")
permit (principal in Role::"sre", action == Action::"reboot_instance", resource)
when { resource.kind == "ec2-instance" && resource.hasTag("env") && resource.getTag("env") == "test" };
"#;

/// moto, asked by the test itself.
pub(super) struct Moto {
    pub(super) url: String,
    http: reqwest::Client,
    cluster: String,
}

impl Moto {
    /// With a cluster of the test's own, and in it a service `web` with as many tasks.
    pub(super) async fn start(tasks: u32) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let Some(url) = std::env::var(TEST_AWS).ok().filter(|url| !url.is_empty()) else {
            skipped(&format!("no moto at `{TEST_AWS}`; use `cargo xtask test`"));
            return None;
        };
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        let cluster = format!("shop-{}-{number}", std::process::id());
        let moto = Self { url, http, cluster: cluster.clone() };
        moto.ask("CreateCluster", &json!({"clusterName": cluster})).await;
        let container = json!([{"name": "app", "image": "web:1", "memory": 64}]);
        moto.ask("RegisterTaskDefinition", &json!({"family": "web", "containerDefinitions": container}))
            .await;
        let service =
            json!({"cluster": cluster, "serviceName": "web", "taskDefinition": "web", "desiredCount": tasks});
        moto.ask("CreateService", &service).await;
        Some(moto)
    }

    /// A request of EC2's, and its answer.
    async fn ec2(&self, query: &str) -> String {
        let scope = "AWS4-HMAC-SHA256 Credential=id/20260101/eu-central-1/ec2/aws4_request, SignedHeaders=host, Signature=0";
        let request = self.http.post(&self.url).header("authorization", scope);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(format!("{query}&Version=2016-11-15")).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{query}: {status} {text}");
        text
    }

    /// The id of a new instance with these tags.
    pub(super) async fn instance(&self, tags: &[(&str, &str)]) -> String {
        let tag = |(number, (key, value)): (usize, &(&str, &str))| {
            let tag = format!("&TagSpecification.1.Tag.{}", number + 1);
            format!("{tag}.Key={key}{tag}.Value={value}")
        };
        let tags: Vec<String> = tags.iter().enumerate().map(tag).collect();
        let query = format!(
            "Action=RunInstances&ImageId=ami-12c6146b&MinCount=1&MaxCount=1&InstanceType=t3.large\
             &TagSpecification.1.ResourceType=instance{}",
            tags.concat()
        );
        let answer = self.ec2(&query).await;
        let (_, rest) = answer.split_once("<instanceId>").unwrap();
        rest.split_once('<').unwrap().0.to_owned()
    }

    async fn ask(&self, operation: &str, body: &Value) -> Value {
        let request = self.http.post(&self.url).body(body.to_string());
        let request = request.header("content-type", "application/x-amz-json-1.1");
        let request =
            request.header("x-amz-target", format!("AmazonEC2ContainerServiceV20141113.{operation}"));
        let scope = "AWS4-HMAC-SHA256 Credential=id/20260101/eu-central-1/ecs/aws4_request, SignedHeaders=host, Signature=0";
        let answer = request.header("authorization", scope).send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{operation}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The id of the service's deployment.
    async fn deployment(&self) -> String {
        let asked = json!({"cluster": self.cluster, "services": ["web"]});
        let answer = self.ask("DescribeServices", &asked).await;
        answer["services"][0]["deployments"][0]["id"].as_str().unwrap().to_owned()
    }
}

/// AWS at this address, and a file below the home folder, where the SDK's own chain looks for credentials.
pub(super) fn settings(place: &Place, url: &str, credentials: &str) -> Settings {
    let mut settings = Settings::of(place, &[]);
    settings.toml = format!("[aws]\nregion = \"eu-central-1\"\nendpoint = \"{url}\"\n");
    let settings = settings.policies(MAY);
    std::fs::create_dir(settings.state.join(".aws")).unwrap();
    std::fs::write(settings.state.join(".aws/credentials"), credentials).unwrap();
    settings
}

const KEY: &str = "[default]\naws_access_key_id = id\naws_secret_access_key = hunter2-hunter2\n";

async fn an_ecs_service_is_restarted_once(place: &Place) {
    let Some(moto) = Moto::start(2).await else { return };
    let settings = settings(place, &moto.url, KEY);
    let serve = Serve::start(place, &settings).await;
    let before = moto.deployment().await;
    let cluster = moto.cluster.as_str();

    let request = json!({"arguments": {"cluster": cluster, "service": "web"}, "dry_run": true});
    let dry = serve.client.ask("restart_ecs_service", &request).await;
    assert!(dry.body.to_string().contains("would replace all 2 tasks"), "{:#}", dry.body);
    assert_eq!(moto.deployment().await, before);

    let sentence = format!("restart ecs service web in cluster {cluster}");
    let done = serve.client.say_once(&sentence, "key-1").await;
    done.expect_success();
    let after = moto.deployment().await;
    assert_ne!(after, before);
    assert_eq!(done.body["run"]["steps"][0]["output"]["deployment"], after, "{:#}", done.body);
    let target = format!("external/aws/ecs-service/eu-central-1:{cluster}:web");
    assert_eq!(done.body["run"]["steps"][0]["call"]["targets"], json!([target]), "{:#}", done.body);
    let again = serve.client.say_once(&sentence, "key-1").await;
    assert_eq!((again.run(), moto.deployment().await), (done.run(), after));

    for (arguments, status, code) in [
        (json!({"cluster": cluster, "service": "nothing"}), 404, "upstream.not_found"),
        (json!({"cluster": "nowhere", "service": "web"}), 404, "upstream.not_found"),
        (json!({"cluster": cluster}), 422, "tool.arguments_invalid"),
        (json!({"cluster": "a/b", "service": "web"}), 422, "tool.arguments_invalid"),
    ] {
        let refused = serve.client.call("restart_ecs_service", &arguments).await;
        assert_eq!((refused.status, refused.code()), (status, code), "{arguments} {:#}", refused.body);
    }
    let refused = serve.client.call("refresh_autoscaling_group", &json!({"group": "nothing"})).await;
    refused.expect(404, "upstream.not_found");
    let records = serve.client.evidence().await;
    assert!(!format!("{records:?}{}", serve.log()).contains("hunter2"));
    let doctor = cli::embedded(place, &settings, &["doctor"]).await;
    assert!(doctor.out.contains("AWS answers in `eu-central-1`"), "{}", doctor.out);
    let (_, log) = serve.terminate().await;
    assert!(!log.contains("hunter2"));

    // Nobody is there, and then nobody knows who asks.
    let mut deaf = settings.clone();
    deaf.toml = deaf.toml.replace(&moto.url, "http://127.0.0.1:1");
    let serve = Serve::start(place, &deaf).await;
    let call = json!({"cluster": cluster, "service": "web"});
    serve.client.call("restart_ecs_service", &call).await.expect(503, "upstream.unreachable");
    serve.kill().await;
}

/// Its request was done, or never arrives, when the gateway is killed; another one finds out which.
async fn an_ecs_restart_of_a_killed_gateway(place: &Place) {
    for (spoilt, sent) in [(Pass::Deaf, 1), (Pass::Lost, 2)] {
        let Some(moto) = Moto::start(2).await else { return };
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let between = Between::start(&moto.url, move |_, _, body| {
            let is_restart = body.contains("forceNewDeployment");
            if is_restart && count.fetch_add(1, Ordering::SeqCst) == 0 { spoilt } else { Pass::Through }
        });
        let between = between.await;
        let settings = settings(place, &between.url, KEY);
        let (first, second) = Serve::pair(place, &settings).await;
        let before = moto.deployment().await;
        let sentence = format!("restart ecs service web in cluster {}", moto.cluster);
        let started = first.client.start(&sentence).await;
        assert_eq!(started.status, 202, "{:#}", started.body);
        between.withheld().await;
        first.kill().await;
        let run = second.client.ended(started.run()).await;
        assert_eq!(run["state"], "succeeded", "{spoilt:?}: {run:#}");
        let after = moto.deployment().await;
        assert_ne!(after, before, "{spoilt:?}");
        assert_eq!(run["steps"][0]["output"]["deployment"], after, "{spoilt:?}: {run:#}");
        assert_eq!(asked.load(Ordering::SeqCst), sent, "{spoilt:?}");
        taken_over(second.client.evidence_of(started.run()).await, 1);
        second.kill().await;
    }
}

async fn an_instance_is_rebooted_once(place: &Place) {
    let Some(moto) = Moto::start(1).await else { return };
    let (asked, tried) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (done, tried_out) = (asked.clone(), tried.clone());
    let between = Between::start(&moto.url, move |_, _, body| {
        if body.contains("RebootInstances") {
            let which = if body.contains("DryRun=true") { &tried_out } else { &done };
            which.fetch_add(1, Ordering::SeqCst);
        }
        Pass::Through
    });
    let between = between.await;
    let settings = settings(place, &between.url, KEY);
    let serve = Serve::start(place, &settings).await;
    let client = &serve.client;
    let group = ("aws:autoscaling:groupName", "workers");
    let id = moto.instance(&[("Name", "web-1"), ("env", "test"), group]).await;

    let dry = client.ask("reboot_instance", &json!({"arguments": {"instance": id}, "dry_run": true})).await;
    let told = dry.body["preview"]["steps"][0].to_string();
    for words in
        ["would reboot", "(web-1, t3.large)", "system ok, instance ok", "`workers`", "would permit it"]
    {
        assert!(told.contains(words), "{words}: {:#}", dry.body);
    }
    let count = |of: &AtomicUsize| of.load(Ordering::SeqCst);
    assert_eq!((count(&asked), count(&tried)), (0, 1), "a dry run asks AWS for one");

    let sentence = format!("reboot ec2 instance {id} in region eu-central-1 watching for 2s");
    let done = client.say_once(&sentence, "key-1").await;
    done.expect_success();
    let step = &done.body["run"]["steps"][0];
    assert_eq!(step["call"]["targets"], json!([format!("external/aws/ec2-instance/eu-central-1:{id}")]));
    let output = &step["output"];
    assert_eq!(
        (&output["checks"]["instance"], &output["seen"]),
        (&json!("ok"), &Value::Null),
        "{:#}",
        done.body
    );
    assert!(output["user_agent"].as_str().unwrap().contains(done.run()), "{:#}", done.body);
    assert!(output["watched_seconds"].as_u64().unwrap() >= 2, "{:#}", done.body);
    let again = client.say_once(&sentence, "key-1").await;
    assert_eq!((again.run(), asked.load(Ordering::SeqCst)), (done.run(), 1));

    let other = moto.instance(&[("env", "production")]).await;
    moto.ec2(&format!("Action=StopInstances&InstanceId.1={id}")).await;
    for (arguments, status, code) in [
        (json!({"instance": id}), 409, "upstream.conflict"),
        (json!({"instance": other}), 403, "policy.denied"),
        (json!({"instance": "i-0123456789abcdef0"}), 403, "policy.denied"),
        (json!({"instance": "web-1"}), 422, "tool.arguments_invalid"),
        (json!({}), 422, "tool.arguments_invalid"),
        (json!({"instance": id, "region": "us-east-1"}), 422, "tool.arguments_invalid"),
        (json!({"instance": id, "watch": "1m", "timeout": "1m"}), 422, "tool.arguments_invalid"),
    ] {
        let refused = client.call("reboot_instance", &arguments).await;
        assert_eq!((refused.status, refused.code()), (status, code), "{arguments} {:#}", refused.body);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let records = client.evidence().await;
    assert!(!format!("{records:?}{}", serve.log()).contains("hunter2"));
}

/// The gateway is killed while it waits for the reply; the one that goes on does not know whether the instance was rebooted.
async fn a_reboot_whose_reply_is_lost_is_not_asked_for_again(place: &Place) {
    let Some(moto) = Moto::start(1).await else { return };
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let between = Between::start(&moto.url, move |_, _, body| {
        let is_reboot = body.contains("RebootInstances");
        count.fetch_add(usize::from(is_reboot), Ordering::SeqCst);
        if is_reboot { Pass::Deaf } else { Pass::Through }
    });
    let between = between.await;
    let settings = settings(place, &between.url, KEY);
    let (first, second) = Serve::pair(place, &settings).await;
    let id = moto.instance(&[("env", "test")]).await;
    let started = first.client.ask("reboot_instance", &json!({"arguments": {"instance": id}})).await;
    assert_eq!(started.status, 202, "{:#}", started.body);
    between.withheld().await;
    first.kill().await;
    let run = second.client.ended(started.run()).await;
    assert_eq!(run["state"], "outcome_unknown", "{run:#}");
    assert_eq!(run["error"]["code"], "run.outcome_unknown", "{run:#}");
    let remedy = run["error"]["remedy"].as_str().unwrap();
    assert!(remedy.contains("RebootInstances") && remedy.contains(started.run()), "{run:#}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "it is asked for once");
}

/// There are none, because there is no metadata of an instance, or it does not answer; or who gives them does not come to
/// an end.
async fn without_credentials_it_is_known_at_once(place: &Place) {
    let Some(moto) = Moto::start(1).await else { return };
    let silent = Between::start(&moto.url, |_, _, _| Pass::Deaf).await;
    let metadata = |url: &str| format!("ec2_metadata_service_endpoint = {url}");
    let none = (502, "upstream.forbidden", "there are no credentials for AWS");
    let late = (503, "upstream.unreachable", "the credentials for AWS did not come in time");
    for (source, (status, code, says)) in [
        (metadata("http://127.0.0.1:1"), none),
        (metadata(&silent.url), none),
        ("credential_process = sleep 60".to_owned(), late),
    ] {
        let settings = settings(place, &moto.url, "");
        let config = format!("[default]\n{source}\n");
        std::fs::write(settings.state.join(".aws/config"), config).unwrap();
        let serve = Serve::start(place, &settings).await;
        let begun = Instant::now();
        let call = json!({"cluster": moto.cluster, "service": "web"});
        let refused = serve.client.call("restart_ecs_service", &call).await;
        refused.expect(status, code);
        assert!(begun.elapsed() < Duration::from_secs(7), "{source}: {:?}", begun.elapsed());
        assert!(refused.body["detail"].as_str().unwrap().contains(says), "{:#}", refused.body);
        assert!(refused.body["remedy"].as_str().unwrap().contains("aws.profile"), "{:#}", refused.body);
        let doctor = cli::embedded(place, &settings, &["doctor"]).await;
        assert!(doctor.out.contains(says), "{}", doctor.out);
        serve.kill().await;
    }
}
