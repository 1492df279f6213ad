//! Needs-approval, derived: a call that is denied with the approvals it has and permitted with more needs approval.
//!
//! The policies are asked again as if everybody had agreed; if they permit it then, as if ever fewer had, until no
//! role and no number can be lowered further. What policies ask for must be of the form "at least so many": with
//! more approvals they must not permit less. The roles are those that the policies that matter for the call count,
//! at most [`MAX_ROLES`] of them; so a call on one target is evaluated at most 1 + 2 × 8 × ([`MAX_ROLES`] + 1)
//! times more, and not once more when none of those policies counts approvals.

use crate::needs::Needs;
use crate::set::Set;
use crate::tally::Tally;
use crate::verdict::{Matter, Outcome, Verdict};
use astradesk_core::approval::MAX_APPROVALS;
use std::collections::BTreeSet;

/// The most roles that are tried for one call.
pub(crate) const MAX_ROLES: usize = 16;

/// The approvals with which a call would be permitted.
pub(crate) struct Sought {
    /// The least that is enough.
    pub(crate) least: Tally,
    /// The policies that ask for them.
    pub(crate) policies: Vec<String>,
    /// What they say now.
    pub(crate) now: Verdict,
}

impl Set {
    /// Whether approvals would permit what is denied by `now`.
    pub(crate) fn seek(&self, matter: &Matter<'_>, now: Verdict) -> Outcome {
        if !matter.needs.any(Needs::APPROVALS) {
            return Outcome::Denied(now);
        }
        let roles: BTreeSet<&str> =
            matter.buckets.iter().flat_map(|bucket| bucket.approvers.iter().map(String::as_str)).collect();
        let roles: Vec<&str> = roles.into_iter().take(MAX_ROLES).collect();
        let everybody = Tally {
            count: MAX_APPROVALS,
            roles: roles.iter().map(|role| ((*role).to_owned(), MAX_APPROVALS)).collect(),
        };
        match self.lowered(matter, everybody, &roles) {
            // Whatever cannot be evaluated denies, be it for approvals that nobody has given.
            Err(failed) => Outcome::Denied(failed),
            // Who asks for fewer approvals than there are asks for something else than approvals.
            Ok(Some((least, _))) if is_met(&least, matter.question.tally) => Outcome::Denied(now),
            Ok(None) => Outcome::Denied(now),
            Ok(Some((least, then))) => {
                let new = then.permits.iter().filter(|policy| !now.permits.contains(policy));
                let mut policies: Vec<String> = now.forbids.iter().chain(new).cloned().collect();
                policies.sort_unstable();
                Outcome::Asks(Sought { least, policies, now })
            }
        }
    }

    /// The least tally, from `everybody` on, with which the policies permit it, and what they say then. Tried in
    /// two orders, because "two of these or one of those" has two least ones: the one with fewer people is taken.
    fn lowered(
        &self,
        matter: &Matter<'_>,
        everybody: Tally,
        roles: &[&str],
    ) -> Result<Option<(Tally, Verdict)>, Verdict> {
        let Some(first) = self.permitted(matter, &everybody)? else { return Ok(None) };
        let one = self.lower(matter, everybody.clone(), first.clone(), roles.iter().copied())?;
        if roles.len() < 2 {
            return Ok(Some(one));
        }
        let other = self.lower(matter, everybody, first, roles.iter().copied().rev())?;
        let size = |(tally, _): &(Tally, Verdict)| (tally.count, tally.roles.values().sum::<u32>());
        Ok(Some(if size(&other) < size(&one) { other } else { one }))
    }

    fn lower<'r>(
        &self,
        matter: &Matter<'_>,
        mut tally: Tally,
        mut verdict: Verdict,
        roles: impl Iterator<Item = &'r str>,
    ) -> Result<(Tally, Verdict), Verdict> {
        for role in roles {
            for count in 0..MAX_APPROVALS {
                let mut fewer = tally.clone();
                fewer.roles.insert(role.to_owned(), count);
                if let Some(still) = self.permitted(matter, &fewer)? {
                    (tally, verdict) = (fewer, still);
                    break;
                }
            }
        }
        let floor = tally.roles.values().copied().max().unwrap_or(0);
        for count in floor..MAX_APPROVALS {
            let fewer = Tally { count, roles: tally.roles.clone() };
            if let Some(still) = self.permitted(matter, &fewer)? {
                return Ok((fewer, still));
            }
        }
        Ok((tally, verdict))
    }

    /// What the policies say if they permit it with these approvals; an error when one of them fails.
    fn permitted(&self, matter: &Matter<'_>, tally: &Tally) -> Result<Option<Verdict>, Verdict> {
        let verdict = self.verdict(matter, tally);
        if verdict.has_failed() { Err(verdict) } else { Ok(verdict.permitted().then_some(verdict)) }
    }
}

/// Whether `given` are as many as `least`, of every kind.
fn is_met(least: &Tally, given: &Tally) -> bool {
    let of = |role: &String| given.roles.get(role).copied().unwrap_or(0);
    given.count >= least.count && least.roles.iter().all(|(role, count)| of(role) >= *count)
}
