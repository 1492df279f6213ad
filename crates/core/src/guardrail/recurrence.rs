//! Times that recur by the clock of a time zone.

use crate::Timestamp;
use crate::text::shown;
use cronexpr::{Crontab, parse_crontab};
use jiff::civil::{DateTime, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};

/// The most times that it may begin while one of them lasts.
const MAX_BEGINS: usize = 10_000;
/// The longest that clocks have ever skipped or repeated.
const LONGEST_CHANGE: SignedDuration = SignedDuration::from_hours(24);

/// Times that begin when a cron expression says and each last so long.
#[derive(Debug, Clone)]
pub struct Recurrence {
    /// What the clock shows when one begins. It is written for UTC, which skips and repeats no hour, and read as the
    /// clock of `zone`.
    begins: Crontab,
    zone: TimeZone,
    lasts: SignedDuration,
}

impl Recurrence {
    /// Reads a cron expression of five fields and the name of an IANA time zone.
    pub(super) fn parse(cron: &str, zone: &str, lasts: SignedDuration) -> Result<Self, String> {
        let begins =
            parse_crontab(&format!("{cron} UTC")).map_err(|error| format!("`freeze.cron`: {error}"))?;
        let zone = TimeZone::get(zone)
            .map_err(|_| format!("`freeze.time_zone` is `{}`, and no IANA time zone", shown(zone, 64)))?;
        let recurrence = Self { begins, zone, lasts };
        let first = recurrence
            .first()
            .ok_or_else(|| format!("`freeze.cron` is `{}`, which never comes", shown(cron, 80)))?;
        let last = first.saturating_add(lasts);
        if recurrence.after(first).take_while(|begin| *begin < last).nth(MAX_BEGINS - 1).is_some() {
            return Err(format!(
                "`freeze.cron` begins more than {MAX_BEGINS} times within `freeze.lasts`; let it begin less often"
            ));
        }
        Ok(recurrence)
    }

    /// Until when the one lasts that ends last of those that last now.
    pub(super) fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let since = now.saturating_sub(self.lasts).unwrap_or(Timestamp::MIN);
        let clock = |at: Timestamp| self.zone.to_datetime(at);
        let from = clock(since).saturating_sub(LONGEST_CHANGE);
        let to = clock(now).saturating_add(LONGEST_CHANGE);
        let begins = self.after(from).take_while(|begin| *begin <= to).flat_map(|begin| self.instants(begin));
        let latest = begins.filter(|begin| since < *begin && *begin <= now).max()?;
        Some(latest.saturating_add(self.lasts).unwrap_or(Timestamp::MAX))
    }

    /// When the clock shows this: once; twice when clocks are put back over it; and when they are put forward over
    /// it, as much later as they are put forward.
    fn instants(&self, shown: DateTime) -> impl Iterator<Item = Timestamp> + use<> {
        let one = self.zone.to_ambiguous_timestamp(shown);
        let first = one.compatible().ok();
        let second = one.later().ok().filter(|later| Some(*later) != first);
        first.into_iter().chain(second)
    }

    /// What the clock shows at each begin after this; none when there is none for four years.
    fn after(&self, shown: DateTime) -> impl Iterator<Item = DateTime> + use<'_> {
        let at = TimeZone::UTC.to_timestamp(shown).unwrap_or(Timestamp::MIN);
        let times = self.begins.iter_after(at).into_iter().flatten();
        times.map_while(|time| time.ok().map(|time| time.datetime()))
    }

    /// The first begin of this century. Days of the month fall on the same days of the week every 28 years.
    fn first(&self) -> Option<DateTime> {
        let eve = date(1999, 12, 31).at(23, 59, 0, 0);
        (0..28).step_by(4).find_map(|years| self.after(eve.saturating_add(years.years())).next())
    }
}
