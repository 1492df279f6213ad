//! Runs, events, tools and evidence, for who may see them.

use super::Engine;
use super::claim::LOOK;
use super::refuse::{not_found, uncommitted};
use crate::evidence::Checkpoint;
use crate::port::{
    Agent, Change, Cut, EvidenceFilter, PackStatus, PolicyStatus, RunEvent, RunFilter, RunPage,
};
use crate::registry::Registered;
use astradesk_core::consultation::Usage;
use astradesk_core::evidence::{Draft, Kind, Record};
use astradesk_core::run::Step;
use astradesk_core::{Approvals, Code, Error, Principal, Result, Run, RunId};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Events of a run, and whether more can come.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPage {
    /// The events, in order.
    pub events: Vec<RunEvent>,
    /// Whether the run has ended and these are the last.
    pub finished: bool,
}

/// How much is going on in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Runs that are executed.
    pub at_work: usize,
    /// Runs that wait for their turn.
    pub waiting: usize,
    /// Runs that this process has taken over from others that are gone.
    pub taken_over: u64,
    /// Questions to a language model that this process has put on record.
    pub consultations: u64,
    /// The tokens of those.
    pub tokens: Usage,
}

impl Engine {
    /// How much is going on in this process.
    pub fn stats(&self) -> Stats {
        let queue = self.queue();
        let taken_over = self.0.claimed.load(Ordering::Relaxed);
        let (consultations, tokens) = self.0.consulted.so_far();
        Stats { at_work: queue.at_work(), waiting: queue.waiting(), taken_over, consultations, tokens }
    }

    /// How many records the evidence has.
    pub async fn records(&self) -> Result<u64> {
        self.0.store.head().await.map(|head| head.seq)
    }

    /// How many runs await approval.
    pub async fn awaiting_runs(&self) -> Result<usize> {
        self.0.store.awaiting(None, self.0.limits.awaiting_runs).await.map(|runs| runs.len())
    }

    /// The run, if the principal may see it.
    ///
    /// # Errors
    /// [`Code::RunNotFound`], also for a run that the principal may not see.
    pub async fn run(&self, principal: &Principal, id: RunId) -> Result<Run> {
        let run = self.0.store.run(id).await?;
        run.filter(|run| self.may_see(principal, run)).ok_or_else(|| not_found(id))
    }

    /// Runs that the principal may see, newest first.
    pub async fn runs(&self, principal: &Principal, mut filter: RunFilter) -> Result<RunPage> {
        if !self.0.policy.may_see_runs_of_others(principal) {
            filter.principal = Some(principal.id());
        }
        self.0.store.runs(&filter).await
    }

    /// The run once it has ended, or as it stands at `until`.
    pub async fn wait(&self, principal: &Principal, id: RunId, until: Instant) -> Result<Run> {
        loop {
            let changed = self.active().get(&id).map(|active| active.changed.subscribe());
            let run = self.run(principal, id).await?;
            if run.state.is_final() {
                return Ok(run);
            }
            if !awaited(changed, until).await {
                return self.run(principal, id).await;
            }
        }
    }

    /// The events of a run after number `after`, waiting until `until` for there to be some.
    pub async fn events(
        &self,
        principal: &Principal,
        id: RunId,
        after: u64,
        until: Instant,
    ) -> Result<EventPage> {
        /// Events in one page; the next page follows at once.
        const PAGE: u32 = 256;
        loop {
            let changed = self.active().get(&id).map(|active| active.changed.subscribe());
            // The state is read before the events: a run that has ended by then has all of its events.
            let finished = self.run(principal, id).await?.state.is_final();
            let events = self.0.store.events(id, after, PAGE).await?;
            let last = finished && (events.len() as u32) < PAGE;
            if last || !events.is_empty() {
                return Ok(EventPage { events, finished: last });
            }
            if !awaited(changed, until).await {
                return Ok(EventPage { events: Vec::new(), finished: false });
            }
        }
    }

    /// The tools that the principal may use on some target.
    pub fn tools(&self, principal: &Principal) -> Vec<Arc<Registered>> {
        let registry = &self.0.registry;
        registry.steadily(|| {
            let tools = registry.tools().into_iter();
            tools.filter(|tool| self.0.policy.may_use(principal, tool.spec())).collect()
        })
    }

    /// The tool, if the principal may use it on some target.
    pub fn tool(&self, principal: &Principal, name: &str) -> Result<Arc<Registered>> {
        let registry = &self.0.registry;
        let usable = registry.steadily(|| {
            registry.tool(name).map(|tool| (self.0.policy.may_use(principal, tool.spec()), tool))
        });
        let (may_use, tool) = usable?;
        if may_use {
            return Ok(tool);
        }
        Err(Error::new(Code::ToolNotFound, format!("there is no tool `{}`", tool.spec().name)))
    }

