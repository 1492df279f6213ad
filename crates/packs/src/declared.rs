//! A tool of a pack, behind the Tool port.

use crate::command::Command;
use crate::http::Http;
use crate::kubernetes::Patch;
use crate::mcp::Mcp;
use crate::parameters::Parameters;
use crate::secret::Secrets;
use crate::template::{For, Template, Values, unfit};
use astradesk_core::{Arguments, Code, Effect, Error, Facts, FrozenCall, Result, Target, ToolSpec};
use astradesk_runtime::Permit;
use astradesk_runtime::port::{Fault, StepContext, Tool};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;

/// A tool as its pack declares it.
pub(crate) struct Declared {
    pub(crate) spec: Arc<ToolSpec>,
    pub(crate) parameters: Parameters,
    pub(crate) targets: Vec<Template>,
    pub(crate) summary: Option<Template>,
    pub(crate) action: Action,
}

/// What it does.
pub(crate) enum Action {
    /// It sends a request.
    Http(Box<Http>),
    /// It runs a program.
    Command(Box<Command>),
    /// It patches an object.
    Patch(Box<Patch>),
    /// It calls a tool of an MCP server.
    Mcp(Box<Mcp>),
}

/// A step that is performed, with what fills its templates in.
pub(crate) struct Filling<'a> {
    pub(crate) step: &'a StepContext,
    pub(crate) parameters: &'a Parameters,
    pub(crate) effect: Effect,
}

impl<'a> Filling<'a> {
    /// The values, with secrets, which are kept in `secrets`.
    pub(crate) fn values<'v>(&'v self, secrets: &'v mut Secrets) -> Values<'v>
    where
        'a: 'v,
    {
        let purpose = For::Step(self.step.run, self.step.step, secrets);
        Values { parameters: self.parameters, arguments: &self.step.call.arguments, purpose }
    }

    /// The values of templates that have no secrets.
    pub(crate) fn preview_values(&self) -> Values<'_> {
        Values { parameters: self.parameters, arguments: &self.step.call.arguments, purpose: For::Preview }
    }

    /// What came back was not what it must be: no output of a read, and for anything else an effect that did not
    /// come out well, which its verification tells.
    pub(crate) fn unmet(&self, receipt: Value, error: Error) -> Result<Value, Fault> {
        if self.effect == Effect::Read {
            return Err(Fault::Failed(error));
        }
        let mut receipt = receipt;
        if let Some(fields) = receipt.as_object_mut() {
            fields.insert(UNMET.to_owned(), json!(error));
        }
        Ok(receipt)
    }
}

/// Where a receipt tells that the effect did not come out well.
const UNMET: &str = "unmet";

/// Whether the effect happened could not be established.
pub(crate) fn unclear(step: &StepContext, why: &str) -> Fault {
    let message = format!("whether `{}` was performed could not be established: {why}", step.call.tool);
    Fault::Unknown(Error::new(Code::RunOutcomeUnknown, message))
}

/// An earlier process may have performed the step, and it cannot be repeated.
pub(crate) fn unrepeatable(step: &StepContext, remedy: &str) -> Fault {
    let message = format!(
        "`{}` may have been performed already by a process that is gone, and repeating it might do it twice",
        step.call.tool
    );
    Fault::Unknown(Error::new(Code::RunOutcomeUnknown, message).with_remedy(remedy))
}

impl Declared {
    pub(crate) fn effect(&self) -> Effect {
        self.spec.effect.unwrap_or(Effect::Execute)
    }

    /// Why it is disabled, if it is.
    pub(crate) fn fault(&self) -> Option<Error> {
        match &self.action {
            Action::Mcp(mcp) => mcp.fault(),
            Action::Http(_) | Action::Command(_) | Action::Patch(_) => None,
        }
    }

    /// The same with what is different, for who may look after packs.
    pub(crate) fn fault_in_full(&self) -> Option<Error> {
        match &self.action {
            Action::Mcp(mcp) => mcp.fault_in_full(),
            Action::Http(_) | Action::Command(_) | Action::Patch(_) => None,
        }
    }

    fn seen<'a>(&'a self, arguments: &'a Arguments) -> Values<'a> {
        Values { parameters: &self.parameters, arguments, purpose: For::Preview }
    }

    fn filling<'a>(&'a self, step: &'a StepContext) -> Filling<'a> {
        Filling { step, parameters: &self.parameters, effect: self.effect() }
    }

    /// What a call with these arguments acts on.
    pub(crate) fn targets_of(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        let mut values = self.seen(arguments);
        if let Action::Patch(patch) = &self.action {
            return Ok(vec![patch.target(&mut values)?]);
        }
        self.targets.iter().map(|target| filled(target, &mut values)).collect()
    }

