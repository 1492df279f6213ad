//! A tool whose effect is nothing, and costs nothing.

use astradesk_core::run::StepState;
use astradesk_core::{Arguments, Effect, FrozenCall, Result, RunId, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Agent, EvidenceFilter, Fault, Pack, StepContext, Store, Tool};
use astradesk_store::SqliteStore;
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The tool's name.
pub(crate) const NAME: &str = "touch";

/// Has no effect, and notes whose it would have been.
pub(crate) struct Touch {
    spec: Arc<ToolSpec>,
    /// The runs whose effect was performed.
    performed: Mutex<Vec<RunId>>,
    /// Another handle on the same file, by which the intent is looked for before each effect.
    witness: Option<SqliteStore>,
}

impl Touch {
    pub(crate) fn new(witness: Option<SqliteStore>) -> Result<Self> {
        let name = json!({"type": "string"});
        let spec = ToolSpec {
            name: ToolName::parse(NAME)?,
            version: "1".to_owned(),
            description: "Touches a Deployment and changes nothing.".to_owned(),
            effect: Some(Effect::Write),
            input_schema: json!({
                "type": "object", "additionalProperties": false, "required": ["name"], "properties": {"name": name},
            }),
            timeout: Duration::from_mins(1),
            grammar: astradesk_core::tool::Grammar::default(),
        };
        Ok(Self { spec: Arc::new(spec), performed: Mutex::default(), witness })
    }

    /// The runs whose effect was performed, in that order.
    pub(crate) fn performed(&self) -> Vec<RunId> {
        self.performed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether another reader of the file sees the run with its intent, and the record of that.
    async fn is_on_record(store: &SqliteStore, step: &StepContext) -> Result<bool> {
        let run = store.run(step.run).await?;
        let step_of = run.as_ref().and_then(|run| run.steps.get(step.step));
        let intended = step_of.is_some_and(|step| matches!(step.state, StepState::Intended { .. }));
        let filter = EvidenceFilter {
            run: Some(step.run),
            kinds: vec!["step.intended".to_owned()],
            limit: 2,
            ..EvidenceFilter::default()
        };
        Ok(intended && store.evidence(&filter).await?.len() == 1)
    }
}

#[async_trait]
impl Tool for Touch {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        let name = arguments.get("name").and_then(Value::as_str).unwrap_or_default();
        Ok(vec![format!("kubernetes/bench/default/deployment/{name}").parse()?])
    }

    async fn preview(&self, _: &FrozenCall) -> Result<Value> {
        Ok(Value::Null)
    }

    async fn perform(&self, _: &Permit, step: &StepContext) -> Result<Value, Fault> {
        if let Some(witness) = &self.witness
            && !Self::is_on_record(witness, step).await?
        {
            let message = format!("the effect of run {} comes before its evidence", step.run);
            return Err(Fault::Failed(astradesk_core::Error::internal(message)));
        }
        self.performed.lock().unwrap_or_else(PoisonError::into_inner).push(step.run);
        Ok(json!({"touched": true}))
    }
}

/// The tool, by itself.
pub(crate) struct TouchPack(pub(crate) Arc<Touch>);

impl Pack for TouchPack {
    fn name(&self) -> &'static str {
        "bench"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn tools(&self) -> Vec<Arc<dyn Tool>> {
        vec![self.0.clone()]
    }

    fn agents(&self) -> Vec<Arc<dyn Agent>> {
        Vec::new()
    }
}
