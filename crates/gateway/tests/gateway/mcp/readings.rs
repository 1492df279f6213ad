//! What packs give agents to read: there for who may use the tools that it is for, and for nobody else.

use super::{Agent, VERSIONS, refused};
use crate::support::pack::TestPack;
use crate::support::start;
use astradesk_core::{Arguments, Effect, Result, ToolName};
use astradesk_runtime::port::{
    self, About, Agent as PlanningAgent, Block, Content, Document, Message, Pack, PromptArgument, Speaker,
    Tool,
};
use rmcp::model::{
    ArgumentInfo, CompleteRequestParams, ContentBlock, ErrorCode, GetPromptRequestParams,
    ReadResourceRequestParams, Reference, ResourceContents,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// A pack of runbooks: `count` for who may use any of its tools, and one for who may use `restart_service`.
pub(crate) struct Runbooks {
    tools: TestPack,
    count: usize,
}

/// A runbook, which is a template if its URI has a place.
struct Runbook {
    about: About,
    uri: String,
}

fn about(name: &str, tools: &[&str]) -> About {
    About {
        name: name.to_owned(),
        title: None,
        description: "what to do".to_owned(),
        tools: tools.iter().map(|tool| ToolName::parse(*tool).unwrap()).collect(),
    }
}

impl port::Resource for Runbook {
    fn about(&self) -> &About {
        &self.about
    }

    fn uri(&self) -> &str {
        &self.uri
    }

    fn mime_type(&self) -> &'static str {
        "text/markdown"
    }

    fn read(&self, uri: &str) -> Option<Document> {
        let is_its =
            uri == self.uri || self.uri.split_once('{').is_some_and(|(before, _)| uri.starts_with(before));
        let content = if uri.ends_with("png") {
            Content::Bytes([1, 2, 255].into())
        } else {
            Content::Text("# Do".into())
        };
        is_its.then(|| Document { uri: uri.to_owned(), mime_type: "text/markdown".into(), content })
    }
}

struct Procedure {
    about: About,
    arguments: Vec<PromptArgument>,
}

impl port::Prompt for Procedure {
    fn about(&self) -> &About {
        &self.about
    }

    fn arguments(&self) -> &[PromptArgument] {
        &self.arguments
    }

    fn messages(&self, arguments: &Arguments) -> Result<Vec<Message>> {
        let text = Block::Text(format!("to {}", arguments["region"]));
        Ok(vec![
            Message { by: Speaker::User, block: text },
            Message { by: Speaker::Assistant, block: Block::Image([255].into(), "image/png".into()) },
        ])
    }
}

impl Pack for Runbooks {
    fn name(&self) -> &'static str {
        "runbooks"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn tools(&self) -> Vec<Arc<dyn Tool>> {
        self.tools.tools()
    }

    fn agents(&self) -> Vec<Arc<dyn PlanningAgent>> {
        vec![]
    }

    fn resources(&self) -> Vec<Arc<dyn port::Resource>> {
        let mut all: Vec<Arc<dyn port::Resource>> = (0..self.count)
            .map(|number| {
                let (uri, name) = (format!("runbooks://all/{number:03}.png"), format!("of-{number}"));
                Arc::new(Runbook { about: about(&name, &[]), uri }) as Arc<dyn port::Resource>
            })
            .collect();
        for (uri, name) in
            [("runbooks://restart/how", "how"), ("runbooks://restart/of/{service}", "of-service")]
        {
            all.push(Arc::new(Runbook { about: about(name, &["restart_service"]), uri: uri.to_owned() }));
        }
        all
    }

    fn prompts(&self) -> Vec<Arc<dyn port::Prompt>> {
        let argument = PromptArgument {
            name: "region".into(),
            description: None,
            required: true,
            values: ["eu-central", "eu-west", "us"].map(str::to_owned).to_vec(),
        };
        vec![Arc::new(Procedure {
            about: about("fail_over", &["restart_service"]),
            arguments: vec![argument],
        })]
    }
}

pub(crate) fn runbooks(count: usize) -> Runbooks {
    let tools = [("get_service_status", Effect::Read), ("restart_service", Effect::Write)];
    Runbooks { tools: TestPack::of(&tools), count }
}

/// The URIs of packs and their templates, and the names of prompts that there are.
async fn seen(agent: &Agent) -> (Vec<String>, Vec<String>, Vec<String>) {
    let resources = agent.client.list_all_resources().await.unwrap().into_iter().map(|one| one.uri);
    let templates = agent.client.list_all_resource_templates().await.unwrap().into_iter();
    let of_packs = |uri: &String| uri.starts_with("runbooks://");
    let prompts = agent.client.list_all_prompts().await.unwrap().into_iter().map(|one| one.name);
    (
        resources.filter(of_packs).collect(),
        templates.map(|one| one.uri_template).filter(of_packs).collect(),
        prompts.collect(),
    )
}