    /// What a call with these arguments would do, without asking anybody.
    pub(crate) fn plan(&self, arguments: &Arguments) -> Result<Value> {
        let mut values = self.seen(arguments);
        let (key, done) = match &self.action {
            Action::Http(http) => ("request", http.preview(&mut values)?),
            Action::Command(command) => ("command", command.preview(&mut values)?),
            Action::Patch(patch) => ("patch", patch.preview(&mut values)?),
            Action::Mcp(mcp) => ("call", mcp.preview(&mut values)?),
        };
        let what = match &self.action {
            Action::Http(_) => "would send the request",
            Action::Command(_) => "would run the command",
            Action::Patch(_) => "would patch the object",
            Action::Mcp(_) => "would call the tool of the server",
        };
        Ok(json!({"summary": what, key: done}))
    }

    /// The output of a step that was performed: a sentence and what came back.
    fn output(&self, step: &StepContext, receipt: Value) -> Result<Value, Fault> {
        let summary = if let Some(summary) = &self.summary {
            summary.fill_plain(&mut self.seen(&step.call.arguments))?
        } else {
            let targets: Vec<String> = step.call.targets.iter().map(|target| format!("`{target}`")).collect();
            format!("`{}` was performed on {}", step.call.tool, targets.join(", "))
        };
        let mut output = json!({"summary": summary});
        if let (Some(output), Value::Object(receipt)) = (output.as_object_mut(), receipt) {
            output.extend(receipt.into_iter().filter(|(key, _)| key != "summary"));
        }
        Ok(output)
    }
}

/// A target with the values of a call.
///
/// # Errors
/// `tool.arguments_invalid`: a value makes it none.
fn filled(target: &Template, values: &mut Values<'_>) -> Result<Target> {
    let text = target.fill(values, |value| {
        if value.is_empty() || value.contains('/') {
            return Err(unfit("is empty or has a `/`, which no part of a target can have"));
        }
        Ok(value.to_owned())
    })?;
    text.parse().map_err(|error: Error| Error::new(Code::ToolArgumentsInvalid, error.message))
}

#[async_trait]
impl Tool for Declared {
    fn spec(&self) -> &Arc<ToolSpec> {
        &self.spec
    }

    async fn targets(&self, arguments: &Arguments) -> Result<Vec<Target>> {
        self.targets_of(arguments)
    }

    async fn facts(&self, call: &FrozenCall, _now: bool) -> Result<Vec<Facts>> {
        match &self.action {
            Action::Patch(patch) => Ok(vec![patch.facts(&mut self.seen(&call.arguments)).await?]),
            Action::Http(_) | Action::Command(_) | Action::Mcp(_) => {
                Ok(vec![Facts::default(); call.targets.len()])
            }
        }
    }

    /// That every value fits in its place, and that the tool is not disabled, is a guardrail: what does not fit is
    /// refused before anything is recorded.
    async fn guard(&self, call: &FrozenCall) -> Result<()> {
        self.plan(&call.arguments)?;
        self.fault().map_or(Ok(()), Err)
    }

    async fn intend(&self, step: &StepContext) -> Result<Value> {
        self.guard(&step.call).await?;
        match &self.action {
            Action::Patch(patch) => patch.intend(&self.filling(step)).await,
            Action::Http(_) | Action::Command(_) | Action::Mcp(_) => Ok(Value::Null),
        }
    }

    async fn preview(&self, call: &FrozenCall) -> Result<Value> {
        let mut plan = self.plan(&call.arguments)?;
        if let (Action::Patch(patch), Some(fields)) = (&self.action, plan.as_object_mut()) {
            fields.insert("checked".to_owned(), patch.dry_run(&mut self.seen(&call.arguments)).await?.into());
        }
        Ok(plan)
    }

    async fn perform(&self, _: &Permit, step: &StepContext) -> Result<Value, Fault> {
        let filling = self.filling(step);
        let receipt = match &self.action {
            Action::Http(http) => http.perform(&filling).await?,
            Action::Command(command) => command.perform(&filling).await?,
            Action::Patch(patch) => patch.perform(&filling).await?,
            Action::Mcp(mcp) => mcp.perform(&filling).await?,
        };
        if self.effect() == Effect::Read { self.output(step, receipt) } else { Ok(receipt) }
    }

    async fn verify(&self, step: &StepContext, receipt: &Value) -> Result<Value, Fault> {
        if let Some(unmet) = receipt.get(UNMET) {
            let error = serde_json::from_value(unmet.clone());
            return Err(Fault::Failed(
                error.unwrap_or_else(|_| Error::internal("a receipt without its error")),
            ));
        }
        let filling = self.filling(step);
        let receipt = match &self.action {
            Action::Http(http) => http.verify(&filling, receipt).await?,
            Action::Command(_) | Action::Mcp(_) => receipt.clone(),
            Action::Patch(patch) => patch.verify(&filling, receipt).await?,
        };
        self.output(step, receipt)
    }
}
