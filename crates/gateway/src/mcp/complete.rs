//! `completion/complete`: the names that an argument can take, of those that who asks may use or see.

use super::asker::Asker;
use super::prompts::{Procedure, Subject};
use super::resources::SERVICE_STATUS;
use super::{Server, fault, uri};
use astradesk_core::Source;
use astradesk_core::text::shown;
use astradesk_runtime::port::RunFilter;
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
            let procedure = Procedure::find(server, asker, &prompt.name)?;
            let tool = procedure.tools.first().copied().unwrap_or(SERVICE_STATUS);
            Some((procedure.subject, procedure.subject.argument(), tool))
        }
        Reference::Resource(template) => match template.uri.as_str() {
            uri::RUN | uri::EVIDENCE => Some((Subject::Run, "id", SERVICE_STATUS)),
            uri::SERVICE => Some((Subject::Service, "service", SERVICE_STATUS)),
            _ => None,
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
    let completion = CompletionInfo::new(values).map_err(|error| ErrorData::internal_error(error, None))?;
    Ok(CompleteResult::new(completion))
}

/// Of the newest runs that who asks may see, those that begin so.
async fn runs(server: &Server, asker: &Asker, prefix: &str) -> Result<Vec<String>, ErrorData> {
    let filter = RunFilter { limit: MOST as u32, ..RunFilter::default() };
    let page = server.engine.runs(&asker.principal, filter).await.map_err(fault::of)?;
    Ok(page.runs.iter().map(|run| run.id.to_string()).filter(|id| id.starts_with(prefix)).collect())
}
