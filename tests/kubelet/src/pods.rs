//! Watches the node's pods and brings them from state to state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt as _, pin_mut};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event as Change};
use kube::{Client, Error};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::behaviour::{Behaviour, State};
use crate::{Options, event, status};

/// How many requests may be under way at once: a rollout of hundreds of pods must not be throttled away.
const IN_FLIGHT: usize = 32;
/// How often a request is tried before the pod is given up.
const TRIES: u32 = 6;

/// What is known of the node's pods, for the logs.
#[derive(Default)]
pub(crate) struct Book {
    pods: Mutex<HashMap<Key, Entry>>,
}

/// Namespace and name.
type Key = (String, String);

struct Entry {
    pod: Arc<Pod>,
    state: Option<State>,
    /// The task that brings it on: through its states, or to its end.
    task: AbortHandle,
    ending: bool,
}

impl Book {
    fn pods(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pod and where it is.
    pub(crate) fn find(&self, namespace: &str, name: &str) -> Option<(Arc<Pod>, Option<State>)> {
        let pods = self.pods();
        let entry = pods.get(&(namespace.to_owned(), name.to_owned()))?;
        Some((Arc::clone(&entry.pod), entry.state))
    }

    fn set_state(&self, pod: &Pod, state: State) {
        if let Some(entry) = self.pods().get_mut(&key(pod))
            && entry.pod.metadata.uid == pod.metadata.uid
        {
            entry.state = Some(state);
        }
    }
}

fn key(pod: &Pod) -> Key {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    (text(&pod.metadata.namespace), text(&pod.metadata.name))
}

/// Keeps the node's pods until the watch ends, which it does not: it resumes after every error.
pub(crate) async fn keep(client: Client, options: Options, book: Arc<Book>) -> Result<()> {
    let config = watcher::Config::default().fields(&format!("spec.nodeName={}", options.node));
    let changes = watcher::watcher(Api::<Pod>::all(client.clone()), config).default_backoff();
    let keeper =
        Keeper { client, options: Arc::new(options), book, permits: Arc::new(Semaphore::new(IN_FLIGHT)) };
    pin_mut!(changes);
    let mut listed = Vec::new();
    while let Some(change) = changes.next().await {
        match change {
            Ok(Change::Apply(pod)) => keeper.see(pod),
            Ok(Change::Delete(pod)) => keeper.forget(&pod),
            Ok(Change::Init) => listed.clear(),
            Ok(Change::InitApply(pod)) => {
                listed.push(key(&pod));
                keeper.see(pod);
            }
            Ok(Change::InitDone) => keeper.forget_all_but(&std::mem::take(&mut listed)),
            Err(error) => tracing::warn!(%error, "the watch of the pods failed, and is resumed"),
        }
    }
    Ok(())
}

#[derive(Clone)]
struct Keeper {
    client: Client,
    options: Arc<Options>,
    book: Arc<Book>,
    permits: Arc<Semaphore>,
}

impl Keeper {
    /// A pod is new, or has changed.
    fn see(&self, pod: Pod) {
        let key = key(&pod);
        let is_deleted = pod.metadata.deletion_timestamp.is_some();
        let pod = Arc::new(pod);
        let mut pods = self.book.pods();
        if let Some(entry) = pods.get_mut(&key)
            && entry.pod.metadata.uid == pod.metadata.uid
        {
            entry.pod = Arc::clone(&pod);
            if is_deleted && !entry.ending {
                entry.ending = true;
                entry.task.abort();
                entry.task = self.start_end(pod);
            }
            return;
        }
        let task =
            if is_deleted { self.start_end(Arc::clone(&pod)) } else { self.start_life(Arc::clone(&pod)) };
        if let Some(former) = pods.insert(key, Entry { pod, state: None, task, ending: is_deleted }) {
            former.task.abort();
        }
    }

    fn forget(&self, pod: &Pod) {
        let mut pods = self.book.pods();
        // A pod of a StatefulSet comes back under its name: only this one is forgotten.
        if pods.get(&key(pod)).is_some_and(|entry| entry.pod.metadata.uid == pod.metadata.uid)
            && let Some(entry) = pods.remove(&key(pod))
        {
            entry.task.abort();
        }
    }

    /// After a new list: what is not in it is gone.
    fn forget_all_but(&self, listed: &[Key]) {
        let listed: std::collections::HashSet<_> = listed.iter().collect();
        self.book.pods().retain(|key, entry| {
            let stays = listed.contains(key);
            if !stays {
                entry.task.abort();
            }
            stays
        });
    }

    fn start_life(&self, pod: Arc<Pod>) -> AbortHandle {
        let keeper = self.clone();
        tokio::spawn(async move { keeper.live(&pod).await }).abort_handle()
    }

    fn start_end(&self, pod: Arc<Pod>) -> AbortHandle {
        let keeper = self.clone();
        tokio::spawn(async move { keeper.end(&pod).await }).abort_handle()
    }

    async fn live(&self, pod: &Pod) {
        let behaviour = Behaviour::of(pod).unwrap_or_else(|error| {
            tracing::warn!(pod = ?key(pod), error, "the pod's behaviour is unknown: it is never ready");
            Behaviour::NeverReady
        });
        let begun = tokio::time::Instant::now();
        for (at, state) in behaviour.states(self.options.delay) {
            tokio::time::sleep_until(begun + at).await;
            // Before the status is seen, so that whoever sees it finds the log.
            self.book.set_state(pod, state);
            self.set_status(pod, state).await;
            self.report(pod, state).await;
        }
    }

    async fn set_status(&self, pod: &Pod, state: State) {
        let (namespace, name) = key(pod);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let mut patch = status::patch(pod, state, Timestamp::now());
        // A precondition: not the status of a pod that has taken the name since.
        if let Some(patch) = patch.as_object_mut() {
            patch.insert("metadata".to_owned(), serde_json::json!({"uid": pod.metadata.uid}));
        }
        let patch = Patch::Strategic(patch);
        let parameters = PatchParams::default();
        self.insist("status", pod, || pods.patch_status(&name, &parameters, &patch)).await;
    }

    async fn report(&self, pod: &Pod, state: State) {
        let (namespace, _) = key(pod);
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let parameters = PostParams::default();
        for event in event::events(pod, state, &self.options.node, Timestamp::now()) {
            self.insist("event", pod, || api.create(&parameters, &event)).await;
        }
    }

    /// Ends a deleted pod: gracefully, and then for good.
    async fn end(&self, pod: &Pod) {
        tokio::time::sleep(self.options.termination).await;
        let (namespace, name) = key(pod);
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let now = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(now), ..DeleteParams::default().grace_period(0) };
        self.insist("end", pod, || pods.delete(&name, &parameters)).await;
    }

    /// Repeats a request that fails, unless the pod it is about is gone.
    async fn insist<T, F>(&self, what: &str, pod: &Pod, request: impl Fn() -> F)
    where
        F: Future<Output = Result<T, Error>>,
    {
        for tries in 1..=TRIES {
            let answer = match self.permits.acquire().await {
                Ok(_permit) => request().await,
                Err(_closed) => return,
            };
            match answer {
                Ok(_) => return,
                // Gone, another of that name, or already there; or its namespace ends.
                Err(Error::Api(status)) if matches!(status.code, 403 | 404 | 409) => return,
                Err(error) if tries == TRIES => {
                    tracing::warn!(pod = ?key(pod), %error, "the pod's {what} is given up");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50) * 2_u32.pow(tries)).await,
            }
        }
    }
}
