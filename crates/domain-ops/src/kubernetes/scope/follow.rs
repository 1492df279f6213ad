//! Who follows which workload, so that each is woken by what concerns it only.

use super::contents::Title;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Those who follow, by what they follow.
type ByTitle = HashMap<Title, watch::Sender<()>>;

/// Those who follow workloads of one namespace.
#[derive(Default)]
pub(super) struct Followers(Arc<Mutex<ByTitle>>);

impl Followers {
    pub(super) fn follow(&self, title: Title) -> Followed {
        let changes = lock(&self.0).entry(title.clone()).or_default().subscribe();
        Followed { changes, title, all: self.0.clone() }
    }

    pub(super) fn tell(&self, title: &Title) {
        if let Some(sender) = lock(&self.0).get(title) {
            sender.send_replace(());
        }
    }

    pub(super) fn tell_everybody(&self) {
        for sender in lock(&self.0).values() {
            sender.send_replace(());
        }
    }
}

/// Follows one workload. See [`super::Scope::follow`].
pub struct Followed {
    changes: watch::Receiver<()>,
    title: Title,
    all: Arc<Mutex<ByTitle>>,
}

impl Followed {
    /// What has changed so far is known.
    pub fn mark_unchanged(&mut self) {
        self.changes.mark_unchanged();
    }

    /// Waits for the next change.
    pub async fn changed(&mut self) {
        // The sender lives as long as there is somebody who follows, and this one does.
        if self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let mut all = lock(&self.all);
        if all.get(&self.title).is_some_and(|sender| sender.receiver_count() <= 1) {
            all.remove(&self.title);
        }
    }
}

fn lock(all: &Mutex<ByTitle>) -> MutexGuard<'_, ByTitle> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::contents::Item;
    use super::super::{Health, Shared, Slot};
    use crate::kubernetes::rollout::tests::{Shape, pod, workload};
    use astradesk_core::target::Kind;
    use futures::FutureExt as _;

    #[test]
    fn a_change_wakes_who_follows_what_it_concerns_and_health_wakes_everybody() {
        let shared = Shared::new("default");
        let put = |number: usize| {
            let mut web = workload(&Shape { kind: Kind::StatefulSet, generation: 1 });
            (web.uid, web.name) = (format!("uid-{number}"), format!("web-{number}"));
            let name = web.name.clone();
            shared.apply(Slot::StatefulSets, &name, Some(Item::Workload(Box::new(web.into()))));
        };
        (0..1000).for_each(put);
        let follow = |number: usize| shared.followers.follow((Kind::StatefulSet, format!("web-{number}")));
        let mut followers: Vec<_> = (0..1000).map(follow).collect();
        let mut woken = || -> Vec<usize> {
            let woken = |(number, follower): (usize, &mut super::Followed)| {
                let woken = follower.changed().now_or_never().is_some();
                woken.then_some(number)
            };
            followers.iter_mut().enumerate().filter_map(woken).collect()
        };
        assert_eq!(woken(), Vec::<usize>::new());
        let web_7_0 = Item::Pod(Box::new(pod("web-7-0", "uid-7", true)));
        shared.apply(Slot::Pods, "web-7-0", Some(web_7_0));
        put(9);
        assert_eq!(woken(), [7, 9]);
        shared.apply(Slot::Pods, "web-7-0", None);
        assert_eq!(woken(), [7]);
        shared.set_health(Slot::Pods, |_| Health::Live);
        assert_eq!(woken().len(), 1000);

        drop(followers);
        assert!(super::lock(&shared.followers.0).is_empty());
    }
}
