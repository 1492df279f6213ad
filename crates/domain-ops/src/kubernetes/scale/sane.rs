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
    /// Whether the number is to be the minimum of the autoscaler.
    pub(crate) autoscaler_minimum: bool,
}

/// Refuses a number out of bounds, what has no number of replicas, and what somebody else scales unless that one's minimum
/// is meant. Gives the autoscaler whose minimum it is.
pub(crate) fn sane<'a>(
    workload: &Workload,
    wish: Wish,
    bounds: Bounds,
    autoscalers: &'a [Autoscaler],
) -> Result<Option<&'a Autoscaler>> {
    let what = format!("{} in namespace `{}`", workload.title(), workload.namespace);
    if workload.kind == Kind::DaemonSet {
        let message = format!("{what} has one pod for each node that it fits, and no number of replicas");
        return Err(Error::new(Code::GuardNotScalable, message));
    }
    if workload.deleting {
        return Err(Error::new(Code::KubernetesNotFound, format!("{what} is being deleted"))
            .with_remedy("wait until it is gone, and scale what replaces it"));
    }
    if wish.autoscaler_minimum && wish.replicas == 0 {
        let message = format!(
            "the minimum of an autoscaler of {what} is 1 at least: 0 is an alpha feature of Kubernetes (HPAScaleToZero)"
        );
        return Err(Error::new(Code::GuardScaleBounds, message).with_remedy("ask for 1 or more"));
    }
    within(&what, wish, bounds)?;
    match (wish.autoscaler_minimum, autoscalers) {
        (false, []) => Ok(None),
        (false, [Autoscaler { name, min, max, .. }, ..]) => {
            let message = format!(
                "{what} is scaled by the HorizontalPodAutoscaler `{name}`, to {min} to {max} replicas: it would take this back"
            );
            let remedy = format!(
                "pass `autoscaler_minimum: true` (or say `to at least {}`) if its minimum is meant",
                wish.replicas
            );
            Err(autoscaled(message, autoscalers).with_remedy(remedy))
        }
        (true, []) => {
            let message =
                format!("no HorizontalPodAutoscaler scales {what}, so that there is no minimum to change");
            Err(Error::new(Code::KubernetesNotFound, message)
                .with_remedy("leave out `autoscaler_minimum` if its number of replicas is meant"))
        }
        (true, [autoscaler]) => {
            minimum(&what, workload, wish.replicas, autoscaler).map(|()| Some(autoscaler))
        }
        (true, several) => {
            let message = format!(
                "{what} is scaled by {} HorizontalPodAutoscalers, each of which would take back what another does",
                several.len()
            );
            Err(autoscaled(message, several).with_remedy("delete all of them but one"))
        }
    }
}

fn autoscaled(message: String, autoscalers: &[Autoscaler]) -> Error {
    let names: Vec<String> = autoscalers.iter().take(10).map(|found| found.name.clone()).collect();
    Error::new(Code::GuardAutoscaled, message).with_detail("autoscalers", names)
}

