//! [`CedarPolicy`]: the set in force, and how it is replaced.

use crate::denial;
use crate::set::Set;
use crate::source::{self, PolicySources};
use crate::tally::Tally;
use arc_swap::ArcSwap;
use astradesk_core::canonical::Digest;
use astradesk_core::decision::Reason;
use astradesk_core::{Code, Decision, Effect, Error, Principal, Result, Timestamp, ToolSpec};
use astradesk_runtime::port::{Clock, Explanation, Policy, PolicyRequest, PolicyStatus};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};

/// Decides by Cedar policies: a set that is put together once, then only read, and replaced as a whole.
pub struct CedarPolicy {
    sources: PolicySources,
    clock: Arc<dyn Clock>,
    /// The tools that calls are of. Whoever replaces the set holds it.
    tools: Mutex<Vec<Arc<ToolSpec>>>,
    state: ArcSwap<State>,
}

/// What is in force.
struct State {
    /// The set; or why there has never been a valid one, which denies everything.
    set: Result<Arc<Set>, Error>,
    loaded_at: Timestamp,
    /// Why the files as they are now are not in force.
    problem: Option<Error>,
    /// Digests of the files and of the tools that were tried last, if they could be read.
    tried: Option<(Digest, Digest)>,
}

impl CedarPolicy {
    /// The policies of `sources`, for calls of `tools`. It never fails: when the set is not valid, everything is
    /// denied, and [`status`](Policy::status) says why, until [`reload`](Policy::reload) finds a valid one.
    pub fn open(sources: PolicySources, tools: Vec<Arc<ToolSpec>>, clock: Arc<dyn Clock>) -> Self {
        let state =
            State { set: Err(everything_denied()), loaded_at: clock.now(), problem: None, tried: None };
        let policy = Self { sources, clock, tools: Mutex::new(tools), state: ArcSwap::from_pointee(state) };
        // What comes of it is told by the status.
        let _ = policy.reload();
        policy
    }

    /// Puts the set together anew for these tools. Whenever the tools change this must follow: a call of a tool
    /// that the set does not know is denied. `Ok` says whether anything has changed.
    ///
    /// # Errors
    /// As [`reload`](Policy::reload).
    pub fn set_tools(&self, tools: Vec<Arc<ToolSpec>>) -> Result<bool> {
        let mut held = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        *held = tools;
        self.load(&held)
    }

    /// The policies in force as Cedar text, for people; empty when there are none.
    pub fn text(&self) -> String {
        self.set().ok().and_then(|set| set.policies.to_cedar()).unwrap_or_default()
    }

    /// The schema in force as Cedar text, for people and editors; empty when there is none.
    pub fn schema(&self) -> String {
        self.set().ok().and_then(|set| set.tools.schema_text().ok()).unwrap_or_default()
    }

    fn set(&self) -> Result<Arc<Set>> {
        self.state.load().set.clone()
    }

    /// Tries the files as they are now, for `tools`.
    fn load(&self, tools: &[Arc<ToolSpec>]) -> Result<bool> {
        let state = self.state.load_full();
        let specs = Digest::of_value(&json!(tools));
        let known = state.tried.map(|(files, _)| files);
        let files = self.sources.dir.as_ref().map_or(Ok(Vec::new()), |dir| source::read(dir, known));
        let tried = files.as_ref().ok().map(|files| (source::digest(files), specs));
        if tried.is_some() && tried == state.tried {
            return state.problem.clone().map_or(Ok(false), Err);
        }
        match files.and_then(|files| Set::compile(&self.sources, &files, tools)) {
            Ok(set) => {
                let changed = state.set.as_ref().ok().is_none_or(|old| old.digest != set.digest);
                let loaded_at = if changed { self.clock.now() } else { state.loaded_at };
                self.state.store(Arc::new(State { set: Ok(Arc::new(set)), loaded_at, problem: None, tried }));
                Ok(changed)
            }
            Err(error) => {
                let (set, problem) = (state.set.clone(), Some(error.clone()));
                self.state.store(Arc::new(State { set, loaded_at: state.loaded_at, problem, tried }));
                Err(error)
            }
        }
    }
}

impl Policy for CedarPolicy {
    fn decide(&self, request: &PolicyRequest<'_>) -> Decision {
        match &self.state.load().set {
            Ok(set) => set.decide(request),
            Err(error) => Decision::Deny { error: error.clone(), reasons: Vec::new() },
        }
    }

