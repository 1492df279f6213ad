//! What happened to the workloads, as the cluster tells it: every change of every object's specification.
use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The run that restarted it, on the pod template.
const RUN: &str = "astradesk.dev/run";
/// When it was restarted, on the pod template.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
/// The run and step that undid a restart, on the object itself.
const UNDO: &str = "astradesk.dev/undo";

/// All objects, by resource and name: `deployments/web-00`.
#[derive(Default)]
pub(super) struct History {
    pub(super) objects: BTreeMap<String, Object>,
}

/// One object's.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Object {
    /// The generation when the watch began, and the last that was seen.
    pub(super) generations: (i64, i64),
    /// What raised the generation, in order.
    pub(super) changes: Vec<Change>,
    /// What must not have happened.
    pub(super) wrong: Vec<String>,
    last: State,
}

/// A change of the specification.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) generation: i64,
    /// The version with which it was first seen.
    pub(super) version: String,
    pub(super) what: What,
    /// What the pod template had before it.
    from: Annotations,
}

/// See [`Change`].
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// A restart, with its mark: the run, and the step unless it is the first.
    Restart(String),
    /// The undo of a restart, with its mark: the run and the step.
    Undo(String),
    /// The watch was interrupted and did not see it.
    Unseen,
    /// None of those.
    Foreign,
}

/// What is compared from one version of an object to the next.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    uid: Value,
    generation: i64,
    /// Of the pod template: by whom and when it was restarted.
    mark: Annotations,
    undo: Option<String>,
    /// The specification without these two annotations.
    rest: Value,
}

/// The run's mark and the time.
type Annotations = (Option<String>, Option<String>);

impl History {
    /// Takes in a line of the watch, or a `LIST`.
    pub(super) fn take(&mut self, resource: &str, line: &Value) {
        let object = &line["object"];
        match line["type"].as_str() {
            Some("LIST") => {
                for item in object["items"].as_array().into_iter().flatten() {
                    self.see(resource, item);
                }
            }
            Some("ADDED" | "MODIFIED") => self.see(resource, object),
            Some("DELETED") => {
                self.objects
                    .entry(key(resource, object))
                    .or_default()
                    .wrong
                    .push("it was deleted".to_owned());
            }
            _ => {}
        }
    }

    fn see(&mut self, resource: &str, object: &Value) {
        let (state, version) = (State::of(object), text(object, "/metadata/resourceVersion"));
        let first = || {
            let generations = (state.generation, state.generation);
            Object { generations, last: state.clone(), ..Object::default() }
        };
        let known = self.objects.entry(key(resource, object)).or_insert_with(first);
        known.see(&state, &version.unwrap_or_default());
    }

    /// Whether all of a list was seen.
    pub(super) fn has_shown(&self, resource: &str, list: &Value) -> bool {
        list["items"].as_array().into_iter().flatten().all(|item| {
            let seen = self.objects.get(&key(resource, item)).map(|object| object.generations.1);
            seen >= item.pointer("/metadata/generation").and_then(Value::as_i64)
        })
    }
}

impl Object {
    fn see(&mut self, state: &State, version: &str) {
        let before = std::mem::replace(&mut self.last, state.clone());
        if state.uid != before.uid {
            self.wrong.push(format!("version {version}: it was replaced by another object"));
        }
        if state.generation < before.generation {
            self.wrong.push(format!("version {version}: its generation went back to {}", state.generation));
            return;
        }
        if state.generation == before.generation {
            if *state != before {
                self.wrong.push(format!("version {version}: it changed under the same generation"));
            }
            return;
        }
        for generation in before.generation + 1..state.generation {
            let from = before.mark.clone();
            self.changes.push(Change { generation, version: String::new(), what: What::Unseen, from });
        }
        let what = self.what(&before, state, version);
        let (version, from) = (version.to_owned(), before.mark);
        self.changes.push(Change { generation: state.generation, version, what, from });
        self.generations.1 = state.generation;
    }

    fn what(&mut self, before: &State, state: &State, version: &str) -> What {
        if state.rest != before.rest {
            self.wrong.push(format!("version {version}: more than a restart's annotations changed"));
        }
        match (&state.undo, &state.mark) {
            (Some(undo), mark) if state.undo != before.undo => {
                let undone = self.effects(split(undo).0).next().map(|change| &change.from);
                if undone != Some(mark) {
                    self.wrong
                        .push(format!("version {version}: the undo did not put back what was there before"));
                }
                What::Undo(undo.clone())
            }
            (_, (Some(mark), _)) if state.mark != before.mark => What::Restart(mark.clone()),
            _ => What::Foreign,
        }
    }

    /// The effects of a run's step on this object.
    fn effects(&self, run: &str) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.what.mark().is_some_and(|mark| split(mark).0 == run))
    }

    /// The history in lines, for a person; with a run, only what is around its changes.
    pub(super) fn shown(&self, run: Option<&str>) -> Vec<String> {
        let mut lines = vec![format!(
            "generation {} at the start, {} at the end",
            self.generations.0, self.generations.1
        )];
        let near = |index: usize| {
            let Some(run) = run else { return true };
            let around = self.changes.iter().skip(index.saturating_sub(1)).take(3);
            around.into_iter().any(|change| change.what.mark().is_some_and(|mark| split(mark).0 == run))
        };
        for (_, change) in self.changes.iter().enumerate().filter(|(index, _)| near(*index)) {
            let what = match &change.what {
                What::Restart(mark) => format!("restart by {mark}"),
                What::Undo(mark) => format!("undo by {mark}"),
                What::Unseen => "not seen".to_owned(),
                What::Foreign => "by nobody known".to_owned(),
            };
            lines.push(format!("generation {} (version {}): {what}", change.generation, change.version));
        }
        lines.extend(self.wrong.iter().cloned());
        lines
    }
}