#[tokio::test]
async fn what_packs_give_is_there_for_who_may_use_their_tools() {
    let harness = start().await;
    harness.engine.registry().register(&runbooks(1)).unwrap();
    for version in &VERSIONS {
        let sre = Agent::connect(&harness, &harness.token("ada", &["sre"]), version).await;
        let viewer = Agent::connect(&harness, &harness.token("vera", &["viewer"]), version).await;
        let nobody = Agent::connect(&harness, &harness.token("nobody", &[]), version).await;
        let (resources, templates, prompts) = seen(&sre).await;
        assert_eq!(resources, ["runbooks://all/000.png", "runbooks://restart/how"]);
        assert_eq!(templates, ["runbooks://restart/of/{service}"]);
        assert!(prompts.contains(&"fail_over".to_owned()), "{prompts:?}");
        let (resources, templates, prompts) = seen(&viewer).await;
        assert_eq!(
            (resources.as_slice(), templates.len()),
            (["runbooks://all/000.png".to_owned()].as_slice(), 0)
        );
        assert!(!prompts.contains(&"fail_over".to_owned()), "{prompts:?}");
        assert_eq!(seen(&nobody).await.0, [""; 0]);

        let read = async |agent: &Agent, uri: &str| {
            agent.client.read_resource(ReadResourceRequestParams::new(uri)).await
        };
        let text = read(&sre, "runbooks://restart/of/web").await.unwrap().contents;
        let expected =
            ResourceContents::text("# Do", "runbooks://restart/of/web").with_mime_type("text/markdown");
        assert_eq!(text, [expected]);
        let blob = read(&viewer, "runbooks://all/000.png").await.unwrap().contents;
        let expected =
            ResourceContents::blob("AQL/", "runbooks://all/000.png").with_mime_type("text/markdown");
        assert_eq!(blob, [expected]);
        for (agent, uri) in [
            (&viewer, "runbooks://restart/how"),
            (&nobody, "runbooks://all/000.png"),
            (&sre, "runbooks://none"),
        ] {
            let error = refused(read(agent, uri).await);
            assert_eq!(error.data.unwrap()["code"], "request.not_found", "{uri}");
        }

        let ask = |arguments: Value| {
            GetPromptRequestParams::new("fail_over").with_arguments(arguments.as_object().unwrap().clone())
        };
        let got = sre.client.get_prompt(ask(json!({"region": "us"}))).await.unwrap().messages;
        let contents: Vec<_> = got.into_iter().map(|message| message.content).collect();
        assert_eq!(contents, [ContentBlock::text("to \"us\""), ContentBlock::image("/w==", "image/png")]);
        let hidden = refused(viewer.client.get_prompt(ask(json!({"region": "us"}))).await);
        assert_eq!(hidden.code, ErrorCode::INVALID_PARAMS);

        let complete = async |agent: &Agent, of: Reference, argument: &str| {
            agent.client.complete(CompleteRequestParams::new(of, ArgumentInfo::new(argument, "eu"))).await
        };
        let values = complete(&sre, Reference::for_prompt("fail_over"), "region").await.unwrap();
        assert_eq!(values.completion.values, ["eu-central", "eu-west"]);
        let of_template = || Reference::for_resource("runbooks://restart/of/{service}");
        assert_eq!(complete(&sre, of_template(), "service").await.unwrap().completion.values, [""; 0]);
        refused(complete(&viewer, of_template(), "service").await);
        refused(complete(&viewer, Reference::for_prompt("fail_over"), "region").await);
        refused(complete(&sre, Reference::for_prompt("fail_over"), "nope").await);
    }
}

#[tokio::test]
async fn a_long_list_comes_in_pages_that_runs_follow() {
    let harness = start().await;
    harness.engine.registry().register(&runbooks(230)).unwrap();
    let agent = Agent::connect(&harness, &harness.admin(), &VERSIONS[0]).await;
    agent.call("get_status", "web").await;
    let first = agent.client.list_resources(None).await.unwrap();
    assert_eq!(first.resources.len(), 100);
    let all = agent.client.list_all_resources().await.unwrap();
    let (of_pack, runs): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.uri.starts_with("runbooks://"));
    assert_eq!((of_pack.len(), runs.len()), (231, 1));
    assert!(of_pack.is_sorted_by(|a, b| a.uri < b.uri) && all.last() == runs.first().copied());
}
