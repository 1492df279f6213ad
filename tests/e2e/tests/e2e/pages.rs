//! What the pages of Prometheus, the Alertmanager and AWS show is what commands print: `ASTRADESK_UPDATE_TRANSCRIPTS=1`
//! writes it anew.

use crate::aws::{Moto, settings as of_aws};
use astradesk_e2e::alerting::Alerting;
use astradesk_e2e::metrics::Monitoring;
use astradesk_e2e::observer::{Kind, View, is_complete};
use astradesk_e2e::{Place, Settings, Which, deployment, on_both, test, transcript};
use serde_json::json;

/// Pages show the sandbox.
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

on_the_sandbox!(prometheus, alertmanager, instances);

const MAY: &str = r#"
permit (principal in Role::"sre", action == Action::"query_metrics", resource) when { resource.system == "prometheus" };
permit (principal in Role::"sre", action == Action::"expire_silence", resource) when { resource.system == "alertmanager" };
"#;

async fn prometheus(place: &Place) {
    let Some(monitoring) = Monitoring::find() else { return };
    place.run(&[&deployment("webapp", 2)]).await;
    let service = monitoring.service(place, "webapp").await;
    let settings = Settings { toml: monitoring.toml(), ..Settings::of(place, &["webapp"]) }.policies(MAY);
    let holds = ["call", "restart_service", "service=webapp", "check=error_rate < 5% for 10s"];
    let (_, shown) = transcript::say(place, &settings, &holds, 0).await;
    assert!(shown.contains("held"), "{shown}");
    transcript::write(place, "prometheus.md", "check_holds", &shown);

    let breaks =
        ["call", "restart_service", "service=webapp", "check=error_rate < 5% for 20s", "on_failure=undo"];
    let before = place.observer.look(|view| view.marks(Kind::Deployment, "webapp").len());
    let failing = async {
        let rolled_out = |view: &View| {
            let restarted = view.marks(Kind::Deployment, "webapp").len() > before;
            (restarted && is_complete(Kind::Deployment, view.workload(Kind::Deployment, "webapp")?))
                .then_some(())
        };
        place.observer.until("it is rolled out anew", rolled_out).await;
        service.fail(4);
    };
    let ((_, shown), ()) = tokio::join!(transcript::say(place, &settings, &breaks, 1), failing);
    assert!(shown.contains("metrics.check_failed") && shown.contains("undo"), "{shown}");
    transcript::write(place, "prometheus.md", "check_breaks", &shown);

    let promql =
        format!("promql=sum by (code) (rate(http_requests_total{{namespace=\"{}\"}}[5s]))", place.namespace);
    let query = ["call", "query_metrics", &promql, "window=30s", "step=1s"];
    let (_, shown) = transcript::say(place, &settings, &query, 0).await;
    assert!(shown.contains("code"), "{shown}");
    transcript::write(place, "prometheus.md", "query_metrics", &shown);
}

async fn alertmanager(place: &Place) {
    let Some(alerting) = Alerting::find() else { return };
    place.run(&[&deployment("webapp", 1)]).await;
    for (alert, label) in [("HighLatency", "service"), ("ReplicasMismatch", "deployment")] {
        let labels = json!({"alertname": alert, "namespace": place.namespace, label: "webapp"});
        alerting.fire(&labels).await;
    }
    let mut settings = Settings::of(place, &["webapp"]);
    settings.toml = format!("[alertmanager]\nbase_url = \"{}\"\n", alerting.url);
    let settings = settings.policies(MAY);
    let (_, shown) = transcript::say(place, &settings, &["run", "silence webapp for 2h"], 0).await;
    assert!(shown.contains("with other labels: ReplicasMismatch"), "{shown}");
    transcript::write(place, "alertmanager.md", "silence_alert", &shown);
    let made = alerting.silences(&place.namespace).await;
    let id = format!("id={}", made[0]["id"].as_str().unwrap());
    let (_, shown) = transcript::say(place, &settings, &["call", "expire_silence", &id], 0).await;
    assert!(shown.contains("heard again: HighLatency"), "{shown}");
    transcript::write(place, "alertmanager.md", "expire_silence", &shown);
}

async fn instances(place: &Place) {
    let Some(moto) = Moto::start(1).await else { return };
    let id = moto.instance(&[("Name", "web-1"), ("env", "test")]).await;
    let settings = of_aws(
        place,
        &moto.url,
        "[default]\naws_access_key_id = id\naws_secret_access_key = hunter2-hunter2\n",
    );
    let (instance, watch) = (format!("instance={id}"), "watch=10s");
    let dry = ["call", "reboot_instance", &instance, watch, "--dry-run"];
    let (_, would) = transcript::say(place, &settings, &dry, 0).await;
    let (_, did) = transcript::say(place, &settings, &["call", "reboot_instance", &instance, watch], 0).await;
    assert!(would.contains("would reboot") && did.contains("AWS accepted the reboot"), "{would}{did}");
    transcript::write(place, "aws.md", "reboot_instance_dry", &would);
    transcript::write(place, "aws.md", "reboot_instance", &did);
}
