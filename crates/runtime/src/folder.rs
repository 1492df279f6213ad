//! Folders that are followed while they change: policies, packs.

/// How often a folder is read that changes while it is read.
const READINGS: usize = 8;

/// Reads until two readings in a row agree, so that what was never there as a whole is never put in force; `None` if
/// it changes again and again.
pub fn settled<T: PartialEq>(read: impl Fn() -> T) -> Option<T> {
    let mut last = read();
    for _ in 1..READINGS {
        let now = read();
        if now == last {
            return Some(now);
        }
        last = now;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn what_changes_while_it_is_read_is_read_again() {
        let readings = Cell::new(0);
        let until = |settles: usize| {
            readings.set(0);
            settled(|| {
                readings.set(readings.get() + 1);
                readings.get().min(settles)
            })
        };
        assert_eq!((until(1), readings.get()), (Some(1), 2));
        assert_eq!((until(3), readings.get()), (Some(3), 4));
        assert_eq!((until(100), readings.get()), (None, READINGS));
    }
}
