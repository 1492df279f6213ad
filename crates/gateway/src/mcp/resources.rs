//! Resources: runs, their evidence, services, as far as the HTTP API would show them to who asks; and what packs give
//! them to read.

use super::asker::Asker;
use super::page::page;
use super::uri::{self, Named};
use super::{Server, content, fault, result, tools};
use crate::api::ending;
use astradesk_core::evidence::Record;
use astradesk_core::text::shown;
use astradesk_core::{Arguments, Call, Error, Result, Run, RunId, Source, ToolName};
use astradesk_runtime::engine::{Request, Submission, Submitted};
use astradesk_runtime::port::{self, EvidenceFilter, RunFilter};
use rmcp::ErrorData;
use rmcp::model::{
    ListResourceTemplatesResult, ListResourcesResult, PaginatedRequestParams, ReadResourceResult, Resource,
    ResourceContents, ResourceTemplate,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// Runs in one page.
const PAGE: u32 = 50;
/// The most records of a run that are shown.
const RECORDS: u32 = 200;
/// The tool that reads [`uri::SERVICES`], and the one that reads [`uri::SERVICE`]. Where no pack has them, or who asks
/// may not use them, those resources are not there.
pub(super) const LIST_SERVICES: &str = "list_services";
pub(super) const SERVICE_STATUS: &str = "get_service_status";

const JSON: &str = "application/json";

/// Where a page begins: among what packs give, which comes first, or among the runs.
enum Cursor {
    /// After this URI of a pack's.
    After(String),
    /// Before this run.
    Before(RunId),
}

impl Cursor {
    /// What a cursor among the resources of packs begins with.
    const AFTER: &str = "after ";

    fn parse(text: &str) -> Result<Self, ErrorData> {
        let uri = text.strip_prefix(Self::AFTER).map(|uri| Self::After(uri.to_owned()));
        uri.or_else(|| RunId::parse(text).map(Self::Before))
            .ok_or_else(|| fault::malformed("`cursor` is none that this server has given"))
    }
}

/// The services, what packs give to read, and the runs that who asks may see, newest first.
pub(super) async fn list(
    server: &Server,
    asker: &Asker,
    request: Option<PaginatedRequestParams>,
) -> Result<ListResourcesResult, ErrorData> {
    let cursor =
        request.and_then(|request| request.cursor).map(|cursor| Cursor::parse(&cursor)).transpose()?;
    let mut resources = Vec::new();
    if cursor.is_none() && server.engine.tool(&asker.principal, LIST_SERVICES).is_ok() {
        let services = Resource::new(uri::SERVICES, "services").with_title("Services");
        resources.push(services.with_description("every service, with its readiness").with_mime_type(JSON));
    }
    let (after, before) = match cursor {
        Some(Cursor::Before(run)) => (None, Some(run)),
        Some(Cursor::After(uri)) => (Some(uri), None),
        None => (None, None),
    };
    let mut next = None;
    if before.is_none() {
        let of_packs = of_packs(server, asker, false);
        let (page, after) = page(&of_packs, |resource| resource.uri(), after.as_deref(), tools::PAGE);
        resources.extend(page.iter().map(|resource| of_pack(resource.as_ref())));
        next = after.map(|uri| format!("{}{uri}", Cursor::AFTER));
    }
    if next.is_none() {
        let filter = RunFilter { before, limit: PAGE, ..RunFilter::default() };
        let page = server.engine.runs(&asker.principal, filter).await.map_err(fault::of)?;
        resources.extend(page.runs.iter().map(described));
        next = page.next.map(|run| run.to_string());
    }
    let mut result = ListResourcesResult::with_all_items(resources);
    result.next_cursor = next;
    Ok(result)
}

/// What packs give who asks to read, by URI: documents, or templates of them.
fn of_packs(server: &Server, asker: &Asker, templates: bool) -> Vec<Arc<dyn port::Resource>> {
    let mut all = server.engine.resources(&asker.principal);
    all.retain(|resource| resource.is_template() == templates);
    all
}

fn of_pack(resource: &dyn port::Resource) -> Resource {
    let about = resource.about();
    let mut described = Resource::new(resource.uri(), &about.name)
        .with_description(&about.description)
        .with_mime_type(resource.mime_type());
    described.title.clone_from(&about.title);
    described
}

fn template_of_pack(resource: &dyn port::Resource) -> ResourceTemplate {
    let about = resource.about();
    let mut described = ResourceTemplate::new(resource.uri(), &about.name)
        .with_description(&about.description)
        .with_mime_type(resource.mime_type());
    described.title.clone_from(&about.title);
    described
}

fn described(run: &Run) -> Resource {
    let tools: Vec<&str> = run.steps.iter().map(|step| step.call.tool.as_str()).collect();
    Resource::new(uri::run(run.id), format!("run {}", run.id))
        .with_title(format!("{}: {}", tools.join(", "), run.state.name()))
        .with_description(format!(
            "asked for by {} at {:.0}",
            shown(&run.principal.subject, 64),
            run.created_at
        ))
        .with_mime_type(JSON)
}

/// The templates of what who asks may read.
pub(super) fn templates(
    server: &Server,
    asker: &Asker,
    request: Option<PaginatedRequestParams>,
) -> ListResourceTemplatesResult {
    let after = request.and_then(|request| request.cursor);
    let mut templates = if after.is_none() { own_templates(server, asker) } else { Vec::new() };
    let of_packs = of_packs(server, asker, true);
    let (page, next) = page(&of_packs, |resource| resource.uri(), after.as_deref(), tools::PAGE);
    templates.extend(page.iter().map(|resource| template_of_pack(resource.as_ref())));
    let mut result = ListResourceTemplatesResult::with_all_items(templates);
    result.next_cursor = next;
    result
}

fn own_templates(server: &Server, asker: &Asker) -> Vec<ResourceTemplate> {
    let template = |uri: &str, name: &str, title: &str, description: &str| {
        ResourceTemplate::new(uri, name).with_title(title).with_description(description).with_mime_type(JSON)
    };
    let mut templates =
        vec![template(uri::RUN, "run", "A run", "what was asked for, by whom, and what became of it")];
    if server.engine.authorize_evidence(&asker.principal).is_ok() {
        let what = "the records of a run in the evidence, each with its hash";
        templates.push(template(uri::EVIDENCE, "evidence", "The evidence of a run", what));
    }
    if server.engine.tool(&asker.principal, SERVICE_STATUS).is_ok() {
        let what = "how a service is, and why it is not well";
        templates.push(template(uri::SERVICE, "service", "A service", what));
    }
    templates
}

/// `resources/read`
pub(super) async fn read(server: &Server, asker: &Asker, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let Some(named) = uri::parse(uri) else {
        let document = server.engine.resource(&asker.principal, uri).map_err(fault::of)?;
        return Ok(ReadResourceResult::new(vec![content::contents(document)]));
    };
    let value = match named {
        Named::Run(id) => run(server, asker, id).await,
        Named::Evidence(id) => evidence(server, asker, id).await,
        Named::Services => ask(server, asker, LIST_SERVICES, Arguments::new()).await,
        Named::Service(name) => {
            let arguments = [("service".to_owned(), json!(name))].into_iter().collect();
            ask(server, asker, SERVICE_STATUS, arguments).await
        }
    };
    let text = value.map_err(fault::of)?.to_string();
    Ok(ReadResourceResult::new(vec![ResourceContents::text(text, uri).with_mime_type(JSON)]))
}

/// A run, as it is shown.
pub(super) async fn run(server: &Server, asker: &Asker, id: RunId) -> Result<Value> {
    let mut run = server.engine.run(&asker.principal, id).await?;
    crate::http::redact::fit(&server.engine, &mut run);
    Ok(json!(run))
}

async fn evidence(server: &Server, asker: &Asker, id: RunId) -> Result<Value> {
    let filter = EvidenceFilter { run: Some(id), limit: RECORDS, ..EvidenceFilter::default() };
    let records = server.engine.evidence(&asker.principal, &filter).await?;
    if records.is_empty() {
        // Nothing is on record of a run that there is not.
        server.engine.run(&asker.principal, id).await?;
    }
    let more = records.len() >= RECORDS as usize;
    let records = records.iter().map(shown_record).collect::<Result<Vec<_>>>()?;
    Ok(json!({"run": id, "records": records, "more": more}))
}

fn shown_record(record: &Record) -> Result<Value> {
    let parsed: Value = serde_json::from_str(&record.body)
        .map_err(|error| Error::internal(format!("record {} is not JSON: {error}", record.seq)))?;
    Ok(json!({"seq": record.seq, "hash": record.hash, "record": parsed, "body": record.body}))
}

/// Asks a tool that reads, by the Engine's one door, and gives what it reports.
async fn ask(server: &Server, asker: &Asker, tool: &str, arguments: Arguments) -> Result<Value> {
    let submission = Submission {
        principal: asker.principal.as_ref().clone(),
        source: Source::Mcp,
        request: Request::Call(Call { tool: ToolName::parse(tool)?, arguments }),
        dry_run: false,
        reason: None,
        break_glass: false,
        trace: asker.trace.clone(),
        idempotency_key: None,
    };
    let Submitted::Run { mut run, .. } = server.engine.submit(submission).await? else {
        return Err(Error::internal("a preview that nobody asked for"));
    };
    if let Some(error) = ending(&run) {
        return Err(error);
    }
    server.answered(&mut run);
    Ok(result::of_run(&server.engine, &run, false).structured_content.unwrap_or_default())
}
