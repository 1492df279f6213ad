//! `completion/complete`: the names that an argument can take, of those that who asks may use or see.

use super::asker::Asker;
use super::prompts::{Procedure, Subject};
use super::resources::SERVICE_STATUS;
use super::{Server, fault, prompts, uri};
use astradesk_core::Source;
use astradesk_core::text::shown;
use astradesk_runtime::port::{Prompt, RunFilter};
use rmcp::ErrorData;
use rmcp::model::{CompleteRequestParams, CompleteResult, CompletionInfo, Reference};

/// The most values in one answer, by the protocol.
const MOST: usize = CompletionInfo::MAX_VALUES;

/// The values that begin with what is there already.
pub(super) async fn complete(
    server: &Server,
    asker: &Asker,
    request: &CompleteRequestParams,
) -> Result<CompleteResult, ErrorData> {
    let of = match &request.r#ref {
        Reference::Prompt(prompt) => {
            if let Some(prompt) = prompts::of_pack(server, asker, &prompt.name) {
                return answer(of_pack(prompt.as_ref(), request)?);
            }
            let procedure = Procedure::find(server, asker, &prompt.name)?;
            let tool = procedure.tools.first().copied().unwrap_or(SERVICE_STATUS);
            Some((procedure.subject, procedure.subject.argument(), tool))
        }
        Reference::Resource(template) => match template.uri.as_str() {
            uri::RUN | uri::EVIDENCE => Some((Subject::Run, "id", SERVICE_STATUS)),
            uri::SERVICE => Some((Subject::Service, "service", SERVICE_STATUS)),
            // Which values a template of a pack has is for nobody to know.
            uri => {
                let mut templates = server.engine.resources(&asker.principal).into_iter();
                if templates.any(|resource| resource.is_template() && resource.uri() == uri) {
                    return answer(Vec::new());
                }
                None
            }
        },
        _ => None,
    };
    let Some((subject, known, tool)) = of else {
        return Err(fault::malformed("`ref` names nothing that has arguments"));
    };
    if request.argument.name != known {
        let name = shown(&request.argument.name, 64);
        return Err(fault::malformed(format!("there is no argument `{name}`, only `{known}`")));
    }
    let prefix = request.argument.value.as_str();
    let values = match subject {
        Subject::Service => {
            server.engine.names(&asker.principal, Source::Mcp, (tool, "service"), prefix, MOST).await
        }
        Subject::Run => runs(server, asker, prefix).await?,
    };
    answer(values)
}

fn answer(values: Vec<String>) -> Result<CompleteResult, ErrorData> {
    let completion = CompletionInfo::new(values).map_err(|error| ErrorData::internal_error(error, None))?;
    Ok(CompleteResult::new(completion))
}

/// Of the values that an argument of a pack's prompt can have, those that begin so; none if it can have any.
fn of_pack(prompt: &dyn Prompt, request: &CompleteRequestParams) -> Result<Vec<String>, ErrorData> {
    let (name, prefix) = (&request.argument.name, request.argument.value.as_str());
    let Some(argument) = prompt.arguments().iter().find(|argument| argument.name == *name) else {
        return Err(fault::malformed(format!("the prompt has no argument `{}`", shown(name, 64))));
    };
    let values = argument.values.iter().filter(|value| value.starts_with(prefix));
    Ok(values.take(MOST).cloned().collect())
}

/// Of the newest runs that who asks may see, those that begin so.
async fn runs(server: &Server, asker: &Asker, prefix: &str) -> Result<Vec<String>, ErrorData> {
    let filter = RunFilter { limit: MOST as u32, ..RunFilter::default() };
    let page = server.engine.runs(&asker.principal, filter).await.map_err(fault::of)?;
    Ok(page.runs.iter().map(|run| run.id.to_string()).filter(|id| id.starts_with(prefix)).collect())
}
