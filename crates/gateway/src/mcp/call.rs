//! `tools/call`: a run through the Engine's one door, like `POST /v1/tools/{tool}/runs`.

use super::asker::Asker;
use super::{Server, fault, follow, result, tasks};
use crate::api::will_end;
use crate::http::redact::redact_preview;
use astradesk_core::text::shown;
use astradesk_core::{Call, Code, Error, Run, Source, ToolName};
use astradesk_runtime::engine::{Request, Submission, Submitted};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CreateTaskResult, ProtocolVersion, RequestMetaObject,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// The prefix of what a call may say in `_meta`.
const PREFIX: &str = "dev.astradesk/";
/// The longest wait, in seconds.
const MAX_WAIT_SECONDS: u64 = 600;

/// What a call says beside its arguments: `_meta` with [`PREFIX`] before each name.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Options {
    /// A repeated call with the same key finds the first one's run.
    idempotency_key: Option<String>,
    /// Decide and preview only.
    dry_run: bool,
    /// Why, for approvers and for the evidence.
    reason: Option<String>,
    /// How long to wait for the run, in seconds; 0 to [`MAX_WAIT_SECONDS`].
    wait_seconds: Option<u64>,
}

impl Options {
    fn read(meta: &RequestMetaObject) -> Result<Self, ErrorData> {
        let own = meta.iter().filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value)));
        let own: Map<String, Value> = own.map(|(name, value)| (name.to_owned(), value.clone())).collect();
        Self::deserialize(Value::Object(own)).map_err(|error| {
            fault::malformed(format!("`_meta` with `{PREFIX}…`: {}", shown(&error.to_string(), 200)))
        })
    }
}

/// Submits the call, waits for its run, and answers with what became of it. What is refused or fails is a result;
/// only a mistake of the protocol is an error.
pub(super) async fn call(
    server: &Server,
    asker: &Asker,
    params: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let Options { idempotency_key, dry_run, reason, wait_seconds } = Options::read(&context.meta)?;
    let Ok(tool) = ToolName::parse(&*params.name) else {
        let message = format!("there is no tool `{}`", shown(&params.name, 64));
        return Err(unknown(Error::new(Code::ToolNotFound, message)));
    };
    let submission = Submission {
        principal: asker.principal.as_ref().clone(),
        source: Source::Mcp,
        request: Request::Call(Call { tool, arguments: params.arguments.unwrap_or_default() }),
        dry_run,
        reason,
        // Guardrails are overridden by people, who come by another door.
        break_glass: false,
        trace: asker.trace.clone(),
        idempotency_key,
    };
    let (run, replayed) = match server.engine.submit(submission).await {
        Ok(Submitted::Run { run, replayed }) => (*run, replayed),
        Ok(Submitted::Preview(mut preview)) => {
            redact_preview(&mut preview.steps);
            return Ok(result::of_preview(&preview).into());
        }
        Err(error) => return refused(server, error, context.protocol_version()),
    };
    tracing::Span::current().record("run", tracing::field::display(run.id));
    let wait = wait_seconds.map_or(server.wait, |seconds| Duration::from_secs(seconds.min(MAX_WAIT_SECONDS)));
    Ok(admitted(server, asker, run, replayed, wait, context).await)
}

/// The answer to a call that became a run: at once if it has ended or waits for people, a task for who can follow one,
/// else after the wait.
async fn admitted(
    server: &Server,
    asker: &Asker,
    mut run: Run,
    replayed: bool,
    wait: Duration,
    context: &RequestContext<RoleServer>,
) -> CallToolResponse {
    if will_end(&run) {
        if context.client_capabilities().is_some_and(|client| client.supports_tasks()) {
            server.answered(&mut run);
            return CallToolResponse::Task(CreateTaskResult::new(tasks::task(&run)));
        }
        if let Some(later) = follow::follow(server, asker, &run, wait, context).await {
            run = later;
        }
    }
    server.answered(&mut run);
    result::of_run(&server.engine, &run, replayed).into()
}

fn refused(
    server: &Server,
    error: Error,
    version: Option<ProtocolVersion>,
) -> Result<CallToolResponse, ErrorData> {
    server.refused(error.code);
    match error.code {
        Code::ToolNotFound => Err(unknown(error)),
        // Since 2025-11-25 wrong arguments are a result, so that the model sees what was wrong with them.
        Code::ToolArgumentsInvalid
            if version.is_some_and(|version| version.as_str() < ProtocolVersion::V_2025_11_25.as_str()) =>
        {
            Err(fault::of(error))
        }
        _ => Ok(result::of_refusal(error).into()),
    }
}

/// The protocol's word for a tool that is not there.
fn unknown(error: Error) -> ErrorData {
    let mut fault = fault::of(error);
    fault.code = rmcp::model::ErrorCode::INVALID_PARAMS;
    fault
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(meta: &Value) -> Result<Options, ErrorData> {
        let object = rmcp::model::MetaObject::from(meta.as_object().unwrap().clone());
        Options::read(&RequestMetaObject::from(object))
    }

    #[test]
    fn what_is_ours_in_meta_is_read_whole_or_refused() {
        let all = json!({
            "dev.astradesk/idempotency-key": "k", "dev.astradesk/dry-run": true, "dev.astradesk/reason": "r",
            "dev.astradesk/wait-seconds": 7, "progressToken": 1, "com.example/x": {"any": "thing"},
        });
        let options = read(&all).unwrap();
        let expected = Options {
            idempotency_key: Some("k".into()),
            dry_run: true,
            reason: Some("r".into()),
            wait_seconds: Some(7),
        };
        assert_eq!(options, expected);
        assert_eq!(read(&json!({})).unwrap(), Options::default());
        for wrong in [
            json!({"dev.astradesk/idempotency-key": 7}),
            json!({"dev.astradesk/dry-run": "yes"}),
            json!({"dev.astradesk/wait-seconds": -1}),
            json!({"dev.astradesk/idempotency_key": "k"}),
            json!({"dev.astradesk/break-glass": true}),
            json!({"dev.astradesk/approvals": []}),
        ] {
            assert_eq!(read(&wrong).unwrap_err().code, rmcp::model::ErrorCode::INVALID_PARAMS, "{wrong}");
        }
    }
}
