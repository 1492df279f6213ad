//! What must hold when everything has come to rest: the cluster's history, the evidence, the runs and what the
//! clients were told, held against each other. Nothing here knows how AstraDesk works inside.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::clients::{Act, Answer};
use super::evidence::Record;
use super::history::{History, What, split};

/// Codes with which no request of the clients may be answered: each is well-formed, and its principal may do it.
const UNASKED: [&str; 6] = [
    "request.malformed",
    "request.not_found",
    "tool.arguments_invalid",
    "policy.denied",
    "policy.target_not_allowed",
    "policy.role_required",
];

/// Everything that is known at the end.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) history: History,
    /// The marks that the revisions have which are left.
    pub(super) revisions: Vec<String>,
    pub(super) records: Vec<Record>,
    /// What is wrong with the evidence by itself.
    pub(super) broken: Vec<String>,
    /// By id, as the gateway shows them.
    pub(super) runs: BTreeMap<String, Value>,
    pub(super) answers: Vec<Answer>,
    /// What was wrong with the processes.
    pub(super) processes: Vec<String>,
}

/// Something that must not be.
#[derive(Debug, PartialEq)]
pub(super) struct Violation {
    pub(super) what: &'static str,
    pub(super) run: Option<String>,
    /// The object, if it is of one: `deployments/web-00`.
    pub(super) object: Option<String>,
    pub(super) how: String,
}

/// What was counted.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) restarts: usize,
    pub(super) undos: usize,
    /// Steps that the evidence has as performed.
    pub(super) performed: usize,
    /// How often a run was taken over, and of these, when its intent was on record and its effect was not.
    pub(super) taken_over: (usize, usize),
    pub(super) by_state: BTreeMap<String, usize>,
    /// Of the runs whose outcome is unknown.
    pub(super) unknown: Vec<String>,
}

/// The check as it goes on.
struct Check<'a> {
    facts: &'a Facts,
    found: Vec<Violation>,
    /// By run and step: the objects on which its effect was seen, once for each time.
    effects: BTreeMap<(&'a str, u64), Vec<&'a str>>,
    /// By run.
    records: BTreeMap<&'a str, Vec<&'a Record>>,
}

/// Everything that is wrong, and what was counted.
pub(super) fn check(facts: &Facts) -> (Vec<Violation>, Counts) {
    let mut check = Check { facts, found: Vec::new(), effects: BTreeMap::new(), records: BTreeMap::new() };
    for record in &facts.records {
        if let Some(run) = &record.run {
            check.records.entry(run).or_default().push(record);
        }
    }
    for text in &facts.broken {
        check.fault("broken evidence", None, text);
    }
    for text in &facts.processes {
        check.fault("process", None, text);
    }
    let mut counts = Counts::default();
    if facts.runs.is_empty() && !facts.processes.is_empty() {
        // There was no gateway to ask: everything would look lost.
        return (check.found, counts);
    }
    check.history(&mut counts);
    check.effects_of_nobody();
    for (id, run) in &facts.runs {
        check.run(id, run, &mut counts);
    }
    check.records_of_nobody();
    check.targets();
    check.wishes();
    check.answers();
    if counts.restarts == 0 {
        check.fault("nothing happened", None, "no restart was seen at all");
    }
    (check.found, counts)
}

impl<'a> Check<'a> {
    fn fault(&mut self, what: &'static str, run: Option<&str>, how: impl Into<String>) {
        let object = run.and_then(|run| self.facts.object_of(run));
        self.found.push(Violation { what, run: run.map(str::to_owned), object, how: how.into() });
    }

    /// Every change of an object is an effect of a run, and its generation says that none was missed.
    fn history(&mut self, counts: &mut Counts) {
        let facts = self.facts;
        let mut fault = |object: &str, how: String| {
            let (what, object) = ("foreign change", Some(object.to_owned()));
            self.found.push(Violation { what, run: None, object, how });
        };
        for (name, object) in &facts.history.objects {
            for how in &object.wrong {
                fault(name, how.clone());
            }
            for change in &object.changes {
                match &change.what {
                    What::Restart(mark) | What::Undo(mark) => {
                        self.effects.entry(split(mark)).or_default().push(name);
                    }
                    What::Unseen => {
                        fault(name, format!("generation {} was not seen by the watch", change.generation));
                    }
                    What::Foreign => {
                        fault(name, format!("generation {} is nobody's work", change.generation));
                    }
                }
            }
            let undos = object.changes.iter().filter(|change| matches!(change.what, What::Undo(_))).count();
            counts.undos += undos;
            counts.restarts += object.changes.len() - undos;
            let (start, end) = object.generations;
            if usize::try_from(end - start).ok() != Some(object.changes.len()) {
                fault(name, format!("generation {start} to {end}, with {} changes", object.changes.len()));
            }
        }
        let known: BTreeSet<(&str, u64)> = self.effects.keys().copied().collect();
        for mark in facts.revisions.iter().filter(|mark| !known.contains(&split(mark))) {
            let how = format!("a revision has the mark {mark}, which the watch has never seen");
            self.found.push(Violation { what: "foreign change", run: None, object: None, how });
        }
    }

