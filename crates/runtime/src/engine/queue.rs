//! Whose turn it is. Pure.
//!
//! A run waits until there is room: among all runs, among those of its tools, and until no other run works on
//! one of its targets. Turns are fair: of the runs that could begin, the one whose principal has waited
//! longest since their last turn, and of that principal's runs the oldest. So a principal who submits a thousand
//! runs delays nobody else by more than one.

use astradesk_core::{Code, Effect, Error, Result, Run, RunId, ToolName};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// The queue's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Runs at work.
    pub(super) at_work: usize,
    /// Runs at work with a step of the same tool.
    pub(super) per_tool: usize,
    /// Runs that wait.
    pub(super) waiting: usize,
    /// Runs that wait for a target on which another run works.
    pub(super) per_target: usize,
}

/// What a run needs.
#[derive(Debug, Clone)]
struct Place {
    run: RunId,
    principal: String,
    tools: BTreeSet<ToolName>,
    targets: BTreeSet<String>,
    /// Whether it is durable; until then its place is only kept.
    ready: bool,
}

/// Runs at work, and runs that wait.
#[derive(Debug)]
pub(super) struct Queue {
    room: Room,
    waiting: VecDeque<Place>,
    at_work: HashMap<RunId, Place>,
    /// The number of each principal's last turn, for those who have a run here.
    served: HashMap<String, u64>,
    turns: u64,
}

impl Queue {
    pub(super) fn new(room: Room) -> Self {
        Self { room, waiting: VecDeque::new(), at_work: HashMap::new(), served: HashMap::new(), turns: 0 }
    }

    /// Keeps a place for a run that is about to be admitted.
    ///
    /// # Errors
    /// [`Code::GuardTargetLocked`] when too many runs are ahead of it on one of its targets,
    /// [`Code::GuardQueueFull`] when too many wait at all.
    pub(super) fn keep(&mut self, run: &Run) -> Result<()> {
        let place = Place::of(run, false);
        for target in &place.targets {
            let mut ahead = self.places().filter(|other| other.targets.contains(target));
            if let Some(other) = ahead.nth(self.room.per_target) {
                let message = format!("run {} is writing to `{target}`", other.run);
                return Err(
                    Error::new(Code::GuardTargetLocked, message).with_detail("holder", other.run.to_string())
                );
            }
        }
        let all = self.room.at_work + self.room.waiting;
        if self.len() >= all {
            let message = format!("{all} runs are under way or waiting, which is the limit");
            return Err(Error::new(Code::GuardQueueFull, message).with_detail("limit", all));
        }
        self.waiting.push_back(place);
        Ok(())
    }

    /// The run is durable: from here on its turn may come.
    pub(super) fn enter(&mut self, run: &Run) {
        match self.waiting.iter_mut().find(|place| place.run == run.id) {
            Some(place) => place.ready = true,
            None if self.at_work.contains_key(&run.id) => {}
            None => self.waiting.push_back(Place::of(run, true)),
        }
    }

    /// Puts a run to work at once, because others wait for it.
    pub(super) fn jump(&mut self, run: &Run) {
        self.waiting.retain(|place| place.run != run.id);
        self.at_work.insert(run.id, Place::of(run, true));
    }

    /// The run does not work or wait any more.
    pub(super) fn leave(&mut self, run: RunId) {
        self.at_work.remove(&run);
        self.waiting.retain(|place| place.run != run);
        if self.len() == 0 {
            self.served.clear();
        }
    }

    /// The next run to begin, if there is room for one that waits.
    pub(super) fn next(&mut self) -> Option<RunId> {
        if self.at_work.len() >= self.room.at_work {
            return None;
        }
        let busy: BTreeSet<&String> = self.at_work.values().flat_map(|place| &place.targets).collect();
        let mut used: HashMap<&ToolName, usize> = HashMap::new();
        for tool in self.at_work.values().flat_map(|place| &place.tools) {
            *used.entry(tool).or_default() += 1;
        }
        let can_begin = |place: &Place| {
            place.ready
                && !place.targets.iter().any(|target| busy.contains(target))
                && place.tools.iter().all(|tool| used.get(tool).is_none_or(|n| *n < self.room.per_tool))
        };
        let last_turn = |place: &Place| self.served.get(&place.principal).copied().unwrap_or_default();
        // The first of the least: within a principal, the oldest.
        let found = self.waiting.iter().enumerate().filter(|(_, place)| can_begin(place));
        let (index, _) = found.min_by_key(|(_, place)| last_turn(place))?;
        let place = self.waiting.remove(index)?;
        self.turns += 1;
        self.served.insert(place.principal.clone(), self.turns);
        let run = place.run;
        self.at_work.insert(run, place);
        Some(run)
    }

    /// How many more runs may be taken up.
    pub(super) fn vacant(&self) -> usize {
        (self.room.at_work + self.room.waiting).saturating_sub(self.len())
    }

    fn len(&self) -> usize {
        self.at_work.len() + self.waiting.len()
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.at_work.values().chain(&self.waiting)
    }
}

impl Place {
    fn of(run: &Run, ready: bool) -> Self {
        let writes = || run.steps.iter().filter(|step| step.call.effect != Effect::Read);
        Self {
            run: run.id,
            principal: run.principal.id(),
            tools: run.steps.iter().map(|step| step.call.tool.clone()).collect(),
            targets: writes().flat_map(|step| &step.call.targets).map(ToString::to_string).collect(),
            ready,
        }
    }
}
