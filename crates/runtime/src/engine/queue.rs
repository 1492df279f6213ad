//! Whose turn it is. Pure.
//!
//! A run waits until there is room: among all runs, among those of its tools, and until no other run works on
//! one of its targets. Turns are fair: of the runs that could begin, the one whose principal has waited
//! longest since their last turn, and of that principal's runs the oldest. So a principal who submits a thousand
//! runs delays nobody else by more than one.

#[cfg(test)]
mod tests;

use astradesk_core::{Code, Effect, Error, Result, Run, RunId, ToolName};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::Hash;

/// For how many turns a principal's last one is remembered when they have no run here.
const REMEMBERED: u64 = 1024;

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
    /// Its place in the order of arrival.
    arrival: u64,
}

/// The runs of one principal that wait, oldest first.
#[derive(Debug, Default)]
struct Line {
    places: VecDeque<Place>,
    /// The number of the principal's last turn.
    last_turn: u64,
}

/// Runs at work, and runs that wait.
#[derive(Debug)]
pub(super) struct Queue {
    room: Room,
    lines: BTreeMap<String, Line>,
    at_work: HashMap<RunId, Place>,
    /// The runs, waiting or at work, that write to a target.
    wanted: HashMap<String, Vec<RunId>>,
    /// How many runs at work write to a target, and have a step of a tool.
    busy: HashMap<String, usize>,
    used: HashMap<ToolName, usize>,
    turns: u64,
    arrivals: u64,
}

impl Queue {
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            lines: BTreeMap::new(),
            at_work: HashMap::new(),
            wanted: HashMap::new(),
            busy: HashMap::new(),
            used: HashMap::new(),
            turns: 0,
            arrivals: 0,
        }
    }

    /// Keeps a place for a run that is about to be admitted.
    ///
    /// # Errors
    /// [`Code::GuardTargetLocked`] when too many runs are ahead of it on one of its targets,
    /// [`Code::GuardQueueFull`] when too many wait at all.
    pub(super) fn keep(&mut self, run: &Run) -> Result<()> {
        let place = self.place(run, false);
        for target in &place.targets {
            let ahead = self.wanted.get(target).map(Vec::as_slice).unwrap_or_default();
            if let [first, ..] = ahead
                && ahead.len() > self.room.per_target
            {
                let message = format!("run {first} is writing to `{target}`");
                return Err(
                    Error::new(Code::GuardTargetLocked, message).with_detail("holder", first.to_string())
                );
            }
        }
        let all = self.room.at_work + self.room.waiting;
        if self.vacant() == 0 {
            let message = format!("{all} runs are under way or waiting, which is the limit");
            return Err(Error::new(Code::GuardQueueFull, message).with_detail("limit", all));
        }
        self.line_up(place);
        Ok(())
    }

    /// The run is durable: from here on its turn may come.
    pub(super) fn enter(&mut self, run: &Run) {
        let line = self.lines.get_mut(&run.principal.id());
        let waiting = line.and_then(|line| line.places.iter_mut().rev().find(|place| place.run == run.id));
        match waiting {
            Some(place) => place.ready = true,
            None if self.at_work.contains_key(&run.id) => {}
            None => {
                let place = self.place(run, true);
                self.line_up(place);
            }
        }
    }

    /// Puts a run to work at once, because others wait for it.
    pub(super) fn hasten(&mut self, run: RunId) {
        if let Some(place) = self.take(run) {
            self.set_to_work(place);
        }
    }

    /// The run does not work or wait any more.
    pub(super) fn leave(&mut self, run: RunId) {
        let left = match self.at_work.remove(&run) {
            Some(place) => {
                place.targets.iter().for_each(|target| lower(&mut self.busy, target));
                place.tools.iter().for_each(|tool| lower(&mut self.used, tool));
                Some(place)
            }
            None => self.take(run),
        };
        for target in left.into_iter().flat_map(|place| place.targets) {
            if let Some(runs) = self.wanted.get_mut(&target) {
                runs.retain(|other| *other != run);
                if runs.is_empty() {
                    self.wanted.remove(&target);
                }
            }
        }
        let turns = self.turns;
        self.lines.retain(|_, line| !line.places.is_empty() || line.last_turn + REMEMBERED > turns);
    }

    /// The next run to begin, if there is room for one that waits.
    pub(super) fn next(&mut self) -> Option<RunId> {
        if self.at_work.len() >= self.room.at_work {
            return None;
        }
        // Of each principal the oldest that can begin; of those the one whose principal has waited longest.
        let firsts = self.lines.iter().filter_map(|(principal, line)| {
            let index = line.places.iter().position(|place| self.can_begin(place))?;
            let arrival = line.places.get(index)?.arrival;
            Some(((line.last_turn, arrival), principal.clone(), index))
        });
        let (_, principal, index) = firsts.min()?;
        self.turns += 1;
        let line = self.lines.get_mut(&principal)?;
        line.last_turn = self.turns;
        let place = line.places.remove(index)?;
        let run = place.run;
        self.set_to_work(place);
        Some(run)
    }

    /// How many more runs may be taken up.
    pub(super) fn vacant(&self) -> usize {
        (self.room.at_work + self.room.waiting).saturating_sub(self.at_work.len() + self.waiting())
    }

    /// How many runs are at work.
    pub(super) fn at_work(&self) -> usize {
        self.at_work.len()
    }

    /// How many runs wait.
    pub(super) fn waiting(&self) -> usize {
        self.lines.values().map(|line| line.places.len()).sum()
    }

    fn can_begin(&self, place: &Place) -> bool {
        let used = |tool| self.used.get(tool).copied().unwrap_or_default();
        place.ready
            && !place.targets.iter().any(|target| self.busy.contains_key(target))
            && place.tools.iter().all(|tool| used(tool) < self.room.per_tool)
    }

    /// Takes a run that waits out of its line.
    fn take(&mut self, run: RunId) -> Option<Place> {
        self.lines.values_mut().find_map(|line| {
            let index = line.places.iter().position(|place| place.run == run)?;
            line.places.remove(index)
        })
    }

    fn want(&mut self, place: &Place) {
        for target in &place.targets {
            self.wanted.entry(target.clone()).or_default().push(place.run);
        }
    }

    fn set_to_work(&mut self, place: Place) {
        place.targets.iter().for_each(|target| *self.busy.entry(target.clone()).or_default() += 1);
        place.tools.iter().for_each(|tool| *self.used.entry(tool.clone()).or_default() += 1);
        self.at_work.insert(place.run, place);
    }

    fn line_up(&mut self, place: Place) {
        self.want(&place);
        self.lines.entry(place.principal.clone()).or_default().places.push_back(place);
    }

    fn place(&mut self, run: &Run, ready: bool) -> Place {
        let writes = || run.steps.iter().filter(|step| step.call.effect != Effect::Read);
        self.arrivals += 1;
        Place {
            run: run.id,
            principal: run.principal.id(),
            tools: run.steps.iter().map(|step| step.call.tool.clone()).collect(),
            targets: writes().flat_map(|step| &step.call.targets).map(ToString::to_string).collect(),
            ready,
            arrival: self.arrivals,
        }
    }
}

fn lower<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
