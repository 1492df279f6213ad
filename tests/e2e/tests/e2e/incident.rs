//! An incident from the alert to the evidence, with a real Prometheus, which alerts, and a real Alertmanager. What the
//! command line says is docs/incident.md: `ASTRADESK_UPDATE_TRANSCRIPTS=1` writes it anew, on the sandbox.

use astradesk_e2e::alerting::Alerting;
use astradesk_e2e::metrics::{Monitoring, Service};
use astradesk_e2e::observer::Kind;
use astradesk_e2e::{Place, Settings, deployment, on_both, transcript};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

on_both!(told_from_the_alert_to_the_evidence);

/// Who is on call may look at alerts and end silences; the rest is permitted by the built-in policy.
const MAY: &str = r#"
@id("oncall.silences")
permit (principal in Role::"sre", action == Action::"expire_silence", resource)
when { resource.system == "alertmanager" };
"#;
/// The page that tells it.
const PAGE: &str = "incident.md";
const INTRODUCTION: &str = "# An incident, told end to end

A rollout goes wrong, an alert fires, and who is on call brings the service back, by what AstraDesk offers alone. Every output is that of a
real run against the embedded cluster, with a real Prometheus, whose rule fires the alert, and a real Alertmanager;
`tests/e2e/tests/e2e/incident.rs` is the test, and writes this page. It runs against a real control plane as well.

`astradesk.toml` names both, `ALLOWED_SERVICES=webapp`, and `ALLOWED_TOOLS` has `rollback_service` and `silence_alert`; a policy permits
`expire_silence`. Somebody has just brought out `webapp:2`.
";

async fn told_from_the_alert_to_the_evidence(place: &Place) {
    let (Some(monitoring), Some(alerting)) = (Monitoring::find(), Alerting::find()) else { return };
    let webapp = deployment("webapp", 4).spec(&json!({"strategy": {"rollingUpdate": {"maxUnavailable": 2}}}));
    place.run(&[&webapp]).await;
    let service = monitoring.service(place, "webapp").await;
    let settings = settings(place, &monitoring, &alerting);
    let mut story = Story { place, settings: &settings, page: INTRODUCTION.to_owned() };

    bring_out(place, &service).await;
    let firing =
        format!("ALERTS{{alertstate=\"firing\",namespace=\"{}\",service=\"webapp\"}}", place.namespace);
    monitoring.until(&firing).await;
    alerting.until_loud(&place.namespace).await;

    let alerts = story.tell("The alert fires", "", &["run", "check alerts for webapp"]).await;
    assert!(alerts.contains("ManyErrors"), "{alerts}");
    let said = "Nobody else need be woken while somebody works on it. A silence is bounded, and says by whose run it is.";
    let silenced = story
        .tell("It is silenced while somebody works on it", said, &["run", "silence webapp for 30m"])
        .await;
    let status = story.tell("The status names the cause", "", &["run", "status webapp"]).await;
    assert!(status.contains("crash"), "{status}");
    let said = "Half of the pods serve still, and so much fails:";
    let metrics = ["call", "get_metrics", "service=webapp", "window=15s"];
    assert!(story.tell("The metrics show how bad it is", said, &metrics).await.contains("error_rate"));

    let said = "First what it would do:";
    let rollback = ["call", "rollback_service", "service=webapp", "check=error_rate < 5% for 5s"];
    let would = story.tell("The rollback", said, &[&rollback[..], &["--dry-run"]].concat()).await;
    assert!(would.contains("webapp:2"), "{would}");
    let said = "Then it is done, once. It has succeeded when every pod is of the revision before, none of the other is left, **and** the \
                share of errors has stayed under 5 % for the time that the check says; else it would have failed.";
    let healed = heal(place, &service);
    let (back, ()) = tokio::join!(story.say(said, &rollback), healed);
    assert!(back.contains("held"), "{back}");

    let id = silenced
        .split_whitespace()
        .filter_map(|word| uuid::Uuid::parse_str(word.trim_end_matches([';', '.'])).ok());
    let id = format!("id={}", id.collect::<Vec<_>>().last().unwrap());
    let ended = story.tell("The silence is ended", "", &["call", "expire_silence", &id]).await;
    assert!(ended.contains("webapp") || ended.contains("ended"), "{ended}");
    let quiet = format!("absent({firing})");
    monitoring.until(&quiet).await;

    let said = "Every call of it is a run, and every decision, intent and outcome is in the chain of evidence, which cannot be edited \
                afterwards.";
    let runs = story.tell("The evidence", said, &["runs", "list"]).await;
    assert!(runs.contains("rollback_service"), "{runs}");
    let verified = story.say("", &["audit", "verify"]).await;
    assert!(verified.contains("records"), "{verified}");
    story.end();
}

fn settings(place: &Place, monitoring: &Monitoring, alerting: &Alerting) -> Settings {
    let mut settings = Settings::of(place, &["webapp"]);
    settings.toml = format!("{}[alertmanager]\nbase_url = \"{}\"\n", monitoring.toml(), alerting.url);
    settings.policies(MAY)
}

/// A version whose pods crash: four of ten requests fail while half of the old pods are gone.
async fn bring_out(place: &Place, service: &Service) {
    let container = json!({"name": "app", "image": "registry.example.com/webapp:2"});
    let annotations = json!({
        "sandbox.astradesk.dev/behaviour": "crash:1",
        "sandbox.astradesk.dev/logs": "starting\npanic: DATABASE_URL is not set",
    });
    let template = json!({"metadata": {"annotations": annotations}, "spec": {"containers": [container]}});
    place.patch(Kind::Deployment, "webapp", &json!({"spec": {"template": template}})).await;
    service.fail(4);
}

/// No request fails any more once the template is the one of before.
async fn heal(place: &Place, service: &Service) {
    let is_back = |webapp: &Value| {
        webapp["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example.com/webapp:1"
    };
    while !is_back(&place.get(Kind::Deployment, "webapp").await) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    service.fail(0);
}

/// What was said and answered, as a page.
struct Story<'a> {
    place: &'a Place,
    settings: &'a Settings,
    page: String,
}

impl Story<'_> {
    /// A chapter that begins with a command.
    async fn tell(&mut self, title: &str, words: &str, arguments: &[&str]) -> String {
        write!(self.page, "\n## {title}\n").unwrap();
        self.say(words, arguments).await
    }

    /// Runs a command, which must succeed, and tells what it printed.
    async fn say(&mut self, words: &str, arguments: &[&str]) -> String {
        let (said, shown) = transcript::say(self.place, self.settings, arguments, 0).await;
        let words = if words.is_empty() { String::new() } else { format!("\n{words}\n") };
        write!(self.page, "{words}\n{shown}").unwrap();
        format!("{}{}", said.err, said.out)
    }

    fn end(self) {
        if transcript::is_wanted(self.place) {
            std::fs::write(transcript::page(PAGE), self.page).unwrap();
        }
    }
}