    /// The packs: for who may read the evidence all of them, with what is wrong with them, for others those of what
    /// they may use or read.
    pub fn packs(&self, principal: &Principal) -> Vec<PackStatus> {
        let sees_all = self.0.policy.may_read_evidence(principal);
        let usable = self.tools(principal);
        let mut packs = self.0.registry.followed().map(|packs| packs.status()).unwrap_or_default();
        for (name, version) in self.0.registry.packs() {
            if !packs.iter().any(|pack| pack.name == name) {
                let tools = self.0.registry.tools().into_iter().filter(|tool| tool.pack == name);
                let tools = tools.map(|tool| tool.spec().name.clone()).collect();
                let (resources, prompts) = self.0.registry.readings_of(&name);
                let version = Some(version);
                packs.push(PackStatus { name, version, tools, resources, prompts, ..PackStatus::default() });
            }
        }
        packs.sort_by(|a, b| a.name.cmp(&b.name));
        if !sees_all {
            let readable = self.resources(principal);
            let usable_prompts = self.prompts(principal);
            for pack in &mut packs {
                pack.resources.retain(|uri| readable.iter().any(|resource| resource.uri() == uri));
                pack.prompts.retain(|name| usable_prompts.iter().any(|prompt| prompt.about().name == *name));
                pack.tools.retain(|name| usable.iter().any(|tool| tool.spec().name == *name));
                pack.problem = None;
                pack.server = None;
                pack.disabled.clear();
                pack.doubts.clear();
            }
            packs.retain(|pack| {
                !(pack.tools.is_empty() && pack.resources.is_empty() && pack.prompts.is_empty())
            });
        }
        packs
    }

    /// The agents, for a principal who may use some tool.
    pub fn agents(&self, principal: &Principal) -> Vec<Arc<dyn Agent>> {
        if self.tools(principal).is_empty() { Vec::new() } else { self.0.registry.agents() }
    }

    /// What the run's agent says of it, or the facts in one line when the tool was called directly.
    pub fn reply(&self, run: &Run) -> String {
        let named = run.agent.as_ref().and_then(|name| self.0.registry.agent(name.as_str()).ok());
        let agent = named.or_else(|| self.0.registry.agents().into_iter().next());
        agent.map(|agent| agent.reply(run)).unwrap_or_default()
    }

    /// The records of the evidence chain that are asked for, in order.
    ///
    /// # Errors
    /// [`Code::PolicyDenied`] when the principal may not read the evidence.
    pub async fn evidence(&self, principal: &Principal, filter: &EvidenceFilter) -> Result<Vec<Record>> {
        self.authorize_evidence(principal)?;
        self.0.store.evidence(filter).await
    }

    /// Where the evidence chain begins, if old records were removed.
    ///
    /// # Errors
    /// As [`evidence`](Self::evidence).
    pub async fn evidence_cut(&self, principal: &Principal) -> Result<Option<Cut>> {
        self.authorize_evidence(principal)?;
        self.0.store.cut().await
    }

    /// The checkpoints that were kept of records after number `after`, in order, at most `limit`.
    pub async fn kept_checkpoints(
        &self,
        principal: &Principal,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Checkpoint>> {
        self.authorize_evidence(principal)?;
        let kept = self.0.store.checkpoints(after, limit).await?;
        kept.iter().map(|text| Checkpoint::parse(text)).collect()
    }

    /// A signed statement on the end of the evidence chain, now.
    pub async fn checkpoint(&self, principal: &Principal) -> Result<Checkpoint> {
        self.authorize_evidence(principal)?;
        self.sign().await
    }

    /// Whether the principal may read the evidence.
    ///
    /// # Errors
    /// [`Code::PolicyDenied`] when they may not.
    pub fn authorize_evidence(&self, principal: &Principal) -> Result<()> {
        if self.0.policy.may_read_evidence(principal) {
            return Ok(());
        }
        if let PolicyStatus { policies: 0, problem: Some(problem), .. } = self.0.policy.status() {
            return Err(problem);
        }
        Err(Error::new(Code::PolicyDenied, format!("`{}` may not read the evidence", principal.subject)))
    }

    /// Puts on record that somebody could not be authenticated. `suppressed` counts the denials since the
    /// last record that were not recorded one by one, because the door limits how many it records a second.
    pub async fn record_unauthenticated(&self, error: &Error, from: &str, suppressed: u64) -> Result<()> {
        let draft = Draft {
            at: self.0.clock.now(),
            kind: Kind::AuthDenied,
            run: None,
            principal: None,
            trace: None,
            data: json!({"code": error.code, "from": from, "suppressed": suppressed}),
        };
        let change = Change { evidence: vec![draft], ..Change::default() };
        self.0.store.commit(change).await.map(|_| ()).map_err(uncommitted)
    }

    /// One's own runs, those that one could approve, and those of others for who may see them.
    pub(super) fn may_see(&self, principal: &Principal, run: &Run) -> bool {
        run.principal.id() == principal.id()
            || self.0.policy.may_see_runs_of_others(principal)
            || run.approvals.as_ref().is_some_and(|approvals| self.is_asked(principal, run, approvals))
    }

    /// Whether the run's approvals are for such as the principal to give.
    fn is_asked(&self, principal: &Principal, run: &Run, approvals: &Approvals) -> bool {
        if approvals.required.names(principal) {
            return true;
        }
        // Whether they really may is told when they do: that takes a look at the target.
        let may = |step: &Step| self.tool(principal, step.call.tool.as_str()).is_ok();
        approvals.required.is_open() && run.steps.iter().all(may)
    }
}

/// Waits until a run may have changed; `false` when `until` came first. Of a run that another process executes,
/// the store is all there is to ask.
async fn awaited(changed: Option<watch::Receiver<u64>>, until: Instant) -> bool {
    if let Some(mut changed) = changed {
        return timeout_at(until, changed.changed()).await.is_ok();
    }
    sleep_until(until.min(Instant::now() + LOOK)).await;
    Instant::now() < until
}
