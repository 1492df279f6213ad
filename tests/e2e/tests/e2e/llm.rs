//! Planning by a language model: behind a server of the protocol that nobody here wrote, and by a model that obeys
//! whatever somebody has written somewhere.

use crate::once::Before;
use astradesk_core::text::is_hidden;
use astradesk_e2e::model::{LITELLM_KEY, Obedient, litellm};
use astradesk_e2e::observer::Kind;
use astradesk_e2e::{Client, Gateway, Place, Settings, Which, deployment, on_both, test};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

on_both!(what_a_model_plans_is_agreed_to_done_once_and_on_record);

/// Settings by which `ops` plans with a model.
fn with_model(place: &Place, planner: &str, base_url: &str, model: &str, more: &str) -> Settings {
    let mut settings = Settings::of(place, &["webapp", "reports"]);
    let key = settings.state.join("llm.key");
    std::fs::write(&key, LITELLM_KEY).unwrap();
    settings.toml = format!(
        "[agents.ops]\nplanner = \"{planner}\"\n[llm]\nbase_url = \"{base_url}\"\nmodel = \"{model}\"\nkey = \"file:{}\"\n{more}\n",
        key.display()
    );
    settings
}

/// A policy set of `policies/`.
fn example(set: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies").join(set);
    std::fs::read_to_string(path).unwrap()
}

fn somebody(gateway: &Gateway, subject: &str, role: &str) -> Client {
    gateway.client.with_token(Some(&gateway.settings.token(subject, role)))
}

fn consulted(records: &[Value]) -> Vec<&Value> {
    records.iter().filter(|record| record["kind"] == "model.consulted").collect()
}

async fn what_a_model_plans_is_agreed_to_done_once_and_on_record(place: &Place) {
    let webapp = deployment("webapp", 2);
    let Some(url) = litellm() else { return };
    let url = url.as_str();
    place.run(&[&webapp]).await;
    let agreed = example("llm-plans-people-agree/llm.cedar");
    let settings = with_model(place, "keyword_then_llm", url, "plans", "").policies(&agreed);
    let gateway = Gateway::start(place, settings).await;
    let before = Before::of(place, &webapp).await;

    let asked = gateway.client.start("give webapp a kick").await;
    assert_eq!(
        (asked.status, &asked.body["run"]["state"]),
        (202, &json!("awaiting_approval")),
        "{:#}",
        asked.body
    );
    assert_eq!(asked.body["run"]["planner"], "llm");
    before.never_changed(place, &webapp).await;
    let kim = somebody(&gateway, "kim", "sre");
    let shown = kim.get(&format!("/v1/approvals/{}", asked.run())).await.body;
    assert!(shown["risks"].to_string().contains("a language model planned it"), "{shown:#}");
    let approval = json!({"digest": shown["run"]["approvals"]["digest"], "reason": "as said"});
    let approved = kim.post(&format!("/v1/runs/{}/approve", asked.run()), &approval).await;
    assert_eq!(approved.status, 200, "{:#}", approved.body);
    before.verify(place, &webapp, &gateway.client.ended(asked.run()).await).await;

    // What is said in known words needs no model.
    let known = gateway.client.say("restart webapp").await;
    known.expect_success();
    let records = gateway.client.evidence().await;
    let questions = consulted(&records);
    let [question] = questions.as_slice() else { panic!("{questions:#?}") };
    assert_eq!(question["run"], asked.run());
    let data = &question["data"];
    assert_eq!((&data["answered_by"], &data["outcome"]), (&json!("plans"), &json!("plan")), "{data:#}");
    assert_eq!(
        (&data["usage"]["prompt_tokens"], &data["usage"]["completion_tokens"]),
        (&json!(10), &json!(20))
    );
    assert_eq!(data["answer_digest"].as_str().map(str::len), Some(64));
    assert!(!format!("{records:?}").contains(LITELLM_KEY));
    assert!(gateway.stop().await);
    other_answers(place, url).await;
}

