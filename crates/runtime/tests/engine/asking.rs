//! Runs that await approval, and runs that were approved and wait for their turn.

use crate::script::{ada, lead, submission};
use crate::world::{Setup, World};
use astradesk_core::canonical::Digest;
use astradesk_core::run::{By, Event, decide};
use astradesk_core::{Approval, Principal, Result, Run, RunId};
use astradesk_runtime::engine::Limits;
use astradesk_runtime::port::{Change, Clock};
use serde_json::Value;
use std::time::Duration;

impl World {
    /// So many leads must agree to whatever is done here, and everything that is done comes out well.
    pub(crate) fn asking(count: u32) -> Self {
        Self::with_asking(count, Setup::default())
    }

    pub(crate) fn with_asking(count: u32, setup: Setup) -> Self {
        let world = Self::with(setup);
        world.policy.ask(count, "lead");
        world.script.outcome.add_permits(100);
        world
    }

    /// A run that awaits approval.
    pub(crate) async fn awaiting(&self, service: &str) -> Run {
        let run = self.admitted(submission("restart", service)).await;
        assert_eq!(run.state.name(), "awaiting_approval");
        run
    }

    /// Approves a run with the digest that it has.
    pub(crate) async fn approve(&self, by: &Principal, id: RunId) -> Result<Run> {
        self.engine.approve(by, id, self.digest(id), "it looks fine").await
    }

    /// An approval is kept, and then the process dies.
    pub(crate) fn approved_only(&self, by: &Principal, id: RunId) -> Run {
        let (at, digest) = (self.clock.now(), self.digest(id));
        let approval = Approval { by: by.clone(), at, digest, reason: "it looks fine".into() };
        let given = decide(&self.stored(id), By::Anyone, Event::ApprovalGiven(approval), at).unwrap().0;
        let change = Change { run: Some(given.clone()), ..Change::default() };
        self.data.lock().unwrap().commit(change).unwrap();
        given
    }

    /// What approvers of the run are shown.
    pub(crate) fn digest(&self, id: RunId) -> Digest {
        self.stored(id).approvals.unwrap().digest
    }

    /// A world with one place, in which a run works until it is told to go on, and another was approved and waits.
    pub(crate) async fn approved_behind_another(setup: Setup) -> (Self, Run) {
        let limits = Limits { concurrent_runs: 1, ..setup.limits };
        let world = Self::with(Setup { limits, ..setup });
        world.engine.begin().await.unwrap();
        world.admitted(submission("restart", "first")).await;
        world.script.verifying.acquire().await.unwrap().forget();
        world.policy.ask(1, "lead");
        let run = world.awaiting("webapp").await;
        world.approve(&lead("bo"), run.id).await.unwrap();
        (world, run)
    }

    /// The first run ends, and the one behind it with it. Gives that, having seen that it was not performed.
    pub(crate) async fn ended_undone(&self, id: RunId) -> Run {
        self.script.outcome.add_permits(100);
        let run = self.ended(id).await;
        assert_eq!(self.performed(), 1, "nothing but the first one was performed: {:?}", run.state);
        assert!(self.data.lock().unwrap().locks.is_empty());
        run
    }

    /// The records of a run, as kind and data.
    pub(crate) async fn story(&self, id: RunId) -> Vec<(String, Value)> {
        let of_run = |body: &Value| body["run"] == id.to_string();
        let kind = |body: &Value| body["kind"].as_str().unwrap().to_owned();
        self.records()
            .await
            .iter()
            .filter(|body| of_run(body))
            .map(|b| (kind(b), b["data"].clone()))
            .collect()
    }

    /// The kinds of a run's records.
    pub(crate) async fn kinds(&self, id: RunId) -> Vec<String> {
        self.story(id).await.into_iter().map(|(kind, _)| kind).collect()
    }

    /// Long enough for everything that looks after runs to have looked several times; in paused time.
    pub(crate) async fn looked_after(&self) {
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    /// The events that who asked can see, by kind and state.
    pub(crate) async fn events(&self, id: RunId) -> Vec<(String, String)> {
        let until = tokio::time::Instant::now();
        let page = self.engine.events(&ada(), id, 0, until).await.unwrap();
        let state = |data: &Value| data["state"].as_str().unwrap_or_default().to_owned();
        page.events.iter().map(|event| (event.kind.clone(), state(&event.data))).collect()
    }
}
