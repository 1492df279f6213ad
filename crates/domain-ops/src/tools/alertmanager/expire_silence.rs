//! `expire_silence`: ends a silence, by its id.

use super::{SYSTEM, external, keep, kept};
use crate::alertmanager::expire::{self, Ending};
use crate::alertmanager::{Alertmanager, Job};
use crate::tools::kubernetes::text;
use crate::tools::words::{list, slot};
use astradesk_core::name::ExternalName;
use astradesk_core::tool::{Form, Grammar, Slot};
use astradesk_core::{Arguments, Code, Effect, Error, FrozenCall, Result, Target, ToolName, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long looking a silence up may take.
const LOOK: Duration = Duration::from_secs(10);

/// The tool `expire_silence`.
pub struct ExpireSilence {
    alertmanager: Alertmanager,
    spec: Arc<ToolSpec>,
}

impl ExpireSilence {
    /// The tool on an Alertmanager.
    pub fn new(alertmanager: Alertmanager) -> Result<Self> {
        let spec = ToolSpec {
            name: ToolName::parse("expire_silence")?,
            version: "1".to_owned(),
            description: "ends a silence by its id, and succeeds once it is no longer in force; one that has ended stays so"
                .to_owned(),
            effect: Some(Effect::Write),
            input_schema: json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["id"],
                "properties": {
                    "id": {
                        "type": "string",
                        "description": "the silence's id, as `check_alerts` and `silence_alert` give it",
                        "maxLength": 36,
                        "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
                    },
                },
            }),
            timeout: Duration::from_secs(30),
            grammar: Grammar {
                phrases: list(
                    "expire silence, expire the silence, end silence, end the silence, remove silence, remove the silence, delete \
                     silence, delete the silence, unsilence, unmute, zakończ wyciszenie, usuń wyciszenie, zdejmij wyciszenie",
                ),
                nouns: Vec::new(),
                slots: vec![Slot { required: true, ..slot("id", Form::Name) }],
                fillers: Vec::new(),
            },
        };
        Ok(Self { alertmanager, spec: Arc::new(spec) })
    }

    /// The silence as it is.
    async fn ending(&self, id: &str, until: Instant) -> Result<Ending> {
        match self.alertmanager.silence(id, until).await {
            Ok(silence) => Ok(Ending::of(&silence)),
            Err(failure) if failure.error.code == Code::UpstreamNotFound => {
                let message = format!("the Alertmanager knows no silence `{id}`");
                Err(Error::new(Code::UpstreamNotFound, message).with_remedy(
                    "take the id from `check_alerts`; a silence that somebody edits gets a new one",
                ))
            }
            Err(failure) => Err(failure.error),
        }
    }
}

fn id(call: &FrozenCall) -> Result<&str> {
    text(&call.arguments, "id").ok_or_else(|| Error::internal("the silence is not in the arguments"))
}

#[async_trait]
impl Tool for ExpireSilence {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        let name = ExternalName::parse(text(arguments, "id").unwrap_or_default())?;
        Ok(vec![external(SYSTEM, "silence", name)?])
    }

    /// The silences that have not ended.
    async fn candidates(&self, argument: &str) -> Result<Vec<String>> {
        if argument != "id" {
            return Ok(Vec::new());
        }
        let silences = self.alertmanager.silences(Instant::now() + LOOK).await?;
        let open = silences.into_iter().filter(|silence| !silence.has_expired());
        Ok(open.map(|silence| silence.id).collect())
    }

    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.ending(id(call)?, Instant::now() + LOOK).await.map(drop)
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let Ending { silence, had_expired, matchers, by, .. } =
            self.ending(id(call)?, Instant::now() + LOOK).await?;
        let summary = if had_expired {
            format!("silence {silence} of {matchers} has ended already: nothing would be changed")
        } else {
            format!("would end silence {silence} of {matchers}, made by {by}")
        };
        Ok(json!({"summary": summary, "matchers": matchers, "by": by}))
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        Ok(keep(&self.ending(id(&step.call)?, step.deadline).await?)?)
    }

    async fn perform(&self, _permit: &Permit, step: &StepContext) -> Result<Value, Fault> {
        let ending: Ending = kept("intent", &step.intent)?;
        let done = expire::perform(&self.alertmanager, &Job::of(step), &ending).await?;
        Ok(keep(&done)?)
    }

    async fn verify(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        expire::verify(&self.alertmanager, &Job::of(step), &kept("receipt", receipt)?).await
    }
}
