//! The list of known differences, `known-differences.txt`: a line each,
//!
//! ```text
//! families | pattern | reason
//! ```
//!
//! where the pattern is matched against `SCRIPT / STEP / POINTER` and `*` in it stands for anything. An entry must be
//! needed in every family that it names.

use crate::compare::Difference;
use std::fmt::Write as _;

/// How many differences a failure shows.
const SHOWN: usize = 400;

/// The list.
pub struct Known {
    entries: Vec<Entry>,
}

struct Entry {
    line: usize,
    families: Vec<String>,
    pattern: String,
}

impl Known {
    /// The list as it lies in the repository.
    pub fn read() -> Self {
        Self::parse(include_str!("../known-differences.txt"))
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let entries = lines.map(|(number, line)| {
            let parts: Vec<&str> = line.splitn(3, " | ").map(str::trim).collect();
            let [families, pattern, reason] = parts[..] else {
                panic!("line {}: three parts are needed", number + 1)
            };
            assert!(!reason.is_empty(), "line {}: a reason is needed", number + 1);
            let families = families.split_whitespace().map(str::to_owned).collect();
            Entry { line: number + 1, families, pattern: pattern.to_owned() }
        });
        Self { entries: entries.collect() }
    }

    /// Fails when a difference is not on the list, or (when all scripts were played) when an entry for this family
    /// is not needed any more. Gives the number of the entries for it.
    pub fn judge(&self, family: &str, differences: &[Difference], all_played: bool) -> usize {
        let faults = self.faults(family, differences, all_played);
        assert!(faults.is_empty(), "{family}:\n{faults}");
        self.of(family).count()
    }

    /// Whether the list explains a difference.
    pub fn explains(&self, family: &str, difference: &Difference) -> bool {
        let place = place(difference);
        self.of(family).any(|entry| fits(&entry.pattern, &place))
    }

    fn of<'a>(&'a self, family: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.families.iter().any(|named| named == family))
    }

    fn faults(&self, family: &str, differences: &[Difference], all_played: bool) -> String {
        let mut faults = String::new();
        let fresh: Vec<&Difference> =
            differences.iter().filter(|difference| !self.explains(family, difference)).collect();
        for difference in fresh.iter().take(SHOWN) {
            let _ = writeln!(faults, "{difference}");
        }
        if !fresh.is_empty() {
            let _ = writeln!(faults, "{} differences are not in known-differences.txt", fresh.len());
        }
        for entry in self.of(family).filter(|_| all_played) {
            if !differences.iter().any(|difference| fits(&entry.pattern, &place(difference))) {
                let _ = writeln!(
                    faults,
                    "known-differences.txt:{}: nothing differs there any more: take `{}` out",
                    entry.line, entry.pattern
                );
            }
        }
        faults
    }
}

/// What the patterns are matched against.
fn place(difference: &Difference) -> String {
    format!("{} / {} / {}", difference.script, difference.step, difference.pointer)
}

/// Whether a text is as a pattern says, in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut left) = text.strip_prefix(start) else { return false };
    loop {
        if fits(rest, left) {
            return true;
        }
        let mut chars = left.chars();
        if chars.next().is_none() {
            return false;
        }
        left = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(pointer: &str) -> Difference {
        let empty = String::new;
        Difference {
            script: "s".into(),
            step: "0 get".into(),
            pointer: pointer.into(),
            sandbox: empty(),
            real: empty(),
        }
    }

    #[test]
    fn the_list_only_shrinks() {
        let known = Known::parse("# why\n\nlists objects | s / * / /a/* | because\n");
        assert_eq!(known.faults("objects", &[difference("/a/b")], true), "");
        assert!(known.faults("objects", &[difference("/b")], true).contains("are not in known"));
        assert!(known.faults("objects", &[], true).contains("known-differences.txt:3: nothing differs"));
        assert_eq!(known.faults("objects", &[], false), "");
        assert!(known.faults("watches", &[difference("/a/b")], true).contains("are not in known"));
        assert_eq!(known.faults("watches", &[], true), "");
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("*b", "abc", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abde", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}