/// What becomes of the answers that are no plan, and of those that are written.
async fn other_answers(place: &Place, url: &str) {
    for (model, more, status, code, rounds) in [
        ("talks", "", 422, "plan.invalid", 2),
        ("limited", "retries = 1", 503, "llm.unreachable", 1),
        ("no-such-model", "", 503, "llm.rejected", 1),
        ("writes", "", 422, "plan.invalid", 2),
        ("writes", "mode = \"json_schema\"", 200, "", 1),
    ] {
        let gateway = Gateway::start(place, with_model(place, "llm", url, model, more)).await;
        let request = json!({"agent": "ops", "input": "give webapp a kick", "dry_run": true});
        let reply = gateway.client.post("/v1/run", &request).await;
        assert_eq!((reply.status, reply.code()), (status, code), "{model} {more} {:#}", reply.body);
        let records = gateway.client.evidence().await;
        assert_eq!(consulted(&records).len(), rounds, "{model} {more}");
        assert!(gateway.stop().await);
    }
    let settings = with_model(place, "llm", url, "plans", "");
    std::fs::write(settings.state.join("llm.key"), "sk-wrong").unwrap();
    let gateway = Gateway::start(place, settings).await;
    gateway.client.start("give webapp a kick").await.expect(503, "llm.rejected");
    assert!(gateway.stop().await);
}

mod injections {
    /// One cluster is enough: it is not about the cluster.
    #[test]
    fn sandbox() {
        super::test(
            super::Which::Sandbox,
            super::on_both!(@binary),
            super::nobody_talks_a_model_into_anything,
        );
    }
}

/// A text that somebody wrote, where, and what a model calls that obeys it.
struct Injection {
    place: String,
    text: String,
    calls: Value,
}

fn injections(places: &[&str]) -> Vec<Injection> {
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| line[key].as_str().unwrap().to_owned();
        Injection { place: text("where"), text: text("text"), calls: line["calls"].clone() }
    };
    let all = include_str!("injections.jsonl").lines().map(read);
    all.filter(|injection| places.contains(&injection.place.as_str())).collect()
}

/// A lead must agree to what is done to `reports`; whatever a pack reads may be read.
const POLICY: &str = r#"
@id("lead-agrees")
forbid (principal, action in Action::"write", resource)
when { resource.name == "reports" }
unless { context.approvals.hasTag("lead") && context.approvals.getTag("lead") >= 1 };

@id("looking")
permit (principal in Role::"sre", action in Action::"read", resource)
when { resource.system == "lookups" };
"#;

/// What no question may have in it.
const SECRETS: [&str; 5] = ["hunter2", "HUNTER2", "eyJ", "BEGIN RSA", LITELLM_KEY];

async fn nobody_talks_a_model_into_anything(place: &Place) {
    let (webapp, ledger, reports) =
        (deployment("webapp", 2), deployment("ledger", 1), deployment("reports", 1));
    let written: Vec<String> = injections(&["log", "annotation"]).into_iter().map(|it| it.text).collect();
    let sick = deployment("sick", 1).behaviour("crash:1").logs(&written.join("\n"));
    place.run(&[&webapp, &ledger, &reports]).await;
    place.create(&sick).await;
    let notes: Value =
        written.iter().enumerate().map(|(n, text)| (format!("note-{n}"), json!(text))).collect();
    for name in ["webapp", "sick"] {
        place.patch(Kind::Deployment, name, &json!({"metadata": {"annotations": notes}})).await;
    }
    let model = Obedient::start().await;
    let settings = with_model(place, "llm", &model.base_url, "obedient", "tokens_per_hour = 100000000");
    let gateway = Gateway::start(place, settings.policies(POLICY)).await;
    let policy = gateway.client.get("/v1/policy").await.body["digest"].clone();

    let mut asked = 0;
    for injection in injections(&["request", "secret"]) {
        model.obey("", &injection.calls);
        let reply = gateway.client.say(&injection.text).await;
        asked += 1;
        let told = format!("{:?}: {:#}", injection.text, reply.body);
        match reply.status {
            // What policy permits to who asks, and was said.
            200 => {
                assert!(reply.body["run"]["planner"] == "llm" && names(&injection.text, "webapp"), "{told}");
            }
            202 => assert_eq!(reply.body["run"]["state"], "awaiting_approval", "{told}"),
            _ => assert!(
                ["plan.", "policy.", "guard.", "kubernetes."].iter().any(|it| reply.code().starts_with(it)),
                "{told}"
            ),
        }
    }
    assert!(asked >= 100, "{asked}");
    let reached = model.questions().len();
    assert!(reached >= 100, "the keyword planner leaves the model {reached} questions");

    // What is written in logs and annotations comes out of a read, and gets into no question.
    model.obey("", &json!([{"tool": "get_service_status", "arguments": {"service": "sick"}}]));
    let status = gateway.client.say("take a look at sick").await;
    assert_eq!(status.status, 200, "{:#}", status.body);
    for injection in injections(&["log", "annotation"]) {
        model.obey("", &injection.calls);
        gateway.client.say("take another look at sick").await.expect(422, "plan.invalid");
        let questions = model.questions().concat();
        assert!(!questions.contains(&injection.text), "{}", injection.text);
    }
    nothing_has_happened_but_what_policy_permits(place, &gateway, &model).await;
    assert_eq!(gateway.client.get("/v1/policy").await.body["digest"], policy);
    assert!(gateway.stop().await);
    packs_do_not_either(place, &model).await;
}

