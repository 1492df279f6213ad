//! Freezes: times in which nothing begins.

use crate::{Code, Error, Timestamp};
use cronexpr::Crontab;
use jiff::SignedDuration;

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
    Recurring {
        /// When each begins, in its time zone.
        begins: Box<Crontab>,
        /// How long each lasts.
        lasts: SignedDuration,
    },
}

impl Freeze {
    /// Until when it is in force, if it is now.
    pub fn until(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Once { from, until } => (*from <= now && now < *until).then_some(*until),
            Self::Recurring { begins, lasts } => {
                let after = now.checked_sub(*lasts).ok()?;
                let mut until: Option<Timestamp> = None;
                // The last one that has begun ends last.
                for begin in begins.iter_after(after).ok()? {
                    let begin = begin.ok()?.timestamp();
                    if begin > now {
                        break;
                    }
                    until = begin.checked_add(*lasts).ok();
                }
                until
            }
        }
    }

    pub(super) fn object(&self, now: Timestamp) -> Option<Error> {
        let until = self.until(now)?;
        let message = format!("a freeze is in force until {until:.0}");
        Some(Error::new(Code::GuardFrozen, message).with_detail("until", format!("{until:.0}")))
    }
}
