//! Who sees what, and what can be registered.

use crate::script::{TestPack, ada, spec, submission, tool};
use crate::world::World;
use astradesk_core::{Code, Effect};
use astradesk_runtime::port::EvidenceFilter;
use std::time::Duration;

#[tokio::test]
async fn events_tell_the_whole_life_and_resume_where_they_broke() {
    let world = World::new();
    world.script.outcome.add_permits(1);
    let run = world.admitted(submission("restart", "webapp")).await;
    world.ended(run.id).await;
    let limit = tokio::time::Instant::now() + Duration::from_secs(5);
    let all = world.engine.events(&ada(), run.id, 0, limit).await.unwrap();
    let kinds: Vec<_> = all.events.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["state", "state", "step", "progress", "state"]);
    assert!(all.finished);
    let rest = world.engine.events(&ada(), run.id, all.events[2].seq, limit).await.unwrap();
    assert_eq!(rest.events, all.events[3..]);
}

#[tokio::test]
async fn runs_and_evidence_are_shown_to_those_who_may_see_them() {
    let world = World::new();
    let run = world.admitted(submission("look", "webapp")).await;
    let mut bob = ada();
    bob.subject = "bob".into();
    assert_eq!(world.engine.run(&bob, run.id).await.unwrap_err().code, Code::RunNotFound);
    let filter = EvidenceFilter { limit: 10, ..EvidenceFilter::default() };
    assert_eq!(world.engine.evidence(&bob, &filter).await.unwrap_err().code, Code::PolicyDenied);
    assert_eq!(world.engine.evidence(&ada(), &filter).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_definition_is_checked_and_a_pack_registers_whole_or_not_at_all() {
    let world = World::new();
    let mut no_schema = spec("other", Some(Effect::Read));
    no_schema.input_schema =
        serde_json::json!({"type": "object", "additionalProperties": false, "properties": 7});
    let mut open = spec("other", Some(Effect::Read));
    open.input_schema = serde_json::json!({"type": "object"});
    for (bad, why) in
        [(spec("other", None), "no effect"), (no_schema, "not valid"), (open, "additionalProperties")]
    {
        let pack =
            TestPack(vec![tool(spec("fine", Some(Effect::Read)), &world.script), tool(bad, &world.script)]);
        let error = world.registry.register(&pack).unwrap_err();
        assert_eq!(error.code, Code::ToolDefinitionInvalid);
        assert!(error.message.contains(why), "{error}");
        assert!(world.registry.tool("fine").is_err() && world.registry.tool("restart").is_ok());
    }
    world.registry.register(&TestPack(vec![tool(spec("fine", Some(Effect::Read)), &world.script)])).unwrap();
    assert!(world.registry.tool("fine").is_ok() && world.registry.tool("restart").is_err(), "replaced");
    assert!(world.registry.remove("test") && !world.registry.remove("test"));
    assert!(world.registry.tools().is_empty());
}
