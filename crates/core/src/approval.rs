//! Approvals: who else must agree, and who has.
//!
//! An approval binds to one run by a digest of what it does, for whom and why. It is used once, because a run
//! is executed once; it expires; and it counts only if whoever gave it is somebody else than who asked.

use crate::canonical::Digest;
use crate::decision::Reason;
use crate::text::is_hidden;
use crate::{Code, Error, Principal, Result, RoleName, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use unicode_normalization::UnicodeNormalization;

/// The most approvals that can be asked for.
pub const MAX_APPROVALS: u32 = 8;
/// The longest reason, in characters.
pub const MAX_REASON: usize = 1000;

/// What policy asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// So many people, at least.
    pub count: u32,
    /// So many of them with each of these roles, at least.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<RoleName, u32>,
}

/// Somebody agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who, with the roles that they had then.
    pub by: Principal,
    /// When.
    pub at: Timestamp,
    /// The digest that they saw.
    pub digest: Digest,
    /// Why.
    pub reason: String,
}

/// What a run needs before it may be executed, and what it has of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approvals {
    /// What an approval binds to: see [`Run::digest`](crate::Run::digest).
    pub digest: Digest,
    /// What policy asks for.
    pub required: Requirement,
    /// The policies that ask for it.
    pub reasons: Vec<Reason>,
    /// Since when the run waits for them.
    pub asked_at: Timestamp,
    /// Until when it can be approved, and the approved run begun.
    pub expires_at: Timestamp,
    /// Who agreed so far, each of them once.
    #[serde(default)]
    pub given: Vec<Approval>,
}

impl Requirement {
    /// Whether these approvals are enough.
    pub fn is_met(&self, given: &[Approval]) -> bool {
        given.len() >= self.count as usize
            && self.roles.iter().all(|(role, wanted)| holders(given, role) >= *wanted as usize)
    }

    /// Whether the principal has one of the roles that are asked for.
    pub fn names(&self, principal: &Principal) -> bool {
        self.roles.keys().any(|role| principal.has_role(role))
    }

    /// Whether more people are asked for than roles are named: then somebody without them counts, too, if policy
    /// would let them do it themselves.
    pub fn is_open(&self) -> bool {
        self.count > self.roles.values().sum()
    }
}

fn holders(given: &[Approval], role: &RoleName) -> usize {
    given.iter().filter(|approval| approval.by.has_role(role)).count()
}

/// `1 approval by lead`, `2 approvals, 1 of them by lead`, `1 approval by lead and 1 by sre`
impl std::fmt::Display for Requirement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let noun = |count: u32| if count == 1 { "approval" } else { "approvals" };
        let mut roles = self.roles.iter();
        if self.is_open() {
            write!(f, "{} {}", self.count, noun(self.count))?;
            for (place, (role, wanted)) in roles.enumerate() {
                let before = if place == 0 { ", " } else { " and " };
                let of_them = if place == 0 { " of them" } else { "" };
                write!(f, "{before}{wanted}{of_them} by `{role}`")?;
            }
            return Ok(());
        }
        let Some((role, wanted)) = roles.next() else { return f.write_str("no approval") };
        write!(f, "{wanted} {} by `{role}`", noun(*wanted))?;
        roles.try_for_each(|(role, wanted)| write!(f, " and {wanted} by `{role}`"))
    }
}

impl Approvals {
    /// Whether there are enough.
    pub fn are_met(&self) -> bool {
        self.required.is_met(&self.given)
    }

    /// Whether an approval may be added, for a run that `requester` asked for.
    ///
    /// # Errors
    /// [`Code::ApprovalExpired`], [`Code::ApprovalBySelf`], [`Code::ApprovalByAgent`], [`Code::ApprovalRoleRequired`],
    /// [`Code::ApprovalDigestMismatch`] or [`Code::ApprovalAlreadyGiven`].
    pub fn check(&self, requester: &Principal, approval: &Approval) -> Result<()> {
        self.check_person(requester, &approval.by)?;
        self.check_seen(approval.digest)?;
        if approval.at >= self.expires_at {
            return Err(Error::new(
                Code::ApprovalExpired,
                format!("it could be approved until {:.0}", self.expires_at),
            ));
        }
        if self.given.iter().any(|given| is_same_person(&given.by, &approval.by)) {
            let message = format!("`{}` has approved it already", approval.by.subject);
            return Err(Error::new(Code::ApprovalAlreadyGiven, message));
        }
        Ok(())
    }

    /// Whether the principal may say yes or no.
    ///
    /// # Errors
    /// [`Code::ApprovalBySelf`], [`Code::ApprovalByAgent`] or [`Code::ApprovalRoleRequired`].
    pub fn check_person(&self, requester: &Principal, by: &Principal) -> Result<()> {
        if is_same_person(requester, by) {
            let message = format!("`{}` asked for it, and somebody else must approve it", requester.subject);
            return Err(Error::new(Code::ApprovalBySelf, message));
        }
        if let Some(actor) = &by.actor {
            let message = format!("`{actor}` acts for `{}`, and only a person can approve", by.subject);
            return Err(Error::new(Code::ApprovalByAgent, message));
        }
        if !self.required.names(by) && !self.required.is_open() {
            let roles: Vec<String> = self.required.roles.keys().map(|role| format!("`{role}`")).collect();
            let message =
                format!("`{}` has none of the roles that can approve it: {}", by.subject, roles.join(", "));
            return Err(Error::new(Code::ApprovalRoleRequired, message));
        }
        Ok(())
    }

    /// Whether what was seen is what is asked for.
    ///
    /// # Errors
    /// [`Code::ApprovalDigestMismatch`].
    pub fn check_seen(&self, digest: Digest) -> Result<()> {
        if digest == self.digest {
            return Ok(());
        }
        let message =
            format!("what was seen has the digest {digest}, and what is asked for has {}", self.digest);
        Err(Error::new(Code::ApprovalDigestMismatch, message))
    }
}

/// Whether the same person, or an agent for them, stands behind both: by any token, of any issuer. Names are the
/// same that differ in case, in white space around them, in characters that nobody sees, or in how Unicode writes
/// the same letters (NFKC).
pub fn is_same_person(one: &Principal, other: &Principal) -> bool {
    let names = |principal: &Principal| -> Vec<String> {
        [Some(&principal.subject), principal.actor.as_ref()]
            .into_iter()
            .flatten()
            .map(|name| plain(name))
            .collect()
    };
    let others = names(other);
    names(one).iter().any(|name| others.contains(name))
}

fn plain(name: &str) -> String {
    let seen: String = name.nfkc().filter(|c| !is_hidden(*c)).collect();
    seen.trim().to_lowercase()
}

/// Checks a reason: one line of 1 to [`MAX_REASON`] characters that are not all white space, and none of them
/// [hidden](is_hidden).
///
/// # Errors
/// [`Code::RequestReasonRequired`].
pub fn check_reason(reason: &str) -> Result<()> {
    let length = reason.chars().count();
    if reason.trim().is_empty() || length > MAX_REASON || reason.chars().any(is_hidden) {
        let message = format!(
            "the reason must be one line of 1 to {MAX_REASON} characters, without control characters and those \
             that nobody sees"
        );
        return Err(Error::new(Code::RequestReasonRequired, message));
    }
    Ok(())
}
