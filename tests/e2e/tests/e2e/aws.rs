//! The tools of AWS, with moto in the place of AWS, which nobody here wrote. Its deployments are complete at once.

use astradesk_e2e::place::skipped;
use astradesk_e2e::{Place, Serve, Settings, Which, cli, on_both, test};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

/// The variable that names moto's address.
const TEST_AWS: &str = "ASTRADESK_TEST_AWS";

mod an_ecs_service {
    /// It is not about the cluster.
    #[test]
    fn sandbox() {
        super::test(super::Which::Sandbox, super::on_both!(@binary), super::an_ecs_service_is_restarted_once);
    }
}

const MAY: &str = r#"
@id("oncall.aws")
permit (
    principal in Role::"sre",
    action in [Action::"restart_ecs_service", Action::"refresh_autoscaling_group"],
    resource
) when { resource.system == "aws" };
"#;

/// moto, asked by the test itself.
struct Moto {
    url: String,
    http: reqwest::Client,
    cluster: String,
}

impl Moto {
    /// With a cluster of the test's own, and in it a service `web` with as many tasks.
    async fn start(tasks: u32) -> Option<Self> {
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

async fn an_ecs_service_is_restarted_once(place: &Place) {
    let Some(moto) = Moto::start(2).await else { return };
    let mut settings = Settings::of(place, &[]);
    settings.toml = format!("[aws]\nregion = \"eu-central-1\"\nendpoint = \"{}\"\n", moto.url);
    let settings = settings.policies(MAY);
    // Where the SDK's own chain looks for them: below the home folder.
    std::fs::create_dir(settings.state.join(".aws")).unwrap();
    let credentials = "[default]\naws_access_key_id = id\naws_secret_access_key = hunter2-hunter2\n";
    std::fs::write(settings.state.join(".aws/credentials"), credentials).unwrap();
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
