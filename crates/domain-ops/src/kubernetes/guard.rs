//! Is this a sane moment to restart a workload? Each refusal says what would make it pass.

use super::rollout::{Receipt, Stage, changed_by, stage};
use super::workload::{Strategy, Workload};
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error, Result};

/// Refuses a restart that would do nothing, would not finish, or would mean downtime nobody accepted.
pub fn restart(workload: &Workload, accept_downtime: bool) -> Result<()> {
    let what = format!("{} in namespace `{}`", workload.title(), workload.namespace);
    if workload.deleting {
        return Err(Error::new(Code::KubernetesNotFound, format!("{what} is being deleted"))
            .with_remedy("wait until it is gone, and restart what replaces it"));
    }
    refuse_standstill(workload, &what)?;
    refuse_without_pods(workload, &what)?;
    refuse_in_progress(workload, &what)?;
    if accept_downtime { Ok(()) } else { refuse_downtime(workload, &what) }
}

/// Refuses an undo that is not one any more, or that would do nothing. What a restart would wait for is no
/// obstacle: the undo ends it.
pub fn undo(workload: &Workload, receipt: &Receipt) -> Result<()> {
    let what = format!("{} in namespace `{}`", workload.title(), workload.namespace);
    let gone = |how: &str| {
        Err(Error::new(
            Code::RolloutWorkloadDeleted,
            format!("{what} {how}, so its restart cannot be undone"),
        ))
    };
    if workload.uid != receipt.uid {
        return gone("was deleted and made again");
    }
    if workload.deleting {
        return gone("is being deleted");
    }
    if receipt.before.is_none() {
        return Err(Error::new(
            Code::RolloutSuperseded,
            format!(
                "the restart of {what} was recorded without what was before it, so it cannot be undone here"
            ),
        )
        .with_remedy(by_kubectl("undo", workload)));
    }
    if workload.template != receipt.template {
        return Err(Error::new(
            Code::RolloutSuperseded,
            format!(
                "the restart of {what} is not undone: its pod template was changed since{}",
                changed_by(workload)
            ),
        ));
    }
    refuse_standstill(workload, &what)
}

/// Refuses a rollback that would replace no pod, or not every pod, or would mean downtime nobody accepted. A rollout that
/// is under way is no obstacle: the rollback ends it.
pub fn rollback(workload: &Workload, accept_downtime: bool) -> Result<()> {
    let what = format!("{} in namespace `{}`", workload.title(), workload.namespace);
    if workload.deleting {
        return Err(Error::new(Code::KubernetesNotFound, format!("{what} is being deleted"))
            .with_remedy("wait until it is gone, and bring out what replaces it"));
    }
    refuse_standstill(workload, &what)?;
    if accept_downtime { Ok(()) } else { refuse_downtime(workload, &what) }
}

fn by_kubectl(verb: &str, workload: &Workload) -> String {
    format!("`kubectl -n {} rollout {verb} {}`", workload.namespace, workload.title())
}

/// Refuses where a change of the template would replace no pod, or not every pod.
fn refuse_standstill(workload: &Workload, what: &str) -> Result<()> {
    match workload.strategy {
        Strategy::OnDelete => {
            return Err(Error::new(
                Code::GuardStrategyOnDelete,
                format!("{what} has the update strategy `OnDelete`, so no pod would be replaced"),
            ));
        }
        Strategy::RollingUpdate { partition, .. } if partition > 0 => {
            return Err(Error::new(
                Code::GuardPartitioned,
                format!(
                    "{what} has `partition: {partition}`, so pods with a smaller number would stay as they are"
                ),
            ));
        }
        Strategy::RollingUpdate { .. } | Strategy::Recreate => {}
    }
    if workload.paused {
        return Err(Error::new(Code::GuardPaused, format!("the rollout of {what} is paused"))
            .with_remedy(format!("resume it first: {}", by_kubectl("resume", workload))));
    }
    Ok(())
}

fn refuse_without_pods(workload: &Workload, what: &str) -> Result<()> {
    let daemon = workload.kind == Kind::DaemonSet;
    // A DaemonSet that its controller has not looked at yet wants 0 pods, but not for long.
    if workload.wanted > 0 || (daemon && workload.observed_generation < workload.generation) {
        return Ok(());
    }
    let (message, remedy) = if daemon {
        (
            format!("no node of the cluster runs {what}"),
            "label a node so that it fits, or correct the node selector",
        )
    } else {
        (format!("{what} is scaled to 0 replicas, so there is nothing to restart"), "scale it up first")
    };
    Err(Error::new(Code::GuardScaledToZero, message).with_remedy(remedy))
}

fn refuse_in_progress(workload: &Workload, what: &str) -> Result<()> {
    let error = |message: String| {
        Error::new(Code::GuardRolloutInProgress, message)
            .with_detail("wanted", workload.wanted)
            .with_detail("updated", workload.updated)
            .with_detail("total", workload.total)
            .with_detail("available", workload.available)
    };
    match stage(workload) {
        Stage::Complete | Stage::Paused | Stage::Unavailable { .. } => Ok(()),
        Stage::Unobserved => {
            Err(error(format!("a change of {what} has just been made and is not rolled out yet")))
        }
        Stage::InProgress { updated, of } => {
            Err(error(format!("a rollout of {what} is in progress: {updated} of {of} pods updated")))
        }
        Stage::Stalled { reason } => Err(error(format!("the last rollout of {what} has stalled: {reason}"))
            .with_remedy(format!("undo it with {}, or correct its cause", by_kubectl("undo", workload)))),
    }
}

