//! Freezes: times in which nothing begins.

use super::Recurrence;
use crate::{Code, Error, Timestamp};

/// When nothing begins.
#[derive(Debug, Clone)]
pub enum Freeze {
    /// Once.
    Once {
        /// From when.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// Again and again.
    Recurring(Box<Recurrence>),
}

impl Freeze {
    /// Until when it is in force, if it is now.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once { from, until } => (*from <= now && now < *until).then_some(*until),
            Self::Recurring(times) => times.until(now),
        }
    }

    pub(super) fn object(&self, now: Timestamp) -> Option<Error> {
        let until = self.until(now)?;
        let message = format!("a freeze is in force until {until:.0}");
        Some(Error::new(Code::GuardFrozen, message).with_detail("until", format!("{until:.0}")))
    }
}
