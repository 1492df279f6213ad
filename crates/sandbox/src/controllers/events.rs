//! Events, as the real components write them: the same thing again raises a count.

use std::collections::{HashMap, VecDeque};

use crate::json::{Value, json};

use super::Random;
use crate::object::{self, int, name, namespace, set, text, uid};
use crate::resource::EVENTS;
use crate::storage::{Key, Storage};

/// Events kept; the oldest go first.
const KEPT: usize = 1_000;

type About = (String, String, String);

#[derive(Debug, Default)]
pub(super) struct Recorder {
    known: HashMap<About, Key>,
    order: VecDeque<(About, Key)>,
}

impl Recorder {
    #[expect(clippy::too_many_arguments, reason = "an event has that many parts, and one caller")]
    pub(super) fn record(
        &mut self,
        storage: &Storage,
        random: &mut Random,
        regarding: &Value,
        kind: &str,
        reason: &str,
        message: &str,
        component: &str,
    ) {
        let about = (uid(regarding).to_owned(), reason.to_owned(), message.to_owned());
        let now = object::now();
        if let Some(known) = self.known.get(&about) {
            let again = storage.update(known, |event| {
                let count = int(event, "/count", 1);
                set(event, &["count"], count + 1);
                set(event, &["lastTimestamp"], now.clone());
            });
            if again.is_some() {
                return;
            }
        }
        let place = if namespace(regarding).is_empty() { "default" } else { namespace(regarding) };
        let event_name = format!("{}.{:016x}", name(regarding), random.next());
        let mut involved = json!({
            "kind": text(regarding, "/kind"), "apiVersion": text(regarding, "/apiVersion"),
            "namespace": namespace(regarding), "name": name(regarding), "uid": uid(regarding),
            "resourceVersion": text(regarding, "/metadata/resourceVersion"),
        });
        let container = object::list(regarding, "/spec/containers").first();
        if let Some(container) = container.filter(|_| component == "kubelet") {
            set(&mut involved, &["fieldPath"], format!("spec.containers{{{}}}", text(container, "/name")));
        }
        let event = json!({
            "metadata": { "name": event_name, "namespace": place },
            "involvedObject": involved, "type": kind, "reason": reason, "message": message, "count": 1,
            "firstTimestamp": now, "lastTimestamp": now, "eventTime": null,
            "source": { "component": component }, "reportingComponent": component, "reportingInstance": "",
        });
        let key = Key::of(&EVENTS, &event);
        if storage.create(&EVENTS, event).is_ok() {
            self.known.insert(about.clone(), key.clone());
            self.order.push_back((about, key));
        }
        while self.order.len() > KEPT {
            if let Some((about, key)) = self.order.pop_front() {
                storage.remove(&key);
                self.known.remove(&about);
            }
        }
    }
}
