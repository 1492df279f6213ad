//! What a language model is asked for a plan is on record before its answer is used.

use crate::script::{ada, sentence, submission};
use crate::world::World;
use astradesk_core::canonical::Digest;
use astradesk_core::consultation::{LLM, Usage};
use astradesk_core::{AgentName, Code, Consultation, Error, Plan, Result, Run, ToolSpec};
use astradesk_runtime::engine::{Request, Submission};
use astradesk_runtime::port::{Agent, Names, Pack, Tool};
use async_trait::async_trait;
use serde_json::json;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// Asks a model for everything, and cuts the store off first if the input says so.
struct Asks {
    name: AgentName,
    store: Arc<crate::store::Cut>,
    seen: Mutex<Vec<String>>,
}

fn consultation(outcome: &str) -> Consultation {
    Consultation {
        endpoint: "http://127.0.0.1:1/v1".into(),
        model: "m".into(),
        answered_by: Some("m-1".into()),
        round: 1,
        attempts: 1,
        instructions: "1".into(),
        prompt: vec![json!({"role": "user", "content": "bounce it"})],
        tools: Vec::new(),
        question_digest: Digest::of("q"),
        answer_digest: Some(Digest::of("a")),
        answer_bytes: 1,
        usage: Usage { prompt_tokens: 7, completion_tokens: 3 },
        milliseconds: 5,
        outcome: outcome.into(),
        fault: None,
    }
}

#[async_trait]
impl Agent for Asks {
    fn name(&self) -> &AgentName {
        &self.name
    }
    fn description(&self) -> &'static str {
        "for tests"
    }
    async fn plan(&self, input: &str, tools: &[Arc<ToolSpec>], names: &dyn Names) -> Result<Plan> {
        let may = tools.iter().filter(|tool| names.may_use(tool)).map(|tool| tool.name.to_string());
        self.seen.lock().unwrap().extend(may);
        self.store.down.store(input == "cut", Ordering::SeqCst);
        if input == "refuse" {
            names.consulted(consultation("plan.invalid")).await?;
            return Err(Error::new(Code::PlanInvalid, "no plan"));
        }
        names.consulted(consultation("plan")).await?;
        let Request::Call(call) = submission("restart", "webapp").request else { unreachable!() };
        Ok(Plan { planner: LLM.into(), calls: vec![call], understood: Vec::new() })
    }
    fn reply(&self, _: &Run) -> String {
        String::new()
    }
}

struct Models(Arc<Asks>);

impl Pack for Models {
    fn name(&self) -> &'static str {
        "models"
    }
    fn version(&self) -> &'static str {
        "1"
    }
    fn tools(&self) -> Vec<Arc<dyn Tool>> {
        Vec::new()
    }
    fn agents(&self) -> Vec<Arc<dyn Agent>> {
        vec![self.0.clone()]
    }
}

fn asking() -> (World, Arc<Asks>) {
    let world = World::new();
    let name = AgentName::parse("asks").unwrap();
    let asks = Arc::new(Asks { name, store: world.store.clone(), seen: Mutex::default() });
    world.registry.register(&Models(asks.clone())).unwrap();
    (world, asks)
}

fn say(input: &str) -> Submission {
    let request = Request::Say { agent: "asks".into(), input: input.into() };
    Submission { request, ..sentence("") }
}

#[tokio::test(start_paused = true)]
async fn a_question_is_on_record_before_the_run_that_came_of_it() {
    let (world, asks) = asking();
    world.script.outcome.add_permits(1);
    let keyed = Submission { idempotency_key: Some("k".into()), ..say("restart") };
    let run = world.admitted(keyed).await;
    assert_eq!(run.planner, LLM);
    world.ended(run.id).await;
    let kinds = world.evidence().await;
    assert_eq!(kinds[..2], ["model.consulted", "run.admitted"]);
    let record = &world.records().await[0];
    assert_eq!((&record["run"], &record["principal"]["subject"]), (&json!(run.id), &json!("ada")));
    assert_eq!(record["data"]["answered_by"], "m-1");
    assert_eq!(record["data"]["usage"]["prompt_tokens"], 7);
    let stats = world.engine.stats();
    assert_eq!((stats.consultations, stats.tokens.prompt_tokens, stats.tokens.completion_tokens), (1, 7, 3));
    assert_eq!(*asks.seen.lock().unwrap(), ["look", "restart"]);
}

#[tokio::test]
async fn a_refused_plan_leaves_the_question_and_the_refusal_of_one_request() {
    let (world, _) = asking();
    assert_eq!(world.engine.submit(say("refuse")).await.unwrap_err().code, Code::PlanInvalid);
    assert_eq!(world.evidence().await, ["model.consulted", "request.refused"]);
    let (asked, refused) = (world.told("model.consulted").await, world.told("request.refused").await);
    assert_eq!(asked["request_digest"], refused["request_digest"]);
    assert_eq!(asked["outcome"], refused["code"]);
}

#[tokio::test]
async fn an_answer_that_cannot_be_put_on_record_is_not_used() {
    let (world, _) = asking();
    assert_eq!(world.engine.submit(say("cut")).await.unwrap_err().code, Code::StoreUnavailable);
    world.store.down.store(false, Ordering::SeqCst);
    assert_eq!((world.performed(), world.evidence().await.len()), (0, 0));
}

#[tokio::test]
async fn nobody_asks_a_model_of_tools_that_the_principal_may_not_use() {
    let (world, asks) = asking();
    world.policy.hidden.store(true, Ordering::SeqCst);
    let _ = world.engine.submit(say("refuse")).await;
    assert_eq!(*asks.seen.lock().unwrap(), Vec::<String>::new());
    assert_eq!(world.engine.tools(&ada()).len(), 0);
}