    fn may_break_glass(&self, request: &PolicyRequest<'_>) -> Result<Vec<Reason>, Error> {
        let set = self.set()?;
        let tally = Tally::of(request.principal, request.approvals);
        let verdicts = set.each_target(request, false, &tally, |matter| set.verdict(&matter, &tally))?;
        let mut reasons = Vec::new();
        for (target, verdict) in request.call.targets.iter().zip(verdicts) {
            if let Some(policy) = verdict.failed.first() {
                return Err(denial::evaluation_failed(request, &format!("the policy `{policy}`")));
            }
            if verdict.unaskable {
                return Err(denial::evaluation_failed(request, "the request"));
            }
            if let Some(policy) = verdict.forbids.first() {
                return Err(denial::break_glass_forbidden(request, target, policy));
            }
            if !verdict.permitted() {
                return Err(denial::no_break_glass(request, target));
            }
            let new = set.reasons(&verdict.permits).into_iter().filter(|reason| !reasons.contains(reason));
            reasons.extend(new.collect::<Vec<_>>());
        }
        Ok(reasons)
    }

    fn may_approve(&self, principal: &Principal, request: &PolicyRequest<'_>) -> bool {
        !matches!(self.decide(&PolicyRequest { principal, ..*request }), Decision::Deny { .. })
    }

    fn explain(&self, request: &PolicyRequest<'_>) -> Explanation {
        match self.set() {
            Ok(set) => set.explain(request, &self.sources.known_roles),
            Err(error) => Explanation {
                decision: Decision::Deny { error, reasons: Vec::new() },
                policies: Vec::new(),
                otherwise: vec!["nothing, until the policies are valid".to_owned()],
                set: Digest::ZERO,
            },
        }
    }

    fn needs_facts(&self) -> bool {
        self.set().is_ok_and(|set| set.needs.any(crate::needs::Needs::FACTS))
    }

    fn status(&self) -> PolicyStatus {
        let state = self.state.load();
        let set = state.set.as_ref().ok();
        PolicyStatus {
            digest: set.map_or(Digest::ZERO, |set| set.digest),
            policies: set.map_or(0, |set| set.policies.num_of_policies()),
            loaded_at: state.loaded_at,
            problem: state.problem.clone(),
            warnings: set.map(|set| set.warnings.clone()).unwrap_or_default(),
        }
    }

    fn digest(&self) -> Digest {
        self.state.load().set.as_ref().map_or(Digest::ZERO, |set| set.digest)
    }

    fn reload(&self) -> Result<bool, Error> {
        let tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        self.load(&tools)
    }

    fn adopt_tools(&self, tools: Vec<Arc<ToolSpec>>, swap: &mut dyn FnMut()) -> Result<(), Error> {
        let mut held = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        let files = self.sources.dir.as_ref().map_or(Ok(Vec::new()), |dir| source::read(dir, None))?;
        let set = Set::compile(&self.sources, &files, &tools)?;
        let tried = Some((source::digest(&files), Digest::of_value(&json!(tools))));
        let state = State { set: Ok(Arc::new(set)), loaded_at: self.clock.now(), problem: None, tried };
        // One right after the other: in between, a call of a tool that has changed is denied.
        swap();
        self.state.store(Arc::new(state));
        *held = tools;
        Ok(())
    }

    fn could_permit(&self, tool: &ToolSpec) -> bool {
        self.set().is_ok_and(|set| set.could_permit(tool))
    }

    fn may_use(&self, principal: &Principal, tool: &ToolSpec) -> bool {
        // What the settings say is shown though the set is not valid or no service allowed: the denial says why.
        let settings = &self.sources.settings;
        let by_settings = match tool.effect {
            Some(Effect::Read) => settings.may_read(principal),
            Some(Effect::Write) => {
                settings.may_write(principal) && settings.allowed_tools.contains(&tool.name)
            }
            Some(Effect::Execute) | None => false,
        };
        let by_files =
            |effect| self.set().is_ok_and(|set| set.may_permit(principal, tool.name.as_str(), effect));
        by_settings || tool.effect.is_some_and(by_files)
    }

    fn may_see_runs_of_others(&self, principal: &Principal) -> bool {
        self.set().is_ok() && self.sources.settings.may_read(principal)
    }

    fn may_read_evidence(&self, principal: &Principal) -> bool {
        self.set().is_ok() && self.sources.settings.may_read(principal)
    }
}

impl std::fmt::Debug for CedarPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CedarPolicy").field("sources", &self.sources).finish_non_exhaustive()
    }
}

/// The denial of everything, while there is no valid set. What is wrong with it is told by the status, not to
/// everybody who asks for something.
fn everything_denied() -> Error {
    Error::new(Code::PolicySetInvalid, "everything is denied, because the policies are not valid")
}