impl What {
    pub(super) fn mark(&self) -> Option<&str> {
        match self {
            Self::Restart(mark) | Self::Undo(mark) => Some(mark),
            Self::Unseen | Self::Foreign => None,
        }
    }
}

/// Run and step of a mark.
pub(super) fn split(mark: &str) -> (&str, u64) {
    match mark.split_once('/') {
        Some((run, step)) => (run, step.parse().unwrap_or(u64::MAX)),
        None => (mark, 0),
    }
}

/// The marks in the templates of `ReplicaSet`s and `ControllerRevision`s.
pub(super) fn revisions(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .flat_map(|item| ["/spec/template", "/data/spec/template"].map(|path| (item, path)))
        .filter_map(|(item, path)| text(item.pointer(path)?, &annotation("", RUN)))
        .collect()
}

impl State {
    fn of(object: &Value) -> Self {
        let template = |name| text(object, &annotation("/spec/template", name));
        let mut rest = object["spec"].clone();
        if let Some(annotations) =
            rest.pointer_mut("/template/metadata/annotations").and_then(Value::as_object_mut)
        {
            annotations.retain(|name, _| name != RUN && name != RESTARTED_AT);
            if annotations.is_empty()
                && let Some(metadata) = rest.pointer_mut("/template/metadata").and_then(Value::as_object_mut)
            {
                metadata.remove("annotations");
            }
        }
        Self {
            uid: object.pointer("/metadata/uid").cloned().unwrap_or_default(),
            generation: object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default(),
            mark: (template(RUN), template(RESTARTED_AT)),
            undo: text(object, &annotation("", UNDO)),
            rest: json!(rest),
        }
    }
}

fn key(resource: &str, object: &Value) -> String {
    format!("{resource}/{}", text(object, "/metadata/name").unwrap_or_default())
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_owned)
}

/// The JSON pointer of an annotation.
fn annotation(of: &str, name: &str) -> String {
    format!("{of}/metadata/annotations/{}", name.replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(generation: i64, mark: Option<(&str, &str)>, undo: Option<&str>) -> Value {
        let mut annotations = json!({});
        if let Some((run, at)) = mark {
            annotations = json!({RUN: run, RESTARTED_AT: at});
        }
        json!({
            "metadata": {
                "name": "web", "uid": "u", "generation": generation, "resourceVersion": "1",
                "annotations": undo.map(|undo| json!({UNDO: undo})),
            },
            "spec": {"replicas": 2, "template": {"metadata": {"annotations": annotations}}},
        })
    }

    fn seen(objects: &[Value]) -> Object {
        let mut history = History::default();
        for object in objects {
            history.take("deployments", &json!({"type": "MODIFIED", "object": object}));
        }
        history.objects.remove("deployments/web").unwrap()
    }

    fn whats(object: &Object) -> Vec<What> {
        object.changes.iter().map(|change| change.what.clone()).collect()
    }

    #[test]
    fn restarts_and_undos_are_told_apart() {
        let all = seen(&[
            object(1, None, None),
            object(2, Some(("a", "1")), None),
            object(2, Some(("a", "1")), None),
            object(3, None, Some("a/1")),
            object(4, Some(("b", "2")), Some("a/1")),
        ]);
        let restart = |mark: &str| What::Restart(mark.to_owned());
        assert_eq!(whats(&all), [restart("a"), What::Undo("a/1".to_owned()), restart("b")]);
        assert!(all.wrong.is_empty() && all.generations == (1, 4), "{all:?}");
    }

    #[test]
    fn the_same_mark_with_another_time_is_a_second_effect() {
        let all = seen(&[
            object(1, None, None),
            object(2, Some(("a", "1")), None),
            object(3, Some(("a", "2")), None),
        ]);
        assert_eq!(whats(&all), [What::Restart("a".to_owned()), What::Restart("a".to_owned())]);
    }

    #[test]
    fn what_nobody_should_do_is_seen() {
        let (first, restarted) = (object(1, None, None), object(2, Some(("a", "1")), None));
        let wrong = |after: Value| seen(&[first.clone(), restarted.clone(), after]).wrong.join("; ");
        let mut scaled = object(3, Some(("b", "2")), None);
        scaled["spec"]["replicas"] = 5.into();
        assert!(wrong(scaled).contains("more than"));
        let mut replaced = restarted.clone();
        replaced["metadata"]["uid"] = "other".into();
        assert!(wrong(replaced).contains("replaced"));
        assert!(wrong(object(3, Some(("z", "0")), Some("a/1"))).contains("did not put back"));
        assert!(wrong(object(2, None, None)).contains("same generation"));
        assert!(wrong(object(1, None, None)).contains("went back"));
        let jumped = seen(&[first.clone(), object(3, Some(("a", "1")), None)]);
        assert_eq!(whats(&jumped), [What::Unseen, What::Restart("a".to_owned())]);
        let unmarked = seen(&[restarted.clone(), object(3, None, None)]);
        assert_eq!(whats(&unmarked), [What::Foreign]);
    }

    #[test]
    fn marks_are_read_from_revisions() {
        let with = |template: Value| json!({"items": [template]});
        let annotations = json!({"metadata": {"annotations": {RUN: "a/1"}}});
        let replica_set = with(json!({"spec": {"template": annotations}}));
        let revision = with(json!({"data": {"spec": {"template": annotations}}}));
        assert_eq!(
            (revisions(&replica_set), revisions(&revision)),
            (vec!["a/1".to_owned()], vec!["a/1".to_owned()])
        );
        assert_eq!((split("a/1"), split("a")), (("a", 1), ("a", 0)));
    }
}
