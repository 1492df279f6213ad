//! Which of the templates that a workload had is meant. Pure.

use super::super::history::{History, Revision};
use super::super::workload::Workload;
use super::Point;
use astradesk_core::{Code, Error, Result};

/// The most revisions that an error names.
const NAMED: usize = 20;

/// The revision that is wanted, or else the one before the current one.
pub(crate) fn choose<'a>(
    workload: &Workload,
    history: &'a History,
    wanted: Option<i64>,
) -> Result<&'a Revision> {
    let what = format!("{} in namespace `{}`", workload.title(), workload.namespace);
    let mut others: Vec<&Revision> =
        history.revisions.iter().filter(|revision| revision.template != workload.template).collect();
    others.sort_by_key(|revision| std::cmp::Reverse(revision.number));
    let numbers = || others.iter().filter_map(|revision| revision.number).take(NAMED).map(|n| n.to_string());
    match wanted {
        None => others.first().copied().ok_or_else(|| {
            let message = format!("{what} has no revision but its current one");
            Error::new(Code::KubernetesRevisionNotFound, message)
                .with_remedy("there is nothing to go back to: bring out what it should be")
        }),
        Some(number) if current(workload, history).number == Some(number) => {
            let message = format!("revision {number} is what {what} is at");
            Err(Error::new(Code::GuardRevisionCurrent, message).with_candidates(numbers()))
        }
        Some(number) => {
            others.iter().find(|revision| revision.number == Some(number)).copied().ok_or_else(|| {
                let message =
                    format!("{what} has no revision {number}, or its controller does not keep it any more");
                Error::new(Code::KubernetesRevisionNotFound, message).with_candidates(numbers())
            })
        }
    }
}

/// The revision that the workload is at.
pub(crate) fn current(workload: &Workload, history: &History) -> Point {
    let mut same = history.revisions.iter().filter(|revision| revision.template == workload.template);
    Point { number: same.next().and_then(|revision| revision.number), template: workload.template }
}

#[cfg(test)]
mod tests {
    use super::super::super::rollout::tests::{Shape, workload};
    use super::*;
    use astradesk_core::canonical::Digest;

    #[test]
    fn the_one_before_is_meant_unless_a_number_is_said() {
        let subject = workload(&Shape::default());
        let revision = |number, template| Revision {
            number: Some(number),
            template,
            rest: Digest::ZERO,
            template_annotations: std::collections::BTreeMap::new(),
            annotations: std::collections::BTreeMap::new(),
            spec: k8s_openapi::api::core::v1::PodTemplateSpec::default(),
        };
        let revisions =
            vec![revision(2, Digest::of("b")), revision(7, subject.template), revision(5, Digest::of("c"))];
        let history = History { revisions, truncated: false };
        assert_eq!(current(&subject, &history).number, Some(7));
        for (wanted, expected) in [
            (None, Ok(Some(5))),
            (Some(2), Ok(Some(2))),
            (Some(7), Err(Code::GuardRevisionCurrent)),
            (Some(6), Err(Code::KubernetesRevisionNotFound)),
        ] {
            let chosen = choose(&subject, &history, wanted).map(|revision| revision.number);
            assert_eq!(chosen.map_err(|error| error.code), expected, "{wanted:?}");
        }
        let error = choose(&subject, &history, Some(6)).unwrap_err();
        assert_eq!(error.details["candidates"], serde_json::json!(["5", "2"]));
        let only = History { revisions: vec![revision(7, subject.template)], truncated: false };
        assert_eq!(choose(&subject, &only, None).unwrap_err().code, Code::KubernetesRevisionNotFound);
    }
}