fn refuse_downtime(workload: &Workload, what: &str) -> Result<()> {
    let Some(why) = downtime(workload) else { return Ok(()) };
    Err(Error::new(Code::GuardDowntime, format!("{what} {why}"))
        .with_remedy(
            "pass `accept_downtime: true` (or say `accept downtime`) if that is acceptable, or scale it up",
        )
        .with_detail("replicas", workload.wanted)
        .with_detail("strategy", workload.strategy.as_str()))
}

/// Why nothing serves for a while when the pods are replaced, if that is so: what follows the workload's name.
///
/// One pod means downtime, or the risk of it: nothing vouches for the new one but the readiness of itself.
pub fn downtime(workload: &Workload) -> Option<String> {
    if workload.wanted <= 0 {
        return None;
    }
    match workload.strategy {
        Strategy::Recreate => Some(
            "has the strategy `Recreate`, which stops every pod before the first new one starts".to_owned(),
        ),
        Strategy::RollingUpdate { max_unavailable, max_surge, .. } if workload.wanted == 1 => {
            Some(if max_unavailable == 0 && max_surge > 0 {
                "runs a single replica: the new pod starts before the old one stops, but connections and work \
                 in memory move over at once, and nothing else serves if the new pod turns bad"
                    .to_owned()
            } else {
                "runs a single replica, which stops before the new one starts".to_owned()
            })
        }
        Strategy::RollingUpdate { max_unavailable, .. } if max_unavailable >= workload.wanted => {
            Some(format!(
                "may take all {} pods down at once (`maxUnavailable` is {max_unavailable})",
                workload.wanted
            ))
        }
        Strategy::RollingUpdate { .. } | Strategy::OnDelete => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::rollout::tests::{Shape, workload};
    use super::*;
    use astradesk_core::canonical::Digest;

    type Edit = fn(&mut Workload);

    #[test]
    fn each_insane_moment_has_its_code() {
        let rolling = |max_unavailable, max_surge, partition| Strategy::RollingUpdate {
            max_unavailable,
            max_surge,
            partition,
        };
        let healthy = Shape::default();
        let cases: Vec<(&str, Edit, Strategy, bool, Option<Code>)> = vec![
            ("healthy", |_| {}, rolling(0, 1, 0), false, None),
            ("paused", |w| w.paused = true, rolling(0, 1, 0), true, Some(Code::GuardPaused)),
            ("deleting", |w| w.deleting = true, rolling(0, 1, 0), true, Some(Code::KubernetesNotFound)),
            ("on delete", |_| {}, Strategy::OnDelete, true, Some(Code::GuardStrategyOnDelete)),
            ("partition", |_| {}, rolling(1, 0, 2), true, Some(Code::GuardPartitioned)),
            ("zero", |w| w.wanted = 0, rolling(0, 1, 0), true, Some(Code::GuardScaledToZero)),
            ("unobserved", |w| w.generation = 8, rolling(0, 1, 0), true, Some(Code::GuardRolloutInProgress)),
            ("half way", |w| w.updated = 2, rolling(0, 1, 0), true, Some(Code::GuardRolloutInProgress)),
            ("old left", |w| w.total = 4, rolling(0, 1, 0), true, Some(Code::GuardRolloutInProgress)),
            ("sick, but rolled out", |w| w.available = 0, rolling(0, 1, 0), false, None),
            ("recreate", |_| {}, Strategy::Recreate, false, Some(Code::GuardDowntime)),
            ("recreate, accepted", |_| {}, Strategy::Recreate, true, None),
            ("all at once", |_| {}, rolling(3, 0, 0), false, Some(Code::GuardDowntime)),
            ("single", one, rolling(1, 0, 0), false, Some(Code::GuardDowntime)),
            ("single with surge", one, rolling(0, 1, 0), false, Some(Code::GuardDowntime)),
            ("single, accepted", one, rolling(0, 1, 0), true, None),
        ];
        for (name, edit, strategy, accept, expected) in cases {
            let mut subject = workload(&healthy);
            subject.strategy = strategy;
            edit(&mut subject);
            let got = restart(&subject, accept);
            assert_eq!(got.as_ref().err().map(|e| e.code), expected, "{name}: {got:?}");
            if let Err(error) = got {
                assert!(
                    !error.remedy.is_empty() && error.message.contains("deployment/webapp"),
                    "{name}: {error}"
                );
            }
        }
    }

    #[test]
    fn an_undo_needs_the_restart_to_be_there_still_and_nothing_else() {
        use super::super::rollout::tests::receipt;
        let cases: Vec<(&str, Edit, Option<Code>)> = vec![
            ("as it was left", |_| {}, None),
            ("in progress", |w| w.updated = 1, None),
            ("one replica", one, None),
            ("scaled to zero", |w| w.wanted = 0, None),
            ("changed", |w| w.template = Digest::of("other"), Some(Code::RolloutSuperseded)),
            ("another object", |w| w.uid = "other".into(), Some(Code::RolloutWorkloadDeleted)),
            ("deleting", |w| w.deleting = true, Some(Code::RolloutWorkloadDeleted)),
            ("paused", |w| w.paused = true, Some(Code::GuardPaused)),
            ("on delete", |w| w.strategy = Strategy::OnDelete, Some(Code::GuardStrategyOnDelete)),
        ];
        for (name, edit, expected) in cases {
            let mut subject = workload(&Shape::default());
            edit(&mut subject);
            assert_eq!(undo(&subject, &receipt()).err().map(|e| e.code), expected, "{name}");
        }
        let old = Receipt { before: None, ..receipt() };
        let error = undo(&workload(&Shape::default()), &old).unwrap_err();
        assert!(error.remedy.contains("kubectl -n default rollout undo deployment/webapp"), "{error}");
    }

    fn one(workload: &mut Workload) {
        workload.wanted = 1;
        workload.total = 1;
        workload.updated = 1;
        workload.available = 1;
    }
}
