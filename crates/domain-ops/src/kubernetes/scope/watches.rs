//! One watch: kept going, and what it brings put in its place.

use super::contents::Item;
use super::{REWATCH, Shared, Slot};
use crate::kubernetes::client::Requests;
use crate::kubernetes::errors::{Failure, Operation};
use astradesk_core::{Code, Error};
use futures::StreamExt as _;
use kube::runtime::watcher;
use kube::{Api, ResourceExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

/// The first and the longest delay before a watch starts over.
const DELAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Keeps one watch going, for as long as its handle lives.
pub(super) fn keep<K>(
    requests: &Requests,
    of: (Arc<Shared>, Slot),
    view: fn(&K) -> Option<Item>,
) -> AbortOnDropHandle<()>
where
    K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + serde::de::DeserializeOwned
        + Clone
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let (shared, slot) = of;
    let api: Api<K> = requests.api(&shared.namespace);
    let gate = requests.gate().clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let mut delay = DELAY.0;
        loop {
            // Nobody's turn comes only while the API server wants to be left alone; then this asks again.
            while !gate.turn().await {}
            let was_live = follow(&api, &shared, slot, view).await;
            delay = if was_live { DELAY.0 } else { (delay * 2).min(DELAY.1) };
            sleep(delay).await;
        }
    }))
}

/// Follows one watch until it fails, or is to start over. Returns whether it was live.
async fn follow<K>(api: &Api<K>, shared: &Shared, slot: Slot, view: fn(&K) -> Option<Item>) -> bool
where
    K: kube::Resource<DynamicType = ()>
        + serde::de::DeserializeOwned
        + Clone
        + std::fmt::Debug
        + Send
        + 'static,
{
    let mut config = watcher::Config::default().timeout(REWATCH.as_secs() as u32);
    if slot == Slot::Warnings {
        config = config.fields("type=Warning");
    }
    let mut events = std::pin::pin!(watcher(api.clone(), config));
    let mut renewed = shared.renewed.subscribe();
    let mut begun = Instant::now();
    let mut listed: Vec<(String, Item)> = Vec::new();
    let mut was_live = false;
    loop {
        let event = tokio::select! {
            biased;
            _ = renewed.changed() => {
                let message = format!("the watch of {} starts over", slot.resource());
                shared.broken(slot, &Error::new(Code::KubernetesUnavailable, message));
                return true;
            }
            event = events.next() => match event {
                Some(event) => event,
                None => break,
            },
        };
        match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                begun = Instant::now();
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.extend(view(&object).map(|item| (object.name_any(), item)));
            }
            Ok(watcher::Event::InitDone) => {
                let listed = std::mem::take(&mut listed);
                shared.replace(slot, begun, listed);
                was_live = true;
            }
            Ok(watcher::Event::Apply(object)) => {
                shared.apply(slot, &object.name_any(), view(&object));
            }
            Ok(watcher::Event::Delete(object)) => {
                shared.apply(slot, &object.name_any(), None);
            }
            Err(error) => {
                let operation = Operation::new(verb(&error), slot.resource(), &shared.namespace, "");
                let error = failure(error).into_error(&operation);
                tracing::debug!(namespace = %shared.namespace, %error, "a watch starts over");
                shared.broken(slot, &error);
                break;
            }
        }
    }
    was_live
}

const fn verb(error: &watcher::Error) -> &'static str {
    match error {
        watcher::Error::InitialListFailed(_) => "list",
        _ => "watch",
    }
}

fn failure(error: watcher::Error) -> Failure {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => Failure::Api(error),
        watcher::Error::WatchError(status) => Failure::Api(kube::Error::Api(status)),
        watcher::Error::NoResourceVersion => Failure::TimedOut,
    }
}
