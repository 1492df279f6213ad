//! Who listens learns of lists that have changed for them, and of no others.

use super::readings::runbooks;
use super::{Agent, VERSIONS};
use crate::support::pack::TestPack;
use crate::support::{Harness, Setup, start, start_with, until};
use astradesk_core::Effect;
use astradesk_gateway::Limits;
use astradesk_runtime::port::{Agent as PlanningAgent, Pack, PackStatus, Packs, Tool};
use rmcp::model::{ServerNotification, SubscriptionFilter};
use rmcp::service::{Subscription, SubscriptionEnd};
use std::sync::Arc;

/// Says after each look that something else is in force: the test has put it there.
struct Changed;

impl Packs for Changed {
    fn reload(&self) -> bool {
        true
    }

    fn status(&self) -> Vec<PackStatus> {
        vec![]
    }
}

/// A pack with one tool.
struct One(&'static str, TestPack);

impl Pack for One {
    fn name(&self) -> &str {
        self.0
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn tools(&self) -> Vec<Arc<dyn Tool>> {
        self.1.tools()
    }

    fn agents(&self) -> Vec<Arc<dyn PlanningAgent>> {
        vec![]
    }
}

async fn put(harness: &Harness, pack: &dyn Pack) {
    harness.engine.registry().register(pack).unwrap();
    harness.engine.reload_packs().await.unwrap();
}

/// What changes, step by step, each with what a viewer and an SRE are told of.
async fn changes(
    harness: &Harness,
    mut told: impl AsyncFnMut(&'static [&'static str], &'static [&'static str]),
) {
    put(harness, &One("reads", TestPack::of(&[("look_up", Effect::Read)]))).await;
    told(&["tools"], &["tools"]).await;
    // That something has changed which is not there for somebody is nothing to tell them.
    put(harness, &One("writes", TestPack::of(&[("set_thing", Effect::Write)]))).await;
    told(&[], &["tools"]).await;
    put(harness, &runbooks(1)).await;
    told(&["tools", "resources", "prompts"], &["tools", "resources", "prompts"]).await;
    harness.engine.registry().remove("writes");
    harness.engine.reload_packs().await.unwrap();
    told(&[], &["tools"]).await;
    harness.engine.registry().remove("reads");
    harness.engine.reload_packs().await.unwrap();
    told(&["tools"], &["tools"]).await;
}

async fn listen(agent: &Agent) -> Subscription {
    let all =
        SubscriptionFilter::builder().tools_list_changed().prompts_list_changed().resources_list_changed();
    agent.client.peer().listen(all.resource_subscription("astradesk://services").build()).await.unwrap()
}

async fn next(subscription: &mut Subscription) -> &'static str {
    match subscription.next().await {
        Ok(Some(ServerNotification::ToolListChangedNotification(_))) => "tools",
        Ok(Some(ServerNotification::ResourceListChangedNotification(_))) => "resources",
        Ok(Some(ServerNotification::PromptListChangedNotification(_))) => "prompts",
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_subscription_tells_of_the_lists_that_have_changed_for_whose_it_is() {
    let harness = start().await;
    harness.engine.registry().follow(Arc::new(Changed));
    let viewer = Agent::connect(&harness, &harness.token("vera", &["viewer"]), &VERSIONS[0]).await;
    let sre = Agent::connect(&harness, &harness.token("ada", &["sre"]), &VERSIONS[0]).await;
    let (mut his, mut hers) = (listen(&viewer).await, listen(&sre).await);
    assert_eq!(hers.acknowledged().tools_list_changed, Some(true));
    assert_eq!(hers.acknowledged().resource_subscriptions, None, "no resource is followed");
    changes(&harness, async |to_viewer, to_sre| {
        for list in to_viewer {
            assert_eq!(next(&mut his).await, *list);
        }
        for list in to_sre {
            assert_eq!(next(&mut hers).await, *list);
        }
    })
    .await;
    // It ends with a last message when the gateway does.
    let (stopped, end) = tokio::join!(harness.stop(), async {
        assert!(hers.next().await.unwrap().is_none());
        hers.end().cloned()
    });
    assert!(stopped && matches!(end, Some(SubscriptionEnd::Graceful(_))), "{end:?}");
}

#[tokio::test]
async fn a_session_is_told_without_asking() {
    let harness = start().await;
    harness.engine.registry().follow(Arc::new(Changed));
    let mut viewer = Agent::connect(&harness, &harness.token("vera", &["viewer"]), &VERSIONS[1]).await;
    let mut sre = Agent::connect(&harness, &harness.token("ada", &["sre"]), &VERSIONS[1]).await;
    // Once there was an answer, what the client said before it was heard.
    let _ = (viewer.tools().await, sre.tools().await);
    changes(&harness, async |to_viewer, to_sre| {
        for list in to_viewer {
            assert_eq!(viewer.changed.recv().await, Some(*list));
        }
        for list in to_sre {
            assert_eq!(sre.changed.recv().await, Some(*list));
        }
    })
    .await;
}

#[tokio::test]
async fn who_listens_takes_a_place_among_event_streams_and_none_among_requests() {
    let limits = Limits { event_streams: 1, concurrent_requests: 1, ..Limits::default() };
    let harness = start_with(Setup { limits, ..Setup::default() }).await;
    let agent = Agent::connect(&harness, &harness.admin(), &VERSIONS[0]).await;
    let subscription = listen(&agent).await;
    assert!(!agent.tools().await.is_empty());
    let filter = SubscriptionFilter::builder().tools_list_changed().build();
    let refused = agent.client.peer().listen(filter).await.unwrap_err().to_string();
    assert!(refused.contains("HTTP 429"), "{refused}");
    // The place is given back.
    drop(subscription);
    until("there is room again", async || {
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        agent.client.peer().listen(filter).await.is_ok()
    })
    .await;
}