    /// Every effect is of a run that exists, on the object that it is for.
    fn effects_of_nobody(&mut self) {
        for ((run, step), objects) in std::mem::take(&mut self.effects) {
            if objects.len() > 1 {
                let how = format!("step {step} changed {}", objects.join(", "));
                self.fault("double effect", Some(run), how);
            }
            match self.facts.runs.get(run).map(service) {
                None => self.fault("lost run", Some(run), "its mark was seen, and there is no such run"),
                Some(service) => {
                    if let Some(other) =
                        objects.iter().find(|object| !object.ends_with(&format!("/{service}")))
                    {
                        let how = format!("it is for {service}, and it changed {other}");
                        self.fault("wrong object", Some(run), how);
                    }
                }
            }
            self.effects.insert((run, step), objects);
        }
    }

    /// A run has ended, once, as its evidence says, and its effects are those that the evidence has.
    fn run(&mut self, id: &'a str, run: &Value, counts: &mut Counts) {
        let state = run["state"].as_str().unwrap_or_default();
        *counts.by_state.entry(state.to_owned()).or_default() += 1;
        if !is_final(state) {
            self.fault("lost run", Some(id), format!("it is still {state}"));
            return;
        }
        let records = self.records.get(id).cloned().unwrap_or_default();
        let all =
            |kind: &str| records.iter().filter(|record| record.kind == kind).copied().collect::<Vec<_>>();
        let ends: Vec<&Record> = [all("run.finished"), all("run.denied")].concat();
        match ends.as_slice() {
            [end] => {
                let told = if end.kind == "run.denied" {
                    "denied"
                } else {
                    end.data["state"].as_str().unwrap_or("?")
                };
                if told != state {
                    self.fault("evidence", Some(id), format!("it is {state}, and its evidence says {told}"));
                }
                if let Some(late) =
                    records.iter().find(|record| record.seq > end.seq && record.kind.starts_with("step."))
                {
                    self.fault("evidence", Some(id), format!("{} after the end", late.kind));
                }
            }
            _ => self.fault("evidence", Some(id), format!("its end is on record {} times", ends.len())),
        }
        if state != "denied" && all("run.admitted").len() != 1 {
            self.fault("evidence", Some(id), format!("admitted {} times", all("run.admitted").len()));
        }
        counts.performed += all("step.performed").len();
        for claim in all("run.claimed") {
            let before =
                records.iter().rev().filter(|record| record.seq < claim.seq && record.kind != "run.claimed");
            let in_doubt = before.map(|record| record.kind.as_str()).next() == Some("step.intended");
            counts.taken_over.0 += 1;
            counts.taken_over.1 += usize::from(in_doubt);
        }
        if state == "outcome_unknown" {
            counts.unknown.push(id.to_owned());
        }
        let steps = run["steps"].as_array().map_or(0, Vec::len) as u64;
        let seen = self.effects.keys().filter(|(run, _)| *run == id).map(|(_, step)| step + 1).max();
        for step in 0..steps.max(seen.unwrap_or(0)) {
            self.step(id, run, step, &records);
        }
    }

    fn step(&mut self, id: &str, run: &Value, step: u64, records: &[&Record]) {
        let of = |kind: &str| -> Vec<u64> {
            let of_step = records.iter().filter(|record| record.kind == kind && record.step() == step);
            of_step.map(|record| record.seq).collect()
        };
        let (intended, performed) = (of("step.intended"), of("step.performed"));
        let effects = self.effects.get(&(id, step)).map_or(0, Vec::len);
        let shown = &run["steps"][step as usize];
        let (state, last) =
            (run["state"].as_str().unwrap_or_default(), shown["step"].as_str().unwrap_or("absent"));
        if performed.len() > 1 {
            self.fault("evidence", Some(id), format!("step {step} is performed {} times", performed.len()));
        }
        if let Some(performed) = performed.first() {
            if intended.first().is_none_or(|intended| intended > performed) {
                self.fault("evidence", Some(id), format!("step {step} is performed and was not intended"));
            }
            if effects == 0 {
                self.fault(
                    "lost effect",
                    Some(id),
                    format!("step {step} is performed, and no change has its mark"),
                );
            }
        } else if effects > 0 && state != "outcome_unknown" {
            self.fault(
                "effect without evidence",
                Some(id),
                format!("step {step} changed the object; the run is {state}"),
            );
        }
        if intended.is_empty() && effects > 0 {
            self.fault(
                "effect without evidence",
                Some(id),
                format!("step {step} changed the object without an intent"),
            );
        }
        if (last == "succeeded" || state == "succeeded") && performed.is_empty() {
            self.fault(
                "evidence",
                Some(id),
                format!("step {step} succeeded and is not on record as performed"),
            );
        }
    }