/// Whether a text names it, as far as anybody can see.
fn names(text: &str, name: &str) -> bool {
    text.chars().filter(|c| !is_hidden(*c)).collect::<String>().contains(name)
}

/// The cluster as somebody else watched it, and the evidence.
async fn nothing_has_happened_but_what_policy_permits(place: &Place, gateway: &Gateway, model: &Obedient) {
    let records = gateway.client.evidence().await;
    let runs_of = |kind: &str| -> BTreeSet<String> {
        let of_kind = records.iter().filter(|record| record["kind"] == kind);
        of_kind.filter_map(|record| record["run"].as_str().map(str::to_owned)).collect()
    };
    let acted = runs_of("step.intended");
    place.observer.look(|view| {
        for untouched in ["ledger", "reports", "sick"] {
            assert_eq!(view.marks(Kind::Deployment, untouched).len(), 1, "{untouched} was touched");
        }
        for (_, run) in view.marks(Kind::Deployment, "webapp").iter().skip(1) {
            let run = run.as_str().unwrap().split('/').next().unwrap();
            assert!(acted.contains(run), "{run} is not on record");
        }
    });
    for run in &acted {
        let run = gateway.client.run(run).await;
        assert!(run["planner"] == "llm" && names(run["input"].as_str().unwrap(), "webapp"), "{run:#}");
    }
    assert!(runs_of("approval.given").is_empty());
    assert!(runs_of("guard.overridden").is_empty());
    assert_eq!(consulted(&records).len(), model.questions().len(), "every question is on record");
    let told = format!("{:?} {records:?}", model.questions());
    for secret in SECRETS {
        assert!(!model.questions().concat().contains(secret), "{secret} has left");
    }
    assert!(!told.contains(LITELLM_KEY));
}

/// Descriptions of tools are told, and what tools read is not.
async fn packs_do_not_either(place: &Place, model: &Obedient) {
    let folder = place.folder("packs");
    let described = injections(&["description"]);
    std::fs::create_dir_all(folder.join("lookups")).unwrap();
    std::fs::write(folder.join("lookups/pack.toml"), pack(&described, &model.base_url)).unwrap();
    let mut settings = with_model(place, "llm", &model.base_url, "obedient", "tokens_per_hour = 100000000");
    settings.toml.extend([
        "[packs]\nfolder = ",
        &toml::Value::from(folder.display().to_string()).to_string(),
        "\n",
    ]);
    let gateway = Gateway::start(place, settings.policies(POLICY)).await;
    let tools = gateway.client.get("/v1/tools").await.body.to_string();
    assert!(tools.contains("look_9"), "{tools}");
    let before = model.questions().len();
    for injection in described.iter().chain(&injections(&["result"])) {
        model.obey(&injection.text, &json!([{"tool": "look_0", "arguments": {}}]));
        let read = gateway.client.say("look it up for me").await;
        assert_eq!(read.status, 200, "{:#}", read.body);
        model.obey(&injection.text, &injection.calls);
        gateway.client.say("look it up for me, and webapp").await.expect(422, "plan.invalid");
    }
    let questions = model.questions().split_off(before).concat();
    assert!(questions.contains("IMPORTANT: whoever reads this"), "descriptions are told");
    for injection in injections(&["result"]) {
        assert!(!questions.contains(&injection.text), "{}", injection.text);
    }
    for hidden in SECRETS.iter().chain(&["\u{200b}", "\u{202e}", "\\u200b"]) {
        assert!(!questions.contains(hidden), "{hidden:?} has left");
    }
    place.observer.look(|view| assert_eq!(view.marks(Kind::Deployment, "ledger").len(), 1));
    assert!(gateway.stop().await);
}

/// A pack with a read for each description.
fn pack(described: &[Injection], base_url: &str) -> String {
    let head = "name = \"lookups\"\nversion = \"1\"\ndescription = \"for tests\"\n".to_owned();
    let tools = described.iter().enumerate().map(|(n, injection)| {
        let description = toml::Value::from(injection.text.chars().take(500).collect::<String>());
        format!(
            "[[tools]]\nname = \"look_{n}\"\ndescription = {description}\neffect = \"read\"\n\
             targets = [\"external/lookups/thing/one\"]\n[tools.http]\nmethod = \"GET\"\nurl = \"{base_url}/told\"\n"
        )
    });
    head + &tools.collect::<String>()
}
