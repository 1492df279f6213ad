//! How many have agreed, and with which roles.

use astradesk_core::approval::is_same_person;
use astradesk_core::{Approval, Principal, Requirement, RoleName};
use std::collections::BTreeMap;

/// How many people have agreed, and how many of them have a role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) count: u32,
    pub(crate) roles: BTreeMap<String, u32>,
}

impl Tally {
    /// Counts people, each of them once; never who asked, nor an agent.
    pub(crate) fn of(requester: &Principal, approvals: &[Approval]) -> Self {
        let mut tally = Self::default();
        for (i, Approval { by, .. }) in approvals.iter().enumerate() {
            let again = approvals.iter().take(i).any(|earlier| is_same_person(&earlier.by, by));
            if again || by.actor.is_some() || is_same_person(requester, by) {
                continue;
            }
            tally.count += 1;
            for role in &by.roles {
                *tally.roles.entry(role.to_string()).or_default() += 1;
            }
        }
        tally
    }

    /// What must be asked for so that there are so many.
    pub(crate) fn requirement(&self) -> Requirement {
        let named = |(role, count): (&String, &u32)| Some((RoleName::parse(role.as_str()).ok()?, *count));
        let roles = self.roles.iter().filter(|(_, count)| **count > 0);
        Requirement { count: self.count, roles: roles.filter_map(named).collect() }
    }
}