    /// Every run of the evidence is there.
    fn records_of_nobody(&mut self) {
        let facts = self.facts;
        let known = |run: &str| facts.runs.contains_key(run);
        let lost: Vec<&str> = self.records.keys().copied().filter(|run| !known(run)).collect();
        for run in lost {
            self.fault("lost run", Some(run), "its evidence is there, and the run is not");
        }
    }

    /// From its first intent to its end a run has its target for itself.
    fn targets(&mut self) {
        let mut holders: BTreeMap<String, &'a str> = BTreeMap::new();
        let facts = self.facts;
        for record in &facts.records {
            let Some((id, run)) = record.run.as_deref().and_then(|id| Some((id, facts.runs.get(id)?))) else {
                continue;
            };
            let service = service(run).to_owned();
            match record.kind.as_str() {
                "step.intended" => {
                    let holder = *holders.entry(service).or_insert(id);
                    if holder != id {
                        let how = format!("record {}: intended while {holder} had the target", record.seq);
                        self.fault("target not locked", Some(id), how);
                    }
                }
                "run.finished" if holders.get(&service) == Some(&id) => drop(holders.remove(&service)),
                _ => {}
            }
        }
    }

    /// A wish has one run at most, whether or not the client was told of it.
    fn wishes(&mut self) {
        let mut first: BTreeMap<(String, String, String), &'a str> = BTreeMap::new();
        for (id, run) in self.facts.runs.iter().filter(|(_, run)| run["state"] != "denied") {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let arguments = &run["steps"][0]["call"]["arguments"];
            let wish =
                (text(&run["principal"]["subject"]), service(run).to_owned(), text(&arguments["timeout"]));
            if let Some(other) = first.insert(wish, id) {
                self.fault("key with two runs", Some(id), format!("{other} is of the same request"));
            }
        }
    }

    /// What the clients were told is so.
    fn answers(&mut self) {
        let facts = self.facts;
        let mut told: BTreeMap<(usize, &str), &str> = BTreeMap::new();
        for answer in &facts.answers {
            let wrong = |what: &'static str| (what, answer.shown());
            let run = answer.run.as_deref();
            let fault = match run {
                Some(run) if !facts.runs.contains_key(run) => Some(wrong("lost run")),
                _ if answer.status >= 500
                    && answer.code.as_deref().is_none_or(|code| code == "internal.error") =>
                {
                    Some(wrong("internal error"))
                }
                _ if answer.act == Act::Read
                    && answer.status != 200
                    && answer.status < 500
                    && answer.status > 0 =>
                {
                    Some(wrong("lost run"))
                }
                _ if answer.code.as_deref().is_some_and(|code| UNASKED.contains(&code)) => {
                    Some(wrong("request not understood"))
                }
                _ if answer.act == Act::Contradict && (200..300).contains(&answer.status) => {
                    Some(wrong("contradiction accepted"))
                }
                _ => None,
            };
            if let Some((what, how)) = fault {
                self.fault(what, run, how);
            }
            let conflict = answer.code.as_deref() == Some("request.idempotency_conflict");
            let Some(run) = run.filter(|_| answer.is_accepted() || conflict) else { continue };
            let before = *told.entry((answer.wish.principal, &answer.wish.key)).or_insert(run);
            if before != run {
                let how = format!("{}; before, it was {before}", answer.shown());
                self.fault("key with two runs", Some(run), how);
            }
            if let Some(shown) =
                facts.runs.get(run).map(service).filter(|shown| *shown != answer.wish.service)
            {
                self.fault("wrong run", Some(run), format!("{}; it is for {shown}", answer.shown()));
            }
        }
    }
}

impl Facts {
    /// The object that a run is for, as the history names it.
    fn object_of(&self, run: &str) -> Option<String> {
        let end = format!("/{}", service(self.runs.get(run)?));
        self.history.objects.keys().find(|name| name.ends_with(&end)).cloned()
    }
}

fn service(run: &Value) -> &str {
    run["steps"][0]["call"]["arguments"]["service"].as_str().unwrap_or_default()
}

fn is_final(state: &str) -> bool {
    ["succeeded", "failed", "denied", "rejected", "expired", "cancelled", "outcome_unknown"].contains(&state)
}

#[cfg(test)]
mod tests;
