//! Is this number of replicas, and this moment, a sane one? Pure.

use super::super::autoscalers::Autoscaler;
use super::super::workload::Workload;
use super::Receipt;
use astradesk_core::target::Kind;
use astradesk_core::{Code, Error, Result};

/// How many replicas a service may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The fewest. With 0, no call need accept the downtime of none.
    pub min: u32,
    /// The most.
    pub max: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { min: 1, max: 20 }
    }
}

/// What a call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) replicas: i32,
    pub(crate) accept_downtime: bool,
}

/// Refuses a number out of bounds, what has no number of replicas, and what somebody else scales.
pub(crate) fn sane(
    workload: &Workload,
    wish: Wish,
    bounds: Bounds,
    autoscaler: Option<&Autoscaler>,
) -> Result<()> {
    let what = format!("{} in namespace `{}`", workload.title(), workload.namespace);
    if workload.kind == Kind::DaemonSet {
        let message = format!("{what} has one pod for each node that it fits, and no number of replicas");
        return Err(Error::new(Code::GuardNotScalable, message));
    }
    if workload.deleting {
        return Err(Error::new(Code::KubernetesNotFound, format!("{what} is being deleted"))
            .with_remedy("wait until it is gone, and scale what replaces it"));
    }
    within(&what, wish, bounds)?;
    if let Some(Autoscaler { name, min, max }) = autoscaler {
        let message = format!(
            "{what} is scaled by the HorizontalPodAutoscaler `{name}`, to {min} to {max} replicas: it would take this back"
        );
        return Err(Error::new(Code::GuardAutoscaled, message)
            .with_remedy(format!("change the `minReplicas` or `maxReplicas` of `{name}`"))
            .with_detail("autoscaler", name.clone()));
    }
    Ok(())
}

fn within(what: &str, wish: Wish, bounds: Bounds) -> Result<()> {
    let Bounds { min, max } = bounds;
    let replicas = u32::try_from(wish.replicas).unwrap_or(u32::MAX);
    if replicas == 0 && min > 0 {
        let message = format!("with 0 replicas nothing of {what} would serve");
        return if wish.accept_downtime {
            Ok(())
        } else {
            Err(Error::new(Code::GuardDowntime, message)
                .with_remedy("pass `accept_downtime: true` (or say `accept downtime`) if that is acceptable"))
        };
    }
    if (min..=max).contains(&replicas) {
        return Ok(());
    }
    let message = format!("{what} may be given {min} to {max} replicas, and not {replicas}");
    Err(Error::new(Code::GuardScaleBounds, message).with_detail("min", min).with_detail("max", max))
}

/// Refuses an undo that is not one any more.
pub(crate) fn undo_sane(workload: &Workload, receipt: &Receipt) -> Result<()> {
    let what = format!("{} in namespace `{}`", workload.title(), workload.namespace);
    if workload.uid != receipt.uid || workload.deleting {
        let message = format!("{what} was deleted, so its scaling cannot be undone");
        return Err(Error::new(Code::RolloutWorkloadDeleted, message));
    }
    if workload.wanted != receipt.replicas {
        let message = format!(
            "the scaling of {what} to {} is not undone: somebody has scaled it to {} since",
            receipt.replicas, workload.wanted
        );
        return Err(Error::new(Code::RolloutSuperseded, message)
            .with_remedy("look at who scaled it; scale it again if that is still needed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::rollout::tests::{Shape, workload};
    use super::*;

    type Edit = fn(&mut Workload);
    type Case = (&'static str, i32, bool, Bounds, Edit, bool, Option<Code>);

    #[test]
    fn each_insane_number_or_moment_has_its_code() {
        let usual = Bounds { min: 2, max: 10 };
        let none = Bounds { min: 0, max: 10 };
        let autoscaler = Autoscaler { name: "hpa".into(), min: 1, max: 5 };
        let cases: [Case; 12] = [
            ("within", 5, false, usual, |_| {}, false, None),
            ("the least", 2, false, usual, |_| {}, false, None),
            ("the most", 10, false, usual, |_| {}, false, None),
            ("too few", 1, true, usual, |_| {}, false, Some(Code::GuardScaleBounds)),
            ("too many", 11, true, usual, |_| {}, false, Some(Code::GuardScaleBounds)),
            ("none", 0, false, usual, |_| {}, false, Some(Code::GuardDowntime)),
            ("none, accepted", 0, true, usual, |_| {}, false, None),
            ("none, configured", 0, false, none, |_| {}, false, None),
            ("autoscaled", 5, true, usual, |_| {}, true, Some(Code::GuardAutoscaled)),
            (
                "a daemon set",
                5,
                true,
                usual,
                |w| w.kind = Kind::DaemonSet,
                false,
                Some(Code::GuardNotScalable),
            ),
            ("deleting", 5, true, usual, |w| w.deleting = true, false, Some(Code::KubernetesNotFound)),
            ("in the middle of a rollout", 5, false, usual, |w| w.updated = 1, false, None),
        ];
        for (name, replicas, accept_downtime, bounds, edit, autoscaled, expected) in cases {
            let mut subject = workload(&Shape::default());
            edit(&mut subject);
            let autoscaler = autoscaled.then_some(&autoscaler);
            let got = sane(&subject, Wish { replicas, accept_downtime }, bounds, autoscaler);
            assert_eq!(got.as_ref().err().map(|error| error.code), expected, "{name}: {got:?}");
        }
    }

    #[test]
    fn an_undo_needs_the_scaling_to_be_there_still() {
        let before = workload(&Shape::default());
        let receipt = Receipt {
            target: String::new(),
            uid: before.uid.clone(),
            generation: 2,
            replicas: before.wanted,
            before: 1,
            mark: "run-1".into(),
            at: astradesk_core::Timestamp::UNIX_EPOCH,
        };
        let cases: [(Edit, Option<Code>); 4] = [
            (|_| {}, None),
            (|w| w.wanted = 9, Some(Code::RolloutSuperseded)),
            (|w| w.deleting = true, Some(Code::RolloutWorkloadDeleted)),
            (|w| w.uid = "other".into(), Some(Code::RolloutWorkloadDeleted)),
        ];
        for (edit, expected) in cases {
            let mut subject = before.clone();
            edit(&mut subject);
            assert_eq!(undo_sane(&subject, &receipt).err().map(|error| error.code), expected);
        }
    }
}