/// Refuses a minimum that the autoscaler cannot have, or that would change nothing.
fn minimum(what: &str, workload: &Workload, replicas: i32, autoscaler: &Autoscaler) -> Result<()> {
    let Autoscaler { name, max, .. } = autoscaler;
    if replicas > *max {
        let message = format!(
            "the HorizontalPodAutoscaler `{name}` gives {what} {max} replicas at most, so that its minimum cannot be {replicas}"
        );
        return Err(Error::new(Code::GuardScaleBounds, message)
            .with_remedy(format!("ask for {max} at most, or let the `maxReplicas` of `{name}` be raised"))
            .with_detail("max", *max));
    }
    if workload.wanted == 0 {
        let message =
            format!("{what} runs no replica, and the autoscaler `{name}` leaves it alone until it does");
        return Err(Error::new(Code::GuardScaledToZero, message));
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

/// Refuses the undo of a changed minimum that is not one any more.
pub(crate) fn undo_minimum_sane(autoscaler: &Autoscaler, uid: &str, receipt: &Receipt) -> Result<()> {
    let Autoscaler { name, min, .. } = autoscaler;
    let (what, then) = (format!("HorizontalPodAutoscaler `{name}`"), receipt.replicas);
    let message = if autoscaler.uid != uid {
        format!("{what} was deleted and made again, so that the change of its minimum cannot be undone")
    } else if *min != then {
        format!(
            "the change of the minimum of {what} to {then} is not undone: somebody has set it to {min} since"
        )
    } else {
        return Ok(());
    };
    Err(Error::new(Code::RolloutSuperseded, message)
        .with_remedy("look at who changed the autoscaler; change it again if that is still needed"))
}

#[cfg(test)]
mod tests {
    use super::super::super::autoscalers::tests::autoscaler;
    use super::super::super::rollout::tests::{Shape, workload};
    use super::*;

    type Edit = fn(&mut Workload);
    type Case = (&'static str, i32, bool, Bounds, Edit, bool, Option<Code>);
    type Minimum<'a> = (&'static str, i32, &'a [Autoscaler], Edit, Option<Code>);

    #[test]
    fn each_insane_number_or_moment_has_its_code() {
        let usual = Bounds { min: 2, max: 10 };
        let none = Bounds { min: 0, max: 10 };
        let one = [autoscaler("hpa", 1, 5)];
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
            let wish = Wish { replicas, accept_downtime, autoscaler_minimum: false };
            let got = sane(&subject, wish, bounds, if autoscaled { &one } else { &[] });
            assert_eq!(got.as_ref().err().map(|error| error.code), expected, "{name}: {got:?}");
        }
    }

    #[test]
    fn a_minimum_is_that_of_the_one_autoscaler_and_within_all_bounds() {
        let bounds = Bounds { min: 2, max: 10 };
        let (hpa, other) = (autoscaler("hpa", 2, 6), autoscaler("other", 1, 5));
        let one = std::slice::from_ref(&hpa);
        let two = [hpa.clone(), other];
        let cases: [Minimum<'_>; 12] = [
            ("more", 4, one, |_| {}, None),
            ("the same", 2, one, |_| {}, None),
            ("the most", 6, one, |_| {}, None),
            ("more than the most", 7, one, |_| {}, Some(Code::GuardScaleBounds)),
            ("out of the configured bounds", 11, one, |_| {}, Some(Code::GuardScaleBounds)),
            ("fewer than the configured bounds", 1, one, |_| {}, Some(Code::GuardScaleBounds)),
            ("none", 0, one, |_| {}, Some(Code::GuardScaleBounds)),
            ("no autoscaler", 4, &[], |_| {}, Some(Code::KubernetesNotFound)),
            ("several", 4, &two, |_| {}, Some(Code::GuardAutoscaled)),
            ("switched off", 4, one, |w| w.wanted = 0, Some(Code::GuardScaledToZero)),
            ("a daemon set", 4, one, |w| w.kind = Kind::DaemonSet, Some(Code::GuardNotScalable)),
            ("deleting", 4, one, |w| w.deleting = true, Some(Code::KubernetesNotFound)),
        ];
        for (name, replicas, autoscalers, edit, expected) in cases {
            let mut subject = workload(&Shape::default());
            edit(&mut subject);
            let wish = Wish { replicas, accept_downtime: true, autoscaler_minimum: true };
            let got = sane(&subject, wish, bounds, autoscalers);
            assert_eq!(got.as_ref().err().map(|error| error.code), expected, "{name}: {got:?}");
            if expected.is_none() {
                assert_eq!(got.unwrap().map(|found| found.name.as_str()), Some("hpa"), "{name}");
            }
        }
        let none = Bounds { min: 0, max: 10 };
        let wish = Wish { replicas: 0, accept_downtime: true, autoscaler_minimum: true };
        let error = sane(&workload(&Shape::default()), wish, none, one).unwrap_err();
        assert!(error.message.contains("HPAScaleToZero"), "{}", error.message);
        let wish = Wish { replicas: 4, accept_downtime: false, autoscaler_minimum: false };
        let error = sane(&workload(&Shape::default()), wish, none, &two).unwrap_err();
        assert!(error.remedy.contains("`autoscaler_minimum: true`"), "{}", error.remedy);
        assert_eq!(error.details["autoscalers"], serde_json::json!(["hpa", "other"]));
    }

    #[test]
    fn an_undo_of_a_minimum_needs_it_to_be_there_still() {
        let receipt = Receipt {
            target: String::new(),
            uid: "uid".into(),
            generation: 2,
            replicas: 4,
            before: 2,
            mark: "run-1".into(),
            at: astradesk_core::Timestamp::UNIX_EPOCH,
            autoscaler: None,
        };
        for (min, uid, expected) in [
            (4, "uid-hpa", None),
            (3, "uid-hpa", Some(Code::RolloutSuperseded)),
            (2, "uid-hpa", Some(Code::RolloutSuperseded)),
            (4, "uid-of-before", Some(Code::RolloutSuperseded)),
        ] {
            let got = undo_minimum_sane(&autoscaler("hpa", min, 6), uid, &receipt);
            assert_eq!(got.err().map(|error| error.code), expected, "{min} {uid}");
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
            autoscaler: None,
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
